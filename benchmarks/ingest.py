"""Ingestion: us and a plain LlamaIndex pipeline on equal texts in one run, with the embedding-only ceiling beside both.

    python -m benchmarks.ingest [--files 248] [--rounds 2]

Each measurement is a process of its own (own peak memory); the model's loading is not counted on either side.
Machines are noisy: read the ratios, which are of medians over alternating rounds.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.data import markdown_files

WHO = ("reprise", "llama_index", "ceiling")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=248)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one", choices=WHO)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one, asked.files)))
        return
    what, files = markdown_files(asked.files)
    characters = sum(len(f.read_text()) for f in files)
    print(f"{len(files)} files of {what}, {characters:,} characters; {asked.rounds} alternating rounds\n")
    results: dict[str, list[dict[str, float]]] = {who: [] for who in WHO}
    for _ in range(asked.rounds):
        for who in WHO:
            results[who].append(_run(who, asked.files))
    print(f"{'':<14}{'seconds':>9}{'files/s':>9}{'chars/s':>10}{'chunks':>8}{'peak MiB':>10}")
    medians = {who: {k: statistics.median(r[k] for r in rows) for k in rows[0]} for who, rows in results.items()}
    for who, m in medians.items():
        print(
            f"{who:<14}{m['seconds']:>9.1f}{len(files) / m['seconds']:>9.1f}{characters / m['seconds']:>10,.0f}"
            f"{m['chunks']:>8.0f}{m['peak_mib']:>10.0f}"
        )
    ours, peer, ceiling = (medians[who]["seconds"] for who in ("reprise", "llama_index", "ceiling"))
    print(f"\nreprise : llama_index = {peer / ours:.2f} times its characters/s")
    print(f"reprise reaches {ceiling / ours:.0%} of its embedding-only ceiling")
    print(f"unchanged again: {medians['reprise']['again']:.3f} s for {len(files)} files")


def _run(who: str, files: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.ingest", "--one", who, "--files", str(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(who: str, limit: int) -> dict[str, float]:
    """One measurement in this process."""
    _, files = markdown_files(limit)
    with tempfile.TemporaryDirectory() as folder:
        measured = {"reprise": _reprise, "llama_index": _llama_index, "ceiling": _ceiling}[who](files, Path(folder))
    measured["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return measured


def _reprise(files: list[Path], folder: Path) -> dict[str, float]:
    from ingest.add import Incoming
    from kernel.settings import load
    from ui.wiring import Wired

    wired = Wired(load(home=folder / "home"))
    wired.embedder.load()
    warm_up = b"# Warm up\n\n" + b"A first document, so that loading is not counted on either side. " * 60
    wired.ingest.add([Incoming(path="w.md", name="w.md", source="w", workspace="warm", content=warm_up)])
    incoming = [
        Incoming(path=str(f), name=f"{i}/{f.name}", source=str(f), workspace="default", content=f.read_bytes())
        for i, f in enumerate(files)
    ]
    started = time.perf_counter()
    result = wired.ingest.add(incoming)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    wired.ingest.add(incoming)
    again = time.perf_counter() - started
    bad = [row for row in result["documents"] if row["status"] != "published"]
    if bad:
        raise SystemExit(f"not published: {bad[:3]}")
    wired.close()
    return {"seconds": seconds, "chunks": sum(row["chunks_total"] for row in result["documents"]), "again": again}


def _llama_index(files: list[Path], folder: Path) -> dict[str, float]:
    from benchmarks.peers import llama_index

    llama_index([("warm up", "a first document, so that loading is not counted")], folder / "warm")
    texts = [(str(f), f.read_text()) for f in files]
    started = time.perf_counter()
    _, chunks = llama_index(texts, folder / "peer")
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    llama_index([], folder / "empty")  # what of that was loading the model once more
    return {"seconds": seconds - (time.perf_counter() - started), "chunks": chunks, "again": 0.0}


def _ceiling(files: list[Path], folder: Path) -> dict[str, float]:
    """Our chunks, embedded and nothing else."""
    from ingest.chunk import Chunker
    from ingest.parse import parse
    from kernel.embedder import SentenceTransformerEmbedder

    embedder = SentenceTransformerEmbedder()
    embedder.load()
    chunker = Chunker(embedder.count_tokens)
    texts = [c.embedded_text for f in files for c in chunker.chunk(parse(f.read_bytes(), f.name))]
    started = time.perf_counter()
    embedder.embed_documents(texts)
    return {"seconds": time.perf_counter() - started, "chunks": len(texts), "again": 0.0}


if __name__ == "__main__":
    main()
