"""Calls that come together are run together, and nobody notices but the clock."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from kernel.batching import MOST_TEXTS, Batching
from tests.house import WordEmbedder, minilm

WAIT = 30
TEXTS = [f"question {i} about {'travel and expenses ' * (i % 5)}" for i in range(64)]
LIKE = [f"question {i} of the customs" for i in range(10)]


class Engine:
    """An engine that notes its runs, and that a test can hold up or make fail."""

    def __init__(self) -> None:
        self.runs: list[tuple[Hashable, list[str]]] = []
        self.hold: threading.Event | None = None
        self.started = threading.Event()
        self.failing: Callable[[str], BaseException | None] = lambda _text: None
        self.batching = Batching(self.run, threading.Lock())

    def run(self, key: Hashable, texts: Sequence[str]) -> np.ndarray:
        self.runs.append((key, list(texts)))
        self.started.set()
        if self.hold is not None:
            assert self.hold.wait(WAIT)
        for text in texts:
            error = self.failing(text)
            if error is not None:
                raise error
        return WordEmbedder().embed_queries(texts)

    def held(self, calls: Sequence[tuple[list[str], Hashable]]) -> tuple[ThreadPoolExecutor, list[Any]]:
        """One call at work and `calls` waiting behind it, in this order."""
        self.hold = threading.Event()
        pool = ThreadPoolExecutor(len(calls) + 1)
        futures = [pool.submit(self.batching.of, ["the first"])]
        assert self.started.wait(WAIT)
        for n, (texts, key) in enumerate(calls, 1):
            futures.append(pool.submit(self.batching.of, texts, key))
            until(lambda n=n: len(self.batching._waiting) == n)  # type: ignore[misc]
        return pool, futures


def until(true: Callable[[], bool]) -> None:
    gate = threading.Event()
    for _ in range(WAIT * 1000):
        if true():
            return
        gate.wait(0.001)
    raise AssertionError("it did not come to that")


def rows(texts: Sequence[str]) -> np.ndarray:
    return WordEmbedder().embed_queries(texts)


def test_who_is_alone_runs_alone() -> None:
    engine = Engine()
    assert np.array_equal(engine.batching.of(TEXTS[:3]), rows(TEXTS[:3]))
    assert engine.runs == [(None, TEXTS[:3])]
    assert engine.batching.of([]).shape == (0, 64)


def test_those_who_wait_are_run_together_and_each_gets_its_own_rows() -> None:
    engine = Engine()
    calls: list[tuple[list[str], Hashable]] = [(LIKE[i : i + n], None) for i, n in ((0, 1), (1, 3), (4, 2), (6, 1))]
    pool, futures = engine.held(calls)
    engine.hold.set()  # type: ignore[union-attr]
    with pool:
        for (texts, _), future in zip(calls, futures[1:], strict=True):
            assert np.array_equal(future.result(WAIT), rows(texts))
    assert len(engine.runs) == 2
    assert engine.runs[1][1] == [text for texts, _ in calls for text in texts], "of equal lengths in order of arrival"


def test_only_equal_keys_are_run_together() -> None:
    engine = Engine()
    pool, futures = engine.held([([LIKE[i]], "ab"[i % 2]) for i in range(8)])
    engine.hold.set()  # type: ignore[union-attr]
    with pool:
        for i, future in enumerate(futures[1:]):
            assert np.array_equal(future.result(WAIT), rows([LIKE[i]]))
    assert [(key, len(texts)) for key, texts in engine.runs[1:]] == [("a", 4), ("b", 4)]


def test_a_batch_is_bounded_and_what_is_of_another_length_waits_for_its_own() -> None:
    engine = Engine()
    pool, futures = engine.held([(["short"], None)] * 3 + [(["long " * 50], None)] + [(["short"], None)] * MOST_TEXTS)
    engine.hold.set()  # type: ignore[union-attr]
    with pool:
        for future in futures:
            future.result(WAIT)
    sizes = [len(texts) for _, texts in engine.runs[1:]]
    assert sizes == [MOST_TEXTS, 1, 3], "the oldest leads next, so a long one is passed over once at most"


def test_one_call_larger_than_a_batch_is_run_whole() -> None:
    engine = Engine()
    many = ["x" * 300] * 100
    assert engine.batching.of(many).shape[0] == 100
    assert len(engine.runs) == 1


def test_an_error_stays_with_the_text_that_caused_it() -> None:
    engine = Engine()
    engine.failing = lambda text: ValueError(text) if text == LIKE[2] else None
    pool, futures = engine.held([([LIKE[i]], None) for i in range(5)])
    engine.hold.set()  # type: ignore[union-attr]
    with pool:
        for i, future in enumerate(futures[1:]):
            if i == 2:
                with pytest.raises(ValueError, match=LIKE[2]):
                    future.result(WAIT)
            else:
                assert np.array_equal(future.result(WAIT), rows([LIKE[i]]))
    assert engine.batching.of(["afterwards"]).shape == (1, 64)


def test_an_interrupt_at_work_leaves_the_others_to_the_next_in_line() -> None:
    engine = Engine()
    interrupts = iter([KeyboardInterrupt()])
    engine.failing = lambda text: next(interrupts, None) if text == LIKE[0] else None
    pool, futures = engine.held([([LIKE[i]], None) for i in range(4)])
    engine.hold.set()  # type: ignore[union-attr]
    with pool:
        with pytest.raises(KeyboardInterrupt):
            futures[1].result(WAIT)
        for i, future in enumerate(futures[2:], 1):
            assert np.array_equal(future.result(WAIT), rows([LIKE[i]]))
    assert [len(texts) for _, texts in engine.runs[1:]] == [4, 3]


def test_who_is_interrupted_while_waiting_holds_nobody_up() -> None:
    engine = Engine()
    outcome: list[BaseException] = []

    def interrupted() -> None:
        try:
            engine.batching.of([LIKE[0]])
        except SystemExit as error:
            outcome.append(error)

    engine.hold = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(engine.batching.of, ["the first"])
        assert engine.started.wait(WAIT)
        waiter = threading.Thread(target=interrupted)
        waiter.start()
        until(lambda: len(engine.batching._waiting) == 1)
        second = pool.submit(engine.batching.of, [LIKE[1]])
        until(lambda: len(engine.batching._waiting) == 2)
        # Python delivers it when the thread runs its next line, which is when it is woken.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(waiter.ident or 0), ctypes.py_object(SystemExit))
        engine.hold.set()
        assert np.array_equal(second.result(WAIT), rows([LIKE[1]]))
        assert first.result(WAIT).shape == (1, 64)
        waiter.join(WAIT)
    assert outcome
    assert engine.batching.of(["afterwards"]).shape == (1, 64)
    assert not engine.batching._busy


def test_sixteen_threads_get_from_the_real_model_what_they_get_alone() -> None:
    embedder = minilm()
    alone = embedder.embed_queries(TEXTS)
    begin = threading.Barrier(16)

    def ask(n: int) -> list[bool]:
        begin.wait(WAIT)
        mine = range(n, len(TEXTS), 16)
        return [np.allclose(embedder.embed_queries([TEXTS[i]])[0], alone[i], atol=1e-5) for i in mine]

    with ThreadPoolExecutor(16) as pool:
        assert all(all(right) for right in pool.map(ask, range(16)))
