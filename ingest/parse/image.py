"""Images: what Tesseract reads in them; each frame of a TIFF is a page.

Of an animation only the first picture is read. It knows nothing of how words are recognised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.parse.compose import Composer
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import wordless
from ingest.parse.titles import stem
from kernel.types import Parsed

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "BMP", "GIF", "WEBP")


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The words in the image, a paragraph for each block of lines. The title is the file's stem.

    Raises:
        FileRefused: `ocr_missing`, `broken_image`, a limit, or `no_text`.
    """
    from PIL import Image

    from ingest.parse import ocr

    composer = Composer(name, limits)
    with ocr.open_image(content, name) as image:
        if image.format not in _FORMATS:
            raise ValueError(f"it is of type {image.format}")
        frames = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        limits.check(name, "max_pages", frames, "pages")
        media_type = Image.MIME.get(image.format, "image/png")
        for frame in range(frames):
            if image.format == "TIFF":
                image.seek(frame)
                composer.page()
            for paragraph in ocr.recognise(_upright(image), limits, name).split("\n\n"):
                composer.paragraph(paragraph)
        if image.format == "GIF" and getattr(image, "n_frames", 1) > 1:
            composer.note("Only the first picture of the animation was read.")
    if composer.is_empty:
        raise wordless(name, "No words were recognised in it. A larger or sharper picture may help.")
    composer.note("The text was recognised in a picture (OCR) and may hold mistakes.")
    return composer.finish(title=stem(name), media_type=media_type)


def _upright(image: Image.Image) -> Image.Image:
    """The picture as it is meant to be looked at: cameras note which side is up."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)
