from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel.types import Sentence
from retrieval.generators.marks import Parser, parse_marks

WORDS = """It is so|And so on|the U.S.|e.g.|Dr.|No. 5|3.5|. |.|! |? |... |…|。|。[1]|【1】|【2†x】|[1]|[2]|[1][2]|[1, 2]
[1-3]|[9]|[|]|[1|[[1]2]|[passage 1]|(1)|<think>|</think>|<thi|nk>|<thinking>|hm. Hm|<b>|</b>|<!-- x. Y |-->
<script>|</script>|![a. B](https://x.example/i.png)|[a link. So](https://x.example)|https://x.example/a.b|`items[1]`|`|```
- |1. |2.|# Title|---|===|NO_ANSWER|Question:|Passages:|Answer: x|<passage n="1">|</passage>|"|’|)|*|**bold.**|ß|日本"""
OTHERS = ["\n", "\n\n", " ", "  ", "\t", "| a | b |\n", "\n- ", "\nQuestion:", "word " * 40, "\x00", "\U0001f600"]
FRAGMENTS = st.sampled_from([*re.split(r"[|\n]", WORDS), *OTHERS, "\ud83d", "\ude00"])
TEXTS = st.lists(FRAGMENTS | st.text(max_size=4), max_size=40).map("".join)


def in_pieces(text: str, cuts: list[int], k: int) -> tuple[Sentence, ...]:
    parser, found = Parser(k), []
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in pairwise(places):
        found += parser.feed(text[start:end])
    return (*found, *parser.finish())


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 10_000), max_size=12), st.integers(0, 3))
@example("It is so. [1] And so.", [11], 3)
@example("It is so. \ud83d\ude00 So.", [11], 3)
def test_the_pieces_a_text_arrives_in_do_not_matter(text: str, cuts: list[int], k: int) -> None:
    assert in_pieces(text, cuts, k) == parse_marks(text, k)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(0, 3))
def test_a_text_that_arrives_letter_by_letter_is_the_same_text(text: str, k: int) -> None:
    assert in_pieces(text, list(range(len(text))), k) == parse_marks(text, k)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 10_000), max_size=6), st.integers(0, 3))
def test_whatever_a_model_writes_nothing_gets_through_that_does_not_resolve_or_calls_out(
    text: str, cuts: list[int], k: int
) -> None:
    sentences = in_pieces(text, cuts, k)
    for sentence in sentences:
        assert all(1 <= mark <= k for mark in sentence.marks)
        sentence.text.encode()
    shown = " ".join(f"{s.text} " + "".join(f"[{m}]" for m in s.marks) for s in sentences)
    assert {int(n) for n in re.findall(r"\[(\d+)\]", shown)} <= set(range(1, k + 1))
    assert "![" not in shown
    assert "](" not in shown
    assert not re.search(r"<\s*/?(?:img|script|svg|a|b|passage)\b", shown, re.I)


def shown_after(pieces: list[str], k: int = 3) -> list[list[tuple[str, tuple[int, ...]]]]:
    parser = Parser(k)
    return [[(s.text, s.marks) for s in parser.feed(piece)] for piece in pieces]


def test_a_sentence_is_out_as_soon_as_the_next_one_has_begun() -> None:
    steps = shown_after(["It is so [", "1]", ".", " And", " so", " [2].", " [3", "] The", " end"])
    assert [step for step in steps if step] == [[("It is so.", (1,))], [("And so.", (2, 3))]]
    assert steps[4] == [("It is so.", (1,))]
    assert steps[8] == [("And so.", (2, 3))]


def test_a_mark_that_may_still_come_is_waited_for() -> None:
    assert shown_after(["It is so. ", "[", "1", ",", " 2]", "[3]", " Then ", "more"])[-2:] == [
        [("It is so.", (1, 2, 3))],
        [],
    ]
    assert shown_after(["日本です。", "【1", "】", "次"])[-1] == [("日本です。", (1,))]


def test_an_abbreviation_is_not_the_end_while_streaming_either() -> None:
    assert shown_after(["Dr", ".", " Smith", " [1]", " came", ". ", "[2]", " He ", "left"])[7] == [
        ("Dr. Smith came.", (1, 2))
    ]


def test_items_and_rows_end_with_their_line() -> None:
    pieces = ["- One thing [1]\n", "- Another [2]\n", "- Third [3]\n", "\nThe end is here"]
    assert [s for step in shown_after(pieces) for s in step] == [
        ("One thing", (1,)),
        ("Another", (2,)),
        ("Third", (3,)),
    ]


def test_nothing_is_cut_inside_a_link_code_or_what_is_hidden() -> None:
    for text in ("Run `a. B` for more [1].", "So <!-- hidden. Never shown. --> it is [1].", "```\nprint(1). Then\n```"):
        assert len(parse_marks(text, 1)) == 1, text
    linked = parse_marks("See [the guide. It helps](https://x.example/a) for more [1]. Then go.", 1)
    assert [s.text for s in linked] == ["See the guide.", "It helps for more.", "Then go."]


def test_what_was_shown_stays_when_the_model_goes_on_to_write_our_side() -> None:
    parser = Parser(1)
    first = parser.feed("It is so [1]. More of\nQues")
    assert [s.text for s in first] == ["It is so."]
    assert not parser.over
    assert [s.text for s in parser.feed("tion: and then? Never. Shown. ")] == []
    assert parser.over
    assert [s.text for s in parser.finish()] == ["More of"]


def test_no_sentence_comes_twice_and_a_model_in_circles_is_not_read_further() -> None:
    parser = Parser(1)
    found = [s.text for _ in range(2) for s in parser.feed("It is so [1]. And so. ")]
    assert found == ["It is so.", "And so."]
    assert not parser.loops
    assert parser.feed("It is so [1]. And so. It is new. ") == []
    assert parser.loops
    assert parser.over
    assert parser.finish() == []


def test_a_model_that_was_left_thinking_is_not_answering_yet() -> None:
    assert parse_marks("Hm. Let me see [1]. </think> It is so [1].", 1, thinking=True) == (
        Sentence(text="It is so.", marks=(1,)),
    )
    assert parse_marks("never ends. Never.", 1, thinking=True) == ()


@pytest.mark.parametrize(
    "unit",
    [". ", "A. ", "[1", "`a. ", "<!-- a. ", "[a. B", "\n", "\n\n", "…", "a.[1]", "Mr. A. ", "| a |\n", "<think>"],
)
def test_a_hostile_stream_takes_no_more_than_a_moment(unit: str) -> None:
    text = unit * (8_000 // len(unit))
    parser = Parser(3)
    started = time.process_time()
    for place in range(0, len(text), 4):
        parser.feed(text[place : place + 4])
    parser.finish()
    assert time.process_time() - started < 3
