"""Words in pictures, through Tesseract where it is installed.

It takes an image that is already open, and bounds its pixels and its time. It knows nothing of pages or formats.
"""

from __future__ import annotations

import shutil
import warnings
from io import BytesIO
from math import sqrt
from typing import TYPE_CHECKING

from ingest.parse.detect import clean
from ingest.parse.limits import DEFAULT, Limits
from kernel.errors import FileRefused

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 150_000_000
"""Pixels of an image that is opened at all: A3 at 600 dpi has 70 million."""
READ_PIXELS = 25_000_000
"""An image with more is made smaller before it is read: A4 at 400 dpi has 15 million."""
INSTALL = (
    "Install Tesseract (`apt-get install tesseract-ocr`, or `brew install tesseract`) and try again, or run OCR on it "
    "first (for example `ocrmypdf IN.pdf OUT.pdf`) and give the result."
)


def available(limits: Limits = DEFAULT) -> bool:
    """True where `recognise` can work: OCR is not turned off, and Tesseract is installed."""
    return limits.ocr != "off" and shutil.which("tesseract") is not None


def way_out(limits: Limits) -> str:
    """What a person can do where `available` is False."""
    return "Set REPRISE_OCR=auto, or give a file with text." if limits.ocr == "off" else INSTALL


def open_image(content: bytes, name: str) -> Image:
    """An image by its bytes, its pixels not yet decoded. The caller closes it.

    Raises:
        FileRefused: `limit_image_pixels`, or `broken_image` for what no image library reads.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ours is the check below
            image = Image.open(BytesIO(content))
    except Image.DecompressionBombError as error:  # it counts before we can
        raise _too_many_pixels(name, "too many") from error
    except Exception as error:
        why = "it is damaged" if isinstance(error, UnidentifiedImageError) else str(error)[:200]
        raise FileRefused(
            f"{name!r} cannot be read as an image: {why}",
            hint="Open it in an image viewer, save it again as PNG and retry.",
            code="broken_image",
        ) from error
    try:
        check_pixels(image.width, image.height, name)
    except FileRefused:
        image.close()
        raise
    return image


def check_pixels(width: int, height: int, name: str) -> None:
    """Refuse an image before its pixels take the memory.

    Raises:
        FileRefused: `limit_image_pixels`.
    """
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(name, f"{width:,} x {height:,}")


def recognise(image: Image, limits: Limits = DEFAULT, name: str = "image", seconds: float | None = None) -> str:
    """The words of an image, line by line; empty where there are none.

    Args:
        image: open, of any mode; it is left as it is.
        name: used for messages.
        seconds: time for this image, if it is less than that of a whole file.

    Raises:
        FileRefused: `ocr_missing` without Tesseract or one of its languages, `limit_image_pixels`,
            `limit_parse_seconds`, or `ocr_failed`.
    """
    if not available(limits):
        why = "OCR is turned off" if limits.ocr == "off" else "Tesseract is not installed"
        raise FileRefused(
            f"{name!r} is a picture, and its words cannot be read: {why}", hint=way_out(limits), code="ocr_missing"
        )
    import pytesseract

    check_pixels(image.width, image.height, name)
    most = min(seconds or limits.parse_seconds, limits.parse_seconds)
    try:
        grey = _prepared(image)
        text = pytesseract.image_to_string(grey, lang=limits.ocr_languages, timeout=max(most, 0.1))
    except pytesseract.TesseractError as error:
        raise _failed(error, limits, name) from error
    except RuntimeError as error:  # pytesseract's word for a timeout
        if "timeout" not in str(error).lower():
            raise
        raise limits.too_slow(name) from error
    return clean(str(text).replace("\f", "\n")).strip()


def _prepared(image: Image) -> Image:
    """In shades of grey, and small enough. Transparent parts become white, as on paper."""
    from PIL import Image

    if image.width * image.height > READ_PIXELS:
        shrink = sqrt(READ_PIXELS / (image.width * image.height))
        size = (max(1, int(image.width * shrink)), max(1, int(image.height * shrink)))
        image.draft("L", size)  # a JPEG is decoded small at once; others ignore it
        image = image.convert("L").resize(size)
    if "A" in image.getbands() or "transparency" in image.info:
        clear = image.convert("RGBA")
        paper = Image.new("RGBA", clear.size, "white")
        image = Image.alpha_composite(paper, clear)
    return image.convert("L")


def _failed(error: Exception, limits: Limits, name: str) -> FileRefused:
    said = " ".join(str(error).split())
    if "load" in said.lower() and "language" in said.lower():
        return FileRefused(
            f"{name!r} cannot be read: Tesseract does not have all of the languages {limits.ocr_languages!r}",
            hint="Install them (for example `apt-get install tesseract-ocr-deu`), or set REPRISE_OCR_LANGUAGES to "
            "languages that `tesseract --list-langs` lists, joined by +.",
            code="ocr_missing",
        )
    return FileRefused(
        f"{name!r} cannot be read by Tesseract: {said[:200]}",
        hint="Save the picture again as PNG with at least 200 dots per inch and retry.",
        code="ocr_failed",
    )


def _too_many_pixels(name: str, found: str) -> FileRefused:
    return FileRefused(
        f"{name!r} has {found} pixels; the limit is {MAX_PIXELS:,}",
        hint="Save it smaller: 300 dots per inch are enough to read it.",
        code="limit_image_pixels",
    )
