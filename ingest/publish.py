"""What publishing a version means: the diff against the live version, and the rows that make it true.

`kernel.epochs` gives the steps and the lock; this module is the `publish` handler of it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from ingest.incoming import Incoming
from ingest.tables import Chunk, Document, Position, Version
from ingest.tags import add_tags
from kernel.epochs import Death, Epochs, Plan
from kernel.errors import Conflict, TryAgain, UserError
from kernel.ids import derived, digest, fresh, iso, now_ms
from kernel.tables import Change
from kernel.types import OPEN, ChunkDraft, Parsed


class Dependent(Protocol):
    """Somebody whose points stand on chunks (rehearsal's examples), told of what happens to those under the lock."""

    def settle(
        self, session: Session, document: str, retired: set[str], version: int | None
    ) -> tuple[list[str], dict[str, Any]]:
        """Points that die with the `retired` chunks, and notes for `commit`. `version` is None for a delete."""

    def commit(self, session: Session, epoch: int, notes: dict[str, Any]) -> None:
        """Write what `settle` decided, in the transaction of the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """A new version against the live one, by the digest of each chunk's embedded text."""

    points: tuple[str, ...]
    """Point of each chunk of the new version, in order."""
    new: tuple[int, ...]
    """Ordinals whose points are new."""
    retired: tuple[str, ...]
    """Points of the live version that the new one does not show."""
    digests: tuple[str, ...]
    """Of each chunk's embedded text, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A publish after step 1."""

    change: str
    document: str
    version: int
    diff: Diff
    valid_from: int


def chunk_digest(draft: ChunkDraft) -> str:
    return digest(f"{draft.heading}\x1f{draft.text}")


def difference(
    live: Sequence[tuple[str, str]],
    drafts: Sequence[ChunkDraft],
    document: str,
    version: int,
    chunker: str,
    attempt: str = "",
) -> Diff:
    """Pair chunks of equal digest, in order, each at most once. `live` is (point, digest) in order.

    `attempt` keeps the points of two attempts at one version apart: an attempt that was swept while it was slow may
    still insert its own, and they must be nobody else's.
    """
    standing: dict[str, deque[str]] = defaultdict(deque)
    for point, fingerprint in live:
        standing[fingerprint].append(point)
    digests = tuple(chunk_digest(draft) for draft in drafts)
    points, new = [], []
    for draft, fingerprint in zip(drafts, digests, strict=True):
        same = standing[fingerprint]
        if same:
            points.append(same.popleft())
        else:
            points.append(derived("chunk", document, version, chunker, attempt, draft.ordinal))
            new.append(draft.ordinal)
    kept = set(points)
    return Diff(
        points=tuple(points), new=tuple(new), retired=tuple(p for p, _ in live if p not in kept), digests=digests
    )


class PublishHandler:
    """The `publish` kind of change."""

    kind = "publish"

    def __init__(self, epochs: Epochs, dependents: Sequence[Dependent] = ()) -> None:
        self._epochs, self._dependents = epochs, tuple(dependents)
        epochs.register(self)

    def stage(
        self,
        session: Session,
        document: Document,
        parsed: Parsed,
        drafts: Sequence[ChunkDraft],
        live: Version | None,
        *,
        blob: str,
        size: int,
        chunker: str,
        valid_from: int | None,
        cause: str,
        language: str,
        tags: Sequence[str] = (),
    ) -> Staged:
        """Step 1: number the version, write its rows as staged, record the change. In the caller's transaction.

        What it refuses, it refuses before it has written anything.

        Raises:
            UserError: `valid_from` is before the live version's: versions of a document arrive in order of their dates.
        """
        starts = valid_from if valid_from is not None else now_ms()
        if live is not None and starts <= live.valid_from:
            if valid_from is not None:
                raise UserError(
                    f"{document.name!r} already has a version that counts from {iso(live.valid_from)}, "
                    f"not earlier than {iso(starts)}",
                    hint="versions of a document arrive in order of their dates; give a later --at",
                    code="out_of_order",
                )
            starts = live.valid_from + 1  # a live version dated in the future, or two publishes in one millisecond
        last = session.scalar(select(func.max(Version.number)).where(Version.document == document.id))
        number = (last or 0) + 1
        diff = difference(live_chunks(session, live), drafts, document.id, number, chunker, fresh("try"))
        session.add(
            Version(
                document=document.id,
                number=number,
                state="staged",
                sha256=blob,
                text_key=digest(parsed.text),
                media_type=parsed.media_type,
                bytes=size,
                pages=[{"page": p.page, "start": p.start, "end": p.end} for p in parsed.pages],
                chunker=chunker,
                valid_from=starts,
                valid_until=OPEN,
                born=OPEN,
                died=OPEN,
                chunks_new=len(diff.new),
                chunks_kept=len(drafts) - len(diff.new),
                chunks_retired=len(diff.retired),
                created=now_ms(),
                cause=cause,
                notes=list(parsed.notes),
                language=language,
            )
        )
        session.flush()
        chunks = [
            {"point": diff.points[i], "document": document.id, "version": number, "digest": diff.digests[i]}
            for i in diff.new
        ]
        if chunks:
            session.execute(insert(Chunk), chunks)
        positions = [
            {
                "document": document.id,
                "version": number,
                "ordinal": draft.ordinal,
                "point": point,
                "start": draft.start,
                "end": draft.end,
                "page": draft.page,
                "heading": draft.heading,
            }
            for draft, point in zip(drafts, diff.points, strict=True)
        ]
        if positions:
            session.execute(insert(Position), positions)
        body: dict[str, Any] = {
            "version": number,
            "base": live.number if live else None,
            "title": parsed.title,
            "from": starts,
            "tags": list(tags),  # a tag shows with the version it came with
        }
        body["retired"] = list(diff.retired)
        change = self._epochs.stage(session, self.kind, document.id, [diff.points[i] for i in diff.new], body)
        return Staged(
            change=change,
            document=document.id,
            version=number,
            diff=diff,
            valid_from=starts,
        )

    # --- kernel.epochs.Handler -------------------------------------------------------------------

    def settle(self, session: Session, change: Change, epoch: int) -> Plan:
        document = session.get(Document, change.subject)
        live = live_version(session, change.subject)
        if document is None or document.state != "live" or (live.number if live else None) != change.body["base"]:
            raise TryAgain("another version of the document was published meanwhile", hint="try again", code="moved")
        retired = change.body["retired"]
        notes: list[dict[str, Any]] = []
        dying: list[str] = []
        for dependent in self._dependents:
            points, noted = dependent.settle(session, change.subject, set(retired), change.body["version"])
            dying += points
            notes.append(noted)
        deaths = [Death(points=tuple(retired), until=change.body["from"])] if retired else []
        if dying:
            deaths.append(Death(points=tuple(dying), until=change.body["from"]))
        return Plan(births=tuple(change.points), deaths=tuple(deaths), notes={"dependents": notes})

    def commit(self, session: Session, change: Change, epoch: int, at: int) -> None:
        of_document = Version.document == change.subject
        if change.body["base"] is not None:
            superseded = {"state": "superseded", "died": epoch, "valid_until": change.body["from"]}
            session.execute(update(Version).where(of_document, Version.state == "live").values(superseded))
        ours = (of_document, Version.number == change.body["version"])
        session.execute(update(Version).where(*ours).values(state="live", born=epoch))
        titled = {"title": change.body["title"], "updated": at}
        session.execute(update(Document).where(Document.id == change.subject).values(titled))
        add_tags(session, change.subject, change.body.get("tags", ()), most=None)
        for dependent, notes in zip(self._dependents, change.plan["notes"]["dependents"], strict=True):
            dependent.commit(session, epoch, notes)

    def sweep(self, session: Session, change: Change) -> None:
        document, number = change.subject, change.body["version"]
        session.execute(delete(Position).where(Position.document == document, Position.version == number))
        session.execute(delete(Chunk).where(Chunk.document == document, Chunk.version == number))
        session.execute(delete(Version).where(Version.document == document, Version.number == number))
        left = session.scalars(select(Version.number).where(Version.document == document).limit(1)).first()
        if left is None:  # the document never had a published version
            session.execute(delete(Document).where(Document.id == document, Document.state == "live"))


def named(session: Session, workspace: str, name: str) -> Document | None:
    """The document that has the name now, published or still on its way."""
    found = select(Document).where(Document.workspace == workspace, Document.name == name, Document.state == "live")
    return session.scalars(found).first()


def check_source(file: Incoming, source: str) -> None:
    """`source` is where the document of the file's name came from.

    Raises:
        Conflict: from elsewhere, and nobody said that this file continues it.
    """
    if source != file.source and not file.explicit:
        raise Conflict(
            f"{file.name!r} is already the name of a document from {source!r}, and this is {file.source!r}",
            hint=f"to make it that document's next version give --as {file.name!r}; to keep both give it another name",
            code="name_taken",
        )


def live_version(session: Session, document: str) -> Version | None:
    return session.scalars(select(Version).where(Version.document == document, Version.state == "live")).first()


def live_chunks(session: Session, live: Version | None) -> list[tuple[str, str]]:
    """(point, digest) of each chunk of a version, in order."""
    if live is None:
        return []
    rows = session.execute(
        select(Position.point, Chunk.digest)
        .join(Chunk, Chunk.point == Position.point)
        .where(Position.document == live.document, Position.version == live.number)
        .order_by(Position.ordinal)
    )
    return [(point, fingerprint) for point, fingerprint in rows]
