"""Fit and judge the one constant of the reranker without a model, on labelled sets that are not part of this project.

    REPRISE_EVAL_DATA=/path/to/data python -m benchmarks.calibrate_reranker [--sets tsqa,xquad-en] [--limit 2500]

Every set is published into a home of its own and searched as served; what is reordered are the first thirty. It prints
the difference to untouched fusion in nDCG@10 for each share of the reranker's say, on each set and on all questions
that name a year, what the other sets would choose for a set that is left out, and what reranking costs. A choice is the
best mean over questions that name a year, since others are not looked at; the mean of sets leans on small ones.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.data import folder
from benchmarks.labelled import SETS, Labelled, read
from benchmarks.retrieval import published
from finetune.metrics import ndcg_at_k, paired_bootstrap
from kernel.types import Passage
from retrieval import years
from retrieval.fusion import WEIGHT, blended
from retrieval.reranker import EmbeddedReranker
from retrieval.search import RERANKED, Scope

SHARES = (0.1, 0.2, 0.25, 1 / 3, 0.4, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A question with what fusion puts first, and the grades of all documents that answer it."""

    question: str
    passages: tuple[Passage, ...]
    grades: dict[str, int]

    def ndcg(self, scores: list[float]) -> float:
        order = sorted(range(len(scores)), key=lambda n: -scores[n])
        names = list(dict.fromkeys(self.passages[n].name for n in order))[:10]
        return ndcg_at_k([float(self.grades.get(name, 0)) for name in names], [float(g) for g in self.grades.values()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS), help=f"some of {', '.join(SETS)}")
    parser.add_argument("--limit", type=int, default=2500, help="documents of each set; what questions need stays in")
    asked = parser.parse_args()
    data = folder()
    gains: dict[str, dict[float, np.ndarray]] = {}
    dated: dict[str, np.ndarray] = {}
    for name in filter(None, asked.sets.split(",")):
        labelled = read(data, name, asked.limit) if data is not None else None
        if labelled is None:
            print(f"{name}: skipped, it is not below REPRISE_EVAL_DATA")
            continue
        pools = fused(labelled)
        gains[name] = measured(pools)
        dated[name] = np.array([bool(years.named(pool.question)) for pool in pools])
        print(f"{name}: {len(pools):,} questions, {dated[name].sum():,} name a year, {cost(pools)}", flush=True)
    if gains:
        report(gains, dated)


def fused(labelled: Labelled) -> list[Pool]:
    """What is served for each question, before anything is reordered."""
    pools = []
    with tempfile.TemporaryDirectory() as home:
        wired = published(labelled, Path(home) / "home")
        scope = Scope(workspace="default", when=wired.search.when())
        for start in range(0, len(labelled.questions), 32):
            batch = labelled.questions[start : start + 32]
            texts = [text for _, text in batch]
            found = wired.search.arms(texts, wired.embedder.embed_queries(texts), scope)
            for (q, text), arms in zip(batch, found, strict=True):
                passages = wired.search.by_weight(arms, RERANKED, [WEIGHT])[WEIGHT]
                pools.append(Pool(question=text, passages=passages, grades=labelled.grades[q]))
        wired.close()
    return pools


def measured(pools: list[Pool]) -> dict[float, np.ndarray]:
    """By share, each question's nDCG@10 minus that of untouched fusion."""
    found: dict[float, list[float]] = {share: [] for share in SHARES}
    for pool in pools:
        plain = [p.score for p in pool.passages]
        said = EmbeddedReranker().rerank(pool.question, pool.passages)
        told = len(set(said)) > 1
        for share, gains in found.items():
            gains.append(pool.ndcg(blended(plain, said, share)) - pool.ndcg(plain) if told else 0.0)
    return {share: np.asarray(values) for share, values in found.items()}


def cost(pools: list[Pool]) -> str:
    """Milliseconds for a question with a year; others cost nothing worth a figure."""
    times = []
    for pool in pools:
        started = time.perf_counter()
        EmbeddedReranker().rerank(pool.question, pool.passages)
        times += [(time.perf_counter() - started) * 1000] if years.named(pool.question) else []
    return f"{statistics.median(times):.2f} ms each (most: {max(times):.2f})" if times else "0 ms"


def report(gains: dict[str, dict[float, np.ndarray]], dated: dict[str, np.ndarray]) -> None:
    """The table, and the choice with each set left out."""
    bounds = {name: {share: _bounds(g) for share, g in by.items()} for name, by in gains.items()}
    print(f"\n{'share':<10}" + "".join(f"{share:>28.2f}" for share in SHARES))
    for name, by in bounds.items():
        print(f"{name:<10}" + "".join(f"{_shown(by[share]):>28}" for share in SHARES))
    means = {share: np.mean([by[share][0] for by in bounds.values()]) for share in SHARES}
    print(f"{'mean':<10}" + "".join(f"{means[share]:>+28.4f}" for share in SHARES))
    touched = {name: {share: g[dated[name]] for share, g in by.items()} for name, by in gains.items()}
    pooled = {share: _bounds(np.concatenate([by[share] for by in touched.values()])) for share in SHARES}
    print(f"{'with years':<10}" + "".join(f"{_shown(pooled[share]):>28}" for share in SHARES))
    if len(bounds) > 1:
        print("\nleft out, and what the others choose:")
        for name, by in bounds.items():
            share = _best([theirs for other, theirs in touched.items() if other != name])
            print(f"  {name:<10}{share:.2f}: {_shown(by[share])}")
    print(f"of all: {_best(list(touched.values())):.2f}; shipped: {EmbeddedReranker.share:.2f}")


def _bounds(gains: np.ndarray) -> tuple[float, float, float]:
    return paired_bootstrap(gains, seed=0, resamples=2000) if len(gains) else (0.0, 0.0, 0.0)


def _best(touched: list[dict[float, np.ndarray]]) -> float:
    return max(SHARES, key=lambda share: float(np.concatenate([by[share] for by in touched]).sum()))


def _shown(bounds: tuple[float, float, float]) -> str:
    mean, low, high = bounds
    return f"{mean:+.4f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()
