"""Where what is new belongs: a table of cases, each with the verdict that a thoughtful person would give."""

from __future__ import annotations

from typing import Any

import pytest

from finetune.advice import Facts, decide

WELL: dict[str, Any] = {"judged": 40, "judged_by": "examples", "found": 0.95, "ndcg_base": 0.7, "ndcg_champion": 0.8}
ENOUGH: dict[str, Any] = {"train": 60, "held_out": 15}


def facts(**given: Any) -> Facts:
    costs = {"index_seconds": 1.2, "retriever_seconds": 30.0, "generator_seconds": 900.0}
    stable = {"subject": "document", "name": "d.md", "workspace": "w", "days": 90.0, "chunks": 20, "asked": 50}
    return Facts(**stable | costs | given)


@pytest.mark.parametrize(
    ("given", "verdict", "because"),
    [
        # Stable, asked, found, liked: nothing.
        (WELL | {"rated": 20, "unhappy": 2}, "neither", "nothing is to be learnt"),
        # Nobody asks.
        ({"asked": 0}, "neither", "nobody asked"),
        ({"asked": 2}, "neither", "hardly anybody"),
        # Facts that change belong to the index alone, however badly they are found or liked.
        ({"changes": 9, **ENOUGH, "judged": 40, "found": 0.2}, "index", "3.0 times a month"),
        ({"turnover": 0.4, **ENOUGH, "judged": 40, "found": 0.2}, "index", "40% of its passages"),
        ({"superseded": 6, "rated": 20, "unhappy": 20}, "index", "6 of its facts"),
        # A new document that came in three versions in a day is not known to be volatile.
        (WELL | {"days": 1.0, "changes": 1}, "neither", "nothing is to be learnt"),
        # What is not there must be ingested; no training makes it up.
        ({"unanswered": 4, **ENOUGH}, "index", "ingest a document"),
        # There, stable, and not found.
        (ENOUGH | {"judged": 40, "judged_by": "examples", "found": 0.5}, "retriever adapter", "about 30 s"),
        (ENOUGH | WELL | {"judged": 6, "overlooked": 6}, "retriever adapter", "6 corrections stand on"),
        # Found, and the answers are not liked: behaviour.
        (ENOUGH | WELL | {"rated": 20, "unhappy": 9}, "generator adapter", "9 of 20"),
        # Not found comes before not liked: what is written from the wrong passages cannot be judged.
        (ENOUGH | {"judged": 40, "found": 0.4, "rated": 20, "unhappy": 15}, "retriever adapter", "find it"),
        # Too little is known.
        ({"judged": 2, "found": 0.0, "rated": 3, "unhappy": 3}, "neither", "too little is known"),
    ],
)  # fmt: skip
def test_the_verdict_and_its_reason(given: dict[str, Any], verdict: str, because: str) -> None:
    advice = decide(facts(**given))
    assert advice.verdict == verdict, advice
    assert because in advice.reason
    assert not advice.reason.endswith(".")


def test_an_adapter_without_enough_examples_says_how_many_are_missing() -> None:
    advice = decide(facts(judged=12, judged_by="pseudo-questions", found=0.25, train=10, held_out=4))
    assert (advice.verdict, advice.ready) == ("retriever adapter", False)
    assert advice.missing == {"train": 20, "held-out": 6}
    assert "20 to train on and 6 held out are missing" in advice.reason
    assert "made from its headings" in advice.reason


def test_a_generator_that_cannot_be_trained_here_is_said_so() -> None:
    advice = decide(facts(**WELL, **ENOUGH, rated=20, unhappy=15, generator_seconds=None))
    assert (advice.verdict, advice.ready, advice.seconds) == ("generator adapter", False, None)
    assert "cannot be trained" in advice.reason


def test_the_cost_is_that_of_what_is_advised() -> None:
    assert decide(facts(changes=9)).seconds == 1.2
    assert decide(facts(**ENOUGH, judged=40, found=0.1)).seconds == 30.0
    assert decide(facts(**WELL, **ENOUGH, rated=20, unhappy=15)).seconds == 900.0
