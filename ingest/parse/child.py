"""The child's side of the sandbox: fences itself in, then reads one file after another until its parent is gone.

Run as `python -m ingest.parse.child LIFE`; LIFE is a pipe that the parent holds open and never writes to. Its standard
input brings the settings and then the files; its answers leave by what was its standard output. The fence is against
accidents and bombs: memory, processor time, files, core dumps, and the network where the system lets it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from ingest.parse import frames
from ingest.parse.limits import Limits
from kernel.errors import FileRefused
from kernel.types import ChunkDraft, Parsed

Reader = Callable[[bytes, str, Limits], Parsed]
Cut = Callable[[Parsed], list[ChunkDraft]]

FILES, FILE_BYTES = 128, 256 * 2**20
"""Open files, and bytes of one that is written: Tesseract takes its pictures from temporary files."""
_TEXTS = 1000
_SPARE = 64 * 2**20  # to say in that memory ran out
_SELF = Path("/proc/self")
_LINUX = sys.platform == "linux"
_CLONE_NEWUSER, _CLONE_NEWNET, _NO_NEW_PRIVS = 0x10000000, 0x40000000, 38
_MEMORY = resource.RLIMIT_DATA if _LINUX else resource.RLIMIT_AS  # a reserved address costs nothing, so not AS


def main() -> None:
    """Serve until the input ends."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("life", type=int)
    arguments.add_argument("--reader", help="MODULE:FUNCTION that reads instead of our parsers; for tests")
    given = arguments.parse_args()
    _die_with_parent(given.life)
    incoming, outgoing = _own_pipes()
    _fence()
    settings, _ = _receive(incoming)
    limits = Limits(**settings["limits"])
    try:
        reader, cut = _reader(given.reader), _chunker(settings["chunker"])
    except Exception as error:
        _send(outgoing, {"failed": f"{type(error).__name__}: {error}"})
        return
    _send(outgoing, {"ready": True, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss})
    serve = _Service(reader=reader, cut=cut, limits=limits, used=_data_bytes())
    while True:
        head, content = _receive(incoming)
        reply, body = serve.answer(head, content, partial(_tell, outgoing, head["id"]))
        del content
        known = {"id": head["id"], "grown": serve.grown()}
        try:
            _send(outgoing, reply | known, body)
        except frames.Garbled:  # nothing has left yet
            refusal = limits.exceeded(head["name"], "max_text_mb", "more headings and chunks than can be handled")
            _send(outgoing, {"refused": refusal.as_json()} | known)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    """One file to one answer, and never an exception."""

    reader: Reader
    cut: Cut | None
    limits: Limits
    used: int
    """Bytes of memory before the first file."""

    def answer(
        self, head: dict[str, Any], content: bytes, tell: Callable[[dict[str, Any]], None]
    ) -> tuple[dict[str, Any], bytes]:
        """The answer, and its body. `tell` takes a word in between: that the file is parsed, and is now cut."""
        name = str(head["name"])
        self._allow_memory()
        self._allow_time(self.limits.parse_seconds)
        try:
            parsed = self.reader(content, name, self.limits)
            self.limits.check(name, "max_text_mb", len(parsed.text) / 1e6, "million characters")
            drafts = None
            if self.cut and head["chunks"]:
                tell({"parsed": len(parsed.text)})
                self._allow_time(self.limits.parse_seconds + len(parsed.text) // frames.CHARS_PER_SECOND)
                drafts = self.cut(parsed)
            return frames.answer(parsed, drafts)
        except BaseException as error:  # what a library raises may be anything, SystemExit among it
            self._relax()
            return self._failure(error, name), b""

    def grown(self) -> int:
        """Bytes this process has taken and kept since it began."""
        return max(0, _data_bytes() - self.used)

    def _allow_memory(self) -> None:
        """A file's own share, beside what libraries have taken before."""
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(_MEMORY, (_data_bytes() + self.limits.parse_memory_mb * 2**20, resource.RLIM_INFINITY))

    def _allow_time(self, seconds: int) -> None:
        """Processor time, as a backstop: the parent looks at the clock, and may be gone."""
        with contextlib.suppress(OSError, ValueError):
            spent = resource.getrusage(resource.RUSAGE_SELF)
            most = int(spent.ru_utime + spent.ru_stime) + 2 * seconds + 10
            resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))

    def _relax(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            soft, hard = resource.getrlimit(_MEMORY)
            if soft != resource.RLIM_INFINITY:
                resource.setrlimit(_MEMORY, (soft + _SPARE, hard))

    def _failure(self, error: BaseException, name: str) -> dict[str, Any]:
        chain = _causes(error)
        if any(isinstance(one, MemoryError) for one in chain):
            return {"refused": self.limits.too_hungry(name).as_json(), "last": True}
        if any(isinstance(one, RecursionError) for one in chain):
            return {"refused": _too_deep(name).as_json()}
        if isinstance(error, FileRefused):
            return {"refused": error.as_json()}
        return {"broken": f"{type(error).__name__}: {str(error)[:500]}", "last": True}


def _causes(error: BaseException) -> list[BaseException]:
    """An error and what led to it: a library's own words may stand in front of a MemoryError."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain and len(chain) < 50:
        chain.append(following)
        following = following.__cause__ or following.__context__
    return chain


def _too_deep(name: str) -> FileRefused:
    return FileRefused(
        f"{name!r} is nested more deeply than any reader follows",
        hint="Open it in its own program, save it again in a simpler form (for example as text or PDF) and retry.",
        code="nested_too_deeply",
    )


# --- what it reads with ------------------------------------------------------------------------------


def _reader(given: str | None) -> Reader:
    if given:
        module, _, function = given.partition(":")
        made: Reader = getattr(importlib.import_module(module), function)
        return made
    from ingest.parse import parse

    return parse


def _chunker(given: dict[str, Any] | None) -> Cut | None:
    if given is None:
        return None
    from tokenizers import Tokenizer

    from ingest.chunk import Chunker

    tokenizer = Tokenizer.from_file(given["tokenizer"])
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: Sequence[str]) -> list[int]:
        found: list[int] = []
        for start in range(0, len(texts), _TEXTS):  # the tokens of a whole book at once would fill the memory
            some = list(texts[start : start + _TEXTS])
            found += [len(encoded) for encoded in tokenizer.encode_batch_fast(some, add_special_tokens=False)]
        return found

    return Chunker(count, given["max_tokens"]).chunk


# --- pipes -------------------------------------------------------------------------------------------


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Input and output under numbers of their own, so that a library that prints spoils nothing."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return incoming, outgoing


def _receive(incoming: BinaryIO) -> tuple[dict[str, Any], bytes]:
    prefix = incoming.read(frames.PREFIX.size)
    if len(prefix) < frames.PREFIX.size:
        sys.exit(0)  # the parent has closed, or is no more
    head, body = frames.PREFIX.unpack(prefix)
    return json.loads(incoming.read(head)), incoming.read(body)


def _tell(outgoing: BinaryIO, number: int, word: dict[str, Any]) -> None:
    _send(outgoing, word | {"id": number})


def _send(outgoing: BinaryIO, head: dict[str, Any], body: bytes = b"") -> None:
    for part in frames.frame(head, body):
        outgoing.write(part)
    outgoing.flush()


# --- the fence ---------------------------------------------------------------------------------------


def _die_with_parent(life: int) -> None:
    """When the parent's end of the pipe closes, the system ends this process and all it started, in a C call or not.

    SIGIO ends whoever does not handle it, and goes to the whole group. PR_SET_PDEATHSIG would not do: it fires when the
    *thread* that started us ends, and that is some worker's.
    """
    with contextlib.suppress(OSError, AttributeError):
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        if os.read(life, 1) == b"":  # it was gone before we listened
            sys.exit(0)


def _fence() -> None:
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
    if _LINUX:
        with contextlib.suppress(OSError):
            (_SELF / "oom_score_adj").write_text(
                "1000"
            )  # a machine without memory ends this process first, not the node
        with contextlib.suppress(OSError, AttributeError):
            _leave_the_network()


def _leave_the_network() -> None:
    """A network of its own, with nothing in it. Where that is not allowed, the parsers still open no connection."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.unshare(_CLONE_NEWNET) == 0:
        return
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        for file, words in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with contextlib.suppress(OSError):
                (_SELF / file).write_text(words)


def _data_bytes() -> int:
    """Memory this process has taken, as RLIMIT_DATA counts it; 0 where that is not known."""
    try:
        return int((_SELF / "statm").read_text().split()[5]) * resource.getpagesize()
    except OSError:
        return 0


if __name__ == "__main__":
    main()
