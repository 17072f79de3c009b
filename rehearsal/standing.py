"""What versions of documents did to examples since they were practised: re-grounded on a newer one, or gone.

It reads what publishes and deletes wrote down, and decides nothing: whether an example stands is settled where a
version is published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ingest.tables import Document, Version
from kernel.database import Database, listed
from kernel.types import OPEN
from rehearsal.tables import Example, ExampleEvent, Ground

PUBLISH = "publish"
"""Who does to examples what a new version of their source does to them."""
REGROUNDED = "re-grounded"
SUPERSEDED = "source superseded"
GONE = (SUPERSEDED, "source deleted", "source expired")
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """An example whose source changed. `documents` are {document, name, version}: the version that did it, if known."""

    example: str
    epoch: int
    why: str
    documents: tuple[dict[str, Any], ...] = ()


class Standing:
    """Reads what became of examples."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def regrounded(self, rehearsed: Mapping[str, int]) -> tuple[Moved, ...]:
        """Those of these examples that were re-grounded since they were last rehearsed (UTC ms), as they were last."""
        found: dict[str, int] = {}
        first = min(rehearsed.values(), default=0)
        events = select(ExampleEvent.example, ExampleEvent.at, ExampleEvent.detail).where(
            ExampleEvent.what == REGROUNDED, ExampleEvent.at > first
        )
        with self._db.read() as session:
            for example, at, detail in session.execute(events.order_by(ExampleEvent.id)):
                if example in rehearsed and at > rehearsed[example]:
                    found[example] = int(detail.get("epoch", 0))
            return _moved(session, {example: (epoch, REGROUNDED) for example, epoch in found.items()})

    def evicted(self, workspace: str | None, epoch: int) -> tuple[Moved, ...]:
        """Examples of the training split that were in use and went with their source after this epoch."""
        in_use = (Example.born < OPEN, Example.died < OPEN, Example.died > epoch)
        gone = select(Example.id, Example.died, Example.reason).where(
            Example.status == "retired", Example.split == "train", Example.reason.in_(GONE), *in_use
        )
        if workspace is not None:
            gone = gone.where(Example.workspace == workspace)
        with self._db.read() as session:
            return _moved(session, {example: (died, reason) for example, died, reason in session.execute(gone)})


def source_changed(event: ExampleEvent) -> bool:
    """Whether an example was retired because its source has another version: by who did it, as a person's reason may be
    any words."""
    return event.what == "retired" and event.actor == PUBLISH and event.detail.get("reason") == SUPERSEDED


def superseded(session: Session, examples: Sequence[str]) -> set[str]:
    """Those of these retired examples for which another one stands, or another version of their source.

    By what retired them last: what was deleted since is deleted.
    """
    last: dict[str, bool] = {}
    events = select(ExampleEvent).where(ExampleEvent.what == "retired", ExampleEvent.example.in_(listed(examples)))
    for event in session.scalars(events.order_by(ExampleEvent.id)):
        last[event.example] = source_changed(event) or "by" in event.detail
    return {example for example, replaced in last.items() if replaced}


def _moved(session: Session, found: Mapping[str, tuple[int, str]]) -> tuple[Moved, ...]:
    documents = _documents(session, sorted(found), {epoch for epoch, _ in found.values()})
    moved = []
    for example, (epoch, why) in sorted(found.items()):
        there = documents.get(example, [])
        told = tuple({k: d[k] for k in ("document", "name")} | {"version": d["versions"].get(epoch)} for d in there)
        moved.append(Moved(example=example, epoch=epoch, why=why, documents=told))
    return tuple(moved)


def _documents(session: Session, examples: Sequence[str], epochs: set[int]) -> dict[str, list[dict[str, Any]]]:
    """Documents that ground each example, with the versions that these epochs published of them."""
    found: dict[str, list[dict[str, Any]]] = {}
    born: dict[str, dict[int, int]] = {}
    for start in range(0, len(examples), _BATCH):
        some = examples[start : start + _BATCH]
        pairs = select(Ground.example, Document.id, Document.name).join(Document, Document.id == Ground.document)
        grounds = session.execute(pairs.where(Ground.example.in_(listed(some))).distinct()).all()
        unread = sorted({document for _, document, _ in grounds} - born.keys())
        born |= {document: {} for document in unread}
        numbers = select(Version.document, Version.born, Version.number).where(Version.document.in_(listed(unread)))
        for document, epoch, number in session.execute(numbers):
            if epoch in epochs:
                born[document][epoch] = number
        for example, document, name in grounds:
            found.setdefault(example, []).append({"document": document, "name": name, "versions": born[document]})
    return found
