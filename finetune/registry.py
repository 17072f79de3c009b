"""The registry of adapters: candidate, champion, previous, retired; promote and roll back.

    candidate ──promote──▶ champion ──promote of another──▶ previous ──▶ retired
                              ▲                                │
                              └─────────── rollback ◀──────────┘

An adapter is promoted with an accepting verdict, or with a reason that stands in the audit log. The previous one, or
the base model, stays warm; a rollback moves one row.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from finetune.tables import Adapter, Run
from kernel.audit import record
from kernel.database import Database
from kernel.errors import NotFound, Refused, UserError
from kernel.ids import iso, now_ms
from retrieval.live import RETRIEVER, LiveRetriever, Pinned, point
from retrieval.tables import Pointer

BASE = "base"
"""What a report calls serving without an adapter."""


class Registry:
    """The adapters of a platform. Safe from several threads and processes: every move is one transaction."""

    def __init__(self, db: Database, live: LiveRetriever, home: Path) -> None:
        self._db, self._live, self._home = db, live, home

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
            rows = session.scalars(select(Adapter).order_by(Adapter.created.desc(), Adapter.name))
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

    def pinned(self, name: str) -> Pinned:
        """A retriever adapter for a question that asks for it by name, whatever its state; `base` is none.

        Raises:
            NotFound: no such adapter.
            UserError: it is not a retriever's.
        """
        if name == BASE:
            return Pinned(name=BASE, path=None)
        with self._db.read() as session:
            adapter = _found(session, name)
        if adapter.kind != RETRIEVER:
            raise UserError(f"{name!r} is an adapter of the {adapter.kind}", hint="give one of the retriever")
        return Pinned(name=adapter.name, path=adapter.path)

    def lineage(self, kind: str) -> list[str]:
        """Runs of the champion and its ancestors, newest first. One that fits another embedder than serves is none."""
        with self._db.read() as session:
            pointer = session.get(Pointer, kind)
            name = pointer.champion if pointer else None
        if kind == RETRIEVER:
            name = self._live.fitting()
        return self.ancestry(name) if name is not None else []

    def ancestry(self, name: str) -> list[str]:
        """Runs of an adapter and its ancestors, the nearest first; of a merged one by all of its parents."""
        runs: list[str] = []
        with self._db.read() as session:
            level, seen = [name], {name}
            while level:
                adapters = [a for a in (session.get(Adapter, n) for n in level) if a is not None]
                runs += [a.run for a in adapters]
                level = list(dict.fromkeys(p for a in adapters for p in _parents(session, a) if p not in seen))
                seen |= set(level)
        return runs

    def trained_on(self, runs: list[str]) -> list[str]:
        """Names of the adapters that came from `runs`, or descend from one that did."""
        with self._db.read() as session:
            adapters = list(session.scalars(select(Adapter)))
            parents = {a.name: _parents(session, a) for a in adapters}
        tainted = {a.name for a in adapters if a.run in runs}
        while True:
            more = {name for name, of in parents.items() if tainted & set(of)} - tainted
            if not more:
                return sorted(tainted)
            tainted |= more

    def promote(self, name: str, *, override: str | None = None, actor: str = "local") -> dict[str, Any]:
        """Make an adapter the champion of its kind.

        Raises:
            Refused: its gate did not accept it and no override reason is given.
            NotFound: no such adapter.
        """
        with self._db.read() as session:
            adapter = _found(session, name)
            if adapter.state == "champion":
                raise UserError(f"{name!r} is the champion already", hint="`reprise adapters` lists them")
            if not adapter.accepted and not (override and override.strip()):
                run = session.get(Run, adapter.run)
                reasons = "; ".join((run.verdict or {}).get("reasons", [])) if run else ""
                raise Refused(
                    f"the gate did not accept {name!r}" + (f": {reasons}" if reasons else ""),
                    hint='retrain, or promote with --override "REASON"; the reason is kept in the audit log',
                    code="gate_refused",
                )
            folder = adapter.path
        self._live.load(name, folder)  # warm before the flip: no question waits for a load
        started = time.perf_counter()
        with self._db.write() as session:
            adapter = _found(session, name)
            pointer = session.get(Pointer, adapter.kind)
            old = (pointer.champion, pointer.champion_path) if pointer and pointer.champion else None
            _set_states(session, adapter.kind, champion=name, previous=old[0] if old else None)
            point(session, adapter.kind, (name, folder), old)  # type: ignore[arg-type]
            record(
                session, "promote", name, actor, kind=adapter.kind, previous=old[0] if old else BASE,
                accepted=bool(adapter.accepted), override=override,
            )  # fmt: skip
            kind = adapter.kind
        ms = (time.perf_counter() - started) * 1000
        self._live.unload_all_but({name, old[0] if old else None})
        return {"kind": kind, "champion": name, "previous": old[0] if old else None, "ms": round(ms, 3)}

    def rollback(self, kind: str = RETRIEVER, actor: str = "local") -> dict[str, Any]:
        """Serve what served before the last promote: the previous adapter, or the base model.

        Raises:
            UserError: nothing was promoted.
        """
        started = time.perf_counter()
        with self._db.write() as session:
            pointer = session.get(Pointer, kind)
            if pointer is None or pointer.champion is None:
                raise UserError(
                    f"no {kind} adapter serves", hint="there is nothing to roll back: the base model serves"
                )
            left = (pointer.champion, str(pointer.champion_path))
            back = (pointer.previous, str(pointer.previous_path)) if pointer.previous else None
            _set_states(session, kind, champion=back[0] if back else None, previous=left[0])
            point(session, kind, back, left)  # type: ignore[arg-type]
            record(session, "rollback", left[0], actor, kind=kind, champion=back[0] if back else BASE)
        ms = (time.perf_counter() - started) * 1000
        return {"kind": kind, "champion": back[0] if back else None, "previous": left[0], "ms": round(ms, 3)}


def _set_states(session: Session, kind: str, *, champion: str | None, previous: str | None) -> None:
    serving = (Adapter.kind == kind, Adapter.state.in_(("champion", "previous")))
    session.execute(update(Adapter).where(*serving).values(state="retired", share=0.0))
    for name, state, share in ((previous, "previous", 0.0), (champion, "champion", 1.0)):
        if name is not None:
            session.execute(update(Adapter).where(Adapter.name == name).values(state=state, share=share))


def _parents(session: Session, adapter: Adapter) -> list[str]:
    """What it came from: its parent, or all that were merged into it."""
    run = session.get(Run, adapter.run)
    merged = list((run.options if run else {}).get("merged") or ())
    return merged or ([adapter.parent] if adapter.parent else [])


def _found(session: Session, name: str) -> Adapter:
    adapter = session.get(Adapter, name)
    if adapter is None:
        raise NotFound(f"no adapter {name!r}", hint="`reprise adapters` lists them")
    return adapter
