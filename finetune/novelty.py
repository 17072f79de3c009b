"""New or old: where the gate judges each question, as seen from the champion.

    slice                                       a question of it
    nothing new was practised of it             old
    something new, and nothing before           new
    something new, and something before         new if it came since the champion was drawn; else old, and renewed

What a run calls new in its mix is another matter: one that begins from the base calls everything new, and has to keep
what the champion knows all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import select

from finetune.gate import HeldOut
from finetune.kinds import Options
from finetune.registry import Registry
from finetune.tables import Run
from kernel.database import Database, listed
from rehearsal.mix import Mix
from rehearsal.tables import Example, MixRow


class Asked(Protocol):
    """A held-out question of either kind of adapter."""

    @property
    def example(self) -> str: ...
    @property
    def slice(self) -> str: ...
    @property
    def workspace(self) -> str: ...
    @property
    def pinned(self) -> bool: ...
    @property
    def suite(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """What is new to the champion of a run."""

    workspace: str | None
    """The run's own; in others nothing is new."""
    everything: bool
    """There is no champion."""
    slices: frozenset[str]
    """Of which the challenger has practised something that the champion has not. Where there is none, all that it
    has practised: it has to gain wherever it can."""
    before: frozenset[str]
    """Questions of these slices that could be asked when the champion was drawn, where it has practised the slice."""

    @classmethod
    def of(cls, db: Database, registry: Registry, run: Run, mix: Mix) -> Novelty:
        merged = Options.from_json(run.options).merged
        behind = {r for name in merged for r in registry.runs_behind(name)}
        champions = registry.runs_behind(run.parent)
        stratum = Example.stratum_column()
        with db.read() as session:
            practised = select(MixRow.example).where(MixRow.run.in_(champions))
            theirs = select(MixRow.example).where(MixRow.run.in_(behind or {run.id}))
            of = select(stratum).distinct().where(Example.id.in_(theirs))
            brought = set(session.scalars(of.where(Example.id.not_in(practised))))
            slices = brought or set(session.scalars(of)) or {row.slice for row in mix.rows if row.part == "new"}
            champion = session.get(Run, champions[0]) if champions else None
            known = select(stratum).distinct().where(Example.id.in_(practised), stratum.in_(listed(slices)))
            asked = select(Example.id).where(Example.status == "approved", Example.split == "held-out")
            asked = asked.where(Example.born <= (champion.epoch or 0 if champion else 0))
            before = set(session.scalars(asked.where(stratum.in_(listed(set(session.scalars(known)))))))
        return cls(
            workspace=run.workspace,
            everything=run.parent is None,
            slices=frozenset(slices),
            before=frozenset(before),
        )

    def held_out(self, questions: Iterable[Asked], seen: Mapping[str, bool] | None = None) -> list[HeldOut]:
        """The questions as the gate judges them. In another workspace a slice of the same name is one for itself."""
        return [self._placed(q, (seen or {}).get(q.example)) for q in questions]

    def _placed(self, q: Asked, seen: bool | None) -> HeldOut:
        elsewhere = self.workspace is not None and q.workspace != self.workspace
        inside = not elsewhere and (self.everything or q.slice in self.slices)
        renewed = inside and not self.everything and q.example in self.before
        return HeldOut(
            example=q.example,
            slice=f"{q.slice} ({q.workspace})" if elsewhere else q.slice,
            part="new" if inside and not renewed else "old",
            renewed=renewed,
            pinned=q.pinned,
            suite=q.suite,
            seen=seen,
        )
