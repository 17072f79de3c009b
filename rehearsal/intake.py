"""Taking rows of examples in: each grounded on the live text, in batches, with a word on every row that is not new.

A row that is wrong never keeps the others out, and what is refused or replaced is told with its line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ingest.library import Library
from kernel.database import Database
from kernel.errors import RepriseError, TryAgain
from rehearsal import rows
from rehearsal.examples import MOVED, Examples, NewExample
from rehearsal.ground import ground
from rehearsal.rows import Row
from rehearsal.tables import UNNAMED

_BATCH = 256
_ATTEMPTS = 5
Parse = Callable[[dict[str, Any]], NewExample]


@dataclass(slots=True, kw_only=True)
class _Counts:
    """What became of the rows so far. Every row counts once in imported, skipped, quarantined or errors."""

    imported: int = 0
    skipped: int = 0
    quarantined: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    duplicates: list[dict[str, Any]] = field(default_factory=list)
    replaced: list[dict[str, Any]] = field(default_factory=list)


class Intake:
    """Imports of a platform."""

    def __init__(self, db: Database, library: Library, examples: Examples) -> None:
        self._db, self._library, self._examples = db, library, examples

    def take(self, content: str, workspace: str, slice_name: str | None = None, actor: str = "local") -> dict[str, Any]:
        """Take the rows of JSON lines or a CSV: `{"imported", "skipped", "quarantined", "duplicates", "replaced",
        "ignored", "errors"}`, of which the first three are counts and `skipped` holds the duplicates too.

        Raises:
            UserError: a CSV whose header does not fit.
        """
        found = rows.read(content)
        counts = _Counts()
        parse = partial(self._parse, workspace=workspace, slice_name=slice_name)
        for start in range(0, len(found.rows), _BATCH):
            self._add(found.rows[start : start + _BATCH], parse, counts, actor)
        return {
            "imported": counts.imported,
            "skipped": counts.skipped,
            "quarantined": counts.quarantined,
            "duplicates": counts.duplicates,
            "replaced": counts.replaced,
            "ignored": list(found.ignored),
            "errors": counts.errors,
        }

    def _parse(self, row: dict[str, Any], workspace: str, slice_name: str | None) -> NewExample:
        with self._db.read() as session:
            quotes = tuple(ground(session, self._library, row, workspace))
        return NewExample(
            workspace=workspace,
            question=row["question"],
            quotes=quotes,
            answer=row.get("answer"),
            preferred=row.get("preferred"),
            rejected=row.get("rejected"),
            slice=slice_name or row.get("slice") or UNNAMED,
            licence=row.get("licence"),
            pinned=row.get("pinned", False),
            standalone=row.get("standalone", False),
            split=row.get("split"),
        )

    def _add(self, batch: Sequence[Row], parse: Parse, counts: _Counts, actor: str) -> None:
        for attempt in range(_ATTEMPTS):
            parsed, wrong = _parsed(batch, parse)
            try:
                taken = self._examples.take([new for _, new in parsed], actor=actor)
                break
            except TryAgain as error:  # a document has another version since its row was grounded: then on that
                if error.code != MOVED or attempt == _ATTEMPTS - 1:
                    raise
        counts.errors += wrong
        for (line, new), one in zip(parsed, taken, strict=True):
            if one.example is None:
                counts.skipped += 1
                counts.duplicates.append({"line": line, "of": one.of, "why": one.why})
                continue
            counts.quarantined += bool(new.reason)
            counts.imported += not new.reason
            counts.replaced += [{"line": line, "of": of, "why": why} for of, why in one.replaced]


def _parsed(batch: Sequence[Row], parse: Parse) -> tuple[list[tuple[int, NewExample]], list[dict[str, Any]]]:
    """What rows say, by their lines, and what is wrong with the others."""
    found: list[tuple[int, NewExample]] = []
    wrong: list[dict[str, Any]] = []
    for row in batch:
        try:
            if row.error:
                wrong.append({"line": row.line, "message": row.error})
            else:
                found.append((row.line, parse(row.fields)))
        except RepriseError as error:
            hint = f" ({error.hint})" if error.hint else ""
            wrong.append({"line": row.line, "message": error.message + hint})
    return found, wrong
