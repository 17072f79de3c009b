"""Swaps under load: a thousand requests from several threads, while adapters are promoted and rolled back.

    python -m benchmarks.swap [--requests 1000] [--moves 20] [--threads 4] [--generator]

A real platform on a dozen pages of the guide with two real adapters. Each answer must come, must name one adapter, and
must be the same when it is asked again with that adapter by name: the same passages in the same order, or the same
words. Every rollback is followed by freeing all adapters, the worst that could happen to a request. With `--generator`
the adapters are those of a small causal language model that is built on the spot, and what it writes is compared.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingest import sources
from kernel.settings import load
from tests.house import random_adapter
from tests.tiny import save_chain, save_turn
from ui.platform import Platform
from ui.wiring import Wired, guide_folder

QUESTIONS = (
    "What is a replay ratio?",
    "How do I go back to an earlier version of a document?",
    "Who decides whether an adapter may serve?",
    "Which file formats can be uploaded?",
    "What happens to my questions when a document is deleted?",
    "How is a citation checked?",
    "What does the gate do with a small slice?",
    "Where are the settings?",
)
_PAGES = 12
Found = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--generator", action="store_true", help="swap the generator's adapters")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        given: dict[str, Any] = {"home": home, "precision": "float32"}
        if asked.generator:
            chain = save_chain(Path(folder) / "chain", "So\tit[1].$")
            given |= {"generator": f"transformers:{chain}", "unsupported": "flag", "refusal_threshold": 0.0}
        wired = Wired(load(**given))
        platform = Platform(wired)
        pages = [str(page) for page in sorted(guide_folder().glob("*.md"))[:_PAGES]]
        platform.ingest(sources.read(pages, workspace="default"))
        kind = "generator" if asked.generator else "retriever"
        for seed, links in enumerate(("ia[", "ie[")):
            place = wired.home / "runs" / f"run-{seed}" / "adapter"
            if asked.generator:
                save_turn(chain, place, links)
            else:
                random_adapter(Path(wired.embedder.path), place, seed)
            with wired.db.write() as session:
                wired.registry.add(session, f"{kind}-{seed}", kind, f"run-{seed}", None, place, True)
        try:
            swap(platform, kind, asked.requests, asked.moves, asked.threads)
        finally:
            wired.close()


def swap(platform: Platform, kind: str, requests: int, moves: int, threads: int) -> None:
    """Ask and move at once; print what came of it.

    Raises:
        SystemExit: a request failed, or an answer was not the one its adapter gives.
    """
    ask: Callable[..., Found] = platform.ask if kind == "generator" else platform.search
    for question in QUESTIONS:
        ask(question)
    asked, moved = itertools.count(), threading.Event()
    lock, seen, failures, times = threading.Lock(), list[tuple[str, Found]](), list[Exception](), list[float]()

    def requesting() -> None:
        while True:
            with lock:
                number = next(asked)
            if number >= requests and moved.is_set():
                return
            question, began = QUESTIONS[number % len(QUESTIONS)], time.perf_counter()
            try:
                found = ask(question)
            except Exception as error:
                failures.append(error)
                continue
            with lock:
                times.append((time.perf_counter() - began) * 1000)
                seen.append((question, found))

    workers = [threading.Thread(target=requesting) for _ in range(threads)]
    promotions, rollbacks = list[float](), list[float]()

    def moving() -> None:
        """After each move its share of the requests is answered before the next one, so that all states are asked."""
        for number in range(moves):
            began = time.perf_counter()
            if number % 2 == 0:
                platform.promote(f"{kind}-{number // 2 % 2}")
                promotions.append((time.perf_counter() - began) * 1000)
            else:
                platform.rollback(kind)
                rollbacks.append((time.perf_counter() - began) * 1000)
                if kind == "retriever":
                    platform.w.live.unload_all_but(set())
            before = len(seen) + len(failures)
            while len(seen) + len(failures) < before + requests // moves:
                time.sleep(0.005)
        moved.set()

    mover = threading.Thread(target=moving)
    began = time.perf_counter()
    for thread in (*workers, mover):
        thread.start()
    for worker in workers:
        worker.join()
    mover.join()
    seconds = time.perf_counter() - began
    of = (lambda found: found["adapters"]["generator"]) if kind == "generator" else (lambda found: found["adapter"])
    again = {
        (of(found), question): told(ask(question, adapter=of(found) or "base"))
        for question, found in {(q, of(f)): (q, f) for q, f in seen}.values()
    }
    mixed = [1 for question, found in seen if told(found) != again[of(found), question]]
    differ = len(
        {again[name, QUESTIONS[0]] for name in {of(found) for _, found in seen} if (name, QUESTIONS[0]) in again}
    )
    all_of = len(seen) + len(failures)
    print(f"{len(seen)} answers of {all_of} requests in {seconds:.1f} s, {threads} threads; {len(failures)} failed")
    print(f"answered by: {dict(Counter(str(of(found) or 'base') for _, found in seen))}")
    print(f"not reproducible with the adapter they name: {len(mixed)}; the adapters give {differ} different answers")
    print(f"a request: median {statistics.median(times):.0f} ms, slowest {max(times):.0f} ms")
    print(
        f"{len(promotions)} promotions: median {statistics.median(promotions):.0f} ms, slowest {max(promotions):.0f} ms"
    )
    print(f"{len(rollbacks)} rollbacks: median {statistics.median(rollbacks):.0f} ms, slowest {max(rollbacks):.0f} ms")
    if failures or mixed:
        raise SystemExit(f"a promise is broken: {failures[:1]}, {len(mixed)} mixed")


def told(found: Found) -> tuple[str, ...]:
    """What of an answer its adapters decide."""
    if "hits" in found:
        return tuple(hit["chunk"] for hit in found["hits"])
    return tuple(sentence["text"] for sentence in found["sentences"])


if __name__ == "__main__":
    main()
