"""Changing what the index is made of while it serves: another embedder, the same points made anew, other chunks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import models

from kernel.errors import Conflict, IndexMismatch, TryAgain
from kernel.index import replace
from kernel.index.schema import DENSE
from kernel.jobs import Cancelled
from kernel.settings import load
from kernel.tables import Fact
from kernel.types import silent
from retrieval.live import RETRIEVER, LiveRetriever, point
from tests.house import incoming, page
from tests.switching import (
    LARGE,
    NEWT,
    OTTER_1,
    SMALL,
    LetterEmbedder,
    WordEmbedder,
    answers,
    assert_whole,
    cancelled,
    furnish,
    opened,
    stand_ins,
)
from ui.platform import Platform
from ui.transfer import restore

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _stand_ins() -> Iterator[None]:
    with stand_ins():
        yield


class At:
    """Does something at a step, once."""

    def __init__(self) -> None:
        self.deeds: dict[str, Callable[[], object]] = {}
        self.passed: list[str] = []

    def __call__(self, name: str) -> None:
        self.passed.append(name)
        if name in self.deeds:
            self.deeds.pop(name)()


def in_thread(deed: Callable[[], object]) -> None:
    """Run to its end in another thread: the one that asks may hold an index."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            deed()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


# --- another embedder ---------------------------------------------------------------------------------


def test_row_18_the_embedder_is_switched_while_readers_read_and_publishers_publish(quick_folder: Path) -> None:
    at = At()
    with opened(quick_folder / "home", step=at) as platform:
        known = furnish(platform)
        before = platform.embedder()
        assert (before["name"], before["dimension"], before["collection"]) == (SMALL, 64, "index")
        over, asked, wrong = threading.Event(), [0], []

        def read() -> None:
            while not over.is_set():
                found = answers(platform, "The otter eats crabs.")
                asked[0] += 1
                if not found or found[0] != "The otter eats crabs.":
                    wrong.append(found)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            # While it is filled: a new document, a new version, a delete. All of them before what came is made good.
            at.deeds["filled"] = lambda: in_thread(
                lambda: (
                    platform.w.ingest.add([incoming("newt.md", NEWT)]),
                    platform.w.ingest.add([incoming("otter.md", OTTER_1)]),
                    platform.delete(known["toad"]),
                )
            )
            seen = asked[0]
            done = platform.switch_embedder(LARGE)
        finally:
            while asked[0] <= seen + 2:
                pass
            over.set()
            for reader in readers:
                reader.join()
        assert not wrong
        assert (done["name"], done["already"], done["dimension"]) == (LARGE, False, 96)
        assert done["collection"] != before["collection"]
        assert at.passed.index("filled") < at.passed.index("reconciled") < at.passed.index("switched")
        assert_whole(platform)
        assert answers(platform, "lost tail")[0] == "The newt regrows a lost tail."
        assert "The otter sleeps in kelp." in answers(platform, "Where does the otter sleep?")
        assert "The otter sleeps in kelp." in answers(platform, "Where does it sleep?", epoch=known["first"])
        assert not any("toad" in text for text in answers(platform, "The toad trills in spring."))
        assert platform.status()["embedder"] == LARGE
        assert platform.switch_embedder(LARGE)["already"]
    with opened(quick_folder / "home") as platform:  # and so it is after a start
        assert platform.embedder()["name"] == LARGE
        assert_whole(platform)
        assert answers(platform, "lost tail")[0] == "The newt regrows a lost tail."


def test_a_publish_that_is_under_way_when_the_embedder_is_switched_starts_over(quick_folder: Path) -> None:
    at = At()
    with opened(quick_folder / "home", step=at) as platform:
        furnish(platform)
        rewired = threading.Event()
        switching = threading.Thread(target=lambda: platform.switch_embedder(LARGE))

        def switch() -> None:
            at.deeds["rewired"] = rewired.set
            switching.start()
            assert rewired.wait(60)

        at.deeds["inserted"] = switch  # its points are in the old index only, and the old index is left
        rows = platform.w.ingest.add([incoming("newt.md", NEWT)])["documents"]
        switching.join(60)
        assert rows[0]["status"] == "published"
        assert_whole(platform)
        assert answers(platform, "lost tail")[0] == "The newt regrows a lost tail."


def test_examples_that_are_under_way_when_the_embedder_is_switched_start_over(quick_folder: Path) -> None:
    at = At()
    with opened(quick_folder / "home", step=at) as platform:
        furnish(platform)
        rewired = threading.Event()
        switching = threading.Thread(target=lambda: platform.switch_embedder(LARGE))

        def switch() -> None:
            at.deeds["rewired"] = rewired.set
            switching.start()
            assert rewired.wait(60)

        at.deeds["inserted"] = switch
        row = json.dumps({"question": "Where do herons nest?", "answer": "In trees.", "standalone": True})
        assert platform.import_examples(row)["imported"] == 1
        switching.join(60)
        assert_whole(platform)


def test_what_is_deleted_between_the_last_look_and_the_switch_is_not_in_the_new_index(quick_folder: Path) -> None:
    at = At()
    with opened(quick_folder / "home", step=at) as platform:
        known = furnish(platform)
        points = platform.w.index.count()
        at.deeds["reconciled"] = lambda: in_thread(lambda: platform.w.memory.withdraw(known["ex"][:1], "withdrawn"))
        platform.switch_embedder(LARGE)
        assert_whole(platform)
        assert platform.w.index.count() == points - 1


def test_what_is_retired_between_the_last_look_and_the_switch_waits_for_that_alone_and_is_retired_after_it(
    quick_folder: Path,
) -> None:
    at = At()
    with opened(quick_folder / "home", step=at) as platform:
        (retired, *_) = furnish(platform)["ex"]
        retiring = threading.Thread(target=lambda: platform.retire_example(retired))
        at.deeds["reconciled"] = retiring.start  # a flip: it has the lock as soon as the switch lets go of it
        platform.switch_embedder(LARGE)
        retiring.join(60)
        assert platform.w.memory.status(retired) == "retired"
        assert_whole(platform)


def test_a_delete_by_who_still_holds_the_old_index_reaches_the_new_one(quick_folder: Path) -> None:
    with opened(quick_folder / "home") as platform:
        furnish(platform)
        w = platform.w
        victim = next(iter(w.index.scroll(None)))
        with w.epochs.one_index() as held:
            switching = threading.Thread(target=lambda: platform.switch_embedder(LARGE))
            switching.start()
            while not held.moved:
                pass
            assert w.index.retrieve([str(victim.id)], with_vectors=True)  # still the old one, open and whole
            assert w.embedder.dimension == 64
            w.index.delete([str(victim.id)])
        switching.join(60)
        assert w.embedder.dimension == 96
        assert not w.index.retrieve([str(victim.id)])


def test_a_switch_that_is_cancelled_leaves_nothing(quick_folder: Path) -> None:
    with opened(quick_folder / "home") as platform:
        furnish(platform)
        with pytest.raises(Cancelled):
            platform.switch_embedder(LARGE, cancelled)
        assert platform.embedder()["switching_to"] is None
        assert_whole(platform)
        assert answers(platform, "The otter eats crabs.")[0] == "The otter eats crabs."
        job = platform.enqueue_switch(LARGE)
        with pytest.raises(Conflict):
            platform.enqueue_switch(SMALL)
        assert platform.enqueue_switch(LARGE)["job"] == job["job"]
        assert platform.cancel_switch()["cancelled"] == [job["job"]]
        assert platform.cancel_switch() == {"cancelled": [], "switching_to": None}


def test_a_switch_that_was_interrupted_goes_on_where_it_was(
    quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replace, "_BATCH", 2)
    at = At()
    with opened(quick_folder / "home", step=at) as platform:
        furnish(platform)

        def fail() -> None:
            raise OSError("the disk went away")

        at.deeds["filled"] = fail
        job = platform.enqueue_switch(LARGE)["job"]
        platform.w.ledger.run(job)
        assert platform.job(job)["state"] == "failed"
        half = platform.w.replacer.filling()
        assert platform.embedder()["switching_to"] == LARGE
        assert_whole(platform)
        pages = at.passed.count("page")
        assert pages > 2
        platform.retry_job(job)
        platform.w.ledger.run(job)
        assert platform.job(job)["result"]["collection"] == half["collection"]  # type: ignore[index]
        assert at.passed.count("page") == pages  # nothing was embedded twice
        assert_whole(platform)


def test_a_setting_that_names_another_embedder_is_told_and_not_obeyed(
    quick_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(quick_folder / "home") as platform:
        furnish(platform)
        platform.switch_embedder(LARGE)
    with opened(quick_folder / "home") as platform:  # nothing is set: nothing to tell
        assert platform.embedder()["advice"] is None
    assert not caplog.records
    with opened(quick_folder / "home", embedder=SMALL) as platform:
        assert platform.embedder()["name"] == LARGE
        assert "reprise embedder switch words" in platform.embedder()["advice"]
        check = next(c for c in platform.doctor()["checks"] if c["name"] == "embedder")
        assert not check["ok"]
        assert "reprise embedder switch words" in check["hint"]
    assert "reprise embedder switch words" in caplog.text


def test_the_same_name_with_other_weights_is_an_error(quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(quick_folder / "home") as platform:
        platform.switch_embedder(LARGE)
    monkeypatch.setattr(LetterEmbedder, "fingerprint", "letters:fedcba9876543210:96:normalized")
    with pytest.raises(IndexMismatch), opened(quick_folder / "home"):
        pass


def test_a_home_of_release_0_1_goes_on_with_its_embedder(quick_folder: Path) -> None:
    with opened(quick_folder / "home") as platform:
        furnish(platform)
        with platform.w.db.write() as session:
            session.merge(Fact(key="embedder", value={"fingerprint": WordEmbedder.fingerprint}))
    with opened(quick_folder / "home", embedder=SMALL) as platform:
        assert platform.embedder()["collection"] == "index"
        assert_whole(platform)
        platform.switch_embedder(LARGE)
        assert_whole(platform)


def test_an_adapter_of_another_embedder_waits_and_the_base_serves(tmp_path: Path) -> None:
    bases = {}
    for name in ("one", "two"):
        bases[name] = tmp_path / name
        bases[name].mkdir()
        (bases[name] / "model.safetensors").write_bytes(name.encode())
    from retrieval.encoder import weights_sha256

    with opened(tmp_path / "home") as platform:
        adapter = platform.w.home / "runs" / "adapter"
        adapter.mkdir(parents=True)
        (adapter / "manifest.json").write_text(json.dumps({"base": {"sha256": weights_sha256(bases["one"])}}))
        with platform.w.db.write() as session:
            point(session, RETRIEVER, ("lora-1", "runs/adapter"), None)
        model = WordEmbedder()
        live = LiveRetriever(platform.w.db, model, platform.w.home)
        model.path = str(bases["two"])
        vectors, adapter_name = live.encode(["a question"])
        assert adapter_name is None
        assert (vectors == model.embed_queries(["a question"])).all()
        assert live.trouble is not None
        assert "another embedder" in live.trouble
        assert live.fitting() is None
        live.warm()
        assert "another embedder" in str(live.trouble)
        model.path = str(bases["one"])  # what it was trained on serves again
        assert live.fitting() == live.champion() == "lora-1"


def test_a_backup_made_after_a_switch_restores_what_serves(quick_folder: Path) -> None:
    with opened(quick_folder / "home") as platform:
        furnish(platform)
        platform.switch_embedder(LARGE)
        platform.backup(str(quick_folder / "backup"))
        found = answers(platform, "Where does the otter sleep?")
    restore(load(home=quick_folder / "other"), quick_folder / "backup")
    with opened(quick_folder / "other") as platform:
        assert (platform.embedder()["name"], platform.embedder()["collection"]) == (LARGE, "index")
        assert_whole(platform)
        assert answers(platform, "Where does the otter sleep?") == found
        platform.switch_embedder(SMALL)
        assert_whole(platform)


# --- the same points, made anew ------------------------------------------------------------------------


def nearest(platform: Platform, questions: list[str]) -> list[float]:
    """How near the passages next to each question are, by vectors alone: a fused score depends on which equals come."""
    vectors = platform.w.embedder.embed_queries(questions)
    requests = [models.QueryRequest(query=v.tolist(), using=DENSE, limit=10) for v in vectors]
    return [hit.score for hits in platform.w.index.query(requests) for hit in hits]


def test_maintenance_freezes_nobody_and_changes_no_answer(quick_folder: Path) -> None:
    """Edge's `optimize` would hold every thread of this process for its whole run."""
    at = At()
    with opened(quick_folder / "home", step=at) as platform:
        known = furnish(platform)
        for n in range(4):
            parts = {f"Part {i}": f"Sentence number{600 * n + i} on the subject of {i * 31 % 97}." for i in range(600)}
            platform.w.ingest.add([incoming(f"long-{n}.md", page(f"Long {n}", parts))])
        platform.delete(known["toad"])
        questions = [f"sentence number{i * 7}" for i in range(20)]  # each has one answer: of equals any may come first
        before = [platform.search(q, 10)["hits"] for q in questions]
        near = nearest(platform, questions)
        ticks, during, over = [0], [0, 0], threading.Event()

        def beat() -> None:
            while not over.wait(0.002):
                platform.search(questions[ticks[0] % len(questions)], 5)
                ticks[0] += 1

        at.deeds["filled"] = lambda: during.__setitem__(0, ticks[0])
        at.deeds["optimized"] = lambda: during.__setitem__(1, ticks[0])
        heart = threading.Thread(target=beat)
        heart.start()
        try:
            done = platform.maintain()
        finally:
            over.set()
            heart.join()
        assert during[1] > during[0]  # it went on beating, and readers reading, while the index was optimized
        assert (done["why"], done["name"], done["dimension"]) == ("maintain", SMALL, 64)
        assert_whole(platform)
        after = [platform.search(q, 10)["hits"] for q in questions]
        assert [a[0]["chunk"] for a in after] == [b[0]["chunk"] for b in before]
        assert nearest(platform, questions) == pytest.approx(near, abs=1e-3)
        assert all(f"number{n * 7} " in hits[0]["text"] for n, hits in enumerate(after))


def test_beat_maintains_an_index_that_has_grown(quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.operations.index.OPTIMIZE_FROM", 5)
    with opened(quick_folder / "home") as platform:
        furnish(platform)
        job = platform.tick()["maintain"]
        assert "maintain" not in platform.tick()
        platform.w.ledger.run(job)
        assert platform.job(job)["state"] == "done"
        platform._looked = float("-inf")
        assert "maintain" not in platform.tick()
        assert_whole(platform)


def test_two_replacements_at_a_time_are_one_too_many(quick_folder: Path) -> None:
    at = At()
    with opened(quick_folder / "home", step=at) as platform:
        furnish(platform)

        def other() -> None:
            with pytest.raises(TryAgain):
                platform.w.replacer.run("maintain", platform.w.serving.current.embedder, silent)

        at.deeds["filled"] = other
        platform.switch_embedder(LARGE)
        assert at.passed.count("begun") == 1


# --- other chunks ---------------------------------------------------------------------------------------


def long_page(words: int = 150) -> str:
    return page("Long", {"All": " ".join(f"Sentence number {i} is here." for i in range(words // 5))})


def test_documents_that_were_cut_otherwise_are_published_again(quick_folder: Path) -> None:
    with opened(quick_folder / "home") as platform:
        platform.w.ingest.add([incoming("long.md", long_page()), incoming("newt.md", NEWT)])
        old = platform.search("Sentence number 3 is here.", 1)["hits"][0]
        assert platform.rechunk() == {"due": 0, "published": 0, "passed": 0, "failed": []}
    with opened(quick_folder / "home", chunk_tokens=40) as platform:
        job = platform.tick()["rechunk"]
        platform.w.ledger.run(job)
        assert platform.job(job)["result"] == {"due": 2, "published": 2, "passed": 0, "failed": []}
        assert [v["version"] for v in platform.history("newt.md")] == [1]  # cut again it is the same
        with platform.w.db.read() as session:
            from ingest.tables import Version

            causes = [v.cause for v in session.query(Version).filter_by(document=old["document"]).order_by("number")]
        assert causes == ["ingest", "rechunk"]
        new = platform.search("Sentence number 3 is here.", 1)["hits"][0]
        assert new["version"] == 2
        assert len(new["text"]) < len(old["text"])
        assert platform.text("long.md", 1)["text"][old["start"] : old["end"]] == old["text"]
        assert platform.search("Sentence number 3 is here.", 1, epoch=1)["hits"][0]["text"] == old["text"]
        assert platform.rechunk()["due"] == 0
        assert_whole(platform)


def test_an_edit_or_a_delete_meanwhile_wins_over_rechunking(quick_folder: Path) -> None:
    with opened(quick_folder / "home") as platform:
        platform.w.ingest.add([incoming("long.md", long_page()), incoming("gone.md", long_page(200))])
    with opened(quick_folder / "home", chunk_tokens=40) as platform:
        rechunker, w = platform.w.rechunker, platform.w
        due = rechunker.due()
        assert len(due) == 2
        document, version, content = w.library.original("long.md")
        gone = w.library.original("gone.md")
        w.ingest.add([incoming("long.md", long_page(100))])
        platform.delete("gone.md")
        assert w.ingest.again(document, version, content, "rechunk")["status"] == "unchanged"
        assert w.ingest.again(*gone, "rechunk")["status"] == "refused"
        assert [v["version"] for v in platform.history("long.md")] == [2, 1]
        assert rechunker.run() == {"due": 0, "published": 0, "passed": 0, "failed": []}


def test_a_document_dated_in_the_future_is_cut_again_after_that_date(quick_folder: Path) -> None:
    ahead = 4_000_000_000_000
    with opened(quick_folder / "home") as platform:
        platform.w.ingest.add([incoming("long.md", long_page(), at=ahead)])
    with opened(quick_folder / "home", chunk_tokens=40) as platform:
        assert platform.rechunk()["published"] == 1
        dates = {v["version"]: v["at"] for v in platform.history("long.md")}
        assert dates[2] > dates[1]


def test_a_document_that_cannot_be_cut_again_keeps_its_version(
    quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(quick_folder / "home") as platform:
        platform.w.ingest.add([incoming("long.md", long_page()), incoming("other.md", long_page(200))])
    monkeypatch.setattr("ingest.layout.PARSER", "next")
    with opened(quick_folder / "home", chunk_tokens=40) as platform:
        again = platform.w.ingest.again

        def refuse(document: Any, *given: Any) -> dict[str, Any]:
            if document.name == "long.md":
                return {"status": "refused", "name": "long.md", "error": {"message": "no", "hint": "no"}}
            return again(document, *given)

        monkeypatch.setattr(platform.w.ingest, "again", refuse)
        done = platform.rechunk()
        assert (done["due"], done["published"], len(done["failed"])) == (2, 1, 1)
        assert_whole(platform)
