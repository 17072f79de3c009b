"""A scanned page is read where that is possible, and said to be missing where it is not."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
from PIL import Image, ImageDraw, ImageFont

from ingest.parse import ocr, pdf
from ingest.parse.limits import DEFAULT
from kernel.errors import FileRefused

reportlab = pytest.importorskip("reportlab")
from reportlab.lib.utils import ImageReader  # noqa: E402
from reportlab.pdfgen.canvas import Canvas  # noqa: E402

WORDS = "The walrus eats clams"
needs_tesseract = pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")


@pytest.fixture
def without_tesseract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


def picture(text: str = WORDS, mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (1000, 300), "white")
    if text:
        ImageDraw.Draw(image).text((40, 80), text, fill="black", font=ImageFont.load_default(70))
    return image


def made(*pages: str | Image.Image | tuple[str, Image.Image]) -> bytes:
    """A PDF: of each page its line of text, its picture from edge to edge, or both."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(500, 150))
    for page in pages:
        text, image = page if isinstance(page, tuple) else (page, page)
        if isinstance(image, Image.Image):
            canvas.drawImage(ImageReader(image), 0, 0, 500, 150)
        if isinstance(text, str):
            canvas.drawString(20, 10, text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def refused(call: Callable[[], object]) -> FileRefused:
    with pytest.raises(FileRefused) as caught:
        call()
    assert caught.value.hint
    return caught.value


@needs_tesseract
def test_a_mixed_document_keeps_its_text_and_has_its_scans_read() -> None:
    parsed = pdf.read(made("A page of text in its own right.", picture(), "More text, page three."), "a.pdf")
    shown = [parsed.text[page.start : page.end] for page in parsed.pages]
    assert shown == ["A page of text in its own right.", WORDS, "More text, page three."]
    assert parsed.notes == ("read by OCR (eng): page 2",)


@needs_tesseract
def test_a_scan_with_a_stamp_is_read_and_a_page_with_a_logo_is_not() -> None:
    parsed = pdf.read(made(("p. 7", picture()), ("This page has text beside its picture.", picture(""))), "a.pdf")
    shown = [parsed.text[page.start : page.end] for page in parsed.pages]
    assert WORDS in shown[0]
    assert shown[1] == "This page has text beside its picture."
    assert parsed.notes == ("read by OCR (eng): page 1",)


@needs_tesseract
def test_a_scan_without_words_is_refused() -> None:
    assert refused(lambda: pdf.read(made(picture("")), "blank.pdf")).code == "no_text"


def test_without_tesseract_the_text_is_kept_and_the_gap_is_told(without_tesseract: None) -> None:
    parsed = pdf.read(made(picture(), picture(), "A page of text in its own right.", picture()), "a.pdf")
    assert parsed.text.strip() == "A page of text in its own right."
    assert parsed.notes == ("scanned and left out, because Tesseract is not installed: pages 1-2, 4",)


def test_without_tesseract_a_document_of_scans_says_how_to_get_it(without_tesseract: None) -> None:
    error = refused(lambda: pdf.read(made(picture()), "scan.pdf"))
    assert error.code == "no_text"
    assert "apt-get install tesseract-ocr" in error.hint
    assert "brew install tesseract" in error.hint
    error = refused(lambda: ocr.recognise(picture()))
    assert (error.code, "apt-get" in error.hint) == ("ocr_missing", True)


def test_ocr_that_is_turned_off_is_not_used() -> None:
    off = replace(DEFAULT, ocr="off")
    assert not ocr.available(off)
    error = refused(lambda: pdf.read(made(picture()), "scan.pdf", off))
    assert (error.code, "REPRISE_OCR=auto" in error.hint) == ("no_text", True)
    parsed = pdf.read(made("A page of text in its own right.", picture()), "a.pdf", off)
    assert parsed.notes == ("scanned and left out, because OCR is turned off: page 2",)


def test_too_many_pages_are_refused_before_one_is_read() -> None:
    error = refused(lambda: pdf.read(made("one", "two", "three"), "a.pdf", replace(DEFAULT, max_pages=2)))
    assert (error.code, "3 pages" in error.message) == ("limit_max_pages", True)


def test_text_without_end_is_refused_while_it_grows() -> None:
    line = "word " * 400
    error = refused(lambda: pdf.read(made(*[line] * 600), "a.pdf", replace(DEFAULT, max_text_mb=1)))
    assert error.code == "limit_max_text_mb"


@needs_tesseract
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
def test_images_of_every_mode_are_read(mode: str) -> None:
    assert ocr.recognise(picture().convert(mode)) == WORDS


@needs_tesseract
def test_words_on_a_transparent_ground_are_read() -> None:
    clear = Image.new("RGBA", (1000, 300), (0, 0, 0, 0))
    ImageDraw.Draw(clear).text((40, 80), WORDS, fill=(0, 0, 0, 255), font=ImageFont.load_default(70))
    assert ocr.recognise(clear) == WORDS


@needs_tesseract
def test_a_language_that_is_not_there_is_named() -> None:
    error = refused(lambda: ocr.recognise(picture(), replace(DEFAULT, ocr_languages="xyz")))
    assert error.code == "ocr_missing"
    assert "'xyz'" in error.message
    assert "REPRISE_OCR_LANGUAGES" in error.hint


@needs_tesseract
def test_an_image_that_takes_too_long_is_given_up() -> None:
    assert refused(lambda: ocr.recognise(picture(), seconds=0.01)).code == "limit_parse_seconds"


def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    out = io.BytesIO()
    Image.new("1", (13_000, 12_000)).save(out, "PNG")
    for content in (out.getvalue(), b"\x89PNG\r\n\x1a\n no more"):
        error = refused(lambda given=content: ocr.open_image(given, "a.png"))  # type: ignore[misc]
        assert error.code == ("limit_image_pixels" if len(content) > 100 else "broken_image")
    with ocr.open_image(_png(picture()), "a.png") as image:
        assert image.size == (1000, 300)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
