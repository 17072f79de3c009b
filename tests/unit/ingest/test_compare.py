"""What changed between two versions: paired well, told by the word, and never for long."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.compare import Shown, Words, compare, words

FOOD = "The walrus eats clams from the floor of the shallow sea, and it finds them with its whiskers."
TEETH = "Its tusks grow for the whole of its life. They are ivory, and males have the longer ones."
HOME = "They rest on drifting ice between their dives, in herds of up to a thousand animals."


def shown(*texts: str, heading: str = "") -> list[Shown]:
    return [Shown(text=text, heading=heading) for text in texts]


def before_of(found: Words) -> str:
    return "".join(text for op, text in found if op in "=-")


def after_of(found: Words) -> str:
    return "".join(text for op, text in found if op in "=+")


def changed(found: dict[str, list[dict[str, str]]]) -> list[tuple[str, str]]:
    return [(pair["before"], pair["after"]) for pair in found["changed"]]


def test_words_tell_what_went_and_what_came() -> None:
    found = words("Costs above 50 euros need a receipt.", "Costs above 80 euros need a receipt.")
    assert found == [["=", "Costs above "], ["-", "50"], ["+", "80"], ["=", " euros need a receipt."]]


PIECES = ["a", "b", "the", " ", "  ", "\n", "\t", ".", "[", "é", "\u3000", "x1", "<b>"]
SOME_TEXT = st.lists(st.sampled_from(PIECES)).map("".join)


@settings(max_examples=100, deadline=None)
@given(before=SOME_TEXT, after=SOME_TEXT)
def test_both_texts_can_be_joined_again_to_the_last_blank(before: str, after: str) -> None:
    found = words(before, after)
    assert (before_of(found), after_of(found)) == (before, after)
    assert all(text for _, text in found)
    assert all(a[0] != b[0] for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x " * 500_000, "y " * 500_000),
        ("a b " * 250_000, "b a a " * 170_000),
        ("a" * 1_000_000, "b" * 1_000_000),
        (" " * 1_000_000, "\n" * 1_000_000),
        ("One sentence more. " * 50_000, "One sentence less. " * 50_000),
    ],
)
def test_a_passage_of_a_megabyte_cannot_hang(before: str, after: str) -> None:
    started = time.perf_counter()
    found = words(before, after)
    assert time.perf_counter() - started < 20
    assert (before_of(found), after_of(found)) == (before, after)


def test_a_small_edit_in_a_long_text_is_found_where_it_is() -> None:
    sentences = [f"Sentence number {n} says what it has to say about subject {n % 97}." for n in range(20_000)]
    edited = [s.replace("says", "shouts") if n in (5, 19_000) else s for n, s in enumerate(sentences)]
    found = words("\n".join(sentences), "\n".join(edited))
    assert [text for op, text in found if op == "-"] == ["says", "says"]
    assert [text for op, text in found if op == "+"] == ["shouts", "shouts"]


def test_a_passage_that_changed_a_little_is_one_that_changed() -> None:
    edited = TEETH.replace("ivory", "bone")
    found = compare(shown(FOOD, TEETH, HOME), shown(FOOD, edited, HOME))
    assert changed(found) == [(TEETH, edited)]
    assert (found["added"], found["removed"]) == ([], [])


def test_each_passage_is_paired_with_the_one_it_is_most_like_wherever_that_went() -> None:
    edited = [text + " So it is." for text in (HOME, FOOD, TEETH)]
    found = compare(shown(FOOD, TEETH, HOME), shown(*edited))
    assert changed(found) == [(HOME, edited[0]), (FOOD, edited[1]), (TEETH, edited[2])]


def test_a_passage_that_was_rewritten_at_its_place_is_one_that_changed() -> None:
    rewritten = "Males carry longer tusks than females; the teeth never stop growing, for all of life."
    found = compare(shown(FOOD, TEETH, HOME), shown(FOOD, rewritten, HOME))
    assert changed(found) == [(TEETH, rewritten)]


def test_what_has_nothing_in_common_is_removed_and_added() -> None:
    other = "Parking is free on Sundays near our northern office building."
    found = compare(shown(FOOD, TEETH), shown(FOOD, other))
    assert (found["removed"], found["added"], found["changed"]) == ([TEETH], [other], [])


def test_a_passage_that_only_moved_is_not_there() -> None:
    assert compare(shown(FOOD, TEETH, HOME), shown(HOME, FOOD, TEETH)) == {"added": [], "removed": [], "changed": []}


def test_one_of_two_equal_passages_that_went_is_removed_once() -> None:
    assert compare(shown(FOOD, FOOD, HOME), shown(FOOD, HOME))["removed"] == [FOOD]


def test_a_heading_that_was_renamed_changes_the_passages_below_it() -> None:
    found = compare(shown(FOOD, heading="Walrus › Food"), shown(FOOD, heading="Walrus › Diet"))
    (pair,) = found["changed"]
    assert pair["headings"] == ["Walrus › Food", "Walrus › Diet"]
    assert pair["words"] == [["=", FOOD]]


def test_thousands_of_passages_are_paired_in_a_moment() -> None:
    before = shown(*(f"Paragraph {n} is about subject {n * 7919 % 5003} and its neighbours." for n in range(3000)))
    after = shown(*(p.text.replace("about", "on") for p in before))
    started = time.perf_counter()
    found = compare(before, after)
    assert time.perf_counter() - started < 20
    assert len(found["changed"]) == 3000
    assert sum(p["after"] == p["before"].replace("about", "on") for p in found["changed"]) > 2900
