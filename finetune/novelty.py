"""New or old: where the gate judges each question, as seen from the champion.

    slice                                       a question of it
    nothing new was practised of it             old
    something new, and nothing before           new
    something new, and something before         new if it came since the champion was drawn; else old, and renewed

What a run calls new in its mix is another matter: one that begins from the base calls everything new, and has to keep
what the champion knows all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

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


Where = tuple[str, str]
"""A workspace and a slice in it: slices of one name in two workspaces have nothing to do with each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """What is new to the champion of a run."""

    workspace: str | None
    """The run's own; in others nothing is new."""
    everything: bool
    """There is no champion."""
    slices: frozenset[Where]
    """Of which the challenger has practised something that the champion has not. Where there is none, all that it
    has practised: it has to gain wherever it can."""
    before: frozenset[str]
    """Questions of these slices that were there when the champion was drawn, where it has practised the slice."""

    @classmethod
    def of(cls, db: Database, registry: Registry, run: Run, mix: Mix) -> Novelty:
        merged = Options.from_json(run.options).merged
        behind = {r for name in merged for r in registry.runs_behind(name)}
        champions = registry.runs_behind(run.parent)
        with db.read() as session:
            practised = select(MixRow.example).where(MixRow.run.in_(champions))
            theirs = Example.id.in_(select(MixRow.example).where(MixRow.run.in_(behind or {run.id})))
            slices = _slices(session, theirs, Example.id.not_in(practised)) or _slices(session, theirs)
            if not slices:
                rows = [row.example for row in mix.rows if row.part == "new"]
                slices = _slices(session, Example.id.in_(listed(rows)))
            known = _slices(session, Example.id.in_(practised)) & slices
            drawn = _drawn(session, champions)
            held = (Example.status == "approved", Example.split == "held-out")
            asked = select(Example.id, Example.workspace, Example.stratum_column(), Example.created).where(*held)
            before = {
                example
                for example, workspace, stratum, created in session.execute(asked)
                if (workspace, stratum) in known and created <= max(drawn.get(workspace, 0), drawn.get(None, 0))
            }
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
        inside = not elsewhere and (self.everything or (q.workspace, q.slice) in self.slices)
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


def practised_by(registry: Registry, run: Run) -> set[str]:
    """Runs whose rows the champion of a run has practised, or what comes of the run: its own, and those behind all that
    it is merged of or goes on from.

    Of a run that is judged again its adapter tells that, as `run.parent` is whom it is compared with.
    """
    options = Options.from_json(run.options)
    names = (run.parent, run.adapter, *(options.merged or (options.origin(run.parent),)))
    return {run.id, *(behind for name in names for behind in registry.runs_behind(name))}


def _slices(session: Session, *ours: ColumnElement[bool]) -> set[Where]:
    found = select(Example.workspace, Example.stratum_column()).distinct().where(*ours)
    return {(workspace, stratum) for workspace, stratum in session.execute(found)}


def _drawn(session: Session, runs: Sequence[str]) -> dict[str | None, int]:
    """When (UTC ms) examples of a workspace were last drawn for one of these runs; None stands for all workspaces.

    A merge draws none. By time and not by epoch: what is quarantined and approved again is as old as it was.
    """
    found: dict[str | None, int] = {}
    for run in session.scalars(select(Run).where(Run.id.in_(runs))):
        if not Options.from_json(run.options).merged:
            found[run.workspace] = max(run.created, found.get(run.workspace, 0))
    return found
