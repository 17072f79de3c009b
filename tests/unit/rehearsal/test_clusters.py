"""Topics: the same for the same questions, and named as before while they hold together."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

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


@pytest.mark.parametrize(("words", "gone"), [(3, 1), (2, 1), (2, 2 * FEWEST - 6)])
def test_an_example_less_takes_no_topic_its_name(words: int, gone: int) -> None:
    named = {"refund": "money", "shipping": "post", "warranty": "repairs"}
    before = [replace(a, cluster=named[a.example.split("-")[1]]) for a in questions(FEWEST)][: words * FEWEST]
    left = random.Random(2).sample(before, len(before) - gone)
    assert topics(left) == {a.example: a.cluster for a in left}
    assert len(set(topics(left).values())) == words


def test_the_last_topic_of_a_few_questions_keeps_its_name() -> None:
    left = [replace(a, cluster="money" if n else "") for n, a in enumerate(questions(FEWEST)[:20])]
    assert topics(left) == {a.example: a.cluster for a in left}


def test_a_name_that_means_something_else_is_not_taken() -> None:
    assert "refund" not in topics(questions(), taken={"refund"}).values()


def test_a_few_questions_are_no_topics() -> None:
    few = questions(each=FEWEST // 2)
    assert set(topics(few).values()) == {""}


def scattered(words: list[str], seed: int = 3) -> list[Asked]:
    """Questions that lie as far apart as real ones do: any grouping of them is a loose one."""
    rng = np.random.default_rng(seed)
    centres = dict(zip(["refund", "shipping", "warranty", "weather"], rng.normal(0, 1, (4, 48)), strict=True))
    return [
        Asked(
            example=f"ex-{word}-{n:03}",
            question=f"What is the {word} of order {n}?",
            vector=centres[word] + rng.normal(0, 1.9, 48),
        )
        for word in words
        for n in range(2 * FEWEST)
    ]


def test_what_is_asked_about_something_new_is_a_topic_beside_those_there_are() -> None:
    known = scattered(["refund", "shipping", "warranty"])
    before = topics(known)
    came = scattered(["weather"])
    now = [replace(a, cluster=before[a.example]) for a in known] + came
    found = topics(now)
    assert {found[a.example] for a in came} == {"weather"}  # and not the topic that is least unlike it
    stayed = [a for a in known if "refund" in a.example and found[a.example] == before[a.example] == "refund"]
    assert len(stayed) >= 0.95 * 2 * FEWEST
    again = topics([replace(a, cluster=found[a.example]) for a in now])
    assert again == found
