"""Retrieval: quality on SciFact beside a plain LlamaIndex retriever, and index time beside Qdrant's local mode.

    python -m benchmarks.retrieval [--points 20000] [--documents 5183]

Quality needs REPRISE_EVAL_DATA and is skipped without it. Same model on both sides; ratios and medians from one run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from benchmarks.data import folder, jsonl, qrels
from finetune.metrics import ndcg_at_k, paired_bootstrap
from kernel.index.edge import EdgeIndex
from kernel.index.schema import DENSE, SPARSE, keyword, sparse_query, unborn, visible
from kernel.index.server import ServerIndex
from kernel.types import When

DIMENSION = 384
WORDS = ["policy", "leave", "travel", "expense", "refund", "office", "contract", "security", "data", "request", "team"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--documents", type=int, default=5_183)
    parser.add_argument("--queries", type=int, default=30)
    asked = parser.parse_args()
    index_time(asked.points, asked.queries)
    quality(asked.documents)


def index_time(count: int, queries: int) -> None:
    """A filtered hybrid query at `count` points: Qdrant Edge, and Qdrant's local mode."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [" ".join(rng.choice(WORDS, 40)) + f" number {i}" for i in range(count)]
    points = []
    for i, (vector, text) in enumerate(zip(vectors, texts, strict=True)):
        name = f"00000000-0000-0000-0000-{i:012d}"
        point = unborn(name, vector.tolist(), text, 0, kind="chunk", ws=f"w{i % 4}", doc=f"d{i}")
        point.payload = (point.payload or {}) | {"born": i % 50}
        points.append(point)
    when = When(epoch=45, at=1)
    asked = [(rng.normal(size=DIMENSION).tolist(), " ".join(rng.choice(WORDS, 4))) for _ in range(queries)]
    medians = {}
    with tempfile.TemporaryDirectory() as home:
        engines: dict[str, Any] = {
            "Qdrant Edge (ours)": EdgeIndex(Path(home) / "edge", DIMENSION),
            "Qdrant local mode": ServerIndex(QdrantClient(":memory:"), "bench", DIMENSION),
        }
        for name, engine in engines.items():
            engine.insert(points)
            times = []
            for vector, text in asked[: queries if "Edge" in name else max(5, queries // 6)]:
                request = _request(vector, text, when)
                started = time.perf_counter()
                engine.query([request])
                times.append(time.perf_counter() - started)
            medians[name] = statistics.median(times) * 1000
            engine.close()
    print(f"filtered hybrid query at {count:,} points, median ms:")
    for name, ms in medians.items():
        print(f"  {name:<22}{ms:>10.2f}")
    print(f"  ratio{medians['Qdrant local mode'] / medians['Qdrant Edge (ours)']:>27.0f}\n")


def _request(vector: list[float], text: str, when: When) -> models.QueryRequest:
    rule = visible(when)
    must = [keyword("kind", "chunk"), keyword("ws", "w1"), *(rule.must or [])]
    seen = models.Filter(must=must, must_not=rule.must_not)
    return models.QueryRequest(
        prefetch=[
            models.Prefetch(query=vector, using=DENSE, limit=100, filter=seen),
            models.Prefetch(query=sparse_query(text), using=SPARSE, limit=100, filter=seen),
        ],
        query=models.FusionQuery(fusion=models.Fusion.DBSF),
        limit=10,
    )


def quality(limit: int) -> None:
    """nDCG@10 on SciFact: BM25, dense and fused of ours, and a plain LlamaIndex retriever."""
    data = folder()
    if data is None or not (data / "scifact").is_dir():
        print("quality: skipped, REPRISE_EVAL_DATA is not set")
        return
    scifact = data / "scifact"
    corpus = jsonl(scifact / "corpus.jsonl")[:limit]
    texts = [(row["_id"], f"{row['title']}\n\n{row['text']}") for row in corpus]
    known = {name for name, _ in texts}
    grades = {q: r for q, r in qrels(next((scifact / "qrels").glob("*.tsv"))).items() if known & r.keys()}
    asked = jsonl(next(scifact.glob("queries*.jsonl")))
    questions = [(row["_id"], row["text"]) for row in asked if row["_id"] in grades]
    with tempfile.TemporaryDirectory() as folder_name:
        ranked = _ours(texts, questions, Path(folder_name)) | {"LlamaIndex": _peer(texts, questions, Path(folder_name))}
    scores = {name: np.array([_ndcg(ranking[q], grades[q]) for q, _ in questions]) for name, ranking in ranked.items()}
    print(f"SciFact, {len(texts):,} abstracts, {len(questions)} claims, nDCG@10:")
    for name, values in scores.items():
        print(f"  {name:<22}{values.mean():>10.4f}")
    for other in ("ours, dense", "LlamaIndex"):
        mean, low, high = paired_bootstrap(scores["ours, fused"] - scores[other], seed=0)
        print(f"  fused minus {other:<16}{mean:>+8.4f}   95 % {low:+.4f} to {high:+.4f}")


Texts = list[tuple[str, str]]


def _ours(texts: Texts, questions: Texts, home: Path) -> dict[str, dict[str, list[str]]]:
    from ingest.incoming import Incoming
    from kernel.settings import load
    from retrieval.search import Scope
    from ui.wiring import Wired

    wired = Wired(load(home=home / "home"))
    wired.ingest.add(
        Incoming(path=f"{name}.txt", name=name, source=name, workspace="default", content=text.encode())
        for name, text in texts
    )
    ranked: dict[str, dict[str, list[str]]] = {"ours, dense": {}, "ours, fused": {}}
    vectors = wired.embedder.embed_queries([text for _, text in questions])
    scope = Scope(workspace="default", when=wired.search.when())
    for fused in (False, True):
        for start in range(0, len(questions), 32):
            batch = questions[start : start + 32]
            found = wired.search.rank([t for _, t in batch], vectors[start : start + 32], 30, scope, fused=fused)
            for (q, _), passages in zip(batch, found, strict=True):
                ranked["ours, fused" if fused else "ours, dense"][q] = list(dict.fromkeys(p.name for p in passages))
    wired.close()
    return ranked


def _peer(texts: list[tuple[str, str]], questions: list[tuple[str, str]], home: Path) -> dict[str, list[str]]:
    from benchmarks.peers import llama_index

    index, _ = llama_index(texts, home / "peer")
    retriever = index.as_retriever(similarity_top_k=30)
    return {q: list(dict.fromkeys(n.node.ref_doc_id for n in retriever.retrieve(text))) for q, text in questions}


def _ndcg(ranking: list[str], grades: dict[str, int]) -> float:
    return ndcg_at_k([float(grades.get(d, 0)) for d in ranking[:10]], [float(g) for g in grades.values()], 10)


if __name__ == "__main__":
    main()
