"""What the gate has to know of a run besides its figures, read from the database and the run's folder.

Whether the champion is still the one it was drawn for, what of its mix is not so any more, how its loss went, and
which slices nobody asks about any more. It judges nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from finetune.files import read_json, write_json
from finetune.gate import HeldOut, Standing
from finetune.tables import Adapter, Run
from kernel.database import Database, listed
from rehearsal.ground import made_of
from rehearsal.mix import Mix, Mixer
from rehearsal.standing import superseded
from rehearsal.tables import Example

FIGURES = "figures.json"
"""In a run's folder: what was asked and what each model scored. Ids and numbers, no words."""
_TENTH = 10


class Facts:
    """Facts about runs. It reads, and writes nothing but a run's own figures."""

    def __init__(self, db: Database, mixer: Mixer, home: Path) -> None:
        self._db, self._mixer, self._home = db, mixer, home

    def standing(
        self,
        run: Run,
        mix: Mix,
        folder: Path,
        *,
        champion: str | None,
        held_out: Sequence[HeldOut],
        known: Standing | None = None,
    ) -> Standing:
        """Where `run` stands now; what its kind knows already (its base model) is kept."""
        gone = self._mixer.gone(mix)
        with self._db.read() as session:  # the others were deleted or withdrawn
            replaced = len(superseded(session, gone))
        first, last = curve(folder / "metrics.jsonl")
        return replace(
            known or Standing(),
            parent=run.parent,
            champion=champion,
            epoch=mix.epoch,
            rows=len(mix.practised),
            superseded=replaced,
            deleted=len(gone) - replaced,
            first_loss=first,
            last_loss=last,
            missing=self._missing(champion, {e.example for e in held_out} | self._left_out(run)),
        )

    def _left_out(self, run: Run) -> set[str]:
        """Questions that are not asked because the run leaves out what answers them."""
        with self._db.read() as session:
            return made_of(session, run.options.get("without") or ())

    def keep(self, folder: Path, metric: str, scores: Mapping[str, Mapping[str, float]], asked: Sequence[HeldOut],
             epoch: int) -> None:  # fmt: skip
        """Write the run's figures, for the matrix of its line."""
        slices = {e.example: e.slice for e in asked if e.suite is None}
        figures = {
            model: {e: v for e, v in found.items() if e in slices and math.isfinite(v)}
            for model, found in scores.items()
        }
        write_json(folder / FIGURES, {"metric": metric, "epoch": epoch, "slices": slices, "models": figures})

    def origins(self, asked: Sequence[HeldOut]) -> dict[str, str]:
        """Where each question comes from; what is asked by a suite alone comes from nowhere."""
        with self._db.read() as session:
            return origins(session, [e.example for e in asked])

    def _missing(self, champion: str | None, asked: set[str]) -> dict[str, int]:
        """Slices that the champion was judged on and of which no question is asked, though one could be."""
        with self._db.read() as session:
            adapter = session.get(Adapter, champion) if champion else None
            file = self._home / adapter.path if adapter else None
            figures = file.parent / FIGURES if file else None
            if figures is None or not figures.is_file():
                return {}
            judged: dict[str, str] = read_json(figures)["slices"]
            retired = set(
                session.scalars(select(Example.id).where(Example.id.in_(listed(judged)), Example.status == "retired"))
            )
        there = {judged[e] for e in judged if e in asked}
        could = Counter(name for e, name in judged.items() if e not in retired)
        return {name: n for name, n in sorted(could.items()) if name not in there}


def curve(file: Path) -> tuple[float | None, float | None]:
    """Mean training loss over the first and the last tenth of the steps, and over three at least; None without any.

    The first is at most twice that of the very first step, which no update had touched yet: a rate beyond all reason
    ruins the second step already, and what it ruined is no beginning to compare an end with.
    """
    losses = [_loss(line) for line in file.read_text().splitlines()] if file.is_file() else []
    known = [loss for loss in losses if loss is not None]
    if not known:
        return None, None
    some = min(len(known), max(3, len(known) // _TENTH))
    return min(math.fsum(known[:some]) / some, 2 * known[0]), math.fsum(known[-some:]) / some


def _loss(line: str) -> float | None:
    try:
        told: dict[str, Any] = json.loads(line)
        return float(told["loss"])
    except (ValueError, KeyError, TypeError):
        return None


def origins(session: Session, examples: Collection[str]) -> dict[str, str]:
    """Where each example comes from, as its row says."""
    found = select(Example.id, Example.origin).where(Example.id.in_(listed(examples)))
    return {row.id: row.origin for row in session.execute(found)}
