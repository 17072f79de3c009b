"""Files from the test suites of other projects: each is read with exact structure, or refused with a known code."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from ingest.parse import parse
from ingest.parse.limits import DEFAULT
from kernel.errors import FileRefused
from kernel.types import Parsed

DATA = Path(os.environ.get("REPRISE_EVAL_DATA", "")) / "messy_files"
REFUSALS = {
    "empty_file",
    "binary_content",
    "unsupported_type",
    "undecodable_text",
    "no_text",
    "ocr_missing",
    "ocr_failed",
    "unsafe_xml",
}

pytestmark = [
    pytest.mark.evaldata,
    pytest.mark.integration,
    pytest.mark.skipif(not os.environ.get("REPRISE_EVAL_DATA") or not DATA.is_dir(), reason="needs messy_files"),
]


def messy() -> list[Path]:
    return sorted(path for path in DATA.rglob("*") if path.is_file()) if DATA.is_dir() else []


def assert_exact(parsed: Parsed) -> None:
    text = parsed.text
    assert any(character.isalnum() for character in text)
    assert not {"\0", "\r"} & set(text)
    text.encode()
    assert parsed.title == " ".join(parsed.title.split())
    assert all(0 <= h.start < len(text) and 1 <= h.level <= 9 and h.title for h in parsed.headings)
    assert all(a.start < b.start for a, b in pairwise(parsed.headings))
    assert all(0 <= start < end <= len(text) and text[start:end].strip() for start, end in parsed.blocks)
    assert all(a[1] <= b[0] for a, b in pairwise(parsed.blocks))
    assert all(0 <= p.start <= p.end <= len(text) for p in parsed.pages)
    assert all(a.end <= b.start and b.page == a.page + 1 for a, b in pairwise(parsed.pages))


@pytest.mark.parametrize("file", messy(), ids=lambda path: path.name)
def test_a_messy_file_is_read_exactly_or_refused_with_a_known_code(file: Path) -> None:
    try:
        parsed = parse(file.read_bytes(), file.name, DEFAULT)
    except FileRefused as exc:
        refused = exc
    else:
        assert_exact(parsed)
        return
    assert refused.hint
    assert repr(file.name) in refused.message
    assert refused.code in REFUSALS or refused.code.startswith(("broken_", "encrypted_", "limit_"))
