"""Grounding: from what a person gave (a quote, a span, a document) to the chunks that hold it now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from ingest.library import Library, find
from ingest.publish import live_version
from ingest.tables import Position, Version
from kernel.database import listed
from kernel.errors import UserError
from rehearsal.said import Said, answers, still_says
from rehearsal.tables import Example, Ground, Mention

WHOLE_DOCUMENT_CHUNKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Words of a live version and the chunk that holds most of them. An empty text means the whole document."""

    document: str
    point: str
    text: str


class Place(NamedTuple):
    """A chunk and the span of its version's text that it holds."""

    point: str
    start: int
    end: int


def ground(session: Session, library: Library, row: dict[str, Any], workspace: str) -> list[Quote]:
    """The quotes of an import row: `document` + `quote`, or `relevant` with documents or spans. Empty if it names none.

    Raises:
        UserError: a document, quote or span that is not there.
    """
    relevant = row.get("relevant") or []
    if not isinstance(relevant, list):
        raise UserError(f"relevant is {relevant!r}", hint='give a list of {"document": …} objects')
    named = list(relevant)
    if row.get("document") is not None:
        named.append({"document": row["document"], "quote": row.get("quote")})
    quotes: list[Quote] = []
    for item in named:
        if not isinstance(item, dict) or "document" not in item:
            raise UserError(
                f"{item!r} names no document", hint='give {"document": …} with "quote", or "start" and "end"'
            )
        document = find(session, str(item["document"]), None if _is_id(session, item["document"]) else workspace)
        live = live_version(session, document.id)
        if live is None:
            raise UserError(f"{document.name!r} has no live version", hint="ingest it first")
        quotes += _of_item(session, library.text_of(live.text_key), live, item)
    return quotes


def reground(chunks: Sequence[Place], text: str, quote: str) -> str | None:
    """The chunk of a version, by its `places` and text, that holds `quote`, if that stands there exactly once."""
    if not quote or text.count(quote) != 1:
        return None
    start = text.index(quote)
    return _holder(chunks, start, start + len(quote))


def places(session: Session, document: str, version: int) -> list[Place]:
    """The chunks of a version, in order."""
    here = select(Position.point, Position.start, Position.end)
    here = here.where(Position.document == document, Position.version == version)
    return [Place(*row) for row in session.execute(here.order_by(Position.ordinal))]


def chunk_of(session: Session, document: str, version: int, start: int, end: int) -> str | None:
    """The chunk of `version` that holds most of the span; None where it lies between chunks."""
    return _holder(places(session, document, version), start, end)


def holder(session: Session, text: str, document: str, version: int, quote: str, chunk: str) -> str | None:
    """The chunk of `version` that holds `quote`: `chunk` while it stands there, else where the words stand once.

    An example without a quote stands on the document's first chunk. None where the quote does not stand.
    """
    chunks = places(session, document, version)
    if chunk in {p.point for p in chunks} and quote in text:
        return chunk
    if not quote:
        return chunks[0].point if chunks else None
    return reground(chunks, text, quote)


def standing_only_on(session: Session, document: str, points: Sequence[str]) -> dict[str, str]:
    """Examples all of whose quotes stand on these chunks of the document, with their points in the index; of a retired
    one it is enough that one does, as it holds its words as well.

    One that is approved never does while the chunks of the newest version are not among them.
    """
    gone = set(points)
    ours = select(Ground.example).where(Ground.document == document)
    grounds = select(Example.id, Example.point, Example.status, Ground.point)
    grounds = grounds.join(Ground, Ground.example == Example.id).where(Example.id.in_(ours))
    points_of: dict[str, str] = {}
    stands: dict[str, list[bool]] = {}
    retired: set[str] = set()
    for example, point, status, chunk in session.execute(grounds):
        points_of[example] = point
        stands.setdefault(example, []).append(chunk not in gone)
        if status == "retired":
            retired.add(example)
    return {e: points_of[e] for e, still in stands.items() if not (all(still) if e in retired else any(still))}


def mentioning(document: str, points: Sequence[str]) -> ColumnElement[bool]:
    """Mentions of these chunks of a document, as a condition."""
    return and_(Mention.document == document, Mention.point.in_(listed(points)))


def made_of(session: Session, documents: Collection[str]) -> set[str]:
    """Examples that one of these documents grounds, or whose words may stand in them."""
    if not documents:
        return set()
    of = (select(one.example).where(one.document.in_(listed(documents))) for one in (Ground, Mention))
    return {example for rows in of for example in session.scalars(rows)}


def holder_now(session: Session, library: Library, ground: Ground) -> str | None:
    """The chunk that holds a ground's quote in the live version of its document; None where it does not stand."""
    live = live_version(session, ground.document)
    if live is None:
        return None
    text = library.text_of(live.text_key)
    return holder(session, text, live.document, live.number, ground.quote, ground.point)


def still_said(session: Session, library: Library, example: Example, document: str) -> bool:
    """Whether the document still says the answers of a retired example as it did until that was retired."""
    live = live_version(session, document)
    of = select(Version).where(Version.document == document, Version.born < example.died, Version.died >= example.died)
    before = session.scalars(of.order_by(Version.number.desc())).first()
    if live is None or before is None or before.state == "expired":
        return False
    was, now = (Said.of(library.text_of(version.text_key)) for version in (before, live))
    return all(still_says(example.question, answer, was, now) for answer in answers(example))


def _of_item(session: Session, text: str, live: Version, item: dict[str, Any]) -> list[Quote]:
    chunks = places(session, live.document, live.number)
    quote, span_given = item.get("quote"), (item.get("start"), item.get("end"))
    if not isinstance(quote, str | None) or not all(isinstance(end, int | None) for end in span_given):
        raise UserError(f"{item!r} does not fit", hint="quote is text; start and end are whole numbers")
    if quote:
        start = text.find(quote)
        if start < 0:
            raise UserError(
                f"the quote {_short(quote)!r} is not in the live version of the document",
                hint="give its exact words, as `reprise text` prints them",
            )
        span = (start, start + len(quote))
    elif None not in span_given:
        span = (item["start"], item["end"])
        if not 0 <= span[0] < span[1] <= len(text):
            raise UserError(
                f"the span {span} is not within the text's {len(text)} characters",
                hint="offsets are half-open",
            )
    else:
        # The document as a whole. Its first chunks stand for it; what is relevant is decided by document, not by chunk.
        return [Quote(document=live.document, point=p.point, text="") for p in chunks[:WHOLE_DOCUMENT_CHUNKS]]
    point = _holder(chunks, *span)
    if point is None:
        raise UserError(f"no chunk of the document holds the span {span}", hint="give words of its running text")
    return [Quote(document=live.document, point=point, text=text[span[0] : span[1]])]


def _holder(chunks: Sequence[Place], start: int, end: int) -> str | None:
    """The first of the chunks that share most characters with the span."""
    touched = [(min(p.end, end) - max(p.start, start), p.point) for p in chunks if p.start < end and start < p.end]
    return max(touched, key=lambda one: one[0])[1] if touched else None


def _is_id(session: Session, doc: Any) -> bool:
    from ingest.tables import Document

    return session.get(Document, str(doc)) is not None


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"
