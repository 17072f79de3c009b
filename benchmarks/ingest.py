"""Ingestion: us and a plain LlamaIndex pipeline on equal texts in one run, with the embedding-only ceiling beside both.

    python -m benchmarks.ingest [--files 120] [--rounds 2]

Each measurement is a process of its own (own peak memory); loading the model is not counted on either side. Files come
from memory and go through the child processes that parse, as in a node. Where OpenVINO is installed we are measured
with it, too. Machines are noisy: read the ratios, which are of medians over alternating rounds; `cpu` is seconds of
processor time of the process and its children.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks.data import distinct_texts

Texts = list[tuple[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one, asked.files)))
        return
    what, texts = distinct_texts(asked.files)
    characters = sum(len(text) for _, text in texts)
    who = ["reprise", "llama_index", "ceiling"]
    if find_spec("openvino"):
        who += ["reprise_openvino", "ceiling_openvino"]
    print(f"{len(texts)} files of {what}, {characters:,} characters; {asked.rounds} alternating rounds\n")
    results: dict[str, list[dict[str, float]]] = {one: [] for one in who}
    for _ in range(asked.rounds):
        for one in who:
            results[one].append(_run(one, asked.files))
    print(f"{'':<18}{'seconds':>9}{'cpu':>8}{'files/s':>9}{'chars/s':>10}{'chunks':>8}{'peak MiB':>10}")
    medians = {one: {k: statistics.median(r[k] for r in rows) for k in rows[0]} for one, rows in results.items()}
    for one, m in medians.items():
        print(
            f"{one:<18}{m['seconds']:>9.1f}{m['cpu']:>8.1f}{len(texts) / m['seconds']:>9.1f}"
            f"{characters / m['seconds']:>10,.0f}{m['chunks']:>8.0f}{m['peak_mib']:>10.0f}"
        )
    print()
    peer = medians["llama_index"]
    for one in (name for name in who if name.startswith("reprise")):
        ours, ceiling = medians[one], medians[one.replace("reprise", "ceiling")]
        print(
            f"{one} : llama_index = {peer['seconds'] / ours['seconds']:.2f} times its characters/s "
            f"({peer['cpu'] / ours['cpu']:.2f} per second of processor time); "
            f"{ceiling['seconds'] / ours['seconds']:.0%} of its embedding-only ceiling, "
            f"which is {peer['seconds'] / ceiling['seconds']:.2f} times llama_index"
        )
    print(f"unchanged again: {medians['reprise']['again']:.3f} s for {len(texts)} files")


def _run(who: str, files: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.ingest", "--one", who, "--files", str(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{who} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(who: str, limit: int) -> dict[str, float]:
    """One measurement in this process."""
    _, texts = distinct_texts(limit)
    name, _, engine = who.partition("_") if who != "llama_index" else (who, "", "")
    if not engine and find_spec("openvino"):  # as without it
        from kernel.precision import has_bfloat16

        engine = "bfloat16" if has_bfloat16() else "float32"
    if engine:
        os.environ["REPRISE_PRECISION"] = engine
    with tempfile.TemporaryDirectory() as folder:
        measured = {"reprise": _reprise, "llama_index": _llama_index, "ceiling": _ceiling}[name](texts, Path(folder))
    measured["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return measured


class Clock:
    """Seconds of wall clock and of processor time, children included (those that have ended)."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), self._spent()

    def read(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self._wall, "cpu": self._spent() - self._cpu}

    def _spent(self) -> float:
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, who))


def _reprise(texts: Texts, folder: Path) -> dict[str, float]:
    from ingest.incoming import Incoming
    from kernel.settings import load
    from ui.wiring import Wired

    wired = Wired(load(home=folder / "home"))
    wired.embedder.load()
    warm_up = b"# Warm up\n\n" + b"A first document, so that loading is not counted on either side. " * 60
    wired.ingest.add([Incoming(path="w.md", name="w.md", source="w", workspace="warm", content=warm_up)])
    incoming = [
        Incoming(path=name, name=name, source=name, workspace="default", content=text.encode()) for name, text in texts
    ]
    clock = Clock()
    result = wired.ingest.add(incoming)
    measured = clock.read()
    started = time.perf_counter()
    wired.ingest.add(incoming)
    measured["again"] = time.perf_counter() - started
    bad = [row for row in result["documents"] if row["status"] != "published"]
    if bad:
        raise SystemExit(f"not published: {bad[:3]}")
    wired.close()
    return measured | {"chunks": sum(row["chunks_total"] for row in result["documents"])}


def _llama_index(texts: Texts, folder: Path) -> dict[str, float]:
    from benchmarks.peers import llama_index

    llama_index([("warm up", "a first document, so that loading is not counted")], folder / "warm")
    clock = Clock()
    _, chunks = llama_index(texts, folder / "peer")
    whole = clock.read()
    clock = Clock()
    llama_index([], folder / "empty")  # what of that was loading the model once more
    loading = clock.read()
    return {name: whole[name] - loading[name] for name in whole} | {"chunks": chunks, "again": 0.0}


def _ceiling(texts: Texts, folder: Path) -> dict[str, float]:
    """Our chunks, embedded and nothing else."""
    from ingest.layout import chunker_for
    from ingest.parse import parse
    from kernel.embedder import SentenceTransformerEmbedder
    from kernel.settings import load

    settings = load(home=folder)
    embedder = SentenceTransformerEmbedder(precision=settings.precision)
    embedder.load()
    chunker = chunker_for(embedder, settings)
    chunks = [c.embedded_text for name, text in texts for c in chunker.chunk(parse(text.encode(), name))]
    clock = Clock()
    embedder.embed_documents(chunks)
    return clock.read() | {"chunks": len(chunks), "again": 0.0}


if __name__ == "__main__":
    main()
