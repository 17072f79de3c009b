"""A PDF's text is exact by page."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from ingest.parse import parse
from ingest.parse.pdf import PAGE_GAP
from kernel.errors import FileRefused

reportlab = pytest.importorskip("reportlab")
from reportlab.lib.pdfencrypt import StandardEncryption  # noqa: E402
from reportlab.pdfgen.canvas import Canvas  # noqa: E402


def make(*pages: list[str], title: str = "", outline: dict[str, int] | None = None, password: str = "") -> bytes:
    """A PDF with the given lines on its pages; `outline` has lines that get an entry, with their level from 0."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, encrypt=StandardEncryption(password) if password else None)
    canvas.setTitle(title)
    for lines in pages:
        for number, line in enumerate(lines):
            canvas.drawString(72, 740 - 20 * number, line)
            if outline and line in outline:
                canvas.bookmarkPage(line)
                canvas.addOutlineEntry(line, line, outline[line])
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def code_of(content: bytes, name: str = "a.pdf") -> str:
    with pytest.raises(FileRefused) as caught:
        parse(content, name)
    assert caught.value.hint
    return caught.value.code


def test_each_page_is_exactly_its_span() -> None:
    parsed = parse(make(["First page.", "More."], [], ["Third page."]), "a.pdf")
    assert [(p.page, parsed.text[p.start : p.end]) for p in parsed.pages] == [
        (1, "First page.\nMore."),
        (2, ""),
        (3, "Third page."),
    ]
    assert all(parsed.text[a.end : b.start] == PAGE_GAP for a, b in pairwise(parsed.pages))
    assert parsed.pages[-1].end == len(parsed.text)


def test_the_bytes_decide_whatever_the_name() -> None:
    assert parse(make(["Words."]), "a.md").media_type == "application/pdf"
    assert parse(b"\n\n" + make(["Words."]), "a").text == "Words."


def test_outline_entries_become_headings_where_they_stand() -> None:
    content = make(
        ["1 Start", "Text."],
        ["2 Next", "Text.", "2.1 Inner", "Text."],
        outline={"1 Start": 0, "2 Next": 0, "2.1 Inner": 1},
    )
    parsed = parse(content, "a.pdf")
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "1 Start"), (1, "2 Next"), (2, "2.1 Inner")]
    assert all(parsed.text.startswith(h.title, h.start) for h in parsed.headings)


def test_words_broken_at_a_line_end_are_whole_again() -> None:
    parsed = parse(
        make(["Some informa-", "tion about long-", "term value: information", "of a long term and long-term kind"]),
        "a.pdf",
    )
    assert "Some information about long-term value" in parsed.text


def test_a_password_is_told_from_damage() -> None:
    assert code_of(make(["Secret."], password="x")) == "encrypted_pdf"
    whole = make(["Words."])
    assert code_of(whole[: len(whole) // 3]) == "broken_pdf"


def test_scans_are_refused_and_sent_to_ocr() -> None:
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    canvas.rect(10, 10, 100, 100, fill=1)
    canvas.showPage()
    canvas.save()
    with pytest.raises(FileRefused) as caught:
        parse(buffer.getvalue(), "scan.pdf")
    assert caught.value.code == "no_text"
    assert "OCR" in caught.value.hint


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Annual report", "Annual report"),
        ("", "report"),
        ("untitled", "report"),
        ("Microsoft Word - draft 7.doc", "report"),
        ("final_v2.indd", "report"),
        ("(anonymous)", "report"),
        ("0000320187-18-000142", "report"),
    ],
)
def test_a_metadata_title_is_taken_only_where_a_person_meant_it(title: str, expected: str) -> None:
    assert parse(make(["Words."], title=title), "report.pdf").title == expected


def test_many_threads_may_read_pdfs_at_once() -> None:
    contents = [make([f"Document {n}, page {p}." for p in range(5)]) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda n: parse(contents[n % 8], "a.pdf").text, range(64)))
    assert all(text.startswith(f"Document {n % 8},") for n, text in enumerate(texts))
