"""Latency: search and ask at several sizes and numbers of users, beside a plain LlamaIndex in Qdrant's local mode.

    python -m benchmarks.latency [--quick] [--sizes 1000 10000 100000] [--users 1 4 16 32] [--cache FOLDER]

No question is asked twice, so nothing is remembered from the one before. Peer and platform hold the same chunks with
the same vectors and are asked by turns; read the ratios, which are medians over rounds. `--cache` keeps embedded
vectors for the next run.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from qdrant_client import QdrantClient, models

from benchmarks.filled import Collection, FilledHome
from benchmarks.peers import llama_index_of
from finetune.metrics import ndcg_at_k, paired_bootstrap
from kernel.index.schema import DENSE, SPARSE, keyword, sparse_query, visible
from kernel.index.server import ServerIndex
from ui.platform import Platform

_ROUNDS = 3
Ask = Callable[[str], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=None, help="chunks (1000 10000 100000)")
    parser.add_argument("--users", type=int, nargs="+", default=None, help="concurrent users (1 4 16 32)")
    parser.add_argument("--seconds", type=float, default=None, help="for each cell of the table (3)")
    parser.add_argument("--abstracts", type=int, default=None, help="real texts that are embedded (1500)")
    parser.add_argument("--peer", type=int, default=None, help="chunks at which the peer is compared (20000)")
    parser.add_argument("--cache", type=Path, default=None, help="folder for embedded vectors")
    parser.add_argument("--quick", action="store_true", help="small sizes, within three minutes")
    asked = parser.parse_args()
    sizes = asked.sizes or ([1_000, 5_000] if asked.quick else [1_000, 10_000, 100_000])
    users = asked.users or ([1, 16] if asked.quick else [1, 4, 16, 32])
    seconds = asked.seconds or (1.5 if asked.quick else 3.0)
    peer = asked.peer or (5_000 if asked.quick else 20_000)
    collection = Collection(asked.abstracts or (250 if asked.quick else 1_500))
    print(f"{_machine()}\n{collection.what} embedded; the rest are real sentences shuffled, with real vectors moved\n")
    with tempfile.TemporaryDirectory() as folder:
        filled = FilledHome(Path(folder) / "home", collection, asked.cache)
        platform = Platform(filled.w)
        pool = _Pool(collection.sentences)
        for _ in range(3):
            platform.ask(pool.next())
        print(f"{'chunks':>8}{'users':>7}{'':>8}{'p50 ms':>10}{'p95 ms':>10}{'per s':>8}")
        for size in sorted({*sizes, peer}):
            filled.grow(size)
            _index_only(filled)
            if size in sizes:
                for count in users:
                    for name, ask in (("search", platform.search), ("ask", platform.ask)):
                        _row(size, count, name, _crowd(ask, pool, count, seconds))
            if size == peer:
                compare(filled, collection, Path(folder), 20 if asked.quick else 60)
        filled.close()
        over_http(filled.home, filled_size=max(*sizes, peer), users=users, seconds=seconds, pool=pool)


class _Pool:
    """Questions, none of them twice until all were asked; then with a number, so that none was asked before."""

    def __init__(self, sentences: list[str]) -> None:
        self._sentences = [sentences[i] for i in np.random.default_rng(0).permutation(len(sentences))]
        self._used = 0
        self._lock = threading.Lock()

    def next(self) -> str:
        with self._lock:
            turn, i = divmod(self._used, len(self._sentences))
            self._used += 1
        return self._sentences[i] + (f" {turn}" if turn else "")


def _crowd(ask: Ask, pool: _Pool, users: int, seconds: float) -> list[tuple[float, float, float]]:
    """(p50 s, p95 s, per second) of each round: `users` threads that ask one question after another."""
    rounds = []
    for _ in range(_ROUNDS):
        times: list[float] = []
        started = time.perf_counter()
        until = started + seconds / _ROUNDS

        def user(times: list[float] = times, until: float = until) -> None:
            while True:
                question, begun = pool.next(), time.perf_counter()
                ask(question)
                ended = time.perf_counter()
                times.append(ended - begun)
                if ended > until:
                    return

        threads = [threading.Thread(target=user) for _ in range(users)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - started
        rounds.append((float(np.percentile(times, 50)), float(np.percentile(times, 95)), len(times) / took))
    return rounds


def _row(size: int, users: int, name: str, rounds: list[tuple[float, float, float]]) -> None:
    p50, p95, rate = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"{size:>8,}{users:>7}{name:>8}{p50 * 1000:>10.1f}{p95 * 1000:>10.1f}{rate:>8.0f}", flush=True)


def _arms(vector: np.ndarray, text: str, filled: FilledHome) -> list[models.QueryRequest]:
    """Both arms of a filtered search, as we ask them: one batch, fused on our side."""
    rule = visible(filled.w.search.when())
    must = [keyword("kind", "chunk"), keyword("ws", "default"), *(rule.must or [])]  # type: ignore[misc]
    seen = models.Filter(must=must, must_not=rule.must_not)
    dense = models.QueryRequest(query=vector.tolist(), using=DENSE, limit=100, filter=seen)
    return [dense, models.QueryRequest(query=sparse_query(text), using=SPARSE, limit=100, filter=seen)]


def _hybrid(arms: list[models.QueryRequest]) -> models.QueryRequest:
    """The same as one query that the engine fuses, as Qdrant's documentation has it."""
    prefetch = [models.Prefetch(query=a.query, using=a.using, limit=a.limit, filter=a.filter) for a in arms]
    return models.QueryRequest(prefetch=prefetch, query=models.FusionQuery(fusion=models.Fusion.DBSF), limit=10)


def _index_only(filled: FilledHome) -> None:
    texts = filled._collection.sentences[:15]
    requests = [_arms(v, t, filled) for v, t in zip(filled.w.embedder.embed_queries(texts), texts, strict=True)]
    times = [_timed(lambda r=r: filled.w.index.query(r)) for r in requests]  # type: ignore[misc]
    print(f"{filled.chunks:>8,}{'index alone, exact':>29}{statistics.median(times) * 1000:>11.1f} ms", flush=True)


def compare(filled: FilledHome, collection: Collection, folder: Path, count: int) -> None:
    """The same chunks and vectors in a plain LlamaIndex index: time of the index, end to end, and quality."""
    when = filled.w.search.when()
    records = list(filled.w.index.scroll(None, with_vectors=True))
    placed: dict[str, Any] = {}
    for start in range(0, len(records), 500):
        placed |= filled.w.library.place([str(r.id) for r in records[start : start + 500]], when)
    rows = [(str(r.id), placed[str(r.id)].name, placed[str(r.id)].text, r.vector[DENSE]) for r in records]  # type: ignore[index,call-overload]
    index = llama_index_of(rows, folder / "peer")
    local = ServerIndex(QdrantClient(":memory:"), "peer", filled.w.embedder.dimension)
    _copy(filled, rows, records, local)
    retriever, within = index.as_retriever(similarity_top_k=10), _within(index)
    questions = [text for _, text in collection.questions] or collection.sentences[-count:]
    asked, ratios = questions[:count], {"index": [], "plain": [], "within a workspace": []}  # type: ignore[var-annotated]
    shown: dict[str, list[float]] = {}
    platform = Platform(filled.w)
    retriever.retrieve(asked[0])
    for part in np.array_split(np.array(asked, dtype=object), _ROUNDS):
        filled.w.remembering.erase("", [])
        vectors = filled.w.embedder.embed_queries(list(part))
        requests = [_arms(v, t, filled) for v, t in zip(vectors, part, strict=True)]
        who: dict[str, list[float]] = {
            "ours, index": [_timed(lambda r=r: filled.w.index.query(r)) for r in requests],  # type: ignore[misc]
            "local mode, index": [_timed(lambda r=_hybrid(r): local.query([r])) for r in requests[:5]],  # type: ignore[misc]
            "ours, end to end": [_timed(lambda q=q: platform.search(q)) for q in part],  # type: ignore[misc]
            "LlamaIndex, end to end": [_timed(lambda q=q: retriever.retrieve(q)) for q in part],  # type: ignore[misc]
            "LlamaIndex, within a workspace": [_timed(lambda q=q: within.retrieve(q)) for q in part[:5]],  # type: ignore[misc]
        }
        median = {name: statistics.median(times) for name, times in who.items()}
        for name, value in median.items():
            shown.setdefault(name, []).append(value)
        ratios["index"].append(median["local mode, index"] / median["ours, index"])
        ratios["plain"].append(median["LlamaIndex, end to end"] / median["ours, end to end"])
        ratios["within a workspace"].append(median["LlamaIndex, within a workspace"] / median["ours, end to end"])
    print(f"\nbeside the peer at {len(rows):,} chunks, median ms:")
    for name, values in shown.items():
        print(f"  {name:<34}{statistics.median(values) * 1000:>10.1f}")
    print(f"  ratio, filtered hybrid query of the index{statistics.median(ratios['index']):>8.0f}")
    for name in ("plain", "within a workspace"):
        print(f"  ratio, end to end, the peer {name:<19}{statistics.median(ratios[name]):>3.1f}")
    _quality(platform, retriever, collection)
    print(flush=True)


def _copy(filled: FilledHome, rows: list[Any], records: list[Any], local: ServerIndex) -> None:
    """Our points in Qdrant's local mode, with the same payload."""
    from kernel.index.schema import unborn

    points = []
    for (name, _, text, vector), record in zip(rows, records, strict=True):
        point = unborn(name, list(vector), text, 0)
        point.payload = record.payload
        points.append(point)
    local.insert(points)


def _within(index: Any) -> Any:
    """A retriever that looks in one workspace only, as ours always does."""
    from llama_index.core.vector_stores import ExactMatchFilter, MetadataFilters

    only = MetadataFilters(filters=[ExactMatchFilter(key="ws", value="default")])
    return index.as_retriever(similarity_top_k=10, filters=only)


def _quality(platform: Platform, retriever: Any, collection: Collection) -> None:
    if not collection.questions:
        print("  quality: skipped, REPRISE_EVAL_DATA is not set")
        return
    ours, theirs = [], []
    for name, text in collection.questions[:200]:
        hits = [hit["name"] for hit in platform.search(text, 30)["hits"]]
        ours.append(_ndcg(hits, collection.grades[name]))
        nodes = [n.node.metadata["name"] for n in retriever.retrieve(text)]
        theirs.append(_ndcg(nodes, collection.grades[name]))
    mean, low, high = paired_bootstrap(np.array(ours) - np.array(theirs), seed=0)
    print(f"  nDCG@10 of {len(ours)} claims: ours {np.mean(ours):.4f}, LlamaIndex {np.mean(theirs):.4f}; ")
    print(f"  difference {mean:+.4f}, 95 % {low:+.4f} to {high:+.4f}")


def _ndcg(names: list[str], grades: dict[str, int]) -> float:
    ranking = list(dict.fromkeys(names))[:10]
    return ndcg_at_k([float(grades.get(d, 0)) for d in ranking], [float(g) for g in grades.values()], 10)


def over_http(home: Path, *, filled_size: int, users: list[int], seconds: float, pool: _Pool) -> None:
    """A real node on the same home, asked over HTTP."""
    print(f"over HTTP, a node with {filled_size:,} chunks:")
    with _node(home) as url:
        for count in users:
            with httpx.Client(base_url=url, timeout=120, limits=httpx.Limits(max_connections=count)) as http:
                for name, field in (("search", "query"), ("ask", "question")):

                    def ask(question: str, http: httpx.Client = http, name: str = name, field: str = field) -> None:
                        http.post(f"/v1/{name}", json={field: question}).raise_for_status()

                    _row(filled_size, count, name, _crowd(ask, pool, count, seconds))


@contextmanager
def _node(home: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "ui.cli", "up", "--no-web", "--no-guide", "--port", "0"]
    env = os.environ | {"REPRISE_HOME": str(home)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as node:
        assert node.stdout is not None
        try:
            line = node.stdout.readline()
            found = re.search(r"http://[^\s\"',}]+", line)
            if found is None:
                raise SystemExit(f"the node did not start: {line!r}")
            while httpx.get(f"{found[0]}/readyz").status_code != 200:
                time.sleep(0.2)
            yield found[0]
        finally:
            node.terminate()


def _timed(do: Callable[[], Any]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def _machine() -> str:
    flags = ""
    if Path("/proc/cpuinfo").exists():
        have = Path("/proc/cpuinfo").read_text()
        flags = ", ".join(f for f in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if f in have)
    load1 = os.getloadavg()[0]
    return f"{os.cpu_count()} cores ({flags or 'flags unknown'}), load average {load1:.1f} at the start"


if __name__ == "__main__":
    main()
