"""PDF: the text layer, page by page, with the outline's entries as headings where they stand on their page.

PDFium is not safe to call from several threads at once, so one lock covers every call of this process. There
is no recognition of scanned pages here, and no reconstruction of tables.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.parse.compose import MAX_HEADING_CHARS, one_line
from ingest.parse.detect import clean, plausible_title, stem
from kernel.errors import FileRefused
from kernel.types import Heading, Page, Parsed

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

MEDIA_TYPE = "application/pdf"
PAGE_GAP = "\n\n"

_LOCK = threading.Lock()
_BROKEN_HYPHEN = "\ufffe"  # PDFium writes this for a hyphen at a line's end, and joins the lines
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
_BROKEN_WORD = re.compile(rf"\b(\w++){_BROKEN_HYPHEN}(\w+)")
_OUTLINE_DEPTH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raw:
    pages: list[str]
    title: str | None
    outline: list[tuple[int, int, str]]
    """(index of the page, level from 1, title)"""


def read(content: bytes, name: str) -> Parsed:
    """The text of all pages, one empty line between them; a page's span is exactly its text.

    The title is the metadata's where it reads like one, else the file's stem.

    Raises:
        FileRefused: `encrypted_pdf`, `broken_pdf`, or `no_text` for a PDF of scans.
    """
    with _LOCK:
        raw = _extract(content, name)
    texts = _tidy(raw.pages)
    if not any(c.isalnum() for text in texts for c in text):
        raise FileRefused(
            f"{name!r} has {len(texts)} page(s) and no text: it is made of images",
            hint="Run OCR on it first (for example `ocrmypdf IN.pdf OUT.pdf`) and give the result.",
            code="no_text",
        )
    pages, position = [], 0
    for number, text in enumerate(texts, 1):
        pages.append(Page(page=number, start=position, end=position + len(text)))
        position += len(text) + len(PAGE_GAP)
    return Parsed(
        text=PAGE_GAP.join(texts),
        title=plausible_title(raw.title) or stem(name),
        media_type=MEDIA_TYPE,
        pages=tuple(pages),
        headings=tuple(_headings(raw.outline, texts, pages)),
    )


def _extract(content: bytes, name: str) -> _Raw:
    """Everything that needs PDFium. The caller holds the lock, and nothing of PDFium's outlives the call."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as exc:
        if exc.err_code in (pypdfium2.raw.FPDF_ERR_PASSWORD, pypdfium2.raw.FPDF_ERR_SECURITY):
            raise FileRefused(
                f"{name!r} is protected by a password",
                hint="Save a copy without the password and give that.",
                code="encrypted_pdf",
            ) from exc
        raise _broken(name, str(exc)) from exc
    try:
        return _Raw(
            pages=[_page_text(document, index, name) for index in range(len(document))],
            title=document.get_metadata_dict(skip_empty=True).get("Title"),
            outline=_outline(document),
        )
    finally:
        document.close()


def _page_text(document: PdfDocument, index: int, name: str) -> str:
    import pypdfium2

    # A page that cannot be read refuses the file: a document with a silent hole would answer wrongly for
    # ever.
    try:
        page = document[index]
    except pypdfium2.PdfiumError as exc:
        raise _broken(name, f"page {index + 1} cannot be read") from exc
    try:
        text_page = page.get_textpage()
        try:
            # In order of the content stream, with better line ends; but beyond the basic plane only the other
            # call is right.
            text = text_page.get_text_range()
            bounded = text_page.get_text_bounded()
        finally:
            text_page.close()
    finally:
        page.close()
    return bounded.replace("\x02", _BROKEN_HYPHEN) if max(bounded, default="") > "\uffff" else text


def _outline(document: PdfDocument) -> list[tuple[int, int, str]]:
    import pypdfium2

    entries = []
    try:
        for bookmark in document.get_toc(max_depth=_OUTLINE_DEPTH):
            target = bookmark.get_dest()
            index = target.get_index() if target else None
            title = one_line(bookmark.get_title() or "")
            if index is not None and 0 < len(title) <= MAX_HEADING_CHARS:
                entries.append((index, bookmark.level + 1, title))
    except pypdfium2.PdfiumError:
        return entries  # a damaged outline costs headings, never text
    return entries


def _broken(name: str, why: str) -> FileRefused:
    return FileRefused(
        f"{name!r} is a damaged PDF: {why}",
        hint="Open it in a PDF viewer, print it to a new PDF and give that.",
        code="broken_pdf",
    )


def _tidy(pages: list[str]) -> list[str]:
    whole = "\n".join(pages)
    words = set(re.findall(r"\w+", _BROKEN_WORD.sub(" ", whole).casefold())) if _BROKEN_HYPHEN in whole else set()

    def join(match: re.Match[str]) -> str:
        """Whether a hyphen at a line's end belongs to the word is told by the rest of the document.

        It goes if the document has the word without it, or if the halves are no words: `informa-tion`. It
        stays in
        compounds: `long-term`, `non-GAAP`.
        """
        left, right = match[1], match[2]
        if (left + right).isalpha() and (right.islower() or left.isupper()):
            halves_are_words = left.casefold() in words and right.casefold() in words
            if (left + right).casefold() in words or not halves_are_words:
                return left + right
        return f"{left}-{right}"

    tidied = []
    for page in pages:
        text = clean(_BROKEN_WORD.sub(join, page)).replace(_BROKEN_HYPHEN, "-")
        lines = (line.rstrip() for line in _CONTROLS.sub(" ", text).split("\n"))
        tidied.append("\n".join(lines).strip())
    return tidied


def _headings(outline: list[tuple[int, int, str]], texts: list[str], pages: list[Page]) -> list[Heading]:
    """Outline entries that stand as a line of their own on the page they point to; no others."""
    found: dict[int, Heading] = {}
    lines_of: dict[int, dict[str, list[int]]] = {}
    for index, level, title in outline:
        if not 0 <= index < len(texts):
            continue
        if index not in lines_of:
            lines_of[index] = {}
            start = pages[index].start
            for line in texts[index].split("\n"):
                lines_of[index].setdefault(one_line(line).casefold(), []).append(start)
                start += len(line) + 1
        for start in lines_of[index].get(title.casefold(), ()):
            if start not in found:
                found[start] = Heading(start=start, level=level, title=title)
                break
    return [found[start] for start in sorted(found)]
