"""Retrieval: quality of each arm and of their fusion on labelled sets. Its speed is `benchmarks.latency`'s.

    python -m benchmarks.retrieval [--sets scifact,tsqa,clapnq,xquad-en] [--limit 2000] [--no-peer]

It needs REPRISE_EVAL_DATA and is skipped without it. Everything goes through the product: files are published into
a home of their own, and `Search.rank` ranks as served. The peer is a plain LlamaIndex retriever with the same model, on
SciFact, in the same run. With REPRISE_RERANKER set the reranked order is measured too.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.data import folder
from benchmarks.labelled import SETS, Labelled, read
from finetune.metrics import ndcg_at_k, paired_bootstrap, recall_at_k

if TYPE_CHECKING:
    from ui.wiring import Wired

DEEP = 100
PUBLISHED = {
    "scifact": "BM25 .679 (Anserini) and .689 (Qdrant), MiniLM .624 and bge-small .713, MiniLM + BM25 by RRF .718 "
    "(Qdrant),\n  BM25 + MiniLM cross-encoder .688; on all abstracts and the 300 test claims, unlike here",
}
"""nDCG@10 that others publish."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS), help=f"some of {', '.join(SETS)}")
    parser.add_argument("--limit", type=int, help="documents of each set at most; what questions need stays in")
    parser.add_argument("--no-peer", action="store_true", help="leave LlamaIndex out")
    asked = parser.parse_args()
    data = folder()
    for name in filter(None, asked.sets.split(",")):
        labelled = read(data, name, asked.limit) if data is not None else None
        if labelled is None:
            print(f"{name}: skipped, it is not below REPRISE_EVAL_DATA")
        else:
            quality(name, labelled, peer=name == "scifact" and not asked.no_peer)


def quality(name: str, labelled: Labelled, *, peer: bool) -> None:
    """nDCG@10 and recall@100 of BM25, the dense arm and what is served, with intervals of the differences."""
    with tempfile.TemporaryDirectory() as home:
        ranked = ours(labelled, Path(home))
        if peer:
            ranked["LlamaIndex, dense"] = _peer(labelled, Path(home))
    grades = labelled.grades
    ndcg = {m: np.array([_ndcg(r[q], grades[q]) for q, _ in labelled.questions]) for m, r in ranked.items()}
    recall = {m: np.mean([_recall(r[q], grades[q]) for q, _ in labelled.questions]) for m, r in ranked.items()}
    print(f"{name}, {len(labelled.texts):,} documents, {len(labelled.questions):,} questions:  nDCG@10  recall@{DEEP}")
    for method, values in ndcg.items():
        print(f"  {method:<22}{values.mean():>10.4f}{recall[method]:>10.4f}")
    better = max(("dense", "BM25"), key=lambda arm: ndcg[arm].mean())
    for method in ndcg.keys() - {"dense", "BM25", "LlamaIndex, dense"}:
        for other in (better, "LlamaIndex, dense", *(["fused"] if method != "fused" else [])):
            if other in ndcg:
                mean, low, high = paired_bootstrap(ndcg[method] - ndcg[other], seed=0)
                print(f"  {method} minus {other:<18}{mean:>+8.4f}   95 % {low:+.4f} to {high:+.4f}")
    if name in PUBLISHED:
        print(f"  published: {PUBLISHED[name]}")
    print(flush=True)


def ours(labelled: Labelled, home: Path) -> dict[str, dict[str, list[str]]]:
    """Names of documents for each question, best first, by each arm and as served."""
    from retrieval.search import How, Scope

    wired = published(labelled, home / "home")
    methods = {
        "BM25": How(weight=1.0, rerank=False),
        "dense": How(weight=0.0, rerank=False),
        "fused": How(rerank=False),
    }
    if wired.search.reranker is not None:
        methods["reranked"] = How(rerank=True)
    ranked: dict[str, dict[str, list[str]]] = {method: {} for method in methods}
    scope = Scope(workspace="default", when=wired.search.when())
    for start in range(0, len(labelled.questions), 32):
        batch = labelled.questions[start : start + 32]
        texts = [text for _, text in batch]
        vectors = wired.embedder.embed_queries(texts)
        for method, how in methods.items():
            # Half as many again, since a document may have several chunks among the first.
            found = wired.search.rank(texts, vectors, DEEP * 3 // 2, scope, fused=True, how=how)
            for (q, _), passages in zip(batch, found, strict=True):
                ranked[method][q] = list(dict.fromkeys(p.name for p in passages))[:DEEP]
    wired.close()
    return ranked


def published(labelled: Labelled, home: Path) -> Wired:
    """A home with every text of the set, published as any file is."""
    from ingest.incoming import Incoming
    from kernel.settings import load
    from ui.wiring import Wired

    wired = Wired(load(home=home))
    wired.ingest.add(
        Incoming(path=f"{i}.md", name=name, source=name, workspace="default", content=text.encode())
        for i, (name, text) in enumerate(labelled.texts)
    )
    return wired


def _peer(labelled: Labelled, home: Path) -> dict[str, list[str]]:
    from benchmarks.peers import llama_index

    index, _ = llama_index(labelled.texts, home / "peer")
    retriever = index.as_retriever(similarity_top_k=DEEP * 3 // 2)
    return {
        q: list(dict.fromkeys(n.node.ref_doc_id for n in retriever.retrieve(text)))[:DEEP]
        for q, text in labelled.questions
    }


def _ndcg(ranking: list[str], grades: dict[str, int]) -> float:
    return ndcg_at_k([float(grades.get(d, 0)) for d in ranking[:10]], [float(g) for g in grades.values()], 10)


def _recall(ranking: list[str], grades: dict[str, int]) -> float:
    return recall_at_k([float(grades.get(d, 0)) for d in ranking], [float(g) for g in grades.values()], DEEP)


if __name__ == "__main__":
    main()
