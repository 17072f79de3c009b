"""Documents, their versions, their chunks, and where each chunk stands in each version.

A chunk's row outlives the versions that show it until a purge; its text is not here: it is the slice of a
version's text that a position names, and that text is a blob.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, text
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


class Chunk(Base):
    __tablename__ = "chunks"
    point: Mapped[str] = mapped_column(primary_key=True)
    document: Mapped[str] = mapped_column(ForeignKey("documents.id"), index=True)
    version: Mapped[int]
    """The version that bore it."""
    digest: Mapped[str]
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
