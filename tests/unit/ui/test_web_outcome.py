"""What became of files, sources and the index, in words that people read."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("streamlit")

ROW: dict[str, Any] = {
    "path": "a.md",
    "name": "a.md",
    "document": "doc-1",
    "version": 3,
    "status": "published",
    "chunks_total": 4,
    "chunks_new": 1,
    "chunks_kept": 3,
    "chunks_retired": 2,
    "notes": [],
    "same_as": [],
    "error": None,
}
EVIL = "<img src=x onerror=alert(1)>.md"


def test_a_row_tells_the_version_and_what_was_new_kept_and_retired() -> None:
    from ui.web.outcome import cells

    name, status, *counts = cells(ROW)
    assert "a.md" in name
    assert "published" in status
    assert counts == ["3", "4", "1", "3", "2"]


def test_names_notes_and_errors_of_a_row_are_escaped() -> None:
    from ui.web.outcome import cells

    error = {"code": "damaged", "message": f"{EVIL} is damaged", "hint": f"mend {EVIL}"}
    row = ROW | {"name": EVIL, "notes": [EVIL], "same_as": [EVIL], "status": "refused", "error": error}
    name, _, *counts = cells(row)
    assert "<img" not in name
    assert name.count("&lt;img") == 5
    assert set(counts) == {"\N{EN DASH}"}


def test_an_error_stands_with_what_to_do() -> None:
    from ui.web.client import trouble

    assert trouble({"code": "x", "message": "it is empty", "hint": "give a file"}) == "It is empty. Give a file"
    assert "Continue documents" in trouble({"code": "name_taken", "message": "taken", "hint": "use --as"})


def test_a_look_at_a_source_is_told_in_words() -> None:
    from ui.web.views.sources import told_of

    nothing = dict.fromkeys(("created", "changed", "moved", "deleted", "unchanged", "failed", "waiting"), 0)
    assert told_of(None) == "not looked at yet"
    assert told_of(nothing | {"error": None}) == "nothing there"
    assert told_of(nothing | {"created": 2, "failed": 1, "error": None}) == "2 new, 1 failed"
    assert told_of(nothing | {"created": 2, "error": {"message": "gone"}}) == "2 new, ended early"


def test_almost_the_same_is_never_told_as_the_same() -> None:
    from ui.web.views.copies import likeness

    assert [likeness(share) for share in (1, 0.999, 0.8)] == ["100 %", "99 %", "80 %"]


def test_a_rule_of_retention_is_told_in_words() -> None:
    from ui.web.views.retention import DAYS, NEWEST, words

    assert words(NEWEST, 1) == "keep the newest version of each document"
    assert words(NEWEST, 3) == "keep the newest 3 versions of each document"
    assert words(DAYS, 30) == "keep a version for 30 days after the next one replaced it"


def test_a_large_file_is_sent_alone() -> None:
    from ui.over_http.sending import LARGE_BYTES
    from ui.web.views.upload import batches

    class File:
        def __init__(self, name: str, size: int) -> None:
            self.name, self._size = name, size

        def getvalue(self) -> bytes:
            return bytes(self._size)

    files = [File("a", 1), File("b", LARGE_BYTES + 1), File("c", 1), File("d", 1)]
    assert [[f.name for f in batch] for batch in batches(files, "default", "", None, False)] == [
        ["a"],
        ["b"],
        ["c", "d"],
    ]


def test_a_version_is_told_with_its_dates_its_cause_and_its_notes_escaped() -> None:
    from ui.web.views.document import _row

    version = {
        "version": 2,
        "pending": False,
        "state": "superseded",
        "from": "2026-01-02T03:04:00.000Z",
        "until": "2026-02-02T03:04:00.000Z",
        "expired": None,
        "cause": "restore",
        "notes": [EVIL],
        "chunks_new": 1,
        "chunks_kept": 2,
        "chunks_retired": 3,
        "epoch": 4,
        "sha256": "a" * 64,
    }
    row = _row(version)
    assert row[0] == "2"
    assert "superseded" in row[1]
    assert "2026-01-02 03:04" in row[2]
    assert "until 2026-02-02 03:04" in row[2]
    assert "restored" in row[3]
    assert "<img" not in row[3]
    assert row[4:8] == ["1", "2", "3", "4"]
    assert "to come" in _row(version | {"pending": True, "state": "staged"})[1]
