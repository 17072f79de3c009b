"""What a person said of an answer holds words of all that the answer cited: a delete finds them, and a new version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.ground import made_of
from rehearsal.tables import Example, Ground, Mention
from tests.doors import doors, memory_folder, opened
from tests.house import incoming
from ui.platform import Platform

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
COMPLAINT = "The refund period is thirty days, said Mr Hopkins of Zanzibar Street."
TERMS = "The refund period for all goods is fourteen days from delivery."
BADGES = "Visitors wear a yellow badge in the building."
PARKING = "Visitors park on the second deck of the garage."


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with doors(), memory_folder(tmp_path) as folder, opened(folder / "home") as platform:
        yield platform


def ingested(platform: Platform, **texts: str) -> dict[str, str]:
    platform.ingest([incoming(f"{name}.md", text) for name, text in texts.items()])
    return {d["name"].removesuffix(".md"): d["document"] for d in platform.documents()}


def asked(platform: Platform, question: str, *documents: str) -> dict[str, Any]:
    turn = platform.ask(question, generator="extractive")
    assert {c["document"] for c in turn["citations"]} == set(documents), turn["citations"]
    return turn


def exported(platform: Platform) -> str:
    return "".join(platform.export_examples())


def corrected(platform: Platform) -> tuple[dict[str, str], str]:
    """A correction of what the complaint said, by what the terms say; the documents, and the example."""
    of = ingested(platform, complaint=COMPLAINT)
    turn = asked(platform, "How long is the refund period?", of["complaint"])
    of = ingested(platform, terms=TERMS)
    told = platform.feedback(turn["turn"], "down", correction=TERMS)
    assert told["status"] == "approved", told
    assert "Zanzibar" in exported(platform)
    return of, told["example"]


def test_a_delete_takes_the_answer_that_was_shown_and_leaves_the_correction_of_it(platform: Platform) -> None:
    of, example = corrected(platform)
    with platform.w.db.read() as session:
        assert made_of(session, [of["complaint"]]) == {example}
    edited = platform.edit_example(example, {"question": "How long is the refund period for goods?"})["example"]
    receipt = platform.delete("complaint.md")
    assert receipt["remaining"] == 0
    assert "Zanzibar" not in exported(platform)
    kept = next(e for e in platform.examples("approved") if e["example"] == edited)
    assert kept["answer"] == TERMS
    with platform.w.db.read() as session:
        assert {session.get_one(Example, one).rejected for one in (example, edited)} == {None}
        assert session.query(Mention).count() == 0
    assert platform.example_history(edited)[-1]["what"] == "edited"
    database = platform.w.home / "reprise.db"
    platform.w.db.erase_traces()
    assert b"Zanzibar" not in database.read_bytes()


def test_praise_goes_with_any_of_the_documents_that_were_cited(platform: Platform) -> None:
    of = ingested(platform, badges=BADGES, parking=PARKING)
    turn = asked(platform, "What do visitors wear and where do visitors park?", of["badges"], of["parking"])
    example = platform.feedback(turn["turn"], "up")["example"]
    with platform.w.db.read() as session:
        assert {g.document for g in session.query(Ground).filter_by(example=example)} == set(of.values())
    platform.ingest([incoming("parking.md", "Visitors park on the third deck of the garage.")])
    assert example not in {e["example"] for e in platform.examples("approved")}, "half of the answer is not so any more"
    assert platform.delete("parking.md")["examples"] == 1
    assert "second deck" not in json.dumps(platform.examples())


@pytest.mark.parametrize("to", ["nothing", "another document"])
def test_an_edit_does_not_hide_words_from_the_delete_of_their_document(platform: Platform, to: str) -> None:
    of = ingested(platform, complaint=COMPLAINT, terms=TERMS)
    row = {"question": "How long is the refund period?", "document": "complaint.md", "quote": COMPLAINT}
    platform.import_examples(json.dumps(row | {"answer": COMPLAINT}))
    (first,) = (e["example"] for e in platform.examples())
    ground = {"standalone": True} if to == "nothing" else {"document": "terms.md", "quote": TERMS}
    second = platform.edit_example(first, ground)["example"]
    third = platform.edit_example(second, {"question": "How long is the refund period for goods?"})["example"]
    new = platform.edit_example(third, {"question": "And how long for gifts?", "answer": TERMS})["example"]
    with platform.w.db.read() as session:
        assert made_of(session, [of["complaint"]]) == {first, second, third, new}
    assert platform.delete("complaint.md")["remaining"] == 0
    assert "Zanzibar" not in json.dumps(platform.examples())
    platform.w.db.erase_traces()
    assert b"Zanzibar" not in (platform.w.home / "reprise.db").read_bytes()


def test_what_is_edited_in_all_its_words_stays_when_the_document_of_before_goes(platform: Platform) -> None:
    ingested(platform, complaint=COMPLAINT, terms=TERMS)
    row = {"question": "How long is the refund period?", "document": "complaint.md", "quote": COMPLAINT}
    platform.import_examples(json.dumps(row | {"answer": COMPLAINT}))
    (first,) = (e["example"] for e in platform.examples())
    changes = {"question": "Until when are goods taken back?", "answer": TERMS, "document": "terms.md", "quote": TERMS}
    edited = platform.edit_example(first, changes)["example"]
    assert platform.delete("complaint.md")["examples"] == 1
    assert {e["example"]: e["status"] for e in platform.examples()}[edited] == "approved"


LONG = "Parking is for visitors. " + "The garage has many levels and a long ramp that leads to each of them. " * 40


def test_a_passage_that_expires_takes_its_words_out_of_what_stands_on_another_of_its_document(
    platform: Platform,
) -> None:
    """Citations and grounds are of chunks, and one chunk of a document may expire before the others."""
    of = ingested(platform, badges=f"# Badges\n\n{BADGES}\n\n# Parking\n\n{LONG}\n\n# Decks\n\n{PARKING}")
    worn = asked(platform, "What do visitors wear in the building?", of["badges"])
    corrected = platform.feedback(worn["turn"], "down", correction=PARKING)
    assert corrected["status"] == "approved"
    both = asked(platform, "What do visitors wear in the building and on which deck do they park?", of["badges"])
    praised = platform.feedback(both["turn"], "up")["example"]
    with platform.w.db.read() as session:
        chunk = {g.point for g in session.query(Ground).filter(Ground.quote.contains("yellow badge"))}
        assert len({g.point for g in session.query(Ground).filter_by(example=praised)}) > 1
        assert "yellow badge" in str(session.get_one(Example, corrected["example"]).rejected)
    platform.retire_examples([praised], "as if a new version had")
    platform.w.memory.expire(of["badges"], sorted(chunk))
    with platform.w.db.read() as session:
        assert session.get_one(Example, corrected["example"]).rejected is None
        assert session.get_one(Example, corrected["example"]).answer == PARKING
    assert "yellow badge" not in json.dumps(platform.examples())
