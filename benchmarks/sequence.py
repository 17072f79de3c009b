"""One sequence of retrains: domain after domain, each from the adapter before, each with a mix of new and recalled.

It is the platform's own loop without its stores: the policies of `rehearsal`, the training of `finetune`, the encoder
that serves. Every step is kept under a name made of all that went into it, so that sequences share their beginnings
and a run that was stopped goes on.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.domains import Asked, Domain
from finetune.data import RunConfig, TrainRow, TrainSet
from finetune.interference import measure
from finetune.metrics import ndcg_at_k
from finetune.recipe import RetrieverRecipe
from kernel.ids import canonical, digest
from rehearsal.history import Remembered, remembered, shift
from rehearsal.policies import MEASURED, POLICIES, Candidate, NewExamples, n_old
from rehearsal.policies.interference import worth_measuring
from rehearsal.policies.picks import CYCLES

NONE, JOINT = "none", "joint"
WEEK_MS = 7 * 24 * 3600 * 1000
"""Between two retrains, for policies that go by the calendar."""
K = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is run: an order of domains, a policy and its share, a seed."""

    order: tuple[str, ...]
    policy: str
    rho: float
    seed: int


@dataclass(slots=True)
class Past:
    """What the platform would know of the examples it practised."""

    cycles: dict[str, list[int]] = field(default_factory=dict)
    """In which retrains each was practised, its first included."""
    loss: dict[str, float] = field(default_factory=dict)
    strength: dict[str, float] = field(default_factory=dict)
    forgotten: dict[str, int] = field(default_factory=dict)


class Bench:
    """Runs cells. `domains` are all that are measured, those to come included; `base` is a sentence model's folder."""

    def __init__(self, domains: Sequence[Domain], base: str, folder: Path, recipe: Mapping[str, Any]) -> None:
        self.domains = {domain.name: domain for domain in domains}
        self._base, self._folder, self._recipe = base, folder, dict(recipe)
        starts = np.cumsum([0, *(len(d.vectors) for d in domains)])
        self._start = {d.name: int(start) for d, start in zip(domains, starts, strict=False)}
        self._vectors = np.concatenate([d.vectors for d in domains])
        self._asked = {asked.id: (d.name, asked) for d in domains for asked in d.train}
        self._encoder: Any = None

    def base(self) -> dict[str, Any]:
        """The figures of the base model, for all domains."""
        file = self._folder / "base.json"
        if not file.exists():
            _write(file, {"scores": self._score(None)})
        return json.loads(file.read_text())

    def run(self, cell: Cell) -> list[dict[str, Any]]:
        """The record of each step, in order: `scores` by domain and held-out question, `cost`, `mix`."""
        if cell.policy == JOINT:
            return [self._step(cell, tuple(cell.order), None, Past())]
        past, parent, records = Past(), None, []
        for n in range(len(cell.order)):
            record = self._step(cell, cell.order[: n + 1], parent, past)
            parent = Path(record["folder"])
            past = Past(**record["past"])
            records.append(record)
        return records

    def first(self, cell: Cell) -> None:
        """The step that all cells of an order and a seed begin with."""
        self._step(cell, cell.order[:1], None, Past())

    # --- one step --------------------------------------------------------------------------------

    def _step(self, cell: Cell, done: tuple[str, ...], parent: Path | None, past: Past) -> dict[str, Any]:
        joint = cell.policy == JOINT
        went_in = {"done": sorted(done) if joint else done, "joint": joint}
        went_in["recipe"] = self._config(cell, None).recipe.to_json()  # defaults and seed included: they may change
        if len(done) > 1 and not joint:
            went_in |= {"policy": cell.policy, "rho": cell.rho}
        went_in["questions"] = [len(self.domains[name].train) for name in done]
        went_in["measured"] = {name: len(found.held_out) for name, found in sorted(self.domains.items())}
        folder = self._folder / digest(canonical(went_in))[:16]
        if not (folder / "record.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            new = [a for name in (done if joint else done[-1:]) for a in self.domains[name].train]
            old = [a for name in (() if joint else done[:-1]) for a in self.domains[name].train]
            started = time.process_time()
            picks = self._recall(cell, new, old, parent, past, len(done))
            drawn = time.process_time()
            losses = self._train(cell, new, [self._asked[p.example][1] for p in picks], parent, folder)
            trained = time.process_time()
            record = {
                "cell": asdict(cell),
                "done": done,
                "folder": str(folder),
                "scores": self._score(folder),
                "past": asdict(_later(past, losses, len(done))),
                "mix": {
                    "new": len(new),
                    "recalled": len(picks),
                    "reasons": _counted(p.reason for p in picks),
                    "slices": _counted(self._asked[p.example][1].slice for p in picks),
                },
                "cost": {"draw_cpu_s": round(drawn - started, 2), "train_cpu_s": round(trained - drawn, 2)},
            }
            _write(folder / "record.json", record)
        return json.loads((folder / "record.json").read_text()) | {"folder": str(folder)}

    def _recall(
        self, cell: Cell, new: Sequence[Asked], old: Sequence[Asked], parent: Path | None, past: Past, cycle: int
    ) -> list[Any]:
        if cell.policy in (NONE, JOINT) or not old:
            return []
        fresh = NewExamples(
            examples=tuple(a.id for a in new), vectors=np.stack([a.vector for a in new]), at=WEEK_MS * cycle
        )
        wanted = min(n_old(len(new), cell.rho), len(old))
        seed = cell.seed + cycle
        candidates = [
            Candidate(
                example=a.id,
                slice=a.slice,
                vector=a.vector,
                times_rehearsed=len(past.cycles.get(a.id, ())),
                last_loss=past.loss.get(a.id),
                last_rehearsed=WEEK_MS * max(past.cycles.get(a.id, (0,))),
                strength=past.strength.get(a.id, 0.0),
                forgotten=past.forgotten.get(a.id, 0),
                recent=sum(c > cycle - CYCLES for c in past.cycles.get(a.id, ())[1:]),
            )
            for a in old
        ]
        if cell.policy in MEASURED:
            asked = [self._asked[example][1] for example in worth_measuring(candidates, fresh, wanted, seed)]
            rows = (*self._rows(new, "new"), *self._rows(asked, "recalled"))
            data = TrainSet(rows=rows, vectors=self._vectors, digest="")
            rises = measure(self._folder, self._config(cell, parent), data)
            candidates = [
                replace(c, rise=rises[c.example].by, last_loss=rises[c.example].before) if c.example in rises else c
                for c in candidates
            ]
        return POLICIES[cell.policy](candidates, fresh, wanted, seed)

    def _rows(self, asked: Sequence[Asked], part: str) -> list[TrainRow]:
        rows = []
        for a in asked:
            start = self._start[self._asked[a.id][0]]
            rows.append(
                TrainRow(
                    example=a.id,
                    question=a.question,
                    positives=tuple(start + n for n in a.relevant),
                    negatives=tuple(start + n for n in a.negatives),
                    part=part,  # type: ignore[arg-type]
                )
            )
        return rows

    def _train(
        self, cell: Cell, new: Sequence[Asked], recalled: Sequence[Asked], parent: Path | None, folder: Path
    ) -> dict[str, float]:
        from finetune.model import write_adapter
        from finetune.training import begin, epoch_of, one_step
        from retrieval.encoder import WEIGHTS, weights_sha256

        rows = (*self._rows(new, "new"), *self._rows(recalled, "recalled"))
        config = self._config(cell, parent)
        training = begin(folder, config, TrainSet(rows=rows, vectors=self._vectors, digest=""))
        for _ in range(config.recipe.epochs):
            for batch in epoch_of(training):
                one_step(training, batch)
            training.epoch += 1
        write_adapter(training.learner, training.result, folder, config.base_name)
        base = weights_sha256(training.learner.spec.folder)
        _write(folder / "manifest.json", {"base": {"sha256": base}, "adapter": WEIGHTS})
        return {rows[n].example: loss for n, loss in training.losses.items()}

    def _config(self, cell: Cell, parent: Path | None) -> RunConfig:
        return RunConfig(
            recipe=RetrieverRecipe.from_json({"seed": cell.seed, **self._recipe}),
            base=self._base,
            base_name=Path(self._base).name,
            champion=parent,
        )

    def _score(self, folder: Path | None) -> dict[str, dict[str, float]]:
        """nDCG@10 of every held-out question of every domain, by the encoder that serves."""
        from retrieval.encoder import QueryEncoder

        if self._encoder is None:
            self._encoder = QueryEncoder(self._base)
        name = str(folder) if folder else None
        if name is not None:
            self._encoder.load(name, name)
        scores = {}
        for domain in self.domains.values():
            asked = self._encoder.encode([a.question for a in domain.held_out], name)
            found = asked @ domain.vectors.T
            best = np.argpartition(-found, K, axis=1)[:, :K]
            scores[domain.name] = {
                a.id: round(ndcg_at_k([float(n in a.relevant) for n in _ordered(b, f)], len(a.relevant), K), 5)
                for a, b, f in zip(domain.held_out, best, found, strict=True)
            }
        if name is not None:
            self._encoder.unload(name)
        return scores


def seen(domains: Sequence[Domain]) -> set[str]:
    """Held-out questions about a text that some question to practise is about as well."""
    found = set()
    for domain in domains:
        practised = {n for a in domain.train for n in a.relevant}
        found |= {a.id for a in domain.held_out if practised.intersection(a.relevant)}
    return found


def _ordered(best: np.ndarray, found: np.ndarray) -> list[int]:
    return sorted(map(int, best), key=lambda n: (-found[n], n))


def _later(past: Past, losses: Mapping[str, float], cycle: int) -> Past:
    """What is known after a retrain, by the rule of `rehearsal.history`."""
    after = Past(**json.loads(json.dumps(asdict(past))))
    higher = shift((past.loss.get(example), loss) for example, loss in losses.items())
    for example, loss in losses.items():
        known = Remembered(strength=past.strength.get(example, 0.0), forgotten=past.forgotten.get(example, 0))
        now = remembered(known, past.loss.get(example), loss, higher)
        after.cycles[example] = [*past.cycles.get(example, ()), cycle]
        after.strength[example], after.forgotten[example] = now.strength, now.forgotten
        if math.isfinite(loss):
            after.loss[example] = round(loss, 5)
    return after


def _counted(words: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        kind = str(word).split(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items()))


def _write(file: Path, value: Any) -> None:
    aside = file.with_suffix(".tmp")
    aside.write_text(json.dumps(value))
    aside.replace(file)
