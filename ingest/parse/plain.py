"""Plain text: the file as it is written, without structure.

Files that are made of lines (tables as CSV, data, logs, programs) are one block, so that they are cut between
lines.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from ingest.parse.detect import decode, stem
from kernel.types import Parsed

_LINES = re.compile(
    r"\.(csv|tsv|jsonl?|ndjson|ipynb|log|xml|svg|ya?ml|toml|ini|cfg|conf|env|sql|css|pyi?|jsx?|tsx?|java|kt|c|h|cc"
    r"|cpp|hpp|cs|go|rs|rb|php|sh|bash|ps1|r|scala|swift|lua|pl)"
)


def read(content: bytes, name: str) -> Parsed:
    """The decoded text. The title is the file's stem.

    Raises:
        FileRefused: `undecodable_text` or `binary_content`.
    """
    text = decode(content, name)
    lines = _LINES.fullmatch(PurePath(name).suffix.lower()) is not None
    return Parsed(
        text=text,
        title=stem(name),
        media_type="text/plain",
        blocks=((0, len(text)),) if lines else (),
    )
