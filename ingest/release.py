"""A release: many files that become visible together, in one epoch, however many batches they came in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ingest.incoming import failure_row
from ingest.wave import Item, Waves
from kernel.epochs import Epochs
from kernel.errors import RepriseError, UserError


class Release:
    """What is staged so far, over all batches."""

    def __init__(self, waves: Waves, epochs: Epochs) -> None:
        self._waves, self._epochs = waves, epochs
        self._items: list[Item] = []
        self._changes: list[str] = []
        self._names: set[tuple[str, str]] = set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the leases of what is staged; sweep it if the release does not come to its flip."""
        with self._epochs.keeping(self._changes):
            try:
                yield
            except BaseException:
                for item in self._items:
                    self._waves.forget(item)
                raise

    def stage(self, items: Sequence[Item], progress: Callable[[str], None]) -> None:
        """Steps 1 and 2 of a batch. A name may come once: two versions of a document cannot share an epoch."""
        for item in items:
            if item.key in self._names:
                twice = UserError(
                    f"{item.file.name!r} comes twice in one release",
                    hint="a release holds one version of a document; give one of the two another name",
                    code="twice_in_release",
                )
                item.row = failure_row(item.file, twice)
            self._names.add(item.key)
        staged = self._waves.stage([item for item in items if item.row is None])
        self._items += staged
        self._changes += [item.staged.change for item in staged if item.staged]
        self._waves.insert(staged, progress)
        for item in staged:
            self._waves.report(item)
            item.file = replace(item.file, content=b"")  # a release may be larger than memory

    def flip(self, rows: list[dict[str, Any]]) -> None:
        """Steps 3 to 5, for all of them. If that is lost to a race, nothing of it is visible, and every row says so."""
        if not self._changes:
            return
        try:
            self._epochs.flip(self._changes)
        except RepriseError as error:
            for item in self._items:
                self._waves.forget(item)
            lost = {id(item.row) for item in self._items}
            for n, one in enumerate(rows):
                if id(one) in lost:
                    rows[n] = one | {"status": "failed", "version": None, "error": error.as_json()}
