"""Adapters at hand: nothing that a request uses is freed, and nothing that is broken takes anything down."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kernel.errors import NotFound
from retrieval.choosing import Pinned
from retrieval.holding import RETRY_S, Holding


class Rack:
    """Loads names into a set. What is in `broken` cannot be loaded."""

    def __init__(self) -> None:
        self.loaded: set[str] = set()
        self.broken: set[str] = set()
        self.loads: list[str] = []
        self.tries = 0
        self.now = 0.0
        self.holding = Holding(self.load, self.loaded.remove, lambda: list(self.loaded), lambda: self.now)

    def load(self, name: str, path: str) -> None:
        self.tries += 1
        if name in self.broken:
            raise NotFound(f"there is no complete adapter in {path!r}")
        if name not in self.loaded:
            self.loads.append(name)
            self.loaded.add(name)


def adapter(name: str, *, strict: bool = False) -> Pinned:
    return Pinned(name=name, path=f"runs/{name}", strict=strict)


def test_an_adapter_is_freed_when_the_last_request_with_it_is_over() -> None:
    rack = Rack()
    with rack.holding.lent([adapter("a")]):
        with rack.holding.lent([adapter("a")]):
            rack.holding.keep({"b"})
            assert rack.loaded == {"a"}
        assert rack.loaded == {"a"}
    assert rack.loaded == set()
    assert rack.loads == ["a"]


def test_what_is_wanted_again_before_it_went_stays() -> None:
    rack = Rack()
    with rack.holding.lent([adapter("a")]):
        rack.holding.keep(set())
        rack.holding.keep({"a"})  # rolled back meanwhile
    assert rack.loaded == {"a"}


def test_a_request_that_finds_it_freed_has_it_loaded_again() -> None:
    rack = Rack()
    rack.holding.try_load("a", "runs/a")
    rack.holding.keep(set())
    with rack.holding.lent([adapter("a")]) as lent:
        assert lent == adapter("a")
        assert rack.loaded == {"a"}


def test_what_cannot_be_loaded_is_passed_over_and_told() -> None:
    rack = Rack()
    rack.broken = {"a"}
    with rack.holding.lent([adapter("a"), adapter("b")]) as lent:
        assert lent == adapter("b")
    assert "'a' cannot be loaded" in str(rack.holding.trouble)
    assert "'b' serves" in str(rack.holding.trouble)
    rack.now += RETRY_S
    with rack.holding.lent([adapter("a")]) as lent:
        assert lent is None
    assert "the base model serves" in str(rack.holding.trouble)
    rack.broken = set()
    rack.now += RETRY_S
    with rack.holding.lent([adapter("a")]) as lent:
        assert lent == adapter("a")
        assert rack.holding.trouble is None


def test_what_failed_is_not_tried_again_by_each_request() -> None:
    rack = Rack()
    rack.broken = {"a"}
    for _ in range(5):
        with rack.holding.lent([adapter("a"), adapter("b")]) as lent:
            assert lent == adapter("b")
        rack.now += RETRY_S / 10
    assert rack.tries == 1 + 5, "the broken one once, the other at each request"
    assert "'a' cannot be loaded" in str(rack.holding.trouble), "and it is told all the time"


def test_what_failed_is_tried_by_who_names_it_and_after_a_look_for_trouble() -> None:
    rack = Rack()
    rack.broken = {"a"}
    rack.holding.try_load("a", "runs/a")
    rack.broken = set()
    with rack.holding.lent([adapter("a")]) as lent:
        assert lent is None
    with rack.holding.lent([adapter("a", strict=True)]) as lent:
        assert lent is not None
    with rack.holding.lent([adapter("a")]) as lent:
        assert lent == adapter("a"), "it is known to be well now"
    rack.broken = {"b"}
    rack.holding.try_load("b", "runs/b")
    rack.broken = set()
    rack.holding.clear()
    with rack.holding.lent([adapter("b")]) as lent:
        assert lent == adapter("b")


def test_what_somebody_named_is_not_replaced() -> None:
    rack = Rack()
    rack.broken = {"a"}
    with pytest.raises(NotFound), rack.holding.lent([adapter("a", strict=True), adapter("b")]):
        pass
    assert rack.loaded == set()


def test_a_failing_request_lets_go_of_its_adapter() -> None:
    rack = Rack()

    def fail() -> None:
        with rack.holding.lent([adapter("a")]):
            rack.holding.keep(set())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert rack.loaded == set()


def test_no_request_of_many_threads_ever_finds_its_adapter_gone() -> None:
    rack, start, failures = Rack(), threading.Barrier(5), list[str]()

    @contextmanager
    def checked(name: str) -> Iterator[None]:
        with rack.holding.lent([adapter(name)]) as lent:
            if lent is None or name not in rack.loaded:
                failures.append(name)
            yield
            if name not in rack.loaded:
                failures.append(name)

    def ask(offset: int) -> None:
        start.wait()
        for n in range(300):
            with checked("abc"[(n + offset) % 3]):
                pass

    def move() -> None:
        start.wait()
        for n in range(300):
            rack.holding.keep({"abc"[n % 3]})

    threads = [threading.Thread(target=ask, args=(offset,)) for offset in range(4)] + [threading.Thread(target=move)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
