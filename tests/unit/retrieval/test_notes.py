from __future__ import annotations

from collections.abc import Sequence

import pytest

from kernel.embedder import SentenceTransformerEmbedder
from kernel.types import Passage, Sentence
from retrieval.conflict import Conflict, conflicts, disagree
from retrieval.dates import newest
from retrieval.evidence import read
from retrieval.notes import Notes, notes
from retrieval.partial import parts


def passage(name: str, text: str, *, heading: str = "", start: int = 0) -> Passage:
    return Passage(
        chunk=f"{name}/{start}", document=name, name=name, title=name, version=1, start=start, end=start + len(text),
        text=text, heading=heading,
    )  # fmt: skip


def quoting(passages: Sequence[Passage], *texts: str) -> list[Sentence]:
    """Sentences that quote `texts`, each from the first passage that has it."""
    found = []
    for text in texts:
        mark, cited = next((n, p) for n, p in enumerate(passages, 1) if text in p.text)
        start = cited.start + cited.text.index(text)
        found.append(Sentence(text=text, marks=(mark,), quotes=((mark, start, start + len(text)),), support=0.9))
    return found


def conflicts_of(
    question: str,
    passages: Sequence[Passage],
    quoted: str,
    embedder: SentenceTransformerEmbedder,
    dates: Sequence[int | None] | None = None,
) -> tuple[Conflict, ...]:
    return conflicts(question, passages, read(question, passages, embedder), quoting(passages, quoted), dates)


# --- conflicts --------------------------------------------------------------------------------------------------------

OLD = passage("refunds-2021.md", "Refunds are given within 30 days of purchase. Gift cards are never refunded.")
NEW = passage("refunds-2023.md", "Refunds are given within 14 days of purchase. A receipt is needed.")
ASKED = "Within how many days are refunds given?"
THIRTY = "Refunds are given within 30 days of purchase."


def test_two_documents_with_different_numbers_for_one_thing_are_a_conflict(
    embedder: SentenceTransformerEmbedder,
) -> None:
    (found,) = conflicts_of(ASKED, [OLD, NEW], THIRTY, embedder)
    assert (found.marks, found.about, found.values) == ((1, 2), "number", ("30 days", "14 days"))
    for passages, (mark, start, end) in zip((OLD, NEW), found.quotes, strict=True):
        assert mark in found.marks
        assert "days of purchase." in passages.text[start:end]


def test_the_source_with_the_newer_date_in_its_name_is_preferred_and_the_reason_says_so(
    embedder: SentenceTransformerEmbedder,
) -> None:
    # Uploaded in the wrong order: what stands in the names goes first.
    (found,) = conflicts_of(ASKED, [OLD, NEW], THIRTY, embedder, dates=[1_800_000_000_000, 1_600_000_000_000])
    assert found.preferred == 2
    assert "refunds-2023.md (2023) is newer than refunds-2021.md (2021)" in found.reason


def test_undated_names_are_told_apart_by_when_their_versions_count_and_otherwise_nobody_is_preferred(
    embedder: SentenceTransformerEmbedder,
) -> None:
    pair = [passage("handbook.md", OLD.text), passage("intranet.md", NEW.text)]
    (dated,) = conflicts_of(ASKED, pair, THIRTY, embedder, dates=[1_700_000_000_000, 1_600_000_000_000])
    assert dated.preferred == 1
    assert "2023-11-14" in dated.reason
    for same in (None, [None, 5], [1_700_000_000_000, 1_700_000_000_001]):
        (undated,) = conflicts_of(ASKED, pair, THIRTY, embedder, dates=same)
        assert undated.preferred is None
        assert "handbook.md says “30 days”, intranet.md says “14 days”" in undated.reason


def test_differently_worded_sentences_conflict_where_each_gives_one_number_of_the_same_unit(
    embedder: SentenceTransformerEmbedder,
) -> None:
    pair = [
        passage("a.md", "The notice period is 30 days."),
        passage("b.md", "A notice period of 14 days applies to all."),
    ]
    (found,) = conflicts_of("How long is the notice period?", pair, pair[0].text, embedder)
    assert found.about == "number"


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("The Basic plan costs 10 dollars a month.", "The Team plan costs 25 dollars a month.", "number"),
        ("In 2021 the fee was 10 dollars a month.", "In 2022 the fee was 12 dollars a month.", "number"),
        ("The fee is 10 dollars a month.", "The fee is 10 dollars each month, in advance.", "number"),
        ("Alice leads the Berlin office since 2019.", "Bob leads the Paris office since 2019.", "name"),
        ("HEY for Work accounts are owned by the company.", "HEY for Domains accounts are owned by the company.", ""),
        ("Nov 19, 2021", "Nov 18, 2021", "number"),
        ("The office is not allowed to open on Sunday.", "The office is forbidden to open on Sunday.", ""),
        ("Cats sleep most of the day.", "Refunds take 14 days.", "number"),
    ],
)
def test_sentences_about_different_things_or_periods_do_not_conflict(one: str, other: str, kind: str) -> None:
    assert disagree(one, other, kind, frozenset({"team", "basic", "alic", "pari"})) is None


@pytest.mark.parametrize(
    ("one", "other", "kind", "about"),
    [
        ("Alice Meyer leads the Berlin office.", "Bob Schulz leads the Berlin office.", "name", "name"),
        ("The office opened on May 15, 2012.", "The office opened on May 1, 2014.", "number", "date"),
        ("The API does not support XML files.", "The API supports XML files.", "", "negation"),
        ("Smoking is allowed on the roof terrace.", "Smoking is forbidden on the roof terrace.", "", "negation"),
    ],
)
def test_names_dates_and_negations_conflict_too(one: str, other: str, kind: str, about: str) -> None:
    found = disagree(one, other, kind)
    assert found is not None
    assert found[0] == about


def test_one_passage_and_one_section_never_conflict_with_themselves(embedder: SentenceTransformerEmbedder) -> None:
    text = "Refunds are given within 30 days of purchase. Refunds are given within 14 days of purchase."
    assert conflicts_of(ASKED, [passage("a.md", text)], THIRTY, embedder) == ()
    halves = [
        passage("a.md", THIRTY, heading="Refunds"),
        passage("a.md", "Refunds are given within 14 days of purchase.", heading="Refunds", start=60),
    ]
    assert conflicts_of(ASKED, halves, THIRTY, embedder) == ()
    apart = [halves[0], passage("a.md", halves[1].text, heading="Sale", start=60)]
    assert len(conflicts_of(ASKED, apart, THIRTY, embedder)) == 1


def test_a_date_in_a_name_is_found_in_the_ways_people_write_it() -> None:
    def which(one: str, other: str) -> int | None:
        found = newest(passage(one, "x"), passage(other, "x"), None, None)
        return None if found is None else found.which

    assert which("policy-2022.md", "policy-2021.md") == 0
    assert which("2021_03_31 notes.txt", "2021-04-01.txt") == 1
    assert which("report 20240101.pdf", "report 20231231.pdf") == 0
    assert which("policy.md", "policy-2021.md") is None
    assert which("policy-2021.md", "policy-2021-05.md") is None  # the year may hold the month
    assert which("case-1234567.md", "case-2021.md") is None


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("What is the fee and who approves it?", ["What is the fee", "who approves it"]),
        ("Who wrote it? When was it published?", ["Who wrote it", "When was it published"]),
        ("Compare the Basic plan and the Team plan.", ["the Basic plan", "the Team plan"]),
        ("What is the difference between a chunk and a passage?", ["a chunk", "a passage"]),
        ("Wie hoch ist die Gebühr und wer genehmigt sie?", ["Wie hoch ist die Gebühr", "wer genehmigt sie"]),
        ("What are the terms and conditions?", ["What are the terms and conditions"]),
        ("When and where was she born?", ["When and where was she born"]),
        ("default timeout", ["default timeout"]),
    ],
)
def test_a_question_is_taken_apart_only_where_its_words_say_so(question: str, found: list[str]) -> None:
    assert [part.text for part in parts(question)] == found


def test_a_part_stands_alone_by_what_the_first_part_is_about() -> None:
    assert parts("What is the fee and who approves it?")[1].standalone == "who approves the fee"


EXPENSES = passage(
    "expenses.md",
    "The fee for custom work is 1,200 dollars. The finance team approves the fee in the first week of each month. "
    "The Basic plan has one workspace.",
)


def test_what_the_passages_do_not_answer_is_named_in_the_words_of_the_question(
    embedder: SentenceTransformerEmbedder,
) -> None:
    def covered(question: str) -> Notes:
        return notes(question, [EXPENSES], read(question, [EXPENSES], embedder), [], embedder=embedder)

    both = covered("What is the fee for custom work and who approves it?").coverage
    assert both.missing == ()
    assert not both.partial
    half = covered("What is the fee for custom work, and when was the Eiffel tower painted?").coverage
    assert half.missing == ("when was the Eiffel tower painted",)
    assert half.covered == ("What is the fee for custom work",)
    assert half.partial
    assert covered("Compare the Basic plan and the Enterprise edition").coverage.missing == ("the Enterprise edition",)
    assert covered("What is the fee?").coverage.covered == ("What is the fee",)
