"""Examples, the quotes that ground them, what happened to each, how well it is remembered, and its mixes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, case
from sqlalchemy.orm import Mapped, mapped_column

from kernel.tables import Base

UNNAMED = "general"
"""The slice of an example for which nobody named one."""
NO_PASSAGE = "no passage grounds it"
"""Why an example without grounding is in quarantine."""


class Example(Base):
    """A question with what answers it. Its point in the index carries the question's vector, never its text."""

    __tablename__ = "examples"
    __table_args__ = (Index("ix_examples_workspace_question", "workspace", "question_key"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    point: Mapped[str]
    workspace: Mapped[str]
    question: Mapped[str]
    question_key: Mapped[str]
    """Digest of the normalised question, for finding duplicates and for the split."""
    answer: Mapped[str | None]
    preferred: Mapped[str | None]
    rejected: Mapped[str | None]
    slice: Mapped[str]
    origin: Mapped[str]
    """correction | thumbs | import | document | replayed"""
    licence: Mapped[str | None]
    split: Mapped[str]
    """train | held-out"""
    pinned: Mapped[int]
    status: Mapped[str] = mapped_column(index=True)
    """staged | approved | quarantined | retired"""
    reason: Mapped[str]
    """Why it is quarantined or retired; empty otherwise."""
    born: Mapped[int]
    died: Mapped[int]
    cluster: Mapped[str] = mapped_column(server_default="", default="")
    """Its topic, by `rehearsal.clusters`; empty until that has run."""
    created: Mapped[int]

    @property
    def stratum(self) -> str:
        """The slice it is counted in: the one a person named, otherwise its topic."""
        return self.slice if self.slice != UNNAMED else self.cluster or UNNAMED

    @classmethod
    def stratum_column(cls) -> ColumnElement[str]:
        """`stratum`, in SQL."""
        return case((cls.slice != UNNAMED, cls.slice), (cls.cluster != "", cls.cluster), else_=UNNAMED)


class ExampleMemory(Base):
    """How well the adapters of one kind remember an example; there is a row once one of them practised it.

    Kinds have nothing in common here: a retriever's loss is contrastive, a generator's is nats per token, and what one
    of them has forgotten the other may know.
    """

    __tablename__ = "example_memories"
    example: Mapped[str] = mapped_column(ForeignKey("examples.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """Of the adapters: retriever | generator"""
    rehearsed: Mapped[int]
    last_loss: Mapped[float | None]
    last_rehearsed: Mapped[int | None]
    """UTC milliseconds of its last rehearsal; None where it was that long ago that nobody noted it."""
    strength: Mapped[float]
    """Rehearsals in a row without forgetting it: how strong the memory is, for spaced rehearsal."""
    forgotten: Mapped[int]
    """How often its loss had risen again after it had been learnt."""


class ExampleEvent(Base):
    """Something that happened to an example, in the order of `id`. Words in `detail` go when the example's words go."""

    __tablename__ = "example_events"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    example: Mapped[str] = mapped_column(ForeignKey("examples.id"), index=True)
    at: Mapped[int]
    what: Mapped[str]
    """created | approved | quarantined | edited | retired | re-grounded | rehearsed | forgotten"""
    actor: Mapped[str]
    detail: Mapped[dict[str, Any]]


class Mention(Base):
    """A chunk whose words may stand in an example that it does not ground, as it was edited or corrects an answer."""

    __tablename__ = "example_mentions"
    example: Mapped[str] = mapped_column(ForeignKey("examples.id"), primary_key=True)
    document: Mapped[str] = mapped_column(primary_key=True, index=True)
    point: Mapped[str] = mapped_column(primary_key=True)
    whole: Mapped[int] = mapped_column(server_default="0", default=0)
    """1 where they may stand anywhere in it, 0 where in `rejected` alone."""


class Ground(Base):
    """A quote that grounds an example: a span of the version it was taken from, and the chunk that holds it."""

    __tablename__ = "grounds"
    id: Mapped[str] = mapped_column(primary_key=True)
    example: Mapped[str] = mapped_column(ForeignKey("examples.id"), index=True)
    document: Mapped[str] = mapped_column(index=True)
    point: Mapped[str] = mapped_column(index=True)
    quote: Mapped[str]
    """Empty when the whole document is the answer."""


class MixRow(Base):
    """An example that stood in the mix of a run, for lineage."""

    __tablename__ = "mix_rows"
    run: Mapped[str] = mapped_column(primary_key=True)
    example: Mapped[str] = mapped_column(primary_key=True, index=True)
    part: Mapped[str]
