"""What ingestion costs when there is much of it, or almost nothing to do.

    python -m benchmarks.growth [--many 10000]

    again     1,000 files once more, none of them changed: seconds
    edit      one line of a 100-page document: chunks embedded anew
    memory    1,000 and --many files of one passage each: peak memory of the process, less the size of its index

Each is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ingest.incoming import Incoming
from kernel.settings import load
from ui.wiring import Wired

_WORDS = [
    "archive",
    "budget",
    "claim",
    "draft",
    "employee",
    "form",
    "grant",
    "holiday",
    "invoice",
    "journey",
    "key",
    "ledger",
    "manager",
    "notice",
    "order",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(_MEASURES[asked.one](asked.many)))
        return
    again = _run("again", 1000)
    print(f"again: {again['files']} unchanged files in {again['seconds']:.2f} s")
    edit = _run("edit", 0)
    print(f"edit: {edit['pages']} pages, {edit['chunks']} chunks; one line changed: {edit['embedded']} embedded anew")
    few, many = _run("memory", 1000), _run("memory", asked.many)
    for m in (few, many):
        print(
            f"memory: {m['files']:>6,} files: peak {m['peak_mib']:,.0f} MiB, index {m['index_mib']:,.0f} MiB, "
            f"less index {m['peak_mib'] - m['index_mib']:,.0f} MiB, {m['files'] / m['seconds']:.0f} files/s"
        )
    grown = (many["peak_mib"] - many["index_mib"]) / (few["peak_mib"] - few["index_mib"]) - 1
    print(f"memory grows by {grown:+.1%} from {few['files']:,} to {many['files']:,} files")


def _run(what: str, many: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.growth", "--one", what, "--many", str(many)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _again(many: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        wired = Wired(load(home=Path(folder) / "home"))
        wired.ingest.add(_files(many))
        started = time.perf_counter()
        rows = wired.ingest.add(_files(many))["documents"]
        seconds = time.perf_counter() - started
        wired.close()
    assert {row["status"] for row in rows} == {"unchanged"}
    return {"files": many, "seconds": seconds}


def _edit(_many: int) -> dict[str, float]:
    pages = 100
    lines = [f"## Page {page}\n\n" + "\n".join(_line(page, n) for n in range(40)) for page in range(pages)]
    text = "\n\n".join(["# Handbook", *lines])
    line = _line(50, 20)
    edited = text.replace(line, line.replace("must", "may"))
    with tempfile.TemporaryDirectory() as folder:
        wired = Wired(load(home=Path(folder) / "home"))
        first, second = (wired.ingest.add([_file("handbook.md", t)])["documents"][0] for t in (text, edited))
        wired.close()
    return {"pages": pages, "chunks": first["chunks_total"], "embedded": second["chunks_new"]}


def _memory(many: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        wired = Wired(load(home=home))
        wired.ingest.add([_file("warm.md", "# Warm up")])
        started = time.perf_counter()
        wired.ingest.add(_files(many))
        seconds = time.perf_counter() - started
        wired.close()
        index = sum(f.stat().st_blocks * 512 for f in home.glob("index*/**/*") if f.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"files": many, "peak_mib": peak, "index_mib": index / 2**20, "seconds": seconds}


def _files(many: int) -> Iterator[Incoming]:
    for number in range(many):
        yield _file(f"{number}.md", f"# File {number}\n\n" + " ".join(_line(number, n) for n in range(5)))


def _file(name: str, text: str) -> Incoming:
    return Incoming(path=name, name=name, source=name, workspace="default", content=text.encode())


def _line(page: int, n: int) -> str:
    first, second = _WORDS[(page + n) % len(_WORDS)], _WORDS[(page * n) % len(_WORDS)]
    return f"Rule {page}.{n}: every {first} must name its {second} before day {(page * 7 + n) % 31} of the month."


_MEASURES = {"again": _again, "edit": _edit, "memory": _memory}

if __name__ == "__main__":
    main()
