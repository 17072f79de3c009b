"""What comes from documents stays text, whatever it looks like."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from finetune.cost import size
from ui.web.plain import ago, apart, escape, label, moment, numbers, parts, source, span, told_in, took

HOSTILE = (
    "![x](https://evil.example/pixel.png)",
    "[click](https://evil.example)",
    "<img src=x onerror=alert(1)>",
    "see https://evil.example/login and www.evil.example",
    "write to thief@evil.example",
    ":red[**warning**] :material/error: $\\frac{1}{2}$ `code`",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_html_in_a_document_is_shown_as_text(text: str) -> None:
    shown = escape(text)
    assert "<" not in shown
    assert ">" not in shown
    assert '"' not in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_a_label_holds_no_link_image_or_formula(text: str) -> None:
    from markdown_it import MarkdownIt

    shown = label(text)
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parseInline(shown)[0].children or []
    assert {token.type for token in tokens} <= {"text", "text_special"}
    for address in ("https://", "http://", "www.", "@evil", ":material", ":red"):
        assert address not in "".join(token.content for token in tokens)


def test_marks_that_reorder_text_are_dropped() -> None:
    assert escape("safe\u202eexe.txt") == "safeexe.txt"


def test_a_label_is_one_short_line() -> None:
    assert label("one\ntwo   three") == "one two three"
    assert label("x" * 50, longest=10) == "x" * 9 + "…"


def test_an_answer_is_cut_at_the_marks_that_resolve() -> None:
    citations = [{"n": 1, "document": "d", "title": "Returns", "heading": "Returns › Gifts", "page": 2}]
    assert parts("Within 60 days. [1] Not [7].", citations) == [
        {"text": "Within 60 days. "},
        {"mark": 1, "about": "Returns › Gifts, page 2"},
        {"text": " Not [7]."},
    ]


def test_a_sentence_that_nothing_supports_is_told_from_its_neighbours() -> None:
    citations = [{"n": 1, "document": "doc-1", "name": "a.md", "title": "A"}]
    doubtful = "Maybe 90. (not supported by the documents)"
    assert parts(f"Within 60 days. [1] {doubtful} Or 30. [1]", citations) == [
        {"text": "Within 60 days. "},
        {"mark": 1, "about": "A"},
        {"text": f" {doubtful}", "doubt": True},
        {"text": " Or 30. "},
        {"mark": 1, "about": "A"},
    ]


def test_the_notes_of_an_answer_are_its_last_paragraphs() -> None:
    assert apart("One.\n\nTwo. [1]\n\nThey disagree. [1]", 1) == ("One.\n\nTwo. [1]", ["They disagree. [1]"])
    assert apart("One.\n\nTwo. [1]", 0) == ("One.\n\nTwo. [1]", [])


def test_a_source_without_a_title_is_known_by_its_name() -> None:
    assert source({"document": "id", "name": "a/b.md", "title": "", "heading": "", "page": None}) == "a/b.md"


def test_times_and_sizes_are_short() -> None:
    now = datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert moment("2026-03-02T08:05:00.000Z", now=now) == "today 08:05"
    assert moment("2026-03-01T08:05:00.000Z", now=now) == "yesterday 08:05"
    assert moment("2025-12-24T20:00:00.000Z", now=now) == "2025-12-24 20:00"
    assert moment(None) == ""
    assert ago("2026-03-02T08:59:57.000Z", now=now) == "now"
    assert ago("2026-03-02T08:59:20.000Z", now=now) == "40 s ago"
    assert ago("2026-03-02T08:00:00.000Z", now=now) == "1 h ago"
    assert ago("2026-02-27T08:00:00.000Z", now=now) == "3 days ago"
    assert [span(n) for n in (90, 600, 3600, 172_800)] == ["90 seconds", "10 minutes", "1 hour", "2 days"]
    assert took("2026-03-02T08:00:00.000Z", "2026-03-02T08:00:02.340Z") == "2.3 s"
    assert took("2026-03-02T08:00:00.000Z", "2026-03-02T09:02:00.000Z") == "1 h 2 min"
    assert took("2026-03-02T08:00:00.000Z", None) == ""
    assert [size(n) for n in (12, 1_200, 48_000, 3_400_000)] == ["12 B", "1.2 kB", "48 kB", "3.4 MB"]


def test_version_numbers_in_a_row_are_one_range() -> None:
    assert numbers([3, 1, 2, 7]) == "1\N{EN DASH}3, 7"
    assert numbers([]) == ""


def test_details_of_the_audit_log_are_words() -> None:
    assert told_in({"every_seconds": 600, "asked": True, "versions": [1, 2], "by": None}) == (
        "every seconds: 600, asked: yes, versions: 1; 2, by: none"
    )
