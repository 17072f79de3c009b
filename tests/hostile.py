"""Readers that do what a hostile file might make a parser do. A sandbox's child calls one of them in place of ours.

Each takes (content, name, limits), as `ingest.parse.parse` does. A file that begins with `good` is read in peace.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from ingest.parse.frames import PREFIX
from ingest.parse.limits import Limits
from kernel.types import Heading, Page, Parsed


def reader(content: bytes, name: str, limits: Limits) -> Parsed:
    """Do what the file's first word says; the rest is its argument."""
    word, _, rest = content.decode("utf-8", "replace").partition(" ")
    return _DEEDS[word](rest)


def _good(rest: str) -> Parsed:
    return Parsed(text=f"read by {os.getpid()}: {rest[:1000]}", title="Good", media_type="text/plain")


def _hang(place: str) -> Parsed:
    """Say where it runs, start a program that would outlive it, and never come back."""
    if place:
        beside = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        Path(place).write_text(f"{os.getpid()} {beside.pid}")
    while True:
        time.sleep(60)


def _spin(_: str) -> Parsed:
    """In C, with the interpreter's lock held."""
    import re

    re.match(r"(a|a)+$", "a" * 60 + "b")
    raise AssertionError


def _hog(_: str) -> Parsed:
    kept = []
    while True:
        kept.append(bytearray(10 * 2**20))


def _hog_in_c(_: str) -> Parsed:
    """A library in C that does not get its memory ends the process."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    while found := libc.malloc(10 * 2**20):
        libc.memset(found, 1, 10 * 2**20)
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def _kill(_: str) -> Parsed:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _leave(_: str) -> Parsed:
    os._exit(3)


def _exit(_: str) -> Parsed:
    sys.exit("enough")


def _segfault(_: str) -> Parsed:
    ctypes.string_at(0)
    raise AssertionError


def _deep(_: str) -> Parsed:
    return _deep("")


def _deep_data(_: str) -> Parsed:
    inner: list[Any] = []
    for _number in range(1_000_000):
        inner = [inner]
    raise ValueError(repr(inner))


def _flood(_: str) -> Parsed:
    return Parsed(text="x" * 3_000_000, title="", media_type="text/plain")


def _garbage(rest: str) -> Parsed:
    """Write to everything that is open, as a compromised child could."""
    heads = {
        "noise": os.urandom(5000),
        "json": PREFIX.pack(4, 0) + b"nope",
        "list": PREFIX.pack(2, 0) + b"[]",
        "deep": PREFIX.pack(200_000, 0) + b"[" * 200_000,
        "endless": PREFIX.pack(2**32 - 1, 2**63) + bytes(5000),
        "other": PREFIX.pack(8, 0) + b'{"id":0}',
        "half": PREFIX.pack(100, 0) + b"{",
    }
    for number in range(3, 20):
        try:
            os.write(number, heads[rest])
        except OSError:
            continue
    if rest == "half":
        os._exit(0)
    return _hang("")


def _twice(_: str) -> Parsed:
    """An answer to a question that nobody has asked yet, behind the one to this."""

    def late() -> None:
        time.sleep(0.05)
        for number in range(3, 20):
            try:
                os.write(number, PREFIX.pack(8, 0) + b'{"id":2}')
            except OSError:
                continue

    import threading

    threading.Thread(target=late, daemon=True).start()
    return _good("")


_WRONG: dict[str, dict[str, Any]] = {
    "outside": {"pages": (Page(page=1, start=0, end=99),)},
    "backwards": {"blocks": ((3, 1),)},
    "disorder": {"headings": (Heading(start=3, level=1, title="b"), Heading(start=1, level=1, title="a"))},
    "negative": {"blocks": ((-3, 2),)},
    "number": {"title": 7},
    "words": {"pages": (Page(page="one", start=0, end=1),)},  # type: ignore[arg-type]
    "nul": {"text": "a\0b"},
    "true": {"blocks": ((False, True),)},
    "none": {"media_type": None},
}


def _wrong(rest: str) -> Parsed:
    return Parsed(**{"text": "12345", "title": "", "media_type": "text/plain", **_WRONG[rest]})


def _look(_: str) -> Parsed:
    """What a parser sees of the machine."""
    import resource
    import socket

    try:
        socket.create_connection(("127.0.0.1", int(_ or 9)), timeout=5).close()
        reached = True
    except OSError:
        reached = False
    seen = {
        "environment": sorted(os.environ),
        "files": len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0,
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "group": os.getpgrp() == os.getpid(),
        "reached": reached,
        "path": sys.path[0],
        "place": str(Path.cwd()),
        "torch": "torch" in sys.modules or "numpy" in sys.modules,
    }
    return Parsed(text=repr(seen), title="", media_type="text/plain")


def _print(_: str) -> Parsed:
    print("a library that prints", flush=True)
    os.write(1, b"x" * 100_000)
    os.write(2, b"y" * 1_000_000)
    return _good("")


@cache
def _leak() -> list[bytearray]:
    return []


def _leaky(_: str) -> Parsed:
    _leak().append(bytearray(300 * 2**20))
    return _good("")


_DEEDS = {
    "good": _good,
    "hang": _hang,
    "spin": _spin,
    "hog": _hog,
    "hog_in_c": _hog_in_c,
    "kill": _kill,
    "leave": _leave,
    "exit": _exit,
    "segfault": _segfault,
    "deep": _deep,
    "deep_data": _deep_data,
    "flood": _flood,
    "garbage": _garbage,
    "twice": _twice,
    "wrong": _wrong,
    "look": _look,
    "print": _print,
    "leak": _leaky,
}
