"""What people complain of most where documents change, as promises; each test carries the number of its complaint.

3: old chunks survive an update. 4: a delete leaves vectors and files behind. 6: no version control: nothing to compare,
no way back, citations that cannot be reproduced.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune.runs import RUNS
from ingest.tables import Embedding, Sketch, Watch, WatchItem
from kernel.ids import iso, now_ms
from kernel.settings import load
from rehearsal.tables import MixRow
from retrieval.search import Scope
from tests.doors import doors, opened
from tests.house import House, incoming, page
from ui.platform import Platform
from ui.transfer import restore as restore_backup

pytestmark = pytest.mark.integration

DAY = 86_400_000
SECRET = "The lighthouse keeper's marmalade is stored behind the seventh barrel."
NAME = "lighthouse rules.md"


@pytest.fixture(scope="module", autouse=True)
def _doors() -> Iterator[None]:
    with doors():
        yield


@pytest.fixture
def platform(quick_folder: Path) -> Iterator[Platform]:
    with opened(quick_folder / "home") as platform:
        yield platform


def rules(number: int) -> str:
    return page(
        "House rules",
        {
            "Costs": f"Costs above {number * 10} euros need a receipt from the supplier.",
            "Doors": "The front door is locked at ten in the evening.",
            f"Chapter {number}": f"This chapter was written for edition {number} and stands in no other.",
        },
    )


def test_row_03_stale_chunks_after_an_update_are_never_found_by_a_plain_question(quick_folder: Path) -> None:
    with House(quick_folder / "home") as house:
        for number in range(1, 9):
            document = house.put("rules.md", rules(number))["document"]
            for old in range(1, number):
                question = f"Chapter {old}: this chapter was written for edition {old}; costs above {old * 10} euros"
                found = house.search.search(question, 50, Scope(workspace="default")).passages
                assert {p.version for p in found} == {number}
                assert all(p.text in rules(number) for p in found)
        assert len(found) == 3
        house.ingest.again(*house.library.original(document, 2), "restore")
        found = house.search.search("Chapter 8: this chapter was written for edition 8", 50, Scope()).passages
        assert {p.text for p in found} == {p.text for places in house.shown(document).values() for p in places}
        assert not any("edition 8" in p.text for p in found)


def test_row_04_a_delete_leaves_nothing_on_disk(platform: Platform) -> None:
    """Vectors, texts, files, caches, sketches, examples, quotes, corrections, and training rows not yet used."""
    w = platform.w
    text = page("Lighthouse", {"Store": SECRET, "Lamp": "The lamp is lit at dusk."})
    (row,) = platform.ingest([incoming(NAME, text)])["documents"]
    platform.ingest([incoming(NAME, text.replace("dusk", "sunset"))])
    (other,) = platform.ingest([incoming("harbour.md", page("Harbour", {"Piers": "Pier two is for ferries."}))])[
        "documents"
    ]
    document = row["document"]
    answer = platform.ask("Where is the lighthouse keeper's marmalade stored?")
    assert "seventh barrel" in answer["answer"]
    platform.feedback(answer["turn"], "down", SECRET)
    line = {"question": "Where is the marmalade?", "answer": SECRET, "document": NAME, "quote": SECRET}
    assert platform.import_examples(json.dumps(line))["imported"] == 1
    platform.duplicates()
    example = next(e["example"] for e in platform.examples() if e["question"] == "Where is the marmalade?")
    run = w.home / RUNS / "run-waiting"
    run.mkdir(parents=True)
    (run / "train.jsonl").write_text(json.dumps({"example": example, "question": SECRET}) + "\n")
    with w.db.write() as session:
        session.add(MixRow(run=run.name, example=example, part="new"))
        session.add(
            Watch(
                id="watch-1",
                kind="folder",
                location="/files",
                workspace="default",
                every_seconds=60,
                paused=0,
                next=now_ms(),
                last=None,
                outcome={},
                created=now_ms(),
            )
        )
        session.flush()
        session.add(
            WatchItem(
                watch="watch-1",
                item="rules",
                document=document,
                sha256="0" * 64,
                size=1,
                modified=None,
                etag=None,
                seen=now_ms(),
                error=None,
            )
        )
    vectors = _rows(platform, Embedding)
    assert (vectors, _rows(platform, Sketch)) == (4, 2)
    assert b"marmalade" in _everything(w.home)

    receipt = platform.delete(NAME)
    assert receipt["remaining"] == 0
    assert (receipt["points"], receipt["blobs"], receipt["sketches"], receipt["watch_items"]) == (3, 2, 1, 1)
    assert receipt["cache_entries"] >= 3
    assert receipt["examples"] == 2
    assert (receipt["turns_redacted"], receipt["training_rows_redacted"]) == (1, 1)
    left = _everything(w.home)
    for words in (SECRET, "seventh barrel", "lamp is lit", NAME, "lighthouse rules"):
        assert words.encode() not in left, words
    assert (_rows(platform, Embedding), _rows(platform, Sketch)) == (1, 1)
    with w.db.read() as session:
        item = session.get_one(WatchItem, ("watch-1", "rules"))
        assert (item.document, item.sha256) == (None, "0" * 64)
    assert {str(p.id) for p in w.index.scroll(None)} == {
        hit["chunk"] for hit in platform.search("ferries", 5)["hits"] if hit["document"] == other["document"]
    }


def test_row_06_compare_roll_back_and_citations_that_can_be_reproduced(platform: Platform, quick_folder: Path) -> None:
    start = now_ms() - 30 * DAY
    texts = {n: rules(n) for n in (4, 5)}
    platform.ingest([incoming("rules.md", texts[4], at=start)])
    asked = platform.ask("From what amount do costs need a receipt?")
    (cited,) = asked["citations"][:1]
    assert "40 euros" in cited["quote"]
    platform.ingest([incoming("rules.md", texts[5], at=start + DAY)])

    def citation_opens_what_it_cited(at: Platform) -> None:
        opened_text = at.text(cited["document"], cited["version"])["text"]
        assert opened_text[cited["start"] : cited["end"]] == cited["quote"]

    # Compare: the word that changed is told, in the sentence it stands in.
    changed = platform.diff("rules.md", 1, 2)["changed"]
    (costs,) = [pair for pair in changed if "Costs above" in pair["before"]]
    assert [words for words in costs["words"] if words[0] != "="] == [["-", "40"], ["+", "50"]]
    citation_opens_what_it_cited(platform)

    # Roll back: the old text counts again, and nothing of the record is lost.
    assert platform.restore("rules.md", 1)["version"] == 3
    assert platform.text("rules.md")["text"] == texts[4]
    assert [v["cause"] for v in platform.history("rules.md")] == ["restore", "ingest", "ingest"]
    assert platform.diff("rules.md", 1, 3) == {"added": [], "removed": [], "changed": []}
    assert platform.ask("From what amount do costs need a receipt?")["citations"][0]["version"] == 3
    citation_opens_what_it_cited(platform)

    # Reproduce: by epoch and by time, the question finds what it found; also from a backup, in another home.
    def reproduced(at: Platform) -> None:
        for scope in ({"epoch": asked["epoch"]}, {"as_of": str(iso(start + 3_600_000))}):
            again = at.ask("From what amount do costs need a receipt?", **scope)
            same = ("chunk", "version", "start", "end", "quote")
            assert [again["citations"][0][name] for name in same] == [cited[name] for name in same]

    reproduced(platform)
    platform.backup(str(quick_folder / "all.backup"))
    home = quick_folder / "other"
    restore_backup(load(home=home, min_free_mb=0), quick_folder / "all.backup")
    with opened(home) as restored:
        citation_opens_what_it_cited(restored)
        reproduced(restored)
        assert restored.history("rules.md") == platform.history("rules.md")
        assert restored.diff("rules.md", 1, 2) == platform.diff("rules.md", 1, 2)


def test_row_06_what_a_rule_no_longer_keeps_says_so_also_from_a_backup(platform: Platform, quick_folder: Path) -> None:
    for number in (1, 2, 3):
        platform.ingest([incoming("rules.md", rules(number))])
    platform.set_retention("default", versions=2)
    assert platform.apply_retention()["expired"][0]["versions"] == [1]
    kept = platform.search("door locked in the evening", 1)["hits"][0]
    platform.backup(str(quick_folder / "all.backup"))
    home = quick_folder / "other"
    restore_backup(load(home=home, min_free_mb=0), quick_folder / "all.backup")
    with opened(home) as restored:
        assert restored.search("door locked in the evening", 1)["hits"][0]["chunk"] == kept["chunk"]
        with pytest.raises(LookupError, match="keep 2 versions"):
            restored.text("rules.md", 1)
        assert restored.history("rules.md") == platform.history("rules.md")


def _rows(platform: Platform, table: type) -> int:
    with platform.w.db.read() as session:
        return session.query(table).count()


def _everything(home: Path) -> bytes:
    """All bytes that a home holds, the index's empty preallocated pages left out."""
    files = [file for file in home.rglob("*") if file.is_file()]
    return b"".join(file.read_bytes() for file in files if file.stat().st_blocks * 512 < 2**26)
