"""An answer that nobody quoted is held to the sentence that says it."""

from __future__ import annotations

import pytest

from rehearsal.said import Said, still_says

BEFORE = """# Rules

Refunds are paid within 30 days. Ask the office first.

Dogs are allowed in the garden.
Ein Hund darf in den Garten.
"""


def says(question: str, answer: str, *changes: tuple[str, str]) -> bool:
    after = BEFORE
    for old, new in changes:
        assert old in after
        after = after.replace(old, new)
    return still_says(question, answer, Said.of(BEFORE), Said.of(after))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How long do refunds take?", "Refunds are paid within 30 days."),
        ("How long do refunds take?", "30 days"),
        ("How long do refunds take?", "One month."),  # in no word of the text: then by the question's alone
        ("How long do refunds take?", "Refunds take 30 days. Dogs may come along."),
    ],
)
def test_it_is_said_while_its_sentence_stands_and_no_longer_once_that_changes(question: str, answer: str) -> None:
    assert says(question, answer)
    assert says(question, answer, ("Ask the office first.", "Nobody is asked."), ("# Rules", "# House rules"))
    assert not says(question, answer, ("30 days", "14 days"))
    assert not says(question, answer, ("are paid", "are not paid"))  # every word of the answer still stands


def test_words_of_the_text_are_held_to_all_of_them_wherever_lines_end() -> None:
    answer = "Dogs are allowed in the garden. Ein Hund darf in den Garten."
    assert says("Are dogs allowed?", answer, ("garden.\n", "garden.  "))
    assert not says("Are dogs allowed?", answer, ("den Garten", "keinen Garten"))
    assert not says("How long?", "30 days", ("30 days", "14 days"))


def test_another_sentence_with_the_same_number_does_not_keep_it() -> None:
    assert not says("How long do refunds take?", "30 days", ("30 days. Ask", "14 days. Reports are kept 30 days. Ask"))


def test_a_sentence_that_moves_is_the_same_sentence() -> None:
    assert says(
        "Are dogs allowed?", "Yes.", ("# Rules", "Dogs are allowed in the\tgarden.\n"), ("\nDogs", "\nOr: dogs")
    )


def test_an_answer_in_another_language_is_held_to_the_sentence_of_that_language() -> None:
    assert says("Darf ein Hund hinein?", "Ja, ein Hund darf in den Garten.", ("Dogs are", "Dogs are not"))
    assert not says("Darf ein Hund hinein?", "Ja, ein Hund darf in den Garten.", ("Ein Hund", "Kein Hund"))


def test_what_the_text_never_said_is_not_told_to_have_changed() -> None:
    assert says("Who built the moon?", "Nobody knows.", ("30 days", "14 days"))
