"""Workers as child processes, for tests that kill them: the whole platform on a home folder, with words for a model.

A worker takes the jobs of the home one after another until none is left. A text with `DEADLY` in it kills the process
that embeds it, as a fault in a native library would.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import ui.wiring
from kernel.settings import load
from tests.dying import kill
from tests.house import WordEmbedder
from tests.servers import held_port
from ui.platform import Platform, wait_for
from ui.wiring import Wired

DEADLY = "nevermore"


class FragileEmbedder(WordEmbedder):
    """Dies of one word."""

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        if any(DEADLY in text for text in texts):
            kill()
        return super().embed_documents(texts, progress)


@contextmanager
def words_for_a_model() -> Iterator[None]:
    """What is wired meanwhile embeds by words."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ui.wiring, "SentenceTransformerEmbedder", lambda *_given: FragileEmbedder())
        yield


@contextmanager
def worded(home: Path, **settings: Any) -> Iterator[Platform]:
    """The platform as its doors wire it, but for the model."""
    with words_for_a_model():
        wired = Wired(load(home=home, **{"min_free_mb": 0, **settings}))
    try:
        yield Platform(wired)
    finally:
        wired.close()


def work(home: Path, settings: dict[str, Any]) -> None:
    """What a worker does: recover as a start does, then run what the ledger delivers, until nothing is left."""
    with worded(home, **settings) as platform:
        platform.w.recover()
        waiting: list[str] = []
        platform.w.ledger.deliver = lambda job, _queue: waiting.append(job)
        platform.w.ledger.sweep(orphaned=True)
        together: list[threading.Thread] = []
        if settings.get("threads", 1) > 1:
            together = [threading.Thread(target=platform.w.ledger.run, args=(job,)) for job in waiting]
            waiting.clear()
            for thread in together:
                thread.start()
            for thread in together:
                thread.join()
        while waiting:
            platform.w.ledger.run(waiting.pop(0))


def serve(home: Path, port: int, settings: dict[str, Any]) -> None:
    """What a node without web app is: the HTTP API, and worker threads beside it."""
    from ui.api.app import make_app
    from ui.api.server import Server
    from ui.node import Workers as Threads
    from ui.node import _terminate_as_interrupt

    with worded(home, **settings) as platform:
        platform.w.recover()
        threads = Threads(platform)
        threads.start()
        platform.w.ledger.sweep(orphaned=True)
        with _terminate_as_interrupt():
            Server(make_app(platform), port=port, lifespan="off", timeout_graceful_shutdown=10).run()
        platform.w.ledger.hand_back()
        threads.stop()


class Node:
    """A node as a child process, always on the same port."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self._home, self._settings = home, settings
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.workers"])
        self._held, self.port = held_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self._process = self._context.Process(target=serve, args=(self._home, self.port, self._settings))
        self._process.start()
        assert wait_for(self._answers, 60), "the node did not start"

    def kill(self) -> None:
        self._process.kill()
        self._process.join(60)

    def stop(self) -> int | None:
        """Ask it to end as Ctrl-C does; its exit code."""
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(60)
        self._held.close()
        return self._process.exitcode

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=1, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


class Workers:
    """Starts one worker after another on a home, until one comes to the end of its work alive."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self._home, self._settings = home, settings
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.workers"])

    def until_done(self, most: int = 12) -> int:
        """How many died."""
        for died in range(most):
            child = self._context.Process(target=work, args=(self._home, self._settings))
            child.start()
            child.join(120)
            code = child.exitcode
            child.close()
            if code == 0:
                return died
            assert code == -signal.SIGKILL, code
        raise AssertionError(f"{most} workers died")
