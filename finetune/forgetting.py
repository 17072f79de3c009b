"""What a line of adapters has learnt and forgotten: the matrix R of every adapter on every slice, measured now.

A figure depends on the questions and on the index, so those that runs left behind at other epochs do not compare: a
grown index would look like forgetting. So every kept adapter of the champion's line, and the base model, is scored on
the held-out questions of today; what was measured at this epoch already is not measured again.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from sqlalchemy import ColumnElement, delete, or_, select

from finetune import matrix
from finetune.evaluate import Evaluator, Question
from finetune.facts import origins
from finetune.matrix import Row
from finetune.registry import BASE, Registry
from finetune.tables import Adapter, Figure
from kernel.database import Database, alone
from kernel.epochs import Epochs
from kernel.errors import NotFound, UserError
from kernel.ids import iso, now_ms
from kernel.types import Progress, When, silent
from rehearsal.tables import Example, MixRow
from retrieval.encoder import MANIFEST, QueryEncoder, read_model, weights_sha256

METRIC, SERVED = "ndcg@10", "served_ndcg@10"
LAST = 12
"""Adapters of a line that are looked at, the newest; a line of years would take long."""
MOST = 100
Figures = Mapping[str, Mapping[str, float]]
"""Metric to example to figure."""


class Asked(Protocol):
    """A held-out question, as far as the matrix knows it."""

    @property
    def example(self) -> str: ...

    @property
    def slice(self) -> str: ...


Q = TypeVar("Q", bound=Asked)


class Scorer(Protocol[Q]):
    """Measures models of one kind, beside what serves and without touching it."""

    def metric(self, *, served: bool) -> str:
        """The name of the figure, of what is trained or as it is served.

        Raises:
            UserError: it has no figure as served.
        """

    def base(self) -> str:
        """A name for the base model that changes with it."""

    def questions(self, workspace: str | None, when: When) -> Sequence[Q]:
        """Those that can be asked."""

    def kept_as(self, question: Q, metric: str) -> str:
        """The name under which a figure is kept: `metric`, and behind it what else it depends on but the epoch."""

    def scored(
        self, questions: Sequence[Q], models: Mapping[str, Path | None], when: When
    ) -> Iterator[tuple[str, Figures]]:
        """Each model with its figures, in the order given. A model without a folder is the base."""


class RetrieverScorer:
    """`Scorer` of the query encoder. It loads a base model of its own, so that no question waits for an adapter."""

    def __init__(self, evaluator: Evaluator, base_path: Any) -> None:
        """`base_path` is called for the folder of the base model that serves."""
        self._evaluator, self._base_path = evaluator, base_path

    def metric(self, *, served: bool) -> str:
        return SERVED if served else METRIC

    def questions(self, workspace: str | None, when: When) -> list[Question]:
        return self._evaluator.questions(workspace)

    def kept_as(self, question: Question, metric: str) -> str:
        return metric

    def base(self) -> str:
        return f"{BASE}@{weights_sha256(read_model(self._base_path()).folder)[:12]}"

    def scored(
        self, questions: Sequence[Question], models: Mapping[str, Path | None], when: When
    ) -> Iterator[tuple[str, Figures]]:
        encoder = QueryEncoder(self._base_path())
        for name, folder in models.items():
            if folder is not None:
                encoder.load(name, folder)
            adapter = name if folder is not None else None
            found = self._evaluator.score(questions, None, when, partial(encoder.encode, adapter=adapter))
            yield name, {METRIC: found.dense, SERVED: found.served}
            if folder is not None:
                encoder.unload(name)


class Forgetting:
    """The matrix of a champion's line, and the figures that are read off it."""

    def __init__(
        self,
        db: Database,
        epochs: Epochs,
        registry: Registry,
        home: Path,
        scorers: Mapping[str, Scorer[Any]],
    ) -> None:
        self._db, self._epochs, self._registry, self._home, self._scorers = db, epochs, registry, home, scorers

    def show(
        self,
        kind: str,
        workspace: str | None = None,
        *,
        served: bool = False,
        last: int = LAST,
        before: str | None = None,
        after: str | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> dict[str, Any]:
        """R and its figures; what changed between two rows (the last two, or those named) with a paired bootstrap.

        Raises:
            UserError: a kind whose adapters cannot be scored anew, or not `served`; or `last` outside 1..100.
            Refused: an adapter of the line was trained on another model than serves.
            NotFound: a row that is not in the line.
        """
        if kind not in self._scorers:
            hint = f"there is one of: {', '.join(sorted(self._scorers))}"
            raise UserError(f"there is no matrix of {kind!r} adapters", hint=hint)
        if not 1 <= last <= MOST:
            raise UserError(f"last is {last}", hint=f"give how many adapters of the line to look at, 1 to {MOST}")
        started = time.perf_counter()
        scorer = self._scorers[kind]
        metric, base = scorer.metric(served=served), scorer.base()
        when = When(epoch=self._epochs.committed(), at=now_ms())
        questions, line = scorer.questions(workspace, when), self._line(kind)[-last:]
        folders: dict[str, Path | None] = {base: None} | {a.name: self._home / a.path for a in line}
        scores = self._filled(scorer, metric, questions, folders, when, progress)
        slice_of = {q.example: q.slice for q in questions}
        learnt = self._learnt([a.run for a in line])
        rows = [Row(model=base, figures=_by_slice(scores[base], slice_of))]
        rows += [
            Row(model=a.name, figures=_by_slice(scores[a.name], slice_of), learnt=learnt.get(a.run, ())) for a in line
        ]
        names = sorted(set(slice_of.values()))
        R = matrix.build(rows, names)
        at = matrix.learnt_at(rows, names)
        pair = _pair(rows, before, after)
        return {
            "kind": kind,
            "workspace": workspace,
            "metric": metric,
            "epoch": when.epoch,
            "rows": [
                {
                    "model": row.model,
                    "run": a.run if a else None,
                    "created": iso(a.created) if a else None,
                    "learnt": list(row.learnt),
                    "measured": sum(len(some) for some in row.figures.values()),
                }
                for row, a in zip(rows, [None, *line], strict=True)
            ],
            "slices": [
                {
                    "slice": name,
                    "n": sum(s == name for s in slice_of.values()),
                    "learnt_by": rows[i].model if i is not None else None,
                    "forgotten": _number(lost),
                }
                for name, i, lost in zip(names, at, matrix.forgotten(R, at), strict=True)
            ],
            "R": [[_number(v) for v in row] for row in R],
            "origins": self._by_origin(scores),
            "average_accuracy": _number(matrix.average_accuracy(R)),
            "backward_transfer": _number(matrix.backward_transfer(R, at)),
            # Row 0 is the base itself: what came before the first run is no transfer.
            "forward_transfer": _number(
                matrix.forward_transfer(R[1:], R[0], [None if i is None else i - 1 for i in at])
            ),
            "forgetting": _number(matrix.forgetting(R, at)),
            "before": pair[0].model if pair else None,
            "after": pair[1].model if pair else None,
            "changes": [asdict(change) for change in matrix.compare(*pair, seed=seed)] if pair else [],
            "seconds": round(time.perf_counter() - started, 2),
        }

    # --- parts ---------------------------------------------------------------------------------------------------

    def _line(self, kind: str) -> list[Adapter]:
        """The adapters of the champion's line that are still on disk, the oldest first."""
        runs = self._registry.lineage(kind)
        with self._db.read() as session:
            found = {a.run: a for a in session.scalars(select(Adapter).where(Adapter.run.in_(runs)))}
        line = [found[run] for run in reversed(runs) if run in found]
        return [a for a in line if (self._home / a.path / MANIFEST).is_file()]

    def _learnt(self, runs: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Slices that each run brought something new of."""
        with self._db.read() as session:
            new = select(MixRow.run, Example.stratum_column()).join(Example, Example.id == MixRow.example)
            rows = session.execute(new.where(MixRow.run.in_(runs), MixRow.part == "new").distinct()).all()
        return {run: tuple(sorted(name for r, name in rows if r == run)) for run in runs}

    def _by_origin(self, scores: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
        """Means of each model over the questions of each origin, the models in the order given."""
        with self._db.read() as session:
            origin_of = origins(session, set().union(*scores.values()))
        rows = [
            Row(model=name, figures=_by_slice({e: v for e, v in found.items() if e in origin_of}, origin_of))
            for name, found in scores.items()
        ]
        counts = Counter(origin_of.values())
        means = matrix.build(rows, sorted(counts)).T
        return [
            {"origin": name, "n": counts[name], "figures": [_number(v) for v in some]}
            for name, some in zip(sorted(counts), means, strict=True)
        ]

    def _filled(
        self,
        scorer: Scorer[Any],
        metric: str,
        questions: Sequence[Asked],
        folders: Mapping[str, Path | None],
        when: When,
        progress: Progress,
    ) -> dict[str, dict[str, float]]:
        """Figures of all models on all questions at one epoch; what is missing is measured and kept."""
        epoch, kept_as = when.epoch, {q.example: scorer.kept_as(q, metric) for q in questions}
        with self._db.read() as session:
            stored = select(Figure).where(Figure.model.in_(list(folders)), _of(metric), Figure.epoch == epoch)
            scores: dict[str, dict[str, float]] = {name: {} for name in folders}
            for figure in session.scalars(stored):
                if kept_as.get(figure.example) == figure.metric:
                    scores[figure.model][figure.example] = figure.figure
        missing = {name: folder for name, folder in folders.items() if len(scores[name]) < len(kept_as)}
        for done, (name, found) in enumerate(scorer.scored(questions, missing, when) if missing else ()):
            progress("measuring", done + 1, len(missing))
            names = {(q.example, of): scorer.kept_as(q, of) for q in questions for of in found}
            self._keep(name, found, names, epoch)
            scores[name] = dict(found[metric])
        return scores

    def _keep(self, model: str, figures: Figures, names: Mapping[tuple[str, str], str], epoch: int) -> None:
        """One figure per model, example and metric is kept: the newest. `names` says under what name each is."""
        with self._db.write() as session:
            alone(session, "figures")  # or two who measured the same at once both add it
            for metric in figures:
                session.execute(delete(Figure).where(Figure.model == model, _of(metric)))
            session.add_all(
                Figure(model=model, example=example, metric=names[example, metric], epoch=epoch, figure=value)
                for metric, found in figures.items()
                for example, value in found.items()
                if math.isfinite(value)
            )


def _of(metric: str) -> ColumnElement[bool]:
    """Figures of a metric, whatever stands behind its name."""
    return or_(Figure.metric == metric, Figure.metric.startswith(f"{metric}@", autoescape=True))


def _pair(rows: Sequence[Row], before: str | None, after: str | None) -> tuple[Row, Row] | None:
    """The rows that are compared: those named, else the last two."""
    by_name = {row.model: row for row in rows} | {BASE: rows[0]}
    for name in (before, after):
        if name is not None and name not in by_name:
            raise NotFound(f"{name!r} is not in the champion's line", hint=f"there are: {', '.join(by_name)}")
    if len(rows) < 2:
        return None
    later = by_name[after] if after else rows[-1]
    place = rows.index(later)
    return (by_name[before] if before else rows[max(0, place - 1)]), later


def _by_slice(scores: Mapping[str, float], slice_of: Mapping[str, str]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for example, value in scores.items():
        found.setdefault(slice_of[example], {})[example] = value
    return found


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(np.float64(value)), 4)
