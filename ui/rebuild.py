"""Filling a new index from a backup's points: dense vectors as they were, sparse ones from the texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qdrant_client import models
from sqlalchemy import delete, func, select

from ingest.library import Library
from ingest.tables import Position, Version
from kernel.blobs import FileBlobs
from kernel.database import Database
from kernel.index.edge import EdgeIndex
from kernel.index.replace import REPLACEMENT
from kernel.index.schema import DENSE, SPARSE, sparse_document
from kernel.index.terms import TERMS
from kernel.serving import EMBEDDER, record_of
from kernel.tables import Clock, Fact
from kernel.types import OPEN, ChunkDraft
from rehearsal.tables import Example

_BATCH = 512


def fill(folder: Path, dimension: int) -> None:
    """Write `folder/index` from `folder/points.jsonl`, the database and the blobs beside it."""
    db = Database(f"sqlite:///{folder / 'reprise.db'}")
    index = EdgeIndex(folder / "index", dimension)
    try:
        with db.read() as session:
            epoch = session.execute(select(Clock.epoch)).scalar_one()
        texts = dict(_texts(db, Library(db, FileBlobs(folder / "blobs"))))
        batch: list[models.PointStruct] = []
        with (folder / "points.jsonl").open() as lines:
            for line in lines:
                point = _point(json.loads(line), texts, epoch)
                if point is not None:
                    batch.append(point)
                if len(batch) >= _BATCH:
                    index.insert(batch)
                    batch = []
        index.insert(batch)
        _serve(db)
    finally:
        index.close()
        db.close()


def _serve(db: Database) -> None:
    """Name the new index as the one that serves; it is the only one there is now."""
    with db.write() as session:
        served = record_of(session)
        if "collection" in served:
            session.merge(Fact(key=EMBEDDER, value=served | {"collection": "index", "previous": [], "terms": TERMS}))
        session.execute(delete(Fact).where(Fact.key == REPLACEMENT))


def _point(saved: dict[str, Any], texts: dict[str, str], epoch: int) -> models.PointStruct | None:
    """The point as it was at the backup's epoch: what was born later is left out, what died later lives."""
    payload = saved["payload"]
    if payload["born"] > epoch or saved["id"] not in texts:
        return None
    if payload["died"] > epoch:
        payload |= {"died": OPEN, "until": OPEN}
    vector = {DENSE: saved["dense"], SPARSE: sparse_document(texts[saved["id"]])}
    return models.PointStruct(id=saved["id"], vector=vector, payload=payload)


def _texts(db: Database, library: Library) -> Iterator[tuple[str, str]]:
    """(point, embedded text) of every chunk and example that rows know."""
    with db.read() as session:
        # In the oldest version that is kept: the one that bore a chunk may have expired.
        kept = (Version.document == Position.document) & (Version.number == Position.version)
        oldest = select(Position.point, func.min(Position.version).label("version")).join(Version, kept)
        shown = oldest.where(Version.state != "expired").group_by(Position.point).subquery()
        chunks = (
            select(Position, Version.text_key)
            .join(shown, (shown.c.point == Position.point) & (shown.c.version == Position.version))
            .join(Version, kept)
            .order_by(Position.document, Position.version, Position.ordinal)
        )
        for position, key in session.execute(chunks):
            text = library.text_of(key)[position.start : position.end]
            draft = ChunkDraft(
                ordinal=position.ordinal,
                start=position.start,
                end=position.end,
                text=text,
                heading=position.heading,
            )
            yield position.point, draft.embedded_text
        yield from ((point, question) for point, question in session.execute(select(Example.point, Example.question)))
