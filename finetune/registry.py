"""The registry of adapters, and the two moves that take one row: promote and roll back.

    candidate ──▶ shadow ──▶ canary ──▶ champion ──promote of another──▶ previous ──▶ retired
        │                                ▲    ▲                             │
        └────────────── promote ─────────┘    └────────── rollback ◀────────┘

An adapter is promoted with an accepting verdict, or with a reason that stands in the audit log. The previous one, or
the base model, stays warm; a rollback moves one row. The way through shadow and canary is `finetune.rollout`'s.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from finetune.approval import require
from finetune.rival import require_rival, rivals, served
from finetune.tables import Adapter, Run
from finetune.trial import close, harmed, one_move, require_unharmed
from kernel.audit import record
from kernel.database import Database
from kernel.errors import NotFound, Refused, UserError
from kernel.ids import iso, now_ms
from retrieval.choosing import BASE_MODEL, Pinned
from retrieval.lending import Lending, Named
from retrieval.live import RETRIEVER, point
from retrieval.tables import Pointer, RouteRow

BASE = BASE_MODEL
"""What a report calls serving without an adapter."""


class Registry:
    """The adapters of a platform. Safe from several threads and processes: every move is one transaction."""

    def __init__(self, db: Database, lending: Lending, home: Path) -> None:
        self._db, self._lending, self._home = db, lending, home

    def add(
        self,
        session: Session,
        name: str,
        kind: str,
        run: str,
        parent: str | None,
        folder: Path,
        accepted: bool,
    ) -> None:
        """Enter a complete adapter as a candidate, in the caller's transaction."""
        session.add(
            Adapter(
                name=name,
                kind=kind,
                state="candidate",
                parent=parent,
                run=run,
                path=str(folder.relative_to(self._home)),
                accepted=int(accepted),
                share=0.0,
                created=now_ms(),
            )
        )

    def listing(self) -> list[dict[str, Any]]:
        """Newest first."""
        with self._db.read() as session:
            rows = list(session.scalars(select(Adapter).order_by(Adapter.created.desc(), Adapter.name)))
            routes: dict[str, list[dict[str, str | None]]] = {}
            for route in session.scalars(select(RouteRow).order_by(RouteRow.workspace, RouteRow.slice)):
                where = {"workspace": route.workspace, "slice": route.slice or None}
                routes.setdefault(route.adapter, []).append(where)
            judged, before = rivals(session), served(session, [a.name for a in rows])
            harm = harmed(session, rows)
            serves = {kind: self._lending.fitting(kind) for kind in self._lending.kinds}
            current = {
                a.name: a.name in before or judged[a.name] == serves[a.kind]
                for a in rows
                if a.name in judged and a.kind in serves
            }
            return [
                {
                    "adapter": a.name,
                    "kind": a.kind,
                    "state": a.state,
                    "parent": a.parent,
                    "run": a.run,
                    "created": iso(a.created),
                    "share": a.share,
                    "accepted": bool(a.accepted),
                    "against": judged.get(a.name),
                    "stale": a.name in current and not current[a.name],
                    "harm": harm.get(a.name),
                    "routes": routes.get(a.name, []),
                }
                for a in rows
            ]

    def path(self, name: str) -> str:
        """Folder of an adapter, relative to the home folder.

        Raises:
            NotFound: no such adapter.
        """
        with self._db.read() as session:
            return _found(session, name).path

    def kind_of(self, names: Sequence[str]) -> str:
        """The kind of these adapters.

        Raises:
            NotFound: there is none of a name.
            UserError: they are of several kinds.
        """
        with self._db.read() as session:
            kinds = {name: _found(session, name).kind for name in names}
        if len(set(kinds.values())) > 1:
            told = ", ".join(f"{name!r} of the {kind}" for name, kind in kinds.items())
            raise UserError(f"these are adapters of several kinds: {told}", hint="name adapters of one kind")
        return next(iter(kinds.values()), RETRIEVER)

    def named(self, names: str) -> Named:
        """Adapters for a question that asks for them by name, whatever their state: one, or one of each kind with
        commas between. `base` is none of any kind that is not named beside it.

        Raises:
            NotFound: no such adapter.
            UserError: two of one kind, or nothing here serves that kind.
        """
        found: dict[str, Pinned] = {}
        told = [name.strip() for name in names.split(",") if name.strip()]
        with self._db.read() as session:
            for name in told:
                if name == BASE:
                    continue
                adapter = _found(session, name)
                if adapter.kind in found:
                    raise UserError(f"{names!r} names two adapters of the {adapter.kind}", hint="name one of each kind")
                if adapter.kind not in self._lending.kinds:
                    raise UserError(
                        f"{name!r} is an adapter of the {adapter.kind}",
                        hint=f"give one of the {' or '.join(self._lending.kinds)}",
                    )
                found[adapter.kind] = Pinned(name=adapter.name, path=adapter.path)
        if BASE in told:
            found = {kind: Pinned(name=BASE, path=None) for kind in self._lending.kinds} | found
        return found

    def lineage(self, kind: str) -> list[str]:
        """Runs of the champion and its ancestors, newest first. One that fits another embedder than serves is none."""
        return self.runs_behind(self.champion(kind))

    def champion(self, kind: str) -> str | None:
        """The adapter that serves for a kind; None for the base model, and where it fits another one."""
        if kind in self._lending.kinds:
            return self._lending.fitting(kind)
        with self._db.read() as session:
            pointer = session.get(Pointer, kind)
            return pointer.champion if pointer else None

    def runs_behind(self, name: str | None) -> list[str]:
        """Runs of an adapter and of those it goes on from, newest first; None for the base model has none."""
        with self._db.read() as session:
            return [adapter.run for adapter in chain(session, name)]

    def trained_on(self, runs: list[str]) -> list[str]:
        """Names of the adapters that came from `runs`, or descend from one that did."""
        with self._db.read() as session:
            adapters = list(session.scalars(select(Adapter)))
            of = {a.name: parents(session, a) for a in adapters}
        tainted = {a.name for a in adapters if a.run in runs}
        while True:
            more = {name for name, came_from in of.items() if tainted & set(came_from)} - tainted
            if not more:
                return sorted(tainted)
            tainted |= more

    def checked(self, session: Session, name: str, override: str | None, how: str = "promote") -> Adapter:
        """An adapter that may move on: accepted, and as `require_fit` wants it; or a reason says why.

        Raises:
            NotFound: no such adapter.
            Refused: it is not, and none does.
        """
        adapter = _found(session, name)
        if not adapter.accepted and not (override and override.strip()):
            run = session.get(Run, adapter.run)
            reasons = "; ".join((run.verdict or {}).get("reasons", [])) if run else ""
            raise Refused(
                f"the gate did not accept {name!r}" + (f": {reasons}" if reasons else ""),
                hint=f'retrain, or {how} with --override "REASON"; the reason is kept in the audit log',
                code="gate_refused",
            )
        if not (override and override.strip()):
            self.require_fit(session, adapter, how)
        return adapter

    def _unserved(self, session: Session, name: str, override: str | None) -> Adapter:
        """As `checked`, and an error if it is the champion already: then it would be its own predecessor."""
        adapter = self.checked(session, name, override)
        if adapter.state == "champion":
            raise UserError(f"{name!r} is the champion already", hint="`reprise adapters` lists them")
        return adapter

    def require_fit(self, session: Session, adapter: Adapter, how: str = "promote") -> None:
        """Nothing, if an accepted adapter may serve without a reason: approved where its policy asks for that, taken
        back by no trial, and judged against what serves now.

        Raises:
            Refused: it may not; `how` names in the hint what an override would do.
        """
        require(session, adapter)
        require_unharmed(session, adapter, how)
        self.require_current(session, adapter, how)

    def require_current(self, session: Session, adapter: Adapter, how: str = "promote") -> None:
        """Nothing, if an adapter's verdict is about what serves now, or nothing here serves its kind.

        Raises:
            Refused: it is about another champion; `how` names in the hint what an override would do.
        """
        if adapter.kind in self._lending.kinds:
            require_rival(session, adapter, self._lending.fitting(adapter.kind), how)

    def promote(self, name: str, *, override: str | None = None, actor: str = "local") -> dict[str, Any]:
        """Make an adapter the champion of its kind. A trial of the kind ends with it.

        Raises:
            Refused: its gate did not accept it, or accepted it against another champion than serves, or a trial took
                it back, or its policy asks for an approval that nobody gave, and no override reason is given.
            NotFound: no such adapter.
        """
        with self._db.read() as session:
            adapter = self._unserved(session, name, override)
            kind, folder = adapter.kind, adapter.path
        with self._lending.held(kind, name, folder):  # warm before the flip: no question waits for a load
            started = time.perf_counter()
            with self._db.write() as session:
                one_move(session)
                adapter = self._unserved(session, name, override)  # another promote may have come while it was loaded
                old = crown(session, adapter)
                record(
                    session, "promote", name, actor, kind=kind, previous=old or BASE,
                    accepted=bool(adapter.accepted), override=override,
                )  # fmt: skip
            ms = (time.perf_counter() - started) * 1000
            self._lending.tidy(kind)
        return {"kind": kind, "champion": name, "previous": old, "ms": round(ms, 3)}

    def rollback(self, kind: str = RETRIEVER, actor: str = "local") -> dict[str, Any]:
        """Serve what served before the last promote: the previous adapter, or the base model. A trial ends with it.

        Raises:
            UserError: nothing was promoted.
        """
        started = time.perf_counter()
        with self._db.write() as session:
            one_move(session)
            pointer = session.get(Pointer, kind)
            if pointer is None or pointer.champion is None:
                raise UserError(
                    f"no {kind} adapter serves", hint="there is nothing to roll back: the base model serves"
                )
            left = (pointer.champion, str(pointer.champion_path))
            back = (pointer.previous, str(pointer.previous_path)) if pointer.previous else None
            close(session, kind, outcome="superseded", reason=f"{left[0]!r} was rolled back", leave="candidate")
            _set_states(session, kind, champion=back[0] if back else None, previous=left[0])
            point(session, kind, back, left)
            record(session, "rollback", left[0], actor, kind=kind, champion=back[0] if back else BASE)
        ms = (time.perf_counter() - started) * 1000
        return {"kind": kind, "champion": back[0] if back else None, "previous": left[0], "ms": round(ms, 3)}


def chain(session: Session, name: str | None) -> list[Adapter]:
    """An adapter and those it goes on from, nearest first; none where there is none of that name."""
    found: dict[str, Adapter] = {}
    level = [name] if name is not None else []
    while level:
        adapters = [a for a in (session.get(Adapter, n) for n in level if n not in found) if a is not None]
        found |= {a.name: a for a in adapters}
        level = list(dict.fromkeys(p for a in adapters for p in parents(session, a)))
    return list(found.values())


def parents(session: Session, adapter: Adapter) -> list[str]:
    """What an adapter came from: the one it goes on from, or all that were merged into it."""
    run = session.get(Run, adapter.run)
    merged = list((run.options if run else {}).get("merged") or ())
    return merged or ([adapter.parent] if adapter.parent else [])


def crown(session: Session, adapter: Adapter) -> str | None:
    """Make an adapter the champion in the caller's transaction, which ends any trial of its kind; who was it before."""
    kind, pointer = adapter.kind, session.get(Pointer, adapter.kind)
    mine = pointer is not None and pointer.challenger == adapter.name
    outcome, reason = ("promoted", "promoted") if mine else ("superseded", f"{adapter.name!r} was promoted")
    close(session, kind, outcome=outcome, reason=reason, leave="candidate")
    old = (pointer.champion, str(pointer.champion_path)) if pointer and pointer.champion else None
    _set_states(session, kind, champion=adapter.name, previous=old[0] if old else None)
    point(session, kind, (adapter.name, adapter.path), old)
    return old[0] if old else None


def _set_states(session: Session, kind: str, *, champion: str | None, previous: str | None) -> None:
    serving = (Adapter.kind == kind, Adapter.state.in_(("champion", "previous")))
    session.execute(update(Adapter).where(*serving).values(state="retired", share=0.0))
    for name, state, share in ((previous, "previous", 0.0), (champion, "champion", 1.0)):
        if name is not None:
            session.execute(update(Adapter).where(Adapter.name == name).values(state=state, share=share))


def _found(session: Session, name: str) -> Adapter:
    adapter = session.get(Adapter, name)
    if adapter is None:
        raise NotFound(f"no adapter {name!r}", hint="`reprise adapters` lists them")
    return adapter
