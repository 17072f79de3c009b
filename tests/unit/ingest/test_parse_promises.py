"""What holds for every file: a clean text with its structure inside it, or a refusal. Never another exception."""

from __future__ import annotations

import io
from functools import cache
from itertools import pairwise

import docx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reportlab.pdfgen.canvas import Canvas

from ingest.parse import parse
from kernel.errors import FileRefused
from kernel.types import Parsed

SUFFIXES = "md html txt csv tsv json jsonl xml rst py c eml ipynb rtf pdf docx pptx xlsx xls ods odt epub msg png"
NAMES = st.sampled_from(["a", *(f"a.{suffix}" for suffix in SUFFIXES.split())])
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_promises(parsed: Parsed) -> None:
    text = parsed.text
    assert "\0" not in text
    assert "\r" not in text
    text.encode()
    parsed.title.encode()
    assert parsed.title == " ".join(parsed.title.split())
    assert all(0 <= h.start < len(text) and 1 <= h.level <= 9 and h.title for h in parsed.headings)
    assert all(a.start < b.start for a, b in pairwise(parsed.headings))
    assert all(0 <= start < end <= len(text) for start, end in parsed.blocks)
    assert all(a[1] <= b[0] for a, b in pairwise(parsed.blocks))
    assert all(0 <= p.start <= p.end <= len(text) for p in parsed.pages)
    assert all(a.end <= b.start and b.page == a.page + 1 for a, b in pairwise(parsed.pages))


def parse_or_refuse(content: bytes, name: str) -> Parsed | None:
    try:
        parsed = parse(content, name)
    except FileRefused as exc:
        refused = exc
    else:
        assert_promises(parsed)
        assert parse(content, name) == parsed
        return parsed
    assert refused.code
    assert refused.hint
    return None


@cache
def pdf() -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for page in range(3):
        canvas.bookmarkPage(f"p{page}")
        canvas.addOutlineEntry(f"Page {page}", f"p{page}", 0)
        canvas.drawString(72, 700, f"Page {page}")
        canvas.drawString(72, 680, "Words of a document.")
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


@cache
def word() -> bytes:
    document = docx.Document()
    document.add_heading("Heading", 1)
    document.add_paragraph("Words of a document.")
    document.add_table(2, 2).cell(0, 0).text = "cell"
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


@quick
@given(st.binary(max_size=400), NAMES)
def test_any_bytes_become_a_text_or_a_refusal(content: bytes, name: str) -> None:
    parse_or_refuse(content, name)


@quick
@given(st.text(st.characters(codec="utf-8"), max_size=400), NAMES)
def test_any_characters_become_a_text_or_a_refusal(text: str, name: str) -> None:
    parse_or_refuse(text.encode(), name)


MARKDOWN_LINES = st.sampled_from(
    [
        "# One",
        "## Two",
        "text here",
        "",
        "",
        "---",
        "===",
        "```",
        "~~~",
        "    code",
        "| a | b |",
        "|---|---|",
        "- item",
        "> quote",
        "1. x",
        "<div>",
        "</div>",
        "<h1>T</h1>",
        "key: value",
        "\t",
        "[a]: b",
        "# ",
        "#",
        "long " * 50,
    ]
)


@quick
@given(st.lists(MARKDOWN_LINES, max_size=25), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_markdown_keeps_its_source(lines: list[str], line_end: str) -> None:
    parsed = parse_or_refuse(line_end.join(lines).encode(), "a.md")
    if parsed:
        assert parsed.text == "\n".join(lines)
        starts = {0} | {n + 1 for n, c in enumerate(parsed.text) if c == "\n"}
        assert all(h.start in starts for h in parsed.headings)


TAGS = st.sampled_from(
    [
        "p",
        "div",
        "b",
        "ul",
        "ol",
        "li",
        "table",
        "tr",
        "td",
        "th",
        "caption",
        "pre",
        "br",
        "h1",
        "h2",
        "h6",
        "script",
        "style",
        "span",
        "nav",
        "section",
        "dl",
        "dt",
        "dd",
        "a",
    ]
)


@quick
@given(
    st.lists(
        st.one_of(
            TAGS.map("<{}>".format), TAGS.map("</{}>".format), st.sampled_from(["word ", "a|b", "&#0;", "&amp;", "\n"])
        ),
        max_size=40,
    )
)
def test_any_tags_in_any_order_are_read(pieces: list[str]) -> None:
    parse_or_refuse("".join(pieces).encode(), "a.html")


@cache
def slides() -> bytes:
    from pptx import Presentation

    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = "Title", "one\ntwo"
    buffer = io.BytesIO()
    deck.save(buffer)
    return buffer.getvalue()


@cache
def opendocument(kind: str) -> bytes:
    from odfdo import Document, Header, Paragraph, Table

    document = Document(kind)
    document.body.clear()
    table = Table("T")
    table.set_values([["a", "b"], [1, 2]])
    for element in (table,) if kind == "spreadsheet" else (Header(1, "Title"), Paragraph("Words."), table):
        document.body.append(element)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


STRUCTURED = st.sampled_from(
    [
        "{",
        "}",
        "[",
        "]",
        '"',
        ",",
        ":",
        "1",
        "<a>",
        "</a>",
        "<title>t</title>",
        "&amp;",
        "\n",
        "\n\n",
        "word ",
        "def f():",
        "class A {",
        "  ",
        ".. note::",
        "====",
        "From: a\n",
        "Content-Type: multipart/mixed; boundary=b\n",
        "--b\n",
        "{\\rtf1 ",
        "\\par ",
        "\\'e9",
        "|",
        ";",
        "\t",
        "#!/bin/sh\n",
        '{"cells": [',
        '"nbformat": 4',
    ]
)


@settings(quick, max_examples=250)
@given(st.lists(STRUCTURED, min_size=1, max_size=40), NAMES)
def test_any_pieces_of_any_format_are_read_or_refused(pieces: list[str], name: str) -> None:
    parse_or_refuse("".join(pieces).encode(), name)


@pytest.mark.parametrize(
    ("whole", "name"),
    [
        (pdf, "a.pdf"),
        (word, "a.docx"),
        (slides, "a.pptx"),
        (lambda: opendocument("text"), "a.odt"),
        (lambda: opendocument("spreadsheet"), "a.ods"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@settings(quick, max_examples=60)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(whole: object, name: str, data: st.DataObject) -> None:
    content = bytearray(whole())  # type: ignore[operator]
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    parse_or_refuse(bytes(content[: data.draw(st.sampled_from([len(content), len(content) * 2 // 3]))]), name)
