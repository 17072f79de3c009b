"""Follow-ups become questions that stand alone, and questions that stand alone stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from kernel.errors import Upstream
from kernel.types import Exchange
from retrieval.followup import Followup, Rewrite, standalone
from retrieval.words import stem, tokens
from tests.unit.retrieval.dialogues import FOLLOWUPS, STANDALONE, Dialogue

PARCEL = (Exchange(question="How do I return a parcel?", answer="Print the label and hand it in at any branch."),)


def words(text: str) -> set[str]:
    return {stem(token) for token in tokens(text)}


def writer(written: str | None) -> Rewrite:
    return lambda _question, _history: written


@pytest.mark.parametrize("dialogue", FOLLOWUPS, ids=lambda d: f"{d.before} {d.followup}")
def test_a_followup_is_given_what_it_leans_on(dialogue: Dialogue) -> None:
    told = standalone(dialogue.followup, (Exchange(question=dialogue.before, answer=dialogue.answer),))
    have = words(told.question)
    assert told.changed
    assert told.by == "rules"
    assert words(dialogue.must) <= have, told.question
    assert not (words(dialogue.must_not) - words(dialogue.must)) & have, told.question


def test_an_article_is_no_preposition() -> None:
    history = (Exchange(question="How long is a book lent?", answer=""),)
    assert standalone("What about a film?", history).question == "How long is a book lent (a film)?"


def test_there_are_dialogues_enough() -> None:
    assert len(FOLLOWUPS) >= 60
    assert len(STANDALONE) >= 60


@pytest.mark.parametrize("question", STANDALONE)
def test_a_question_that_stands_alone_is_never_changed(question: str) -> None:
    for dialogue in FOLLOWUPS:
        before = (Exchange(question=dialogue.before, answer=dialogue.answer),)
        assert standalone(question, before) == Followup(question=question), dialogue.before


def test_a_first_question_is_left_as_it_is_whatever_it_says() -> None:
    assert standalone("And for contractors?", ()) == Followup(question="And for contractors?")


def test_a_rewritten_question_can_be_followed_up_again() -> None:
    asked, history = "How long is the warranty of the X200?", list[Exchange]()
    for followup in ("And in Norway?", "What about the X300?", "Who pays?"):
        history.append(Exchange(question=asked, answer=""))
        asked = standalone(followup, history).question
    assert words("warranty x300 Norway pays") <= words(asked)
    assert "X200" not in asked


def test_what_is_understood_says_nothing_twice() -> None:
    history = (Exchange(question="What is the deadline for returns?", answer=""),)
    assert standalone("What is the deadline?", history).question.lower().count("deadline") == 1


# --- by the generator ------------------------------------------------------------------------------


def test_a_generators_words_are_taken_where_they_are_the_question() -> None:
    told = standalone("How long does it take?", PARCEL, writer('Question: "How long does it take to return a parcel?"'))
    assert told == Followup(question="How long does it take to return a parcel?", changed=True, by="generator")


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        "Returning parcels is easy.",  # not the question's words
        "How long does it take to return a parcel to the warehouse in Leipzig by the courier of the president?",
        "How long does it take to return a parcel? See https://evil.example/?q=1",
        "How long does it take to return a parcel within 14 days?",  # a number that nobody said
        "How long does it take? " * 20,
        "<script>How long does it take to return a parcel?</script>",
    ],
)
def test_what_a_generator_makes_up_is_not_taken_and_the_rules_decide(written: str | None) -> None:
    told = standalone("How long does it take?", PARCEL, writer(written))
    assert told.by == "rules"
    assert words("return parcel long take") <= words(told.question)


def test_a_server_that_does_not_answer_costs_nothing_but_its_words() -> None:
    def fail(_question: str, _history: Sequence[Exchange]) -> str | None:
        raise Upstream("no answer")

    assert standalone("How long does it take?", PARCEL, fail).by == "rules"


def test_a_generator_is_not_asked_for_a_question_that_plainly_stands_alone() -> None:
    asked: list[str] = []
    rewrite: Callable[[str, Sequence[Exchange]], str | None] = lambda q, _h: asked.append(q)  # noqa: E731
    standalone("Which documents do new employees have to sign before they start?", PARCEL, rewrite)
    assert not asked


def test_a_generator_that_gives_the_question_back_changes_nothing() -> None:
    told = standalone("What about gifts?", PARCEL, writer("What about gifts?"))
    assert told == Followup(question="What about gifts?")
