"""An index whose sparse vectors were made of other terms is noticed, told of, and made anew while it serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernel.index import schema
from kernel.index.terms import TERMS
from kernel.serving import EMBEDDER, record_of
from kernel.tables import Fact
from retrieval.search import Scope
from tests.house import incoming, page
from tests.switching import opened, stand_ins
from ui.platform import Platform

SHEET = page("Faults", {"Code": "The pump stops and shows PumpErr-77 at once."})


def made_by_an_earlier_release(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home whose terms were plain words, recorded as release 0.1 recorded them: not at all."""
    with monkeypatch.context() as earlier:
        earlier.setattr(schema.terms, "of_document", lambda text: schema.terms.Counter(map(hash_of, text.split())))
        with stand_ins(), opened(home) as platform:
            platform.w.ingest.add([incoming("faults.md", SHEET)])
            with platform.w.db.write() as session:
                record = {key: value for key, value in record_of(session).items() if key != "terms"}
                session.merge(Fact(key=EMBEDDER, value=record))


def hash_of(word: str) -> int:
    return sum(map(ord, word))


def checked(platform: Platform) -> dict[str, Any]:
    return next(c for c in platform.doctor()["checks"] if c["name"] == "search terms")


def by_words(platform: Platform) -> list[Any]:
    vectors, _ = platform.w.live.encode(["pumperr77"])
    (arms,) = platform.w.search.arms(["pumperr77"], vectors, Scope(workspace="default"))
    return list(arms.words)


def test_an_index_of_other_terms_is_made_anew_by_the_node_and_serves_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by_an_earlier_release(tmp_path, monkeypatch)
    with stand_ins(), opened(tmp_path) as platform:
        assert not checked(platform)["ok"]
        assert platform.search("pump")["hits"]
        assert by_words(platform) == []
        job = platform.tick()["maintain"]
        platform.w.ledger.run(job)
        assert platform.w.replacer.serves()["terms"] == TERMS
        assert checked(platform)["ok"]
        assert len(by_words(platform)) == 1


def test_a_new_home_is_made_of_today_s_terms(tmp_path: Path) -> None:
    with stand_ins(), opened(tmp_path) as platform:
        platform.w.ingest.add([incoming("faults.md", SHEET)])
        assert checked(platform)["ok"]
        assert "maintain" not in platform.tick()


def test_a_tick_tunes_a_workspace_with_enough_examples_once(tmp_path: Path) -> None:
    with stand_ins(), opened(tmp_path) as platform:
        assert "tune" not in platform.tick()
        platform.w.tuner.due = lambda: ["default"]  # type: ignore[method-assign]
        platform._tuning_looked = -1e9
        (job,) = platform.tick()["tune"]
        assert platform.enqueue_tune()["job"] == job
        platform.w.ledger.run(job)
        assert platform.job(job)["result"]["adopted"] is False
        assert platform.tuning()["measured"] is None


def test_a_tick_sorts_what_has_no_topic_yet_and_leaves_it_at_that(tmp_path: Path) -> None:
    rows = [
        {"question": f"{words} {n}?", "standalone": True, "answer": f"{words} {n}."}
        for words in ("Clams crabs snails food", "Ivory tusk tooth length")
        for n in range(45)
    ]
    with stand_ins(), opened(tmp_path) as platform:
        platform._topics_looked = -1e9
        assert "sort" not in platform.tick()
        platform.import_examples("\n".join(map(json.dumps, rows)))
        platform._topics_looked = -1e9
        (job,) = platform.tick()["sort"]
        platform.w.ledger.run(job)
        assert platform.job(job)["result"]["moved"] == 90
        platform._topics_looked = -1e9
        assert "sort" not in platform.tick()
