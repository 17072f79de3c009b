"""Bytes to one clean text with structure: the only door to the parsers.

The content decides which parser reads a file; its name only tells kinds of text apart. A file either becomes
a `Parsed` or is refused with `FileRefused`: no exception of a parsing library leaves this package. It does
not know where the bytes came from, nor about documents, versions or chunks.
"""

from __future__ import annotations

from importlib import import_module

from ingest.parse.detect import Kind, detect
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import SUPPORTED
from kernel.errors import FileRefused
from kernel.types import Parsed

# Kind of file: the module whose `read` reads it, and what people call it.
_READERS: dict[Kind, tuple[str, str]] = {
    "markdown": ("markdown", "Markdown"),
    "rst": ("rst", "reStructuredText"),
    "html": ("html", "HTML"),
    "xml": ("xml", "XML"),
    "json": ("json", "JSON"),
    "jsonl": ("json", "JSON lines"),
    "csv": ("csv", "a table of values (CSV)"),
    "ipynb": ("notebook", "a Jupyter notebook"),
    "source": ("source", "program source"),
    "plain": ("plain", "plain text"),
    "eml": ("eml", "a mail message"),
    "rtf": ("rtf", "rich text (RTF)"),
    "pdf": ("pdf", "PDF"),
    "docx": ("docx", "a Word document"),
    "pptx": ("pptx", "a PowerPoint presentation"),
    "xlsx": ("sheet", "an Excel workbook"),
    "xls": ("sheet", "an Excel workbook"),
    "ods": ("sheet", "an OpenDocument spreadsheet"),
    "odt": ("odt", "an OpenDocument text"),
    "epub": ("epub", "an EPUB book"),
    "msg": ("msg", "an Outlook message"),
    "image": ("image", "an image"),
}


def parse(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """Read `content` into text, headings, pages and blocks.

    The text holds no NUL, no carriage return and no lone surrogate; headings, pages and blocks lie within it,
    in order. The same bytes and name always give the same result.

    Args:
        content: the whole file.
        name: its file name, with or without a path; used for messages, for the title of last resort, and to
            tell kinds of text apart.
        limits: what the file may cost. Time and memory are the business of whoever runs this.

    Raises:
        FileRefused: `limit_<limit>`, `empty_file`, `binary_content`, `unsupported_type`, `undecodable_text`,
            `no_text`, `ocr_missing`, `ocr_failed`, `unsafe_xml`, `encrypted_<type>`, or `broken_<type>` for a file
            that its parser could not read.
    """
    limits.check_size(name, len(content))
    kind = detect(content, name)
    module, words = _READERS[kind]
    try:
        # Readers are imported when first needed: each brings its own library, and most commands need none of them.
        parsed: Parsed = import_module(f"ingest.parse.{module}").read(content, name, limits)
    except FileRefused:
        raise
    except Exception as exc:
        raise FileRefused(
            f"{name!r} could not be read as {words}: {type(exc).__name__}: {str(exc)[:200]}",
            hint=f"Open it in its own program, save it again and retry. {SUPPORTED}",
            code=f"broken_{kind}",
        ) from exc
    limits.check(name, "max_text_mb", len(parsed.text) / 1e6, "million characters of text")
    return parsed
