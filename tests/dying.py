"""What a child process does until it is killed: the real stack on a home folder, one deed, and an end in the middle.

The end is a SIGKILL that the process sends to itself at a named step or before its N-th write, or a timer of the
kernel's that ends it at whatever instruction it has come to. Everything a write can be is counted: every operation of
the index (one for each point, so that there are many), every commit of the database, every blob.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import event

from kernel.blobs import FileBlobs
from kernel.index import edge
from rehearsal.examples import NewExample
from rehearsal.ground import Quote
from tests.house import House, incoming, page

NAME = "walrus.md"
SECTIONS_1 = {
    "Food": "The walrus eats clams from the floor of the shallow sea.",
    "Teeth": "Its tusks grow for the whole of its life. They are ivory.",
    "Skin": "The skin is grey when cold and pink when warm.",
    "Song": "In winter the males sing under water for days.",
    "Home": "They rest on drifting ice between their dives.",
}
SECTIONS_2 = {
    "Food": SECTIONS_1["Food"],
    "Teeth": "Its tusks grow for the whole of its life. They reach one metre.",
    "Size": "A large male weighs as much as a small car.",
    "Song": SECTIONS_1["Song"],
    "Home": "They rest on land since the ice became thin.",
    "Age": "A walrus can live for forty years.",
}
"""Two sections stand, two are changed, one goes, two come."""
TEXTS = {1: page("Walrus", SECTIONS_1), 2: page("Walrus", SECTIONS_2)}
QUOTES = {
    "kept": "The walrus eats clams",
    "moved": "Its tusks grow for the whole of its life.",
    "dying": "The skin is grey when cold",
}
"""One quote for each fate of an example when version 2 comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """When to die: at the `nth` call of `step`, before write number `write`, or when `seconds` are over."""

    step: str | None = None
    nth: int = 1
    write: int = 0
    seconds: float = 0.0


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # never returns; no statement of ours runs after the kill


def image(home: Path, to: Path) -> Path:
    """What a kill at this very instant would leave of a home: every file as it is, holes left holes; `to`."""
    subprocess.run(["cp", "-r", "--sparse=always", home, to], check=True)
    return to


def example(house: House, document: str, question: str, quote: str) -> NewExample:
    """An example that stands on words of the live version."""
    (places,) = house.shown(document).values()
    chunk = next(p for p in places if quote in p.text)
    quotes = (Quote(document=document, point=chunk.point, text=quote),)
    return NewExample(workspace="default", question=question, answer=quote, quotes=quotes)


def prepare(house: House) -> str:
    """Version 1 and an example for each fate; the document's id."""
    document = house.put(NAME, TEXTS[1])["document"]
    house.examples.add([example(house, document, f"What of walrus {fate}?", q) for fate, q in QUOTES.items()])
    return str(document)


def vet(house: House) -> None:
    """Hold all examples back, and let them in again."""
    every = [e["example"] for e in house.memory.listing()]
    house.vetting.quarantine(every, "to look at them")
    house.vetting.approve(every)


DEEDS: dict[str, Callable[[House, str], object]] = {
    "publish": lambda house, _document: house.put(NAME, TEXTS[2]),
    "delete": lambda house, document: house.delete.delete(document),
    "vet": lambda house, _document: vet(house),
    "examples": lambda house, document: house.examples.add(
        [example(house, document, f"More of walrus {i}?", q) for i, q in enumerate(QUOTES.values())]
    ),
}


def live_and_die(folder: Path, deed: str, end: End) -> None:
    """Prepare a home, then do the deed while a reader watches, and die. Leaves `facts.json` and `seen.jsonl`."""
    edge._BATCH = 1
    armed = threading.Event()
    count = _Count(end, armed)
    for owner, name in ((edge.EdgeIndex, "_update"), (FileBlobs, "put"), (FileBlobs, "delete")):
        setattr(owner, name, count.before(getattr(owner, name)))
    house = House(folder / "home", step=count.step)
    event.listen(house.db.engine, "commit", count.write)
    document = prepare(house)
    facts = {"document": document, "epoch": house.epochs.committed(), "at": house.now().at}
    (folder / "facts.json").write_text(json.dumps(facts))
    seen = threading.Event()
    threading.Thread(target=_watch, args=(house, document, folder / "seen.jsonl", seen), daemon=True).start()
    seen.wait()
    armed.set()
    if end.seconds:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, end.seconds)
    DEEDS[deed](house, document)
    signal.setitimer(signal.ITIMER_REAL, 0)
    (folder / "survived").write_text(str(count.writes))
    kill()


class _Count:
    """Counts steps and writes once armed, and ends the process at the one that was asked for."""

    def __init__(self, end: End, armed: threading.Event) -> None:
        self._end, self._armed = end, armed
        self._lock = threading.Lock()
        self.steps = self.writes = 0

    def step(self, name: str) -> None:
        if self._armed.is_set() and name == self._end.step:
            self.steps += 1
            if self.steps == self._end.nth:
                kill()

    def write(self, *_: Any) -> None:
        if self._armed.is_set():
            with self._lock:
                self.writes += 1
                if self.writes == self._end.write:
                    kill()

    def before(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(owner: Any, *args: Any) -> Any:
            self.write()
            return method(owner, *args)

        return counted


def _watch(house: House, document: str, file: Path, seen: threading.Event) -> None:
    """Look again and again as a reader does, and write down what was seen before anything else can happen."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        when = house.now()
        shown = house.shown(document, when)
        whole = {v: {p.point for p in places} == house.positions(document, v) for v, places in shown.items()}
        os.write(descriptor, json.dumps({"epoch": when.epoch, "whole": whole}).encode() + b"\n")
        os.fsync(descriptor)
        seen.set()


LONG = page("Walrus", {"Life": " ".join(f"In its year {n} the walrus learns song number {n}." for n in range(40))})
"""One section of several chunks, whose cuts depend on how large a chunk may be."""
SMALL = 48
"""Tokens of a chunk, for what was cut by 200."""


def publish_again_and_die(folder: Path, cause: str, end: End) -> None:
    """Two versions; then the first is restored, or the second cut anew, and the process dies in it."""
    edge._BATCH = 1
    armed = threading.Event()
    count = _Count(end, armed)
    with House(folder / "home") as house:
        for text in (TEXTS[1], LONG):
            document = house.put(NAME, text)["document"]
    house = House(folder / "home", step=count.step, chunk_tokens=SMALL if cause == "rechunk" else 200)
    (folder / "facts.json").write_text(json.dumps({"document": document}))
    armed.set()
    house.ingest.again(*house.library.original(NAME, 1 if cause == "restore" else 2), cause)
    kill()


def expire_and_die(folder: Path, end: End) -> None:
    """Two versions and an example for each fate; then the first expires, and the process dies in it."""
    edge._BATCH = 1
    armed = threading.Event()
    count = _Count(end, armed)
    for owner, name in ((edge.EdgeIndex, "_update"), (FileBlobs, "put"), (FileBlobs, "delete")):
        setattr(owner, name, count.before(getattr(owner, name)))
    house = House(folder / "home", step=count.step)
    event.listen(house.db.engine, "commit", count.write)
    prepare(house)
    house.put(NAME, TEXTS[2])
    house.keeper.set("default", versions=1)
    armed.set()
    house.keeper.apply()
    (folder / "survived").write_text(str(count.writes))
    kill()


def publish_and_die_as_wired(home: Path, step: str) -> None:
    """The platform as its doors wire it, packaged model and all: version 1, then a kill at `step` of version 2."""
    from kernel.settings import load
    from ui.wiring import Wired

    armed = False

    def die(name: str) -> None:
        if armed and name == step:
            kill()

    wired = Wired(load(home=home, min_free_mb=0, precision="float32"), step=die)
    wired.ingest.add([incoming(NAME, TEXTS[1])])
    armed = True
    wired.ingest.add([incoming(NAME, TEXTS[2])])
