"""The sentences in which a file is refused: what is wrong with it, and what its owner can do."""

from __future__ import annotations

from kernel.errors import FileRefused

SUPPORTED = (
    "Reprise reads Markdown, reStructuredText, plain text, HTML, XML, JSON, CSV, program source, notebooks (.ipynb), "
    "PDF, Word (.docx), PowerPoint (.pptx), Excel (.xlsx, .xls), OpenDocument (.odt, .ods), EPUB, RTF, mail (.eml, "
    ".msg) and images with words in them (PNG, JPEG, TIFF, BMP, GIF, WebP)."
)


def damaged(name: str, what: str, why: str, code: str) -> FileRefused:
    """The error for a document of a known format that its parser cannot read."""
    return FileRefused(
        f"{name!r} is a damaged {what}: {why[:200]}",
        hint="Open it in its own program, save it again and retry.",
        code=code,
    )


def locked(name: str, what: str, code: str) -> FileRefused:
    """The error for a document with a password."""
    return FileRefused(
        f"{name!r} is {what} with a password",
        hint="Open it, save a copy without the password and give that.",
        code=code,
    )


def wordless(name: str, hint: str) -> FileRefused:
    """The error for a document that holds no words."""
    return FileRefused(f"{name!r} has no text in it", hint=hint, code="no_text")


def empty(name: str) -> FileRefused:
    """The error for a file without a visible character."""
    return FileRefused(f"{name!r} is empty", hint="Give a file that has text in it.", code="empty_file")
