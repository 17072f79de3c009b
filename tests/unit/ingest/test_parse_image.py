"""Words in a picture are read by Tesseract; each frame of a TIFF is a page."""

from __future__ import annotations

import io
import shutil

import pytest
from PIL import Image, ImageDraw, ImageFont

from ingest.parse import parse
from ingest.parse.limits import Limits
from kernel.errors import FileRefused

needs_tesseract = pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")


def picture(words: str) -> Image.Image:
    image = Image.new("RGB", (900, 200), "white")
    ImageDraw.Draw(image).text((30, 60), words, fill="black", font=ImageFont.load_default(64))
    return image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@needs_tesseract
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "GIF"])
def test_words_are_read_in_every_format(kind: str) -> None:
    parsed = parse(saved(picture("Green tea"), kind), "a.md")
    assert parsed.text == "Green tea"
    assert parsed.media_type == f"image/{kind.lower()}"
    assert any("OCR" in note for note in parsed.notes)


@needs_tesseract
def test_each_frame_of_a_tiff_is_a_page() -> None:
    content = saved(picture("Page one"), "TIFF", save_all=True, append_images=[picture(""), picture("Page three")])
    parsed = parse(content, "scan.tiff")
    assert parsed.text == "Page one\n\nPage three"
    assert [parsed.text[p.start : p.end] for p in parsed.pages] == ["Page one", "", "Page three"]
    with pytest.raises(FileRefused) as caught:
        parse(content, "scan.tiff", Limits(max_pages=2))
    assert caught.value.code == "limit_max_pages"


@needs_tesseract
def test_a_picture_without_words_is_refused() -> None:
    with pytest.raises(FileRefused) as caught:
        parse(saved(picture(""), "PNG"), "a.png")
    assert caught.value.code == "no_text"


def test_a_missing_tesseract_is_told_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileRefused) as caught:
        parse(saved(picture("Green tea"), "PNG"), "a.png")
    assert caught.value.code == "ocr_missing"
    assert "tesseract" in caught.value.hint.lower()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF"])
def test_damage_is_refused(kind: str) -> None:
    content = saved(picture("Green tea"), kind)
    with pytest.raises(FileRefused) as caught:
        parse(content[: len(content) // 3] if kind != "TIFF" else content[:200] + bytes(50), "a.bin")
    assert caught.value.code in ("broken_image", "no_text")
