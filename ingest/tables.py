"""Documents, their versions, their chunks, and where each chunk stands in each version.

A chunk's row outlives the versions that show it until a purge; its text is not here: it is the slice of a
version's text that a position names, and that text is a blob.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from kernel.tables import Base


class Document(Base):
    __tablename__ = "documents"
    __table_args__ = (
        Index(
            "uq_documents_workspace_name",
            "workspace",
            "name",
            unique=True,
            sqlite_where=text("state = 'live'"),
            postgresql_where=text("state = 'live'"),
        ),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str]
    name: Mapped[str]
    title: Mapped[str]
    source: Mapped[str]
    state: Mapped[str]
    """live | deleting | deleted"""
    created: Mapped[int]
    updated: Mapped[int]
    receipt: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Version(Base):
    __tablename__ = "versions"
    document: Mapped[str] = mapped_column(ForeignKey("documents.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)
    text_key: Mapped[str]
    media_type: Mapped[str]
    bytes: Mapped[int]
    pages: Mapped[list[Any]]
    chunker: Mapped[str]
    valid_from: Mapped[int]
    valid_until: Mapped[int]
    born: Mapped[int]
    """The epoch that published it; OPEN while staged."""
    died: Mapped[int]
    chunks_new: Mapped[int]
    chunks_kept: Mapped[int]
    chunks_retired: Mapped[int]
    created: Mapped[int]
    cause: Mapped[str] = mapped_column(server_default="ingest")
    """ingest | restore | rechunk"""
    notes: Mapped[list[Any]] = mapped_column(server_default="[]")
    """What its reader said about it."""
    language: Mapped[str | None]
    """ISO 639 code; `und` where it cannot be told, null where nobody has looked yet (see `ingest.language`)."""


class Tag(Base):
    """A word by which people sort documents, in its one form (`ingest.tags`)."""

    __tablename__ = "tags"
    document: Mapped[str] = mapped_column(ForeignKey("documents.id"), primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True, index=True)


class Chunk(Base):
    __tablename__ = "chunks"
    point: Mapped[str] = mapped_column(primary_key=True)
    document: Mapped[str] = mapped_column(ForeignKey("documents.id"), index=True)
    version: Mapped[int]
    """The version that bore it."""
    digest: Mapped[str] = mapped_column(index=True)
    """Of its embedded text: equal digests are equal chunks."""


class Position(Base):
    __tablename__ = "positions"
    document: Mapped[str] = mapped_column(ForeignKey("documents.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    point: Mapped[str] = mapped_column(index=True)
    start: Mapped[int]
    end: Mapped[int]
    page: Mapped[int | None]
    heading: Mapped[str]


class Embedding(Base):
    """The embedding cache: the vector of a text, by the digest of the text and the fingerprint of the embedder."""

    __tablename__ = "embeddings"
    digest: Mapped[str] = mapped_column(primary_key=True)
    embedder: Mapped[str] = mapped_column(primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    """float32, little-endian."""


class Sketch(Base):
    """A MinHash of a document's live version, to report near-duplicates."""

    __tablename__ = "sketches"
    document: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str] = mapped_column(index=True)
    version: Mapped[int]
    signature: Mapped[bytes] = mapped_column(LargeBinary)


class Retention(Base):
    """How long superseded versions of a workspace are kept. Neither set: all of them, for ever."""

    __tablename__ = "retention"
    workspace: Mapped[str] = mapped_column(primary_key=True)
    keep_versions: Mapped[int | None]
    keep_days: Mapped[int | None]


class Watch(Base):
    """A folder, a page or a sitemap that is looked at again and again."""

    __tablename__ = "watches"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """folder | url | sitemap"""
    location: Mapped[str]
    workspace: Mapped[str]
    every_seconds: Mapped[int]
    paused: Mapped[int]
    next: Mapped[int]
    last: Mapped[int | None]
    outcome: Mapped[dict[str, Any]]
    """Of the last look: counts, and an error for people."""
    created: Mapped[int]


class WatchItem(Base):
    """What a watch saw of one file or page when it last looked."""

    __tablename__ = "watch_items"
    watch: Mapped[str] = mapped_column(ForeignKey("watches.id"), primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    document: Mapped[str | None]
    sha256: Mapped[str | None]
    size: Mapped[int | None]
    modified: Mapped[str | None]
    """mtime in ns of a file, or Last-Modified of a page."""
    etag: Mapped[str | None]
    seen: Mapped[int]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Upload(Base):
    """A resumable upload (tus 1.0): bytes arrive in pieces, and become a job when the last has come."""

    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    workspace: Mapped[str]
    size: Mapped[int]
    offset: Mapped[int]
    options: Mapped[dict[str, Any]]
    """source, at, explicit: as `Incoming` has them."""
    job: Mapped[str | None]
    expires: Mapped[int]
