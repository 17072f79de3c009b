"""Tuning the fusion of a workspace on its own examples, gated as an adapter is.

    approved training examples ─▶ two halves ─▶ the weight that is best on one
        ─▶ judged on the other against what serves ─▶ adopted only if it does not lose

Held-out examples have no part in it: the gate of adapters needs them unseen. Where there are too few examples the
default serves. Pseudo-questions as a stand-in were not tried: no labelled set's own optimum is more than .008 above the
default, so that is the most they could win (docs/decisions/0015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from qdrant_client import models

from finetune.evaluate import Evaluator, Question, ndcg
from finetune.metrics import paired_bootstrap
from kernel.audit import record
from kernel.database import Database
from kernel.epochs import Epochs
from kernel.ids import digest, iso, now_ms
from kernel.index.schema import keyword
from kernel.ports import VectorIndex
from kernel.types import Progress, silent
from retrieval.live import LiveRetriever
from retrieval.search import Arms, How, Scope, Search
from retrieval.tuning import Tuning, Tunings

ENOUGH = 40
"""Examples from which a weight is chosen: half of them choose, half judge."""
WEIGHTS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
TOLERANCE = 0.01
"""nDCG@10 that the lower bound of chosen minus serving may lie below zero."""
_MOST = 600
"""Questions of one tuning; more do not make it better, only slower."""
_MOST_RERANKED = 60
_GROWN = 2
"""How many times as many chunks or examples make what was measured old."""
_BATCH, _K = 32, 10


class Tuner:
    """Measures, judges and adopts. One at a time per workspace; a second does no harm but work."""

    def __init__(
        self,
        db: Database,
        index: VectorIndex,
        search: Search,
        live: LiveRetriever,
        epochs: Epochs,
        evaluator: Evaluator,
        tunings: Tunings,
    ) -> None:
        self._db, self._index, self._search, self._live = db, index, search, live
        self._epochs, self._evaluator, self._tunings = epochs, evaluator, tunings

    def show(self, workspace: str) -> dict[str, Any]:
        """What serves the workspace, and what it was chosen by."""
        return _shown(workspace, self._tunings.of(workspace))

    def due(self) -> list[str]:
        """Workspaces with enough examples that were never tuned, or have doubled or got another reranker since."""
        counts: dict[str, int] = {}
        for question in self._evaluator.questions(None, "train"):
            counts[question.workspace] = counts.get(question.workspace, 0) + 1
        return [workspace for workspace, n in sorted(counts.items()) if n >= ENOUGH and self._old(workspace, n)]

    def run(self, workspace: str, progress: Progress = silent) -> dict[str, Any]:
        """Choose, judge, and adopt or leave; what serves afterwards. Fewer examples than `ENOUGH` change nothing."""
        serving = self._tunings.of(workspace)
        asked = self._evaluator.questions(workspace, "train")
        if len(asked) < ENOUGH:
            why = f"{len(asked)} approved training examples with a live source, and {ENOUGH} are needed"
            return _shown(workspace, serving) | {"adopted": False, "reason": why}
        asked = sorted(asked, key=lambda q: digest(f"tune:{q.example}"))[:_MOST]
        gains = self._by_weight(workspace, asked, [*WEIGHTS, serving.weight], progress)
        choosing, judging = np.arange(len(asked)) % 2 == 0, np.arange(len(asked)) % 2 == 1
        # The nearer to what serves, the better among equals: a change has to be worth it.
        best = max(WEIGHTS, key=lambda w: (round(gains[w][choosing].mean(), 6), -abs(w - serving.weight)))
        mean, low, high = paired_bootstrap(gains[best][judging] - gains[serving.weight][judging], seed=0)
        adopted = best != serving.weight and mean > 0 and low > -TOLERANCE
        tuning = replace(serving, weight=best) if adopted else serving
        rerank, reranked = self._rerank_helps(workspace, asked[1::2][:_MOST_RERANKED], tuning.weight, progress)
        measured = {
            "at": iso(now_ms()),
            "examples": len(asked),
            "chunks": self._chunks(workspace),
            "chosen": best,
            "against": serving.weight,
            "gain": mean,
            "low": low,
            "high": high,
            "ndcg": {f"{w:g}": float(g.mean()) for w, g in sorted(gains.items())},
            "rerank": reranked,
        }
        tuning = replace(tuning, rerank=rerank, measured=measured)
        with self._db.write() as session:
            self._tunings.set(session, workspace, tuning)
            record(session, "tune", workspace, adopted=adopted, weight=tuning.weight, rerank=rerank, gain=mean, low=low)
        reason = f"weight {best:g} against {serving.weight:g}: {mean:+.4f} ({low:+.4f} to {high:+.4f})"
        return _shown(workspace, tuning) | {"adopted": adopted, "reason": reason}

    def _by_weight(
        self, workspace: str, asked: Sequence[Question], weights: Sequence[float], progress: Progress
    ) -> dict[float, np.ndarray]:
        """nDCG@10 of each question by each weight, without a reranker."""
        gains: dict[float, list[float]] = {weight: [] for weight in weights}
        for start in range(0, len(asked), _BATCH):
            progress("measuring", start, len(asked))
            batch = asked[start : start + _BATCH]
            for question, arms in zip(batch, self._arms(workspace, batch), strict=True):
                for weight, passages in self._search.by_weight(arms, 3 * _K, list(gains)).items():
                    gains[weight].append(ndcg(question, passages))
        return {weight: np.asarray(values) for weight, values in gains.items()}

    def _rerank_helps(
        self, workspace: str, asked: Sequence[Question], weight: float, progress: Progress
    ) -> tuple[bool, dict[str, Any] | None]:
        """Whether the reranker is to look, by these questions, and what was measured; None without one.

        It has to be surely better, or not surely worse where it looks by default.
        """
        if self._search.reranker is None:
            return False, None
        differences = []
        for start in range(0, len(asked), _BATCH):
            progress("reranking", start, len(asked))
            batch = asked[start : start + _BATCH]
            for question, arms in zip(batch, self._arms(workspace, batch), strict=True):
                plain, closer = (
                    ndcg(
                        question,
                        self._search.ordered(question.question, arms, 3 * _K, How(weight=weight, rerank=rerank)),
                    )
                    for rerank in (False, True)
                )
                differences.append(closer - plain)
        mean, low, high = paired_bootstrap(np.asarray(differences), seed=0)
        shown = {"reranker": self._search.reranker.name, "questions": len(differences)}
        return (high >= 0 if self._search.reranker.by_default else low > 0), shown | {
            "gain": mean,
            "low": low,
            "high": high,
        }

    def _arms(self, workspace: str, asked: Sequence[Question]) -> list[Arms]:
        texts = [question.question for question in asked]
        with self._epochs.one_index():
            vectors, _ = self._live.encode(texts)
            return self._search.arms(texts, vectors, Scope(workspace=workspace))

    def _old(self, workspace: str, examples: int) -> bool:
        tuning, reranker = self._tunings.of(workspace), self._search.reranker
        measured = tuning.measured
        if not measured or (reranker is not None and tuning.measured_with != reranker.name):
            return True
        grown = self._chunks(workspace) >= _GROWN * max(1, measured["chunks"])
        return grown or min(examples, _MOST) >= _GROWN * measured["examples"]

    def _chunks(self, workspace: str) -> int:
        return self._index.count(models.Filter(must=[keyword("kind", "chunk"), keyword("ws", workspace)]))


def _shown(workspace: str, tuning: Tuning) -> dict[str, Any]:
    return {
        "workspace": workspace,
        "weight": tuning.weight,
        "rerank": tuning.rerank,
        "measured": tuning.measured or None,
    }
