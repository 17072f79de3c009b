"""Bytes to one clean text with structure: the only door to the parsers.

The content decides which parser reads a file; its name only tells kinds of text apart. A file either becomes
a `Parsed` or is refused with `FileRefused`: no exception of a parsing library leaves this package. It does
not know where the bytes came from, nor about documents, versions or chunks.
"""

from __future__ import annotations

from ingest.parse.detect import SUPPORTED, Kind, detect
from kernel.errors import FileRefused
from kernel.types import Parsed

MAX_BYTES = 250 * 2**20


def parse(content: bytes, name: str, *, max_bytes: int = MAX_BYTES) -> Parsed:
    """Read `content` into text, headings, pages and blocks.

    The text holds no NUL, no carriage return and no lone surrogate; headings, pages and blocks lie within it,
    in order. The same bytes and name always give the same result.

    Args:
        content: the whole file.
        name: its file name, with or without a path; used for messages, for the title of last resort, and to
            tell Markdown, HTML and plain text apart.
        max_bytes: refuse anything larger.

    Raises:
        FileRefused: `too_large`, `empty_file`, `binary_content`, `unsupported_type`, `undecodable_text`,
            `no_text`, `encrypted_pdf`, `encrypted_docx`, or `broken_<type>` for a file that its parser could
            not read.
    """
    if len(content) > max_bytes:
        raise FileRefused(
            f"{name!r} has {len(content):,} bytes; the limit is {max_bytes:,}",
            hint="Split the file, or raise the limit.",
            code="too_large",
        )
    kind = detect(content, name)
    try:
        return _read(kind, content, name)
    except FileRefused:
        raise
    except Exception as exc:
        raise FileRefused(
            f"{name!r} could not be read as {_WORDS[kind]}: {type(exc).__name__}: {str(exc)[:200]}",
            hint=f"Open it in its own program, save it again and retry. {SUPPORTED}",
            code=f"broken_{kind}",
        ) from exc


_WORDS: dict[Kind, str] = {
    "markdown": "Markdown",
    "html": "HTML",
    "plain": "plain text",
    "pdf": "PDF",
    "docx": "a Word document",
}


def _read(kind: Kind, content: bytes, name: str) -> Parsed:
    # Parsers are imported when first needed: each brings its own library, and most commands need none of
    # them.
    match kind:
        case "markdown":
            from ingest.parse import markdown

            return markdown.read(content, name)
        case "html":
            from ingest.parse import html

            return html.read(content, name)
        case "pdf":
            from ingest.parse import pdf

            return pdf.read(content, name)
        case "docx":
            from ingest.parse import docx

            return docx.read(content, name)
        case "plain":
            from ingest.parse import plain

            return plain.read(content, name)
