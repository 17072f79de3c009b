"""Topics: the same for the same questions, and named as before while they hold together."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from rehearsal.clusters import FEWEST, Asked, topics

WORDS = {"refund": (1.0, 0.0, 0.0), "shipping": (0.0, 1.0, 0.0), "warranty": (0.0, 0.0, 1.0)}


def questions(each: int = FEWEST + 5, seed: int = 0) -> list[Asked]:
    rng = np.random.default_rng(seed)
    return [
        Asked(
            example=f"ex-{word}-{n:03}",
            question=f"What is the {word} of order {n}?",
            vector=np.asarray(centre) + rng.normal(0, 0.15, 3),
        )
        for word, centre in WORDS.items()
        for n in range(each)
    ]


def test_questions_of_one_kind_come_together_and_are_named_after_it() -> None:
    asked = questions()
    found = topics(asked)
    assert {found[a.example] for a in asked if "refund" in a.example} == {"refund"}
    assert set(found.values()) == set(WORDS)


def test_their_order_changes_nothing() -> None:
    asked = questions()
    mixed = random.Random(1).sample(asked, len(asked))
    assert topics(mixed) == topics(asked)


def test_topics_keep_their_names_when_questions_come_and_go() -> None:
    named = {"refund": "money", "shipping": "post", "warranty": "repairs"}
    before = [replace(a, cluster=named[a.example.split("-")[1]]) for a in questions()]
    assert topics(before) == {a.example: a.cluster for a in before}
    after = [a for n, a in enumerate(before) if n % 9] + [
        replace(a, example=f"{a.example}-new", cluster="") for a in questions(10, seed=5)
    ]
    found = topics(after)
    assert set(found.values()) == set(named.values())
    assert all(found[a.example] == named[a.example.split("-")[1]] for a in after)


def test_a_name_that_means_something_else_is_not_taken() -> None:
    assert "refund" not in topics(questions(), taken={"refund"}).values()


def test_a_few_questions_are_no_topics() -> None:
    few = questions(each=FEWEST // 2)
    assert set(topics(few).values()) == {""}
