"""Retention: old versions expire by a rule, leave a tombstone only, and do so whole wherever a process dies."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from ingest.retention import DAY_MS
from ingest.tables import Chunk, Embedding, Position, Version
from kernel.audit import entries
from kernel.errors import NotFound, UserError
from kernel.ids import now_ms
from kernel.types import When
from rehearsal.tables import Example, Ground
from tests.dying import NAME, SECTIONS_2, TEXTS, End, expire_and_die
from tests.house import House, page

pytestmark = pytest.mark.integration

FOOD, SKIN = "The walrus eats clams.", "The skin is grey when cold."
EDITIONS = {n: page("Walrus", {"Food": FOOD, "Skin": f"Edition {n} speaks of colour {n * 111}."}) for n in range(1, 6)}


@pytest.fixture
def house(quick_folder: Path) -> Iterator[House]:
    with House(quick_folder / "home") as opened:
        yield opened


def filled(house: House, upto: int = 4) -> str:
    """A document of `upto` versions; its id."""
    return [house.put("walrus.md", EDITIONS[n])["document"] for n in range(1, upto + 1)][-1]


def states(house: House, doc: str = "walrus.md") -> list[str]:
    return [v["state"] for v in house.library.history(doc)]


def everything(house: House) -> bytes:
    files = [file for file in house.home.rglob("*") if file.is_file()]
    return b"".join(file.read_bytes() for file in files if file.stat().st_blocks * 512 < 2**26)


def shown(house: House, document: str, when: When | None = None) -> dict[int, list[str]]:
    return {version: [p.text for p in places] for version, places in house.shown(document, when).items()}


# --- rules --------------------------------------------------------------------------------------------


def test_everything_is_kept_until_a_workspace_has_a_rule(house: House) -> None:
    filled(house)
    before = house.counts()
    assert house.keeper.policy("default")["policy"] == "keep all"
    assert house.keeper.apply()["expired"] == []
    house.keeper.set("another", versions=1)
    assert house.keeper.apply()["expired"] == []
    assert house.counts() == before


def test_a_rule_is_one_number_from_one_and_can_be_taken_back(house: House) -> None:
    for wrong in ({"versions": 0}, {"days": -1}, {"versions": 2, "days": 2}):
        with pytest.raises(UserError):
            house.keeper.set("default", **wrong)
    assert house.keeper.set("default", versions=3)["policy"] == "keep 3 versions"
    assert house.keeper.set("default", days=30)["policy"] == "keep for 30 days"
    assert [r["workspace"] for r in house.keeper.policies()] == ["default"]
    assert house.keeper.set("default")["policy"] == "keep all"
    assert house.keeper.policies() == []
    with house.db.read() as session:
        assert [e["action"] for e in entries(session)].count("retention") == 3


def test_a_dry_run_says_what_would_expire_and_touches_nothing(house: House) -> None:
    filled(house)
    house.keeper.set("default", versions=2)
    before = house.counts()
    report = house.keeper.apply(dry_run=True)
    assert [(row["name"], row["versions"]) for row in report["expired"]] == [("walrus.md", [1, 2])]
    assert (house.counts(), states(house)) == (before, ["live", *["superseded"] * 3])


# --- what an expiry takes and leaves --------------------------------------------------------------------


def test_what_expired_is_gone_from_everything_and_what_is_kept_is_whole(house: House) -> None:
    document = filled(house)
    house.library.text(document, 1)
    house.keeper.set("default", versions=2)
    report = house.keeper.apply()
    assert [(row["document"], row["versions"]) for row in report["expired"]] == [(document, [1, 2])]
    assert (report["points"], report["blobs"]) == (2, 2)
    assert states(house) == ["live", "superseded", "expired", "expired"]
    counts = house.counts()
    assert (counts["points"], counts["chunks"], counts["positions"], counts["blobs"]) == (3, 3, 4, 2)
    for words, there in (("colour 111", False), ("colour 222", False), ("colour 333", True), ("colour 444", True)):
        assert (words.encode() in everything(house)) is there
    assert shown(house, document) == {4: [FOOD, "Edition 4 speaks of colour 444."]}
    assert shown(house, document, When(epoch=3, at=now_ms())) == {3: [FOOD, "Edition 3 speaks of colour 333."]}
    assert house.library.text(document, 3)["text"] == EDITIONS[3]
    assert house.keeper.apply()["expired"] == []


def test_a_citation_of_an_expired_version_opens_a_tombstone(house: House) -> None:
    document = filled(house)
    cited = house.search.search("colour 111", 1, None).passages[0]
    house.keeper.set("default", versions=1)
    house.keeper.apply()
    for ask in (
        lambda: house.library.text(cited.document, 1),
        lambda: house.library.original(document, 1),
        lambda: house.library.diff(document, 1, 4),
    ):
        with pytest.raises(NotFound) as tombstone:
            ask()
        assert tombstone.value.code == "expired"
        assert "keep 1 version" in tombstone.value.message
        assert "20" in tombstone.value.message  # the date
    row = house.library.history(document)[-1]
    assert (row["state"], row["version"], bool(row["expired"]), len(row["sha256"])) == ("expired", 1, True, 64)
    with pytest.raises(NotFound) as nothing:
        house.library.text(document, 9)
    assert nothing.value.code == "not_found"


def test_a_question_about_an_expired_stretch_finds_nothing_rather_than_something_else(house: House) -> None:
    start = now_ms() - 100 * DAY_MS
    for number in (1, 2, 3):
        document = house.put("walrus.md", EDITIONS[number], at=start + number * 10 * DAY_MS)["document"]
    house.keeper.set("default", versions=1)
    house.keeper.apply()
    for when in (When(epoch=3, at=start + 15 * DAY_MS), When(epoch=1, at=now_ms()), When(epoch=2, at=now_ms())):
        assert shown(house, document, when) == {}
    assert shown(house, document, When(epoch=3, at=start + 30 * DAY_MS)) == {3: [FOOD, EDITION_3]}
    assert shown(house, document) == {3: [FOOD, EDITION_3]}


EDITION_3 = "Edition 3 speaks of colour 333."


def test_days_count_from_when_a_version_was_superseded_here_and_in_the_world(house: House) -> None:
    """A history that is loaded with its old dates does not vanish within the hour."""
    start = now_ms() - 1000 * DAY_MS
    for number in (1, 2, 3):
        house.put("walrus.md", EDITIONS[number], at=start + number * DAY_MS)
    house.keeper.set("default", days=30)
    assert house.keeper.apply()["expired"] == []
    with house.db.write() as session:  # version 2 came 40 days ago, version 3 today
        session.execute(update(Version).where(Version.number == 2).values(created=now_ms() - 40 * DAY_MS))
    assert house.keeper.apply()["expired"][0]["versions"] == [1]
    assert states(house) == ["live", "superseded", "expired"]


def test_a_version_that_is_to_come_does_not_push_out_the_one_that_counts(house: House) -> None:
    house.put("walrus.md", EDITIONS[1])
    document = house.put("walrus.md", EDITIONS[2])["document"]
    house.put("walrus.md", EDITIONS[3], at=now_ms() + DAY_MS)
    house.put("walrus.md", EDITIONS[4], at=now_ms() + 2 * DAY_MS)
    house.keeper.set("default", versions=1)
    assert house.keeper.apply()["expired"][0]["versions"] == [1]
    assert shown(house, document) == {2: [FOOD, "Edition 2 speaks of colour 222."]}
    later = When(epoch=4, at=now_ms() + 3 * DAY_MS)
    assert shown(house, document, later) == {4: [FOOD, "Edition 4 speaks of colour 444."]}
    assert house.put("walrus.md", EDITIONS[5], at=now_ms() + 3 * DAY_MS)["version"] == 5


def test_what_was_only_cut_anew_does_not_push_out_what_people_wrote(house: House) -> None:
    document = filled(house, 3)
    with house.db.write() as session:
        session.execute(update(Version).where(Version.number == 3).values(cause="rechunk"))
    house.keeper.set("default", versions=2)
    assert house.keeper.apply()["expired"] == []
    house.keeper.set("default", versions=1)
    assert house.keeper.apply()["expired"] == [
        {"document": document, "name": "walrus.md", "workspace": "default", "versions": [1]}
    ]


def test_a_document_that_counts_only_later_loses_nothing(house: House) -> None:
    house.put("walrus.md", EDITIONS[1], at=now_ms() + DAY_MS)
    house.put("walrus.md", EDITIONS[2], at=now_ms() + 2 * DAY_MS)
    house.keeper.set("default", versions=1)
    assert house.keeper.apply()["expired"] == []


def test_bytes_that_a_kept_version_or_another_document_has_too_stay(house: House) -> None:
    filled(house, 2)
    house.put("walrus.md", EDITIONS[1])
    house.put("copy.md", EDITIONS[2])
    house.keeper.set("default", versions=1)
    house.keeper.apply()
    assert states(house) == ["live", "expired", "expired"]
    assert house.library.text("walrus.md")["text"] == EDITIONS[1]
    assert house.library.text("copy.md")["text"] == EDITIONS[2]


def test_cached_vectors_go_with_the_last_chunk_of_their_text(house: House) -> None:
    filled(house, 2)
    with house.db.write() as session:
        digests = set(session.scalars(select(Chunk.digest)))
        known = set(session.scalars(select(Embedding.digest)))
        vector = np.zeros(1, np.float32).tobytes()
        session.add_all(Embedding(digest=d, embedder="words:64", vector=vector) for d in digests - known)
    house.keeper.set("default", versions=1)
    assert house.keeper.apply()["cache_entries"] >= 1
    with house.db.read() as session:
        assert set(session.scalars(select(Embedding.digest))) == set(session.scalars(select(Chunk.digest)))
        assert len(digests) == 3


def test_examples_that_stood_on_an_expired_version_alone_go_with_it(house: House) -> None:
    document = filled(house, 1)
    for question, quote in (("What of food?", FOOD), ("What of colour?", "colour 111")):
        row = json.dumps({"question": question, "answer": quote, "document": "walrus.md", "quote": quote})
        assert house.memory.import_rows(row, "default")["imported"] == 1
    house.put("walrus.md", EDITIONS[2])
    assert {e["question"]: e["status"] for e in house.memory.listing()} == {
        "What of food?": "approved",
        "What of colour?": "retired",
    }
    house.keeper.set("default", versions=1)
    assert house.keeper.apply()["examples"] == 1
    assert {e["question"]: e["status"] for e in house.memory.listing()} == {
        "What of food?": "approved",
        "[deleted]": "retired",
    }
    assert b"colour 111" not in everything(house)
    with house.db.read() as session:
        assert list(session.scalars(select(Ground.document))) == [document]


def test_the_next_edit_and_a_delete_follow_an_expiry_as_if_it_had_not_been(house: House) -> None:
    document = filled(house, 3)
    house.keeper.set("default", versions=1)
    house.keeper.apply()
    row = house.put("walrus.md", EDITIONS[4])
    assert (row["version"], row["chunks_new"], row["chunks_kept"]) == (4, 1, 1)
    receipt = house.delete.delete(document)
    assert (receipt["remaining"], receipt["blobs"]) == (0, 2)
    assert house.counts()["points"] == house.counts()["blobs"] == 0


def test_beat_applies_the_rules_once_an_hour(house: House) -> None:
    filled(house, 2)
    assert house.keeper.tick() == 0
    house.keeper.set("default", versions=1)
    assert house.keeper.tick() == 1
    house.put("walrus.md", EDITIONS[3])
    assert house.keeper.tick() == 0  # not yet again
    assert house.keeper.apply()["expired"][0]["versions"] == [2]


# --- dying ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def children() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.dying", "alembic.command", "alembic.autogenerate", "alembic.ddl.sqlite"])
    return context


@pytest.fixture
def die(children: Any, quick_folder: Path) -> Callable[[End], Path]:
    def run(end: End) -> Path:
        folder = quick_folder / "grave"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        child = children.Process(target=expire_and_die, args=(folder, end))
        child.start()
        child.join(120)
        assert child.exitcode == -signal.SIGKILL
        child.close()
        return folder

    return run


def assert_expired_whole_or_not_at_all(folder: Path) -> str:
    """After a start the newest version is what it was, and the first is whole or a tombstone; its state."""
    with House(folder / "home") as house:
        house.recover()
        first = house.library.history(NAME)[-1]["state"]
        document = house.library.find(NAME).id
        assert shown(house, document) == {2: list(SECTIONS_2.values())}
        with house.db.read() as session:
            chunks = set(session.scalars(select(Chunk.point)))
            assert chunks == set(session.scalars(select(Position.point)))
            examples = set(session.scalars(select(Example.point).where(Example.question != "[deleted]")))
            kept = [v for v in session.scalars(select(Version)) if v.state != "expired"]
            assert {v.text_key for v in session.scalars(select(Version)) if v.state == "expired"} <= {""}
        assert {str(p.id) for p in house.index.scroll(None)} == chunks | examples
        assert set(house.blobs.keys()) == {key for v in kept for key in (v.sha256, v.text_key)}
        if first == "expired":
            assert b"skin is grey" not in everything(house)
            assert shown(house, document, When(epoch=1, at=now_ms())) == {}
            with pytest.raises(NotFound):
                house.library.text(document, 1)
        else:
            assert house.library.text(document, 1)["text"] == TEXTS[1]
        house.keeper.set("default", versions=1)
        house.keeper.apply()
        assert states(house, NAME) == ["live", "expired"]
        assert b"skin is grey" not in everything(house)
        assert house.search.search(SECTIONS_2["Age"], 1).passages[0].text == SECTIONS_2["Age"]
        return str(first)


@pytest.mark.parametrize("step", ["marked", "followed", "moved", "deleted", "recorded"])
def test_an_expiry_that_dies_is_finished_at_the_next_start(die: Callable[[End], Path], step: str) -> None:
    assert assert_expired_whole_or_not_at_all(die(End(step=step))) == "expired"


def test_an_expiry_that_dies_before_any_of_its_writes_is_whole_or_has_not_been(die: Callable[[End], Path]) -> None:
    outcomes = []
    for write in range(1, 40):
        folder = die(End(write=write))
        if (folder / "survived").exists():
            break
        outcomes.append(assert_expired_whole_or_not_at_all(folder))
    assert set(outcomes) == {"superseded", "expired"}
    assert outcomes == sorted(outcomes, reverse=True)  # first it has not been, then it has
    assert len(outcomes) >= 5


def test_the_same_holds_on_postgresql(quick_folder: Path, fresh_postgres: Callable[[], str]) -> None:
    with House(quick_folder / "home", database_url=fresh_postgres()) as house:
        document = filled(house)
        house.put("copy.md", EDITIONS[4])
        row = json.dumps({"question": "What of food?", "answer": FOOD, "document": "walrus.md", "quote": FOOD})
        assert house.memory.import_rows(row, "default")["imported"] == 1
        house.keeper.set("default", versions=2)
        assert house.keeper.tick() == 2
        assert states(house) == ["live", "superseded", "expired", "expired"]
        assert shown(house, document, When(epoch=3, at=now_ms())) == {3: [FOOD, EDITION_3]}
        assert [row["what"] for row in house.library.changes(0)][-2:] == ["expired", "expired"]
        assert house.near.duplicates("default")[0]["kind"] == "same bytes"
        receipt = house.delete.delete(document)
        assert (receipt["remaining"], receipt["sketches"]) == (0, 1)
        assert house.counts()["points"] == 2
