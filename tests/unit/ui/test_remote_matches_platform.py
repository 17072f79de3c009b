"""The command line works the same way with a node and without one: `Remote` does whatever `Platform` does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from ui.over_http.connection import as_error
from ui.platform import Platform
from ui.remote import Remote

HERE_ONLY = {
    "settings": "each side has its own",
    "request_run": "enters a run for `retrain` and `enqueue_retrain`, which both have",
    "tick": "beat's, on the node",
    "hint_look": "the file system's, on the node",
}
"""Operations that make no sense from afar, and why."""
OPERATIONS = sorted(
    name for name in dir(Platform) if not name.startswith("_") and name not in HERE_ONLY
)  # fmt: skip


@pytest.mark.parametrize(("code", "exit_code"), [("not_found", 2), ("bad_request", 2), ("conflict", 2), ("failed", 1)])
def test_what_a_job_failed_of_ends_as_it_would_without_a_node(code: str, exit_code: int) -> None:
    assert as_error(500, {"code": code, "message": "it was so", "hint": "do this"}).exit_code == exit_code


def parameters(of: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in inspect.signature(of).parameters.items() if name != "self"}


def test_what_is_here_only_is_really_here() -> None:
    assert set(HERE_ONLY) <= set(dir(Platform))
    assert len(OPERATIONS) > 30


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_node_offers_every_operation_with_the_same_parameters(operation: str) -> None:
    here, there = parameters(getattr(Platform, operation)), parameters(getattr(Remote, operation))
    takes_any = any(p.kind is p.VAR_KEYWORD for p in there.values())
    for name, parameter in here.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            assert takes_any, f"{operation} drops its options on the way to a node"
        elif name in there:
            assert there[name].default == parameter.default, f"{operation}({name}) has another default"
            assert there[name].kind == parameter.kind
        else:
            assert takes_any, f"{operation} has no {name!r} on the way to a node"
            assert parameter.default is not parameter.empty or parameter.kind is parameter.KEYWORD_ONLY
    positional = [name for name, p in here.items() if p.kind is p.POSITIONAL_OR_KEYWORD and name in there]
    assert [name for name in there if name in positional] == positional, f"{operation} takes them in another order"
    for name, parameter in there.items():
        known = name in here or any(p.kind is p.VAR_KEYWORD for p in here.values())
        assert known or parameter.kind is parameter.VAR_KEYWORD, f"a node's {operation} asks for {name!r} as well"


def test_a_node_offers_nothing_that_the_platform_has_not() -> None:
    extra = {name for name in dir(Remote) if callable(getattr(Remote, name)) and not name.startswith("_")}
    # How to wait for what happens elsewhere, whether there is anybody, and how to hang up.
    assert extra - set(OPERATIONS) == {"ready", "wait_job", "close"}
