"""Routes: an adapter that serves one workspace, or one slice of its questions, whatever the champion is.

The same gate decides, by the verdict of the adapter's own run:

    for                 it may serve when
    a whole workspace   its gate accepted it, in a run over that workspace or over all of them
    a slice             its gate accepted it and it lost nothing beyond the tolerance on that slice; or it is surely
                        better there, was refused for nothing but what it loses on other slices, and its policy
                        asks for no approval; and all that is held out of the slice is of this workspace

and the verdict is about the champion that serves (`rival`), which answers there otherwise, and no trial took it back
since; or when a reason is given, which stands in the audit log. A route whose adapter cannot be loaded breaks nothing:
the base model answers, and `trouble` says so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from finetune.gate import GatePolicy
from finetune.registry import Registry
from finetune.tables import Adapter, Run
from finetune.trial import one_move
from finetune.verdict import rival_of
from kernel.audit import record
from kernel.database import Database
from kernel.errors import NotFound, Refused
from kernel.ids import iso, now_ms
from rehearsal.tables import Example
from retrieval.lending import Lending
from retrieval.tables import RouteRow

ELSEWHERE = {"old", "new"}
"""The gate's rules on losses of single slices: a route to another slice is not concerned by those."""


class Routes:
    """Sets, lists and removes routes. Safe from several threads and processes."""

    def __init__(self, db: Database, registry: Registry, lending: Lending) -> None:
        self._db, self._registry, self._lending = db, registry, lending

    def set(
        self,
        name: str,
        workspace: str,
        slice_name: str | None = None,
        *,
        override: str | None = None,
        actor: str = "local",
    ) -> list[dict[str, Any]]:
        """Let an adapter serve there from the next question on, in the place of what was routed there; all routes.

        Raises:
            NotFound: no such adapter.
            Refused: its verdict does not speak for it there, or is about another champion than serves, or waits for an
                approval, or a trial took it back, and no reason is given; or it cannot be loaded.
        """
        with self._db.read() as session:
            adapter = session.get(Adapter, name)
            if adapter is None:
                raise NotFound(f"no adapter {name!r}", hint="`reprise adapters` lists them")
            kind, path = adapter.kind, adapter.path
            given = override.strip() if override else ""
            self._checked(session, adapter, workspace, slice_name, given)
        with self._lending.held(kind, name, path):
            with self._db.write() as session:
                one_move(session)  # or the champion could change behind what was just checked
                adapter = session.get_one(Adapter, name)
                accepted, reason = self._checked(session, adapter, workspace, slice_name, given)
                key = (kind, workspace, slice_name or "")
                row = session.get(RouteRow, key)
                before = row.adapter if row is not None else None
                if row is None:
                    row = RouteRow(kind=kind, workspace=workspace, slice=slice_name or "")
                    session.add(row)
                row.adapter, row.path, row.reason, row.created = name, path, reason, now_ms()
                record(
                    session, "route.set", name, actor, kind=kind, workspace=workspace, slice=slice_name,
                    before=before, accepted=accepted, override=given or None,
                )  # fmt: skip
            self._lending.tidy(kind)
        return self.listing()

    def remove(
        self, workspace: str, slice_name: str | None = None, kind: str = "retriever", *, actor: str = "local"
    ) -> list[dict[str, Any]]:
        """Let the champion serve there again; the routes that are left.

        Raises:
            NotFound: nothing is routed there.
        """
        with self._db.write() as session:
            row = session.get(RouteRow, (kind, workspace, slice_name or ""))
            if row is None:
                raise NotFound(
                    f"no {kind} is routed to {_where(workspace, slice_name)}", hint="`reprise route list` shows them"
                )
            record(session, "route.remove", row.adapter, actor, kind=kind, workspace=workspace, slice=slice_name)
            session.delete(row)
        self._lending.tidy(kind)
        return self.listing()

    def listing(self) -> list[dict[str, Any]]:
        """By workspace and slice."""
        with self._db.read() as session:
            rows = session.scalars(select(RouteRow).order_by(RouteRow.workspace, RouteRow.slice, RouteRow.kind))
            return [
                {
                    "workspace": row.workspace,
                    "slice": row.slice or None,
                    "kind": row.kind,
                    "adapter": row.adapter,
                    "reason": row.reason,
                    "created": iso(row.created),
                }
                for row in rows
            ]

    def _checked(
        self, session: Session, adapter: Adapter, workspace: str, slice_name: str | None, given: str
    ) -> tuple[bool, str]:
        """Whether its verdict lets it serve there, and why it may.

        Raises:
            Refused: nothing does.
        """
        accepted, reason = _judged(session, adapter, workspace, slice_name)
        if given:
            return accepted, reason if accepted else f"override: {given}"
        if not accepted:
            raise Refused(
                f"{adapter.name!r} may not serve {_where(workspace, slice_name)}: {reason}",
                hint='retrain on its questions, or give --override "REASON"; the reason is kept in the audit log',
                code="gate_refused",
            )
        self._registry.require_fit(session, adapter, "route it")
        return accepted, reason


def _judged(session: Session, adapter: Adapter, workspace: str, slice_name: str | None) -> tuple[bool, str]:
    run = session.get(Run, adapter.run)
    if run is None or run.verdict is None:
        return False, "there is no verdict on it"
    if run.workspace not in (None, workspace):
        return False, f"its verdict is about workspace {run.workspace!r}"
    if slice_name is not None and (asked := _asked_in(session, slice_name)) != [workspace]:
        return False, f"{_whose(asked, slice_name)}; a slice of its own in {workspace!r} tells how it does there"
    return speaks_for(run.verdict, slice_name)


def _whose(asked: Sequence[str], slice_name: str) -> str:
    """Of which workspaces the figures of a slice are: a gate asks in all of them, whichever its run was for."""
    if not asked:
        return f"no question of slice {slice_name!r} is held out"
    together = f"{len(asked)} workspaces together ({', '.join(asked)})" if len(asked) > 1 else f"workspace {asked[0]!r}"
    return f"its figures of slice {slice_name!r} are those of {together}"


def _asked_in(session: Session, slice_name: str) -> list[str]:
    """Workspaces in which questions of a slice are held out."""
    held = (Example.status == "approved", Example.split == "held-out", Example.stratum_column() == slice_name)
    return sorted(session.scalars(select(Example.workspace).where(*held).distinct()))


def speaks_for(verdict: Mapping[str, Any], slice_name: str | None) -> tuple[bool, str]:
    """Whether a verdict lets its adapter serve one slice (None: everything), and why or why not.

    By the policy that the run was judged by. A verdict of an earlier release that names none, nor its rules, speaks for
    no slice where it refused.
    """
    policy = _policy(verdict)
    refusals = [reason for reason in verdict["reasons"] if reason.startswith("refused: ")]
    if slice_name is None:
        if verdict["accepted"]:
            return True, "the gate accepted it"
        return False, "the gate refused it: " + "; ".join(r.removeprefix("refused: ") for r in refusals)
    ours = (r for r in verdict["slices"] if r.get("part", "old") in ("new", "old"))  # and no leg, suite or origin
    rows = [row for row in ours if row["slice"] == slice_name]  # two where a part of it is new and a part is old
    if not rows:
        return False, f"its verdict has no figures of slice {slice_name!r}"
    if not all(map(_numbers, rows)):
        return False, f"its figures of slice {slice_name!r} are no numbers"
    changes, n = [row["challenger"] - rival_of(row) for row in rows], sum(row["n"] for row in rows)
    change = sum(change * row["n"] for change, row in zip(changes, rows, strict=True)) / n
    told = f"{change:+.3f} {rows[0]['metric']} on the {n} questions of slice {slice_name!r}"
    if n < policy.min_slice:
        return False, f"{told}, and {policy.min_slice} are needed to tell anything"
    if verdict["accepted"]:
        fits = change >= -policy.tolerance
        return fits, f"{'the gate accepted it, with ' if fits else ''}{told}"
    if _sure(rows, change) <= policy.min_gain:
        return False, f"the gate refused it, and it is not surely better there: {told}"
    if min(changes) < -policy.tolerance:
        return False, f"the gate refused it, and a part of the slice lost {min(changes):+.3f}: {told}"
    if not set(verdict.get("refused_by") or ["?"]) <= ELSEWHERE:  # surely better there: another slice was lost
        return False, "the gate refused it: " + "; ".join(r.removeprefix("refused: ") for r in refusals)
    if policy.approval:
        return False, f"surely better there ({told}), but its policy wants a person's yes, and an override is one"
    return True, f"surely better there ({told}), and refused only for other slices"


def _sure(rows: Sequence[Mapping[str, Any]], change: float) -> float:
    """The lower bound of the change of a slice. Its parts share no question, so their errors are independent."""
    n = sum(row["n"] for row in rows)
    return change - math.hypot(*(row["n"] / n * (row["challenger"] - rival_of(row) - row["low"]) for row in rows))


def _numbers(row: Mapping[str, Any]) -> bool:
    figures = (rival_of(row), row["challenger"], row["low"], row["high"])
    return all(isinstance(value, int | float) and math.isfinite(value) for value in figures)


def _policy(verdict: Mapping[str, Any]) -> GatePolicy:
    known = {f.name for f in dataclasses.fields(GatePolicy)}
    return GatePolicy.from_json({name: v for name, v in (verdict.get("policy") or {}).items() if name in known})


def _where(workspace: str, slice_name: str | None) -> str:
    return f"workspace {workspace!r}" + (f", slice {slice_name!r}" if slice_name else "")
