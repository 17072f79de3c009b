from __future__ import annotations

import json
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.sentences import split, trim, units


def parts(text: str) -> list[str]:
    return [text[a:b] for a, b in split(text)]


def trimmed(text: str) -> list[str]:
    return [text[a:b] for a, b in (trim(text, *span) for span in split(text))]


def test_prose_is_cut_at_full_stops_and_nowhere_else() -> None:
    text = (
        "Dr. A. B. Smith moved to Washington D.C. in Jan. 2019. It cost $3.5 million, e.g. for Fig. 3 of v1.2.3! "
        '"Really?" he asked. The U.S. Senate met at 5 p.m. on Monday. Is it so? Yes... Then it ended.'
    )
    assert parts(text) == [
        "Dr. A. B. Smith moved to Washington D.C. in Jan. 2019.",
        "It cost $3.5 million, e.g. for Fig. 3 of v1.2.3!",
        '"Really?" he asked.',
        "The U.S. Senate met at 5 p.m. on Monday.",
        "Is it so?",
        "Yes...",
        "Then it ended.",
    ]


def test_an_abbreviation_ends_a_sentence_when_the_next_word_begins_one() -> None:
    assert parts("It was sold to Acme Inc. The price is secret.") == [
        "It was sold to Acme Inc.",
        "The price is secret.",
    ]
    assert parts("They asked Acme Inc. Berlin about it.") == ["They asked Acme Inc. Berlin about it."]


def test_wrapped_lines_are_one_sentence() -> None:
    assert parts("A sentence that goes on\nin the next line. Another\none.") == [
        "A sentence that goes on\nin the next line.",
        "Another\none.",
    ]


def test_a_list_item_is_never_joined_to_the_next() -> None:
    text = "Do this:\n\n- **First** thing. With more\n  to it\n* second thing\n1. third (etc.)\n2) fourth\n- [x] done"
    assert trimmed(text) == [
        "Do this:",
        "**First** thing.",
        "With more\n  to it",
        "second thing",
        "third (etc.)",
        "fourth",
        "done",
    ]


def test_each_table_row_is_a_unit_and_rules_are_skipped() -> None:
    text = "| Plan | Limit |\n|------|:-----:|\n| free | 10. Then more |\n| paid | none |\n"
    assert parts(text) == ["| Plan | Limit |", "| free | 10. Then more |", "| paid | none |"]
    assert trimmed(text) == ["Plan | Limit", "free | 10. Then more", "paid | none"]


def test_a_fenced_block_is_one_unit_whatever_it_holds() -> None:
    text = "Use it so:\n\n```python\n# Not a heading. Not two.\n\nx = a | b\n```\nAfter it."
    assert [u.kind for u in units(text)] == ["prose", "code", "prose"]
    assert trimmed(text)[1] == "# Not a heading. Not two.\n\nx = a | b"


def test_a_fence_that_never_closes_still_ends_with_the_text() -> None:
    assert parts("```\nx = 1. Y\ny = 2") == ["```\nx = 1. Y\ny = 2"]


def test_headings_stand_alone() -> None:
    assert trimmed("# Refunds. And more\nYou get it back.\nText.") == ["Refunds. And more", "You get it back.", "Text."]
    assert trimmed("Title\n=====\nText.") == ["Title", "Text."]
    assert [u.kind for u in units("# One\n\nTwo\n---\nThree.")] == ["heading", "heading", "prose"]


def test_a_label_above_a_paragraph_is_not_part_of_its_first_sentence() -> None:
    text = "Fee schedule\nThe fee is ten dollars a month for each user that has signed in at least once."
    assert parts(text)[0] == "Fee schedule"


def test_text_without_punctuation_falls_into_pieces_that_can_be_quoted() -> None:
    text = "\n".join(f"line number {i} of a file that knows no full stop" for i in range(60))
    assert max(len(p) for p in parts(text)) < 700


def test_sentences_end_without_a_space_where_the_script_has_none() -> None:
    assert parts("日本語です。次の文です。") == ["日本語です。", "次の文です。"]


@pytest.mark.parametrize("unit", [". ", "a. B", "|", "`", "*", "#", "- ", "....", "(", "\n", "a", '."'])
def test_a_hostile_text_takes_no_more_than_a_moment(unit: str) -> None:
    text = unit * (40_000 // len(unit))
    started = time.process_time()
    split(text)
    assert time.process_time() - started < 2


@given(st.text(alphabet=" \n.!?|#-*`>aA1é。…\"')(", max_size=120))
def test_spans_stand_in_order_inside_the_text_and_hold_all_its_words(text: str) -> None:
    spans = split(text)
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert all(b <= c for (_, b), (c, _) in pairwise(spans))
    assert all(text[a:b] == text[a:b].strip() for a, b in spans)
    left = [c for i, c in enumerate(text) if c.isalnum() and not any(a <= i < b for a, b in spans)]
    assert not left
    for a, b in spans:
        c, d = trim(text, a, b)
        assert a <= c <= d <= b


@pytest.mark.evaldata
def test_hardly_any_labelled_answer_crosses_a_sentence_end() -> None:
    data = os.environ.get("REPRISE_EVAL_DATA")
    if not data:
        pytest.skip("REPRISE_EVAL_DATA is not set")
    crossed = {}
    for language in ("en", "de", "es"):
        articles = json.loads((Path(data) / "xquad" / f"xquad.{language}.json").read_text())["data"]
        crossed[language] = 0
        for paragraph in (p for a in articles for p in a["paragraphs"]):
            spans = split(paragraph["context"])
            for answer in (q["answers"][0] for q in paragraph["qas"]):
                start = answer["answer_start"]
                end = start + len(answer["text"])
                crossed[language] += not any(a <= start and end <= b for a, b in spans)
    assert crossed["en"] <= 2
    assert max(crossed.values()) <= 8, crossed
