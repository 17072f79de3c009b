"""PDF: the text layer, page by page, with the outline's entries as headings where they stand on their page.

A scanned page has a picture and hardly any text; it is read by OCR where that is available, and the others stay as they
are. PDFium is not safe to call from several threads at once, so one lock covers every call of this process. Tables are
not reconstructed.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING

from ingest.parse import ocr
from ingest.parse.compose import MAX_HEADING_CHARS, one_line
from ingest.parse.detect import clean, plausible_title, stem
from ingest.parse.limits import DEFAULT, Limits
from kernel.errors import FileRefused
from kernel.types import Heading, Page, Parsed

if TYPE_CHECKING:
    from PIL.Image import Image
    from pypdfium2 import PdfDocument, PdfPage

MEDIA_TYPE = "application/pdf"
PAGE_GAP = "\n\n"

_LOCK = threading.Lock()
_BROKEN_HYPHEN = "\ufffe"  # PDFium writes this for a hyphen at a line's end, and joins the lines
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
_BROKEN_WORD = re.compile(rf"\b(\w++){_BROKEN_HYPHEN}(\w+)")
_OUTLINE_DEPTH = 6
_SCAN_DPI = 200
_HARDLY_ANY = 16  # letters and digits: a scanner's stamp or a page number, not a page of text
_LEAST_SHARE = 0.3  # of the page, that a picture beside a little text must fill to be a scan
_FEW_WORDS = 3


@dataclass(slots=True, kw_only=True)
class _Raw:
    pages: list[str] = field(default_factory=list)
    title: str | None = None
    outline: list[tuple[int, int, str]] = field(default_factory=list)
    """(index of the page, level from 1, title)"""
    recognised: list[int] = field(default_factory=list)
    """Numbers of pages read by OCR."""
    unread: list[int] = field(default_factory=list)
    """Numbers of scanned pages that OCR was not there for."""


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The text of all pages, one empty line between them; a page's span is exactly its text.

    The title is the metadata's where it reads like one, else the file's stem. Notes say which pages were read by OCR,
    and which were left out for want of it.

    Raises:
        FileRefused: `encrypted_pdf`, `broken_pdf`, `limit_max_pages`, `limit_max_text_mb`, `limit_parse_seconds`, or
            `no_text` for a PDF of scans that cannot be read here.
    """
    with _LOCK:
        raw = _extract(content, name, limits)
    texts = _tidy(raw.pages)
    if not any(c.isalnum() for text in texts for c in text):
        raise _no_text(name, len(texts), raw, limits)
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
        notes=tuple(_notes(raw, limits)),
    )


def _no_text(name: str, pages: int, raw: _Raw, limits: Limits) -> FileRefused:
    hint = "Scan it again with more contrast, or give a PDF with text; OCR found no words in it."
    if raw.unread:
        hint = ocr.way_out(limits)
    elif not raw.recognised and not ocr.available(limits):
        hint = ocr.INSTALL
    return FileRefused(f"{name!r} has {pages:,} page(s) and no text: it is made of images", hint=hint, code="no_text")


def _notes(raw: _Raw, limits: Limits) -> list[str]:
    notes = []
    if raw.recognised:
        notes.append(f"read by OCR ({limits.ocr_languages}): {_listed(raw.recognised)}")
    if raw.unread:
        why = "OCR is turned off" if limits.ocr == "off" else "Tesseract is not installed"
        notes.append(f"scanned and left out, because {why}: {_listed(raw.unread)}")
    return notes


def _listed(numbers: Sequence[int]) -> str:
    """Page numbers as a person writes them: `page 3`, `pages 1-4, 9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    parts = [str(a) if a == b else f"{a}-{b}" for a, b in runs]
    shown = ", ".join(parts[:20]) + (" and more" if len(parts) > 20 else "")
    return f"page{'s' if len(numbers) > 1 else ''} {shown}"


def _extract(content: bytes, name: str, limits: Limits) -> _Raw:
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
        limits.check(name, "max_pages", len(document), "pages")  # before a page is looked at
        raw = _Raw()
        started, length = time.monotonic(), 0
        for index in range(len(document)):
            raw.pages.append(_page_text(document, index, name, limits, raw, started))
            length += len(raw.pages[-1])
            limits.check(name, "max_text_mb", length / 1e6, "million characters")
        raw.title = document.get_metadata_dict(skip_empty=True).get("Title")
        raw.outline = _outline(document)
        return raw
    finally:
        document.close()


def _page_text(document: PdfDocument, index: int, name: str, limits: Limits, raw: _Raw, started: float) -> str:
    import pypdfium2

    # A page that cannot be read refuses the file: a document with a silent hole would answer wrongly for
    # ever.
    try:
        page = document[index]
    except pypdfium2.PdfiumError as exc:
        raise _broken(name, f"page {index + 1} cannot be read") from exc
    try:
        text = _text_layer(page)
        if not _is_scan(page, text):
            return text
        if not ocr.available(limits):
            raw.unread.append(index + 1)
            return text
        left = limits.parse_seconds - (time.monotonic() - started)
        if left < limits.parse_seconds * 0.05:  # said here, while it can still be said what took so long
            raise limits.too_slow(f"{name} ({len(raw.recognised):,} of its scanned pages took all the time)")
        image = _rendered(page, name, index)
        try:
            seen = ocr.recognise(image, limits, name, left)
        finally:
            image.close()
        raw.recognised.append(index + 1)
        return seen if _words(seen) >= max(_FEW_WORDS, _words(text)) else text
    finally:
        page.close()


def _text_layer(page: PdfPage) -> str:
    text_page = page.get_textpage()
    try:
        # In order of the content stream, with better line ends; but beyond the basic plane only the other
        # call is right.
        text = text_page.get_text_range()
        bounded = text_page.get_text_bounded()
    finally:
        text_page.close()
    return bounded.replace("\x02", _BROKEN_HYPHEN) if max(bounded, default="") > "\uffff" else text


def _is_scan(page: PdfPage, text: str) -> bool:
    """Hardly any text, and a picture; beside a little text it must be a large one."""
    import pypdfium2

    words = _words(text)
    if words >= _HARDLY_ANY:
        return False
    whole = max(page.get_width() * page.get_height(), 1.0)
    for picture in page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        if not words:
            return True
        try:
            left, bottom, right, top = picture.get_bounds()
        except pypdfium2.PdfiumError:
            continue
        if (right - left) * (top - bottom) >= whole * _LEAST_SHARE:
            return True
    return False


def _rendered(page: PdfPage, name: str, index: int) -> Image:
    """The page as a scanner would see it, however large it says it is."""
    import pypdfium2

    width, height = page.get_size()
    most = sqrt(ocr.READ_PIXELS / max(width * height, 1.0))
    try:
        bitmap = page.render(scale=min(_SCAN_DPI / 72, most), grayscale=True)
    except (pypdfium2.PdfiumError, ValueError) as exc:
        raise _broken(name, f"page {index + 1} cannot be drawn") from exc
    try:
        return bitmap.to_pil().copy()
    finally:
        bitmap.close()


def _words(text: str) -> int:
    """Letters and digits: what makes a text more than its spaces and rules."""
    return sum(c.isalnum() for c in text)


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
