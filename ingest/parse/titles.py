"""What a document is called: by its metadata where a person wrote that, else by its file name."""

from __future__ import annotations

import re
from pathlib import PurePath

from ingest.parse.encoding import clean

MAX_HEADING_CHARS = 200
"""A "heading" longer than this is text that someone styled, and is kept as text."""


def one_line(text: str) -> str:
    """`text` with every run of whitespace as one space, and without what takes no space."""
    return " ".join(clean(text).replace("\u200b", "").replace("\ufeff", "").split())


def stem(name: str) -> str:
    """The title of last resort: the file name without folder and suffix."""
    path = PurePath(clean(name))
    return " ".join((path.stem or path.name or "untitled").split())[:200] or "untitled"


def plausible_title(title: str | None) -> str | None:
    """A title from a file's metadata if a person could have meant it, else None: programs leave much."""
    title = one_line(title or "")
    if not 2 <= len(title) <= MAX_HEADING_CHARS or not any(c.isalpha() for c in title) or "\ufffd" in title:
        return None
    if any(ord(c) < 32 for c in title) or re.search(r"\.\w{2,5}$", title):
        return None
    if re.match(
        r"(?i)(\W|untitled|unknown|microsoft word\b|powerpoint|word document$|document\d*$|slide \d"
        r"|(no|kein) (title|subject)$|presentation\d*$|pptx? presentation$)",
        title,
    ):
        return None
    return title
