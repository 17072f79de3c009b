"""Which adapter answers a request: one decision for each kind, made once at the request's start.

    named by whoever asks  >  route of the slice  >  of the workspace  >  the share of a trial  >  champion  >  base

Who belongs to a trial's share is a matter of a hash, so that nobody sees one arm now and the other a moment later, and
so that whoever is in a small share stays in when it grows. The decision reads rows and knows no model: whether what it
names can be loaded is `retrieval.lending`'s business, for which it says what comes next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import select

from kernel.database import Database
from retrieval.preferences import NOBODY
from retrieval.tables import Pointer, RouteRow
from retrieval.turns import LOCAL

BASE_MODEL = "base"
"""What a person writes for no adapter at all."""
Why = Literal["named", "route", "canary", "champion", "base"]
Arm = Literal["champion", "canary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """An adapter by name; `path` None is the base model."""

    name: str
    path: str | None
    """Relative to the home folder."""
    strict: bool = True
    """Whether nothing else may answer in its place: so it is with what somebody asked for by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """What of a request decides."""

    workspace: str
    slice: str | None = None
    unit: str | None = None
    """For whom a trial draws, see `unit_of`; None takes no part in trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the rows say of a kind at one moment, as far as it concerns one workspace."""

    kind: str
    champion: Pinned | None = None
    challenger: Pinned | None = None
    stage: Literal["shadow", "canary"] | None = None
    share: float = 0.0
    rollout: str | None = None
    routes: Mapping[str, Pinned] = field(default_factory=dict)
    """By slice; the empty slice is the whole workspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who answers: the first of `order` that can be loaded, and the base model where none can."""

    kind: str
    why: Why
    order: tuple[Pinned, ...] = ()
    rollout: str | None = None
    arm: Arm | None = None
    """Of a canary; None where this request takes no part in one."""
    shadow: Pinned | None = None
    """Who answers as well, unseen."""


def choose(standing: Standing, asks: Asks, named: Pinned | None = None) -> Choice:
    """The decision. Equal rows and equal requests are decided alike, in every process."""
    kind = standing.kind
    if named is not None:
        return Choice(kind=kind, why="named", order=(named,))
    for where in (asks.slice, ""):
        if where is not None and where in standing.routes:
            return Choice(kind=kind, why="route", order=(standing.routes[where],))
    champion = () if standing.champion is None else (standing.champion,)
    why: Why = "champion" if champion else "base"
    if standing.challenger is None or standing.rollout is None or asks.unit is None:
        return Choice(kind=kind, why=why, order=champion)
    if standing.stage == "shadow":
        return Choice(kind=kind, why=why, order=champion, rollout=standing.rollout, shadow=standing.challenger)
    if bucket(standing.rollout, asks.unit) < standing.share:
        order = (standing.challenger, *champion)
        return Choice(kind=kind, why="canary", order=order, rollout=standing.rollout, arm="canary")
    return Choice(kind=kind, why=why, order=champion, rollout=standing.rollout, arm="champion")


def bucket(trial: str, unit: str) -> float:
    """Where a unit falls in a trial, from 0 up to but not 1: uniform over units, and drawn anew by each trial."""
    drawn = hashlib.blake2b(f"{trial}\0{unit}".encode(), digest_size=8).digest()
    return (int.from_bytes(drawn, "big") >> 11) / 2**53  # 53 bits, which a float holds exactly: never rounded up to 1


def unit_of(user: str, conversation: str | None, question: str) -> str | None:
    """For whom a trial draws: a user who has a name, else the conversation, else the question itself.

    `local` is everybody who gave no name, so it would put a whole platform into one arm. Nobody, who asks to measure,
    takes no part: what is measured is what serves.
    """
    if user == NOBODY:
        return None
    if user != LOCAL:
        return f"user\0{user}"
    if conversation is not None:
        return f"conversation\0{conversation}"
    return f"question\0{' '.join(question.casefold().split())}"


class Choosing:
    """Reads what stands, at every request, so that a move reaches every process at once."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def standing(self, workspace: str) -> dict[str, Standing]:
        """What stands for each kind that has any adapter in use for this workspace."""
        with self._db.read() as session:
            pointers = {p.kind: p for p in session.scalars(select(Pointer))}
            rows = list(session.scalars(select(RouteRow).where(RouteRow.workspace == workspace)))
        routes: dict[str, dict[str, Pinned]] = {}
        for row in rows:
            routes.setdefault(row.kind, {})[row.slice] = Pinned(name=row.adapter, path=row.path, strict=False)
        return {kind: _standing(kind, pointers.get(kind), routes.get(kind, {})) for kind in {*pointers, *routes}}

    def in_use(self, kind: str) -> dict[str, str]:
        """Paths by name of the adapters of a kind that any request may need next, the previous champion included."""
        with self._db.read() as session:
            pointer = session.get(Pointer, kind)
            routes = list(session.scalars(select(RouteRow).where(RouteRow.kind == kind)))
        found = {row.adapter: row.path for row in routes}
        if pointer is not None:
            pairs = (
                (pointer.champion, pointer.champion_path),
                (pointer.previous, pointer.previous_path),
                (pointer.challenger, pointer.challenger_path),
            )
            found |= {name: path for name, path in pairs if name is not None and path is not None}
        return found


def _standing(kind: str, pointer: Pointer | None, routes: Mapping[str, Pinned]) -> Standing:
    if pointer is None:
        return Standing(kind=kind, routes=routes)
    return Standing(
        kind=kind,
        champion=_serving(pointer.champion, pointer.champion_path),
        challenger=_serving(pointer.challenger, pointer.challenger_path),
        stage=pointer.stage,  # type: ignore[arg-type]
        share=pointer.share,
        rollout=pointer.rollout,
        routes=routes,
    )


def _serving(name: str | None, path: str | None) -> Pinned | None:
    return None if name is None or path is None else Pinned(name=name, path=path, strict=False)
