"""The error tree: documented, picklable, and clear about whose mistake it is."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from kernel import errors
from kernel.errors import RepriseError, UserError


def tree(kind: type[RepriseError] = RepriseError) -> list[type[RepriseError]]:
    mine = [kind] if kind.__module__ == "kernel.errors" else []
    return mine + [found for child in kind.__subclasses__() for found in tree(child)]


@pytest.mark.parametrize("kind", tree())
def test_an_error_survives_pickling_whole(kind: type[RepriseError]) -> None:
    error = kind("it's broken", hint="mend it", code="own_code")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert (again.message, again.hint, again.code, str(again)) == (
            "it's broken",
            "mend it",
            "own_code",
            "it's broken",
        )


@pytest.mark.parametrize("kind", tree())
def test_an_error_has_a_stable_code_and_a_status_that_fits(kind: type[RepriseError]) -> None:
    error = kind("x")
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert (400 <= error.status < 500) == isinstance(error, UserError)
    assert error.exit_code in (1, 2)
    assert error.as_json() == {"code": error.code, "message": "x", "hint": ""}


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    drawn = re.findall(r"^ {4}(?:[│├└─ ]*)([A-Z]\w+) ", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(kind.__name__ for kind in tree())
    for kind in tree():
        line = next(line for line in (errors.__doc__ or "").splitlines() if f" {kind.__name__} " in f" {line.strip()} ")
        for number in re.findall(r"\((\d{3})\)", line):
            assert kind.status == int(number)


def test_only_a_lost_race_is_transient() -> None:
    assert [kind.__name__ for kind in tree() if kind.transient] == ["TryAgain"]


def test_a_code_of_its_own_does_not_change_the_class() -> None:
    errors.NotFound("x", code="deleted")
    assert errors.NotFound.code == "not_found"
