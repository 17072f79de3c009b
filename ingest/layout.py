"""How documents are cut now, as one string: a version keeps it, and one that has another was cut otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from ingest.chunk import Chunker
from ingest.tables import Position, Version
from kernel.ids import digest
from kernel.ports import Embedder
from kernel.settings import Settings
from kernel.types import ChunkDraft

PARSER = "2"
"""Raised when documents that came in before should be read again."""
_PROBE = "Reprise's re-chunking: 3.5 % of naïve Übergänge, don't_split(me) 東京 https://example.org/a?b=c"


def chunker_for(embedder: Embedder, settings: Settings) -> Chunker:
    """What cuts for this embedder: its tokenizer counts, and it reads only so many tokens."""
    return Chunker(embedder.count_tokens, min(settings.chunk_tokens, embedder.max_tokens))


def layout_of(chunker: Chunker, embedder: Embedder) -> str:
    """Equal where documents are read, counted and cut alike."""
    words = _PROBE.split()
    counts = ",".join(map(str, embedder.count_tokens([*words, _PROBE])))
    return f"{chunker.fingerprint};tokenizer={digest(counts)[:8]};parser={PARSER}"


def stands(session: Session, version: Version, text_key: str, drafts: Sequence[ChunkDraft]) -> bool:
    """True if cutting again gave what the version has: the same text, cut at the same places."""
    if version.text_key != text_key:
        return False
    spans = select(Position.start, Position.end, Position.heading, Position.page)
    ours = (Position.document == version.document, Position.version == version.number)
    rows = session.execute(spans.where(*ours).order_by(Position.ordinal))
    return [tuple(row) for row in rows] == [(d.start, d.end, d.heading, d.page) for d in drafts]
