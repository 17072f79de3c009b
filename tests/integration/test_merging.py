"""Two adapters become one through the same gate, with both parents in its lineage; and a cycle that owes a second
challenger trains it. Training runs in this process here: that it has one of its own is shown elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from finetune import retriever, trainer
from finetune.kinds import BASE, Options
from finetune.probe import STEPS, Lost, Probing
from kernel.errors import NotFound, Refused, UserError
from kernel.index.schema import DENSE, keyword
from kernel.settings import load
from kernel.types import silent
from rehearsal.tables import MixRow
from tests.dying_runs import ANIMALS
from tests.house import incoming, numbered
from ui.platform import Platform
from ui.wiring import Wired

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
RECIPE = {"epochs": 1, "batch": 8, "threads": 1}
QUESTIONS = ("What does a {a} live on?", "Who feeds on {f}?", "Favourite dish of every {a}?")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    wired = Wired(load(home=tmp_path_factory.mktemp("merging") / "home", min_free_mb=0, precision="float32"))
    platform = Platform(wired)
    with numbered(), pytest.MonkeyPatch.context() as patch:
        platform.ingest([incoming(f"{a}.md", f"# {a.title()}\n\nThe {a} eats {f}.\n") for a, f in ANIMALS.items()])
        patch.setattr(retriever, "train", lambda folder, _progress: trainer.train(folder))
        yield platform
    wired.close()


@pytest.fixture(scope="module")
def two(platform: Platform) -> tuple[str, str]:
    """The champion, and a candidate that has learnt more from where it was."""
    first = trained(platform, QUESTIONS[:2], "first")
    platform.promote(first, "it is a champion to merge with")
    return first, trained(platform, QUESTIONS[2:], "second")


def trained(platform: Platform, questions: tuple[str, ...], name: str) -> str:
    rows = [
        {"question": q.format(a=a, f=f), "document": f"{a}.md", "quote": f"The {a} eats {f}.", "slice": name}
        for a, f in ANIMALS.items()
        for q in questions
    ]
    platform.import_examples("".join(json.dumps(row) + "\n" for row in rows))
    retrainer = platform.w.retrainer
    run = retrainer.request("retriever", Options(policy="mixed", rho=0.2, recipe=RECIPE), None)
    return str(retrainer.run(run, lambda *_: None)["adapter"])


def test_a_merge_is_judged_and_has_both_parents(platform: Platform, two: tuple[str, str]) -> None:
    first, second = two
    run = platform.merge([first, second], weights=[0.25, 0.75], rank=32)
    assert run["state"] in ("accepted", "rejected")
    assert run["parent"] == first, "it is compared with the champion"
    parts = {row["slice"]: row["part"] for row in run["verdict"]["slices"]}
    assert parts["second"] == "new", "it has to gain on what the champion had not practised"

    folder = platform.w.home / platform.w.registry.path(run["adapter"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["parents"] == [first, second]
    assert manifest["merge"]["energy_lost"] < 1e-6, "rank 32 holds two of rank 16"

    # In between: the vectors of a question lie between those by the two parents.
    texts = ["What does a walrus live on?"]
    for name in (first, second, run["adapter"]):
        platform.w.live.load(name, platform.w.registry.path(name))
    a, b, between = (platform.w.live.encode_with(n, texts)[0] for n in (first, second, run["adapter"]))
    assert not np.allclose(a, b, atol=1e-4)
    assert float(between @ b) > float(between @ a)

    row = next(r for r in platform.adapters() if r["adapter"] == run["adapter"])
    assert (row["state"], row["run"]) == ("candidate", run["run"])
    runs = {r["adapter"]: r["run"] for r in platform.adapters()}
    assert set(platform.w.registry.runs_behind(run["adapter"])) == {runs[first], runs[second], run["run"]}
    assert run["adapter"] in platform.w.registry.trained_on([runs[second]]), "a delete names it too"


def test_another_method_comes_to_a_verdict_and_says_what_it_lost(platform: Platform, two: tuple[str, str]) -> None:
    run = platform.merge(list(two), method="ties")
    assert run["state"] in ("accepted", "rejected")
    manifest = json.loads((Path(run["manifest"]).parent / "adapter" / "manifest.json").read_text())
    assert 0 < manifest["merge"]["energy_lost"] < 1


def test_a_slice_that_a_merge_lost_is_probed_whatever_the_merge_was_made_by(
    platform: Platform, two: tuple[str, str]
) -> None:
    told = platform.merge(list(two), method="ties", density=0.5, weights=[0.2, 0.8])
    asked = [e["example"] for e in platform.examples("approved") if (e["slice"], e["split"]) == ("first", "held-out")]
    lost = Lost(slice="first", examples=tuple(asked), before=0.9, now=0.1)
    kind, run = platform.w.kinds["retriever"], platform.w.runs.get(told["run"])
    assert isinstance(kind, Probing)
    (recovery,) = kind.probe(run, platform.w.runs.folder(run.id), [lost], silent)
    assert (recovery.slice, recovery.n, recovery.steps >= STEPS) == ("first", len(asked), True)


def test_what_any_of_the_merged_has_practised_counts_as_seen(platform: Platform, two: tuple[str, str]) -> None:
    before = platform.merge(list(two))["metrics"]
    platform.ingest([incoming("newt.md", "# Newt\n\nThe newt eats worms.\n")])
    row = {"document": "newt.md", "quote": "The newt eats worms.", "slice": "newt"}
    asked = [{"question": f"What is a newt fed, {split}?", "split": split} for split in ("train", "held-out")]
    platform.import_examples("".join(json.dumps(row | one) + "\n" for one in asked))
    practised = next(e["example"] for e in platform.examples() if e["question"] == "What is a newt fed, train?")
    (second,) = [a["run"] for a in platform.adapters() if a["adapter"] == two[1]]
    with platform.w.db.write() as session:  # which is no champion, nor behind one
        session.add(MixRow(run=second, example=practised, part="new"))
    after = platform.merge(list(two))["metrics"]
    assert after["seen"]["n"] == before["seen"]["n"] + 1
    assert after["unseen"]["n"] == before["unseen"]["n"]


def test_what_cannot_be_merged_is_refused_before_a_run_is_entered(platform: Platform, two: tuple[str, str]) -> None:
    before = len(platform.runs())
    mistakes: list[tuple[type[Exception], dict[str, Any]]] = [
        (UserError, {"adapters": [two[0]]}),
        (NotFound, {"adapters": [two[0], "retriever-nobody"]}),
        (UserError, {"adapters": list(two), "weights": [1.0]}),
    ]
    for kind, asked in mistakes:
        with pytest.raises(kind):
            platform.merge(**asked)
    assert len(platform.runs()) == before


def test_an_adapter_of_another_shape_is_not_merged(platform: Platform, two: tuple[str, str]) -> None:
    folder = platform.w.home / platform.w.registry.path(two[1])
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"use_rslora": True}))
    try:
        with pytest.raises(Refused, match="use_rslora"):
            platform.merge(list(two))
    finally:
        (folder / "adapter_config.json").write_text(json.dumps(config))
    assert platform.runs()[0]["state"] == "failed"


def test_a_cycle_that_owes_a_fresh_challenger_enters_it_and_each_names_the_other(
    platform: Platform, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune import challengers

    retrainer = platform.w.retrainer
    asked = Options(policy="mixed", rho=0.2, recipe=RECIPE)
    run = retrainer.request("retriever", asked, None)
    monkeypatch.setattr(challengers, "REFUSALS", 99)
    assert retrainer.challenge(run) is None, "the cycles so far were too few"
    monkeypatch.setattr(challengers, "EVERY", 1)
    sibling = retrainer.challenge(run)
    assert sibling is not None
    one, other = platform.run(run), platform.run(sibling)
    assert (one["sibling"], other["sibling"]) == (sibling, run)
    assert other["options"]["start"] == BASE
    assert one["preferred"] is other["preferred"] is None
    retrainer.run(sibling, lambda *_: None)
    mix = platform.mix(sibling)
    memory = [e for e in platform.examples("approved") if e["split"] == "train"]
    assert len(mix["rows"]) == len(memory), "from nothing, all that is remembered is practised"
    manifest = json.loads((platform.w.runs.folder(sibling) / "adapter" / "manifest.json").read_text())
    assert (manifest["warm_start"], manifest["parent"]) == (False, None)
    assert platform.run(run)["preferred"] is None, "the other is still to come"


def test_a_run_whose_job_was_cancelled_before_its_turn_does_not_stay_open(platform: Platform) -> None:
    wired = platform.w
    wired.runs.settle(orphaned=True)  # of the tests before
    left, queued = (
        wired.retrainer.request("retriever", Options(policy="mixed", rho=0.2, recipe=RECIPE), None) for _ in range(2)
    )
    job = wired.ledger.enqueue("retrain", {"run": queued}, keys=["retrain"])
    assert wired.runs.settle(orphaned=False) == []
    wired.ledger.cancel(job)
    assert wired.runs.settle(orphaned=False) == [queued]
    assert platform.run(queued)["state"] == "failed"
    assert wired.runs.settle(orphaned=True) == [left]
    assert platform.run(left)["error"]["code"] == "abandoned"


def test_no_chunk_of_a_document_that_answers_as_a_whole_is_a_negative(platform: Platform, tmp_path: Path) -> None:
    wired = platform.w
    parts = [
        f"## Year {n}\n\n" + f"In year {n} the stork stands on roof {n} and claps its bill. " * 12 for n in range(8)
    ]
    platform.ingest([incoming("stork.md", "# Stork\n\n" + "\n\n".join(parts))])
    rows = [{"question": f"Everything about the stork, part {n}", "document": "stork.md"} for n in range(12)]
    platform.import_examples("".join(json.dumps(row) + "\n" for row in rows))
    run = wired.runs.get(wired.retrainer.request("retriever", Options(policy="mixed", rho=0.0), None))
    mix = wired.retrainer.drawing.mix("retriever", Options(policy="mixed", rho=0.0), None)
    wired.kinds["retriever"].materialise(run, mix, tmp_path)

    document = next(d["document"] for d in platform.documents() if d["name"] == "stork.md")
    points = wired.index.scroll(models.Filter(must=[keyword("doc", document)]), with_vectors=True)
    own = np.array([p.vector[DENSE] for p in points], np.float32)  # type: ignore[index, call-overload]
    assert len(own) > 3, "more chunks than stand for the document"
    vectors = np.load(tmp_path / "vectors.npy")
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    asked = [line for line in lines if "stork" in line["question"]]
    assert asked
    for line in asked:
        assert line["negatives"], "there are others"
        assert float((vectors[line["negatives"]] @ own.T).max()) < 0.999
