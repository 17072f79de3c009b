"""How files come in by a job: accepted with their bytes safe, published batch by batch, whatever happens on the way.

What became of a file is written down as soon as it is known, so an attempt that dies, is cancelled or fails leaves its
rows to the next one, and to people. A file on which workers die is set aside, and the rest of the job goes on.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ingest.archive import expand
from ingest.incoming import Incoming, failure, row
from ingest.parse.limits import Limits
from ingest.publish import live_version, named
from kernel.errors import Failed, RepriseError, UserError
from kernel.ids import derived, digest
from kernel.jobs import Cancelled, Running
from ui.operations.seat import Seat
from ui.wiring import Wired

_GROUP_FILES, _GROUP_BYTES = 16, 2 * 2**20
_File = tuple[str, Incoming]
"""(item of the job, file)"""


class Intake(Seat):
    def enqueue_ingest(self, files: Iterable[Incoming], *, together: bool = False) -> dict[str, Any]:
        """Accept files for a job: their bytes are safe, and the job in the ledger, when this returns.

        One file at a time is in memory, if `files` reads them so. `together`: they become visible in one epoch.
        """
        tickets = [ticket(file) | {"blob": self.w.blobs.put(file.content)} for file in files]
        return self.job(self._accept(tickets, together=together))

    def _accept(self, tickets: Sequence[dict[str, Any]], *, together: bool = False) -> str:
        """Enqueue files whose bytes are blobs. Their job waits for those before it that concern the same documents."""
        if not tickets:
            raise UserError("no file was sent", hint="send at least one, as multipart field `files`")
        keys = [derived("ingest", of["workspace"], of["name"]) for of in tickets]  # no names: keys outlive documents
        return self.w.ledger.enqueue("ingest", {"files": list(tickets), "together": together}, keys=keys)

    def _ingest_job(self, running: Running) -> dict[str, Any]:
        return _Attempt(self.w, running).run()


def ticket(file: Incoming) -> dict[str, Any]:
    """A file as a job's argument: everything but its bytes."""
    return {of.name: getattr(file, of.name) for of in dataclasses.fields(file) if of.name != "content"}


def so_far(outcomes: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The result of a job that is not through, from the rows of its files."""
    order = sorted(outcomes, key=lambda item: (int(item.partition("/")[0]), item))
    return {"documents": [outcomes[item] for item in order]}


class _Attempt:
    """One attempt at a job of files. The item of a file is its number in the job."""

    def __init__(self, wired: Wired, running: Running) -> None:
        self._w, self._running = wired, running
        self._tickets: list[dict[str, Any]] = running.args["files"]
        self._rows = dict(running.outcomes)
        self._limits, self._together = Limits.of(wired.settings), bool(running.args.get("together"))
        self._suspects = {suspect.item: suspect for suspect in running.suspects}

    def run(self) -> dict[str, Any]:
        started = time.perf_counter()
        for item, suspect in self._suspects.items():
            if suspect.to_blame:
                self._set_aside(item, suspect.deaths)
        self._publish(self._left() if self._together else self._beyond_doubt())
        for file in self._left():  # one at a time, so that the next death tells which
            with self._running.by_itself():
                self._publish([file])
        return so_far(self._rows) | {
            "seconds": round(time.perf_counter() - started, 3),
            "epoch": self._w.epochs.committed(),
        }

    def _beyond_doubt(self) -> Iterator[_File]:
        """Files that no worker died on, but for versions of a document that come after a suspect one."""
        doubtful: set[tuple[str, str]] = set()
        for item, file in self._left():
            document = (file.workspace, file.name)
            if item in self._suspects:
                doubtful.add(document)
            elif document not in doubtful:
                yield item, file

    def _left(self) -> Iterator[_File]:
        """Files of which nothing has become yet, in order, read as they are asked for."""
        for number, of in enumerate(self._tickets):
            item = str(number)
            if item in self._rows:
                continue
            fields = {name: value for name, value in of.items() if name != "blob"}
            fields["tags"] = tuple(fields.get("tags", ()))  # a job's arguments are JSON
            try:
                content = self._w.blobs.get(of["blob"])
            except RepriseError as error:
                self._settle({item: failure(of["path"], error) | {"name": of["name"]}})
            else:
                yield from self._opened(item, Incoming(content=content, **fields))

    def _opened(self, item: str, file: Incoming) -> Iterator[_File]:
        """A file, or the files of an archive: each has a row of its own, and so has what is wrong with one."""
        refused: list[tuple[str, RepriseError]] = []
        for inner in expand(file, self._limits, refused):
            part = item if inner is file else f"{item}/{inner.name}"
            if part not in self._rows:
                yield part, inner
        self._settle({f"{item}/{path}": failure(path, error) for path, error in refused})

    def _publish(self, files: Iterable[_File]) -> None:
        """Publish files in order; each is marked before it is given out, and settled when its row is known."""
        running, before, total = self._running, len(self._rows), len(self._tickets)
        hand: deque[_File] = deque()

        def given() -> Iterator[Incoming]:
            for some in _groups(files):
                hand.extend(some)
                running.mark([item for item, _ in hand], hand[0][1].name)
                yield from (file for _, file in some)

        def told(rows: Sequence[dict[str, Any]]) -> None:
            batch = [hand.popleft() for _ in rows]
            self._settle(
                {item: self._seen(item, file, became) for (item, file), became in zip(batch, rows, strict=True)}
            )
            if hand:
                running.mark([item for item, _ in hand], hand[0][1].name)

        def progress(stage: str, done: int, _total: int) -> None:
            running.progress(stage, before + done, total)

        try:
            became = self._w.ingest.add(given(), progress, total, told=told, together=self._together)
            if self._together:
                told(became["documents"])
        except Cancelled:  # a flip of what was in hand may have come first
            published = {item: self._published_by_us(file) for item, file in hand}
            self._settle({item: became for item, became in published.items() if became is not None})
            raise

    def _seen(self, item: str, file: Incoming, became: dict[str, Any]) -> dict[str, Any]:
        """The row of a file. One on which an attempt died may be unchanged because that attempt had published it."""
        died = item in self._suspects and became["status"] == "unchanged"
        return (self._published_by_us(file) if died else None) or became

    def _published_by_us(self, file: Incoming) -> dict[str, Any] | None:
        with self._w.db.read() as session:
            document = named(session, file.workspace, file.name)
            live = live_version(session, document.id) if document else None
        ours = live is not None and live.created >= self._running.created and live.sha256 == digest(file.content)
        if document is None or live is None or not ours:
            return None
        new, kept, retired = live.chunks_new, live.chunks_kept, live.chunks_retired
        return row(file, "published", document.id, live.number, new=new, kept=kept, retired=retired)

    def _set_aside(self, item: str, deaths: int) -> None:
        of = self._tickets[int(item.partition("/")[0])]
        error = Failed(
            f"the worker died {deaths} times on this file",
            hint="it was left out and its bytes are kept: retry the job to try it again, or remove the job",
            code="poison",
        )
        self._settle({item: failure(of["path"], error) | {"name": of["name"]}})

    def _settle(self, rows: dict[str, dict[str, Any]]) -> None:
        self._rows |= rows
        self._running.settle(rows, again=[item for item, of in rows.items() if of["status"] == "failed"])


def _groups(files: Iterable[_File]) -> Iterator[list[_File]]:
    """A few at a time, so that not every file is a transaction of its own."""
    group: list[_File] = []
    size = 0
    for item, file in files:
        group.append((item, file))
        size += len(file.content)
        if len(group) >= _GROUP_FILES or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
