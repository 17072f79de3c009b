"""Rollouts as tests drive them: the real registry, trials, routes and lending on a database, adapters without weights.

What loads is a set of names, so that a move is a matter of milliseconds and a kill can be tried at each of its steps.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from finetune.registry import Registry
from finetune.rival import about
from finetune.rollout import Rollouts
from finetune.routes import Routes
from finetune.tables import Adapter, Run
from kernel import audit
from kernel.database import Database
from kernel.errors import NotFound
from kernel.ids import fresh, now_ms
from retrieval.answer import taking_part
from retrieval.choosing import Asks, Choosing, Pinned, unit_of
from retrieval.holding import Holding
from retrieval.lending import Lending, Lent
from retrieval.live import RETRIEVER
from retrieval.tables import Exposure, Pointer, Turn
from retrieval.turns import Asker, Turns

ACCEPTED = {"accepted": True, "reasons": ["passed: it gained"], "slices": []}
REFUSED = {"accepted": False, "reasons": ["refused: it lost"], "slices": []}


class Rack:
    """The `Shelf` of a kind, without weights. What is in `broken` cannot be loaded."""

    def __init__(self, choosing: Choosing, kind: str) -> None:
        self._choosing, self._kind = choosing, kind
        self.loaded: set[str] = set()
        self.broken: set[str] = set()
        self.holding = Holding(self._load, self.loaded.discard, lambda: list(self.loaded))

    def _load(self, name: str, path: str) -> None:
        if name in self.broken:
            raise NotFound(f"there is no complete adapter in {path!r}")
        self.loaded.add(name)

    @property
    def trouble(self) -> str | None:
        return self.holding.trouble

    def lent(self, order: Sequence[Pinned]) -> AbstractContextManager[Pinned | None]:
        return self.holding.lent(order)

    def held(self, name: str, path: str) -> AbstractContextManager[None]:
        return self.holding.held(name, path)

    def fitting(self) -> str | None:
        standing = self._choosing.standing("default").get(self._kind)
        return standing.champion.name if standing and standing.champion else None

    def warm(self) -> None:
        for name, path in self._choosing.in_use(self._kind).items():
            self.holding.try_load(name, path)

    def tidy(self) -> None:
        self.holding.keep(self._choosing.in_use(self._kind))


class Desk:
    """Everything that moves adapters, on a home folder."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.db = home, Database(f"sqlite:///{home / 'reprise.db'}")
        choosing = Choosing(self.db)
        self.rack = Rack(choosing, RETRIEVER)
        self.lending = Lending(choosing, {RETRIEVER: self.rack})
        self.registry = Registry(self.db, self.lending, home)
        self.rollouts = Rollouts(self.db, self.registry, self.lending)
        self.routes = Routes(self.db, self.registry, self.lending)
        self.turns = Turns(self.db)

    def add(self, name: str, verdict: dict[str, Any] | None = None, workspace: str | None = None) -> str:
        """A candidate with its run and verdict, against whom serves now; its name."""
        verdict = ACCEPTED if verdict is None else verdict
        with self.db.write() as session:
            session.add(
                Run(
                    id=f"run-{name}",
                    kind=RETRIEVER,
                    state="accepted" if verdict["accepted"] else "rejected",
                    workspace=workspace,
                    options={},
                    adapter=name,
                    parent=self.rack.fitting(),
                    epoch=0,
                    metrics={},
                    verdict=verdict,
                    error=None,
                    created=now_ms(),
                    finished=now_ms(),
                )
            )
            folder = self.home / "runs" / name / "adapter"
            self.registry.add(session, name, RETRIEVER, f"run-{name}", None, folder, verdict["accepted"])
        return name

    def judged_again(self, name: str) -> None:
        """As `finetune.rejudge` leaves it: the same verdict, against whom serves now."""
        with self.db.write() as session:
            run = session.get_one(Run, f"run-{name}")
            run.verdict = about(run.verdict or ACCEPTED, self.rack.fitting())
            audit.record(session, "gate", run.id, adapter=name, accepted=True, again=True)

    @contextmanager
    def asking(self, user: str = "local", workspace: str = "default", **given: Any) -> Iterator[Lent]:
        """One request, from its start to its end."""
        unit = unit_of(user, None, given.pop("question", "what?"))
        with self.lending.lend(Asks(workspace=workspace, unit=unit, **given)) as lent:
            yield lent

    def serves(self, user: str = "local", workspace: str = "default", **given: Any) -> str | None:
        """Name of the adapter that answers a request."""
        with self.asking(user, workspace, **given) as lent:
            pinned = lent.adapters[RETRIEVER]
            return None if pinned is None else pinned.name

    def ask(self, user: str, *, abstained: bool = False, question: str = "what?") -> str:
        """A turn as an answer leaves it; its id."""
        with self.asking(user) as lent:
            pinned = lent.adapters[RETRIEVER]
            shown = {
                "turn": fresh("turn"),
                "answer": "",
                "abstained": abstained,
                "adapters": {RETRIEVER: pinned and pinned.name, "generator": None},
                "citations": [],
                "epoch": 0,
                "ms": {"total": 1.0},
            }
            asks = Asks(workspace="default", unit=unit_of(user, None, question))
            self.turns.keep("default", question, shown, now_ms(), Asker(user=user), taking_part(asks, lent, shown))
        return str(shown["turn"])

    def states(self) -> dict[str, tuple[str, float]]:
        with self.db.read() as session:
            return {a.name: (a.state, a.share) for a in session.query(Adapter)}

    def arm(self, turn: str) -> str | None:
        with self.db.read() as session:
            found = session.query(Exposure).filter_by(turn=turn).one_or_none()
            return found.arm if found else None

    def audited(self) -> list[tuple[str, str, str]]:
        """(action, subject, actor), newest first; the chain is whole."""
        with self.db.read() as session:
            assert audit.intact(session)
            return [(e["action"], e["subject"], e["actor"]) for e in audit.entries(session)]

    def picture(self) -> dict[str, Any]:
        """Everything a move may change, as JSON."""
        with self.db.read() as session:
            pointers = [
                [p.champion, p.previous, p.challenger, p.stage, p.share, p.rollout is not None]
                for p in session.query(Pointer)
            ]
            turns = session.query(Turn).count()
        trials = [[t["adapter"], t["stage"], t["share"], t["state"], t["steps"]] for t in self.rollouts.listing()]
        states = {name: list(state) for name, state in sorted(self.states().items())}
        return {"pointers": pointers, "states": states, "trials": trials, "turns": turns, "audit": len(self.audited())}

    def close(self) -> None:
        self.db.close()


def _last_step(desk: Desk) -> None:
    desk.rollouts.start("b", share=0.5, steps=[0.5])


DEEDS: dict[str, tuple[Callable[[Desk], object], Callable[[Desk], object]]] = {
    "start": (lambda desk: None, lambda desk: desk.rollouts.start("b", share=0.1)),
    "advance": (lambda desk: desk.rollouts.start("b", shadow=True), lambda desk: desk.rollouts.advance()),
    "crown": (_last_step, lambda desk: desk.rollouts.advance()),
    "stop": (_last_step, lambda desk: desk.rollouts.stop()),
}
"""What goes before, and the move in which the process dies."""
STEPS = {deed: ("flipping", "flipped") if deed == "stop" else ("loaded", "flipping", "flipped") for deed in DEEDS}
"""Where a move can be interrupted; ending a trial loads nothing."""


def move_and_die(folder: Path) -> None:
    """Each deed whole, and with a kill at each of its steps; `pictures.json` tells how the home stood each time."""
    pictures: dict[str, Any] = {}
    furnish(folder / "plain")
    for deed, (before, move) in DEEDS.items():
        prepared = Desk(Path(shutil.copytree(folder / "plain", folder / deed)))
        before(prepared)
        pictures[f"{deed}-before"] = prepared.picture()
        prepared.close()
        for step in ("never", *STEPS[deed]):
            home = Path(shutil.copytree(folder / deed, folder / f"{deed}-{step}"))
            if not (child := os.fork()):
                _do(home, move, step)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            desk = Desk(home)
            pictures[f"{deed}-{step}"] = desk.picture()
            desk.close()
    (folder / "pictures.json").write_text(json.dumps(pictures))


def _do(home: Path, move: Callable[[Desk], object], step: str) -> None:
    desk = Desk(home)

    def die(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    desk.rollouts.step = die
    move(desk)
    os.kill(os.getpid(), signal.SIGKILL)


def furnish(home: Path) -> Path:
    """A home with a champion `a` and a candidate `b`, closed, so that it can be copied: a schema takes its time."""
    desk = Desk(home)
    desk.registry.promote(desk.add("a"))
    desk.add("b")
    desk.close()
    return home
