"""Plain text: the file as it is written, without structure.

Logs and other files that are made of lines are one block, so that they are cut between lines.
"""

from __future__ import annotations

from pathlib import PurePath

from ingest.parse.encoding import decode_noting
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.titles import stem
from kernel.types import Parsed

MEDIA_TYPE = "text/plain"

_LINES = frozenset({".log", ".srt", ".vtt"})


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The decoded text. The title is the file's stem.

    Raises:
        FileRefused: `undecodable_text`, `binary_content` or `limit_max_text_mb`.
    """
    text, notes = decode_noting(content, name)
    limits.check(name, "max_text_mb", len(text) / 1e6, "million characters")
    return Parsed(
        text=text,
        title=stem(name),
        media_type=MEDIA_TYPE,
        blocks=((0, len(text)),) if PurePath(name).suffix.lower() in _LINES else (),
        notes=notes,
    )
