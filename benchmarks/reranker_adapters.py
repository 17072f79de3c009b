"""Whether a reranker adapter helps: a cross-encoder by LoRA on the embedder's own backbone, beside a retriever adapter.

    python -m benchmarks.reranker_adapters --folder runs/reranker                  goes on where it stopped
    python -m benchmarks.reranker_adapters --folder runs/reranker --table          the tables of what is there

Both learn from the same questions, positives and hard negatives. The retriever adapter is the product's, by its default
recipe. The cross-encoder (`benchmarks.cross_encoder`) learns which of a positive and seven negatives is the positive.

It reorders the first thirty of three rankings: dense by the base model, dense by the retriever adapter, and what is
served: the latter fused with BM25. Alone, and mixed with the ranking's own score by a share. Share and recipe are
chosen on questions of their own that nobody practised and that are not held out. The product's reranker without a model
(`embedded`) stands beside it. Seconds are the processor's, of one thread, so that a busy machine does not matter.
Needs REPRISE_EVAL_DATA and is skipped without it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import data
from benchmarks.cross_encoder import CrossEncoder, Recipe, load, train, train_cpu
from benchmarks.domains import Asked, Domain, domain
from benchmarks.labelled import read
from benchmarks.sequence import NONE, Bench, Cell, seen
from finetune.metrics import ndcg_at_k, paired_bootstrap
from kernel.embedder import SentenceTransformerEmbedder
from kernel.index.schema import sparse_document, sparse_query
from kernel.settings import DEFAULT_EMBEDDER
from retrieval import years
from retrieval.encoder import QueryEncoder
from retrieval.fusion import Ranked, blended, fuse
from retrieval.reranker import EmbeddedReranker
from retrieval.search import RERANKED

SETS, SEEDS = ("scifact", "tsqa"), (17, 23)
RECIPES = "segments:1e-3:3"
SHARES = (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
RANKINGS = ("base", "adapter", "served")
DEPTH = 100


# --- what is reordered --------------------------------------------------------------------------


def rankings(
    asked: Sequence[Asked], found: Domain, adapted: np.ndarray, words: Mapping[str, Ranked]
) -> dict[str, dict[str, Ranked]]:
    """By ranking and question, the first thirty (row, score)."""
    made: dict[str, dict[str, Ranked]] = {name: {} for name in RANKINGS}
    for a, vector in zip(asked, adapted, strict=True):
        base, dense = _nearest(found.vectors @ a.vector), _nearest(found.vectors @ vector)
        fused = [(one.id, one.score) for one in fuse(dense, words[a.id])]
        for name, ranked in zip(RANKINGS, (base, dense, fused), strict=True):
            made[name][a.id] = ranked[:RERANKED]
    return made


def _nearest(scores: np.ndarray) -> Ranked:
    return [(str(n), float(scores[n])) for n in np.argsort(-scores, kind="stable")[:DEPTH]]


def by_words(asked: Sequence[Asked], texts: Sequence[str]) -> dict[str, Ranked]:
    """BM25 as the index has it: the product's terms and weights, the IDF over all texts."""
    terms = {a.id: sparse_query(a.question).indices for a in asked}
    wanted = {term for some in terms.values() for term in some}
    places: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for n, text in enumerate(texts):
        vector = sparse_document(text)
        for term, weight in zip(vector.indices, vector.values, strict=True):
            if term in wanted:
                places[term].append((n, weight))
    found: dict[str, Ranked] = {}
    for one, some in terms.items():
        scores: dict[int, float] = defaultdict(float)
        for term in some:
            rarity = math.log(1 + (len(texts) - len(places[term]) + 0.5) / (len(places[term]) + 0.5))
            for n, weight in places[term]:
                scores[n] += rarity * weight
        best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:DEPTH]
        found[one] = [(str(n), score) for n, score in best]
    return found


def ndcg(a: Asked, ranked: Ranked, scores: Sequence[float]) -> float:
    order = sorted(range(len(ranked)), key=lambda n: -scores[n])
    return ndcg_at_k([float(int(ranked[n][0]) in a.relevant) for n in order], len(a.relevant))


# --- one set ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A set with one seed: rankings of the questions that choose and of those held out."""

    found: Domain
    texts: Sequence[str]
    choosing: Sequence[Asked]
    rankings: Mapping[str, Mapping[str, Ranked]]
    adapter_cpu: float
    folder: Path
    base: str


def case(name: str, seed: int, asked: argparse.Namespace, given: Path) -> Case:
    embedder = SentenceTransformerEmbedder(DEFAULT_EMBEDDER)

    def embed(texts: list[str], documents: bool) -> np.ndarray:
        return embedder.embed_documents(texts) if documents else embedder.embed_queries(texts)

    whole = domain(given, name, asked.folder, embed, train=asked.train + asked.choosing, held_out=asked.held_out)
    labelled = read(given, name, None)
    assert labelled is not None
    texts = [text for _, text in labelled.texts]
    found, choosing = replace(whole, train=whole.train[: asked.train]), whole.train[asked.train :]
    judged = [*choosing, *found.held_out]
    bench = Bench([found], embedder.path, asked.folder, {"threads": 1})
    (done,) = bench.run(Cell(order=(name,), policy=NONE, rho=0.0, seed=seed))
    encoder = QueryEncoder(embedder.path)
    encoder.load("adapter", done["folder"])
    adapted = encoder.encode([a.question for a in judged], "adapter")
    words = _kept(asked.folder / f"{name}.{len(judged)}.words.json", lambda: by_words(judged, texts))
    return Case(
        found=found,
        texts=texts,
        choosing=choosing,
        rankings=rankings(judged, found, adapted, words),
        adapter_cpu=done["cost"]["train_cpu_s"],
        folder=_made(asked.folder / f"{name}-{seed}-{asked.train}"),
        base=embedder.path,
    )


def learnt(one: Case, recipe: Recipe, seed: int, precision: str) -> None:
    """Train, unless that is done, and score what is not scored yet: a line of `scores` for each question."""
    weights, lines = one.folder / f"{recipe}.safetensors", one.folder / f"{recipe}.jsonl"
    todo = [a for a in (*one.choosing, *one.found.held_out) if a.id not in _scored(lines)]
    if not todo:
        return
    print(f"{one.folder.name}, {recipe}", flush=True)
    model = CrossEncoder(one.base, recipe, seed, precision)
    if not weights.exists():
        train(model, one.found.train, one.texts, recipe, seed, weights)
    load(model, weights)
    with torch.inference_mode(), lines.open("a") as file:
        for a in todo:
            started = time.process_time()
            thirty = [row for row, _ in one.rankings["served"][a.id]]
            said = dict(zip(thirty, model([(a.question, one.texts[int(row)]) for row in thirty]).tolist(), strict=True))
            spent = 1000 * (time.process_time() - started)
            rest = sorted({row for by in one.rankings.values() for row, _ in by[a.id]} - said.keys())
            said |= dict(zip(rest, model([(a.question, one.texts[int(row)]) for row in rest]).tolist(), strict=True))
            line = {"question": a.id, "scores": {row: round(s, 4) for row, s in said.items()}, "milliseconds": spent}
            file.write(json.dumps(line) + "\n")
            file.flush()


def _scored(lines: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    return {line["question"]: line for line in found}


def record(one: Case, recipe: Recipe) -> dict[str, Any] | None:
    """`scores` by question and row, `train_cpu` in seconds and `milliseconds`; None before the first held-out one."""
    found = _scored(one.folder / f"{recipe}.jsonl")
    if not any(a.id in found for a in one.found.held_out):
        return None
    return {
        "scores": {asked: line["scores"] for asked, line in found.items()},
        "milliseconds": statistics.median(line["milliseconds"] for line in found.values()),
        "train_cpu": train_cpu(one.folder / f"{recipe}.safetensors"),
    }


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _kept(file: Path, make: Callable[[], Any]) -> Any:
    if not file.exists():
        aside = file.with_suffix(".tmp")
        aside.write_text(json.dumps(make()))
        aside.replace(file)
    return json.loads(file.read_text())


# --- the tables ---------------------------------------------------------------------------------


Scores = Mapping[str, Mapping[str, float]]
"""By question and row, what the cross-encoder says."""


def chosen(one: Case, name: str, scores: Scores) -> float:
    """The share of the cross-encoder's say that is best on the questions that choose; the smaller one of equals."""

    def mean(share: float) -> float:
        return statistics.fmean(_mixed(one, name, a, scores, share) for a in one.choosing)

    return max(SHARES, key=lambda share: (round(mean(share), 6), -share))


def ways(one: Case, name: str, held: Sequence[Asked], scores: Scores | None, share: float) -> dict[str, np.ndarray]:
    """nDCG@10 of each question, by what reorders the ranking `name`."""
    found = {
        "nothing": [ndcg(a, one.rankings[name][a.id], [s for _, s in one.rankings[name][a.id]]) for a in held],
        "embedded": [_by_years(one, name, a) for a in held],
        "a perfect order": [_perfect(one, name, a) for a in held],
    }
    if scores is not None:
        found["cross-encoder"] = [_mixed(one, name, a, scores, 1.0) for a in held]
        found["mixed"] = [_mixed(one, name, a, scores, share) for a in held]
    return {way: np.array(figures) for way, figures in found.items()}


def _mixed(one: Case, name: str, a: Asked, scores: Scores, share: float) -> float:
    ranked = one.rankings[name][a.id]
    said = [scores[a.id][row] for row, _ in ranked]
    return ndcg(a, ranked, blended([score for _, score in ranked], said, share))


def _by_years(one: Case, name: str, a: Asked) -> float:
    ranked, wanted = one.rankings[name][a.id], years.named(a.question)
    said = [years.share_named(wanted, years.named(one.texts[int(row)])) for row, _ in ranked]
    plain = [score for _, score in ranked]
    return ndcg(a, ranked, blended(plain, said, EmbeddedReranker.share) if len(set(said)) > 1 else plain)


def _perfect(one: Case, name: str, a: Asked) -> float:
    ranked = one.rankings[name][a.id]
    return ndcg(a, ranked, [float(int(row) in a.relevant) for row, _ in ranked])


def table(name: str, cases: Sequence[Case], records: Sequence[Mapping[str, Any]], recipe: Recipe) -> str:
    """Means over seeds; differences are paired by question, against the ranking that was reordered.

    Without records it is the table of what there is to win.
    """
    known = seen([cases[0].found])
    held = [a for a in cases[0].found.held_out if all(a.id in said["scores"] for said in records)]
    on = np.array([a.id in known for a in held])
    groups = {"all": np.full(len(held), True), "seen": on, "unseen": ~on}
    lines = [
        f"**{name}**, {recipe if records else 'no cross-encoder yet'}, {len(cases)} seeds: {len(cases[0].found.train)} "
        f"questions practised, {len(held)} held out ({on.sum()} on seen passages), {len(cases[0].texts):,} passages",
        "",
        "| ranking | reordered by | all | seen | unseen | gain, all | gain, seen | gain, unseen |",
        "|---|---|---|---|---|---|---|---|",
    ]
    found: dict[tuple[str, str], np.ndarray] = {}
    said = [record["scores"] for record in records] or [None] * len(cases)
    for ranking in RANKINGS:
        shares = [0.0 if s is None else chosen(one, ranking, s) for one, s in zip(cases, said, strict=True)]
        runs = [ways(one, ranking, held, s, share) for one, s, share in zip(cases, said, shares, strict=True)]
        for way in runs[0]:
            found[ranking, way] = values = np.mean([run[way] for run in runs], axis=0)
            cells = [f"{100 * values[group].mean():.1f}" for group in groups.values()]
            gain = values - found[ranking, "nothing"]
            gains = [_gain(gain[group]) if way != "nothing" else "" for group in groups.values()]
            shown = f"{way} ({'/'.join(f'{s:g}' for s in shares)})" if way == "mixed" else way
            lines.append(f"| {ranking} | {shown} | {' | '.join([*cells, *gains])} |")
    lines += [
        "",
        f"Training a retriever adapter: {statistics.fmean(c.adapter_cpu for c in cases):.0f} s of one thread.",
    ]
    if records:
        instead = {
            "Mixed over the base, minus a retriever adapter": found["base", "mixed"] - found["adapter", "nothing"],
            "Mixed over what is served, minus `embedded`": found["served", "mixed"] - found["served", "embedded"],
        }
        lines += [
            f"A cross-encoder: {statistics.fmean(r['train_cpu'] for r in records):.0f} s of training, and "
            f"{statistics.fmean(r['milliseconds'] for r in records):.0f} ms for thirty passages.",
            *(
                f"{what}: {'; '.join(f'{which} {_gain(gain[group])}' for which, group in groups.items())}."
                for what, gain in instead.items()
            ),
        ]
    return "\n".join([*lines, ""])


def _gain(difference: np.ndarray) -> str:
    if not len(difference):
        return "none"
    mean, low, high = paired_bootstrap(difference, seed=0)
    return f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    parser.add_argument("--recipes", default=RECIPES, help="head:rate:epochs, several by commas")
    parser.add_argument("--train", type=int, default=300)
    parser.add_argument("--choosing", type=int, default=40)
    parser.add_argument("--held-out", type=int, default=120)
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--table", action="store_true", help="print what is there, and train no cross-encoder")
    asked = parser.parse_args()
    given = data.folder()
    if given is None:
        print("skipped: set REPRISE_EVAL_DATA to the folder of the evaluation data")
        return
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    asked.folder.mkdir(parents=True, exist_ok=True)
    for name in asked.sets.split(","):
        cases = {seed: case(name, seed, asked, given) for seed in map(int, asked.seeds.split(","))}
        for recipe in map(Recipe.of, asked.recipes.split(",")):
            for seed, one in cases.items():
                if not asked.table:
                    learnt(one, recipe, seed, asked.precision)
            found = {seed: said for seed, one in cases.items() if (said := record(one, recipe)) is not None}
            shown = [cases[seed] for seed in found or cases]
            print(table(name, shown, list(found.values()), recipe), flush=True)


if __name__ == "__main__":
    main()
