"""What is read with a question: nothing that might answer where a refusal is right, and no vote that stands no more."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from finetune.generator.context import Context
from finetune.generator.materialise import with_gold, without_gold
from tests.facts import passage

GOLD = passage(1, "A parcel can be returned within 30 days of delivery.")
COPY = passage(2, "Remember: a parcel can be returned within 30 days of delivery, gifts too.")
SHORT = passage(3, "The deadline is 30 days.")
OTHER = [passage(n, f"Page {n} is about something else.") for n in range(4, 12)]


def context(**given: Any) -> Context:
    fields = {"id": "ex", "question": "How long?", "answer": "30 days", "preferred": None}
    example: Any = SimpleNamespace(**{**fields, **given.pop("example", {})})
    defaults = {
        "quotes": (GOLD.text,),
        "gold": (GOLD,),
        "grounded": True,
        "near": (COPY, GOLD, SHORT, *OTHER),
    }
    return Context(example=example, **{**defaults, **given})  # type: ignore[arg-type]


def test_a_passage_that_holds_the_quote_is_no_distractor() -> None:
    shown = with_gold(context(), 4, random.Random(0))
    assert GOLD in shown
    assert COPY not in shown
    assert len(shown) == 5


def test_where_a_refusal_is_right_nothing_that_might_answer_is_shown() -> None:
    shown = without_gold(context(), 5, random.Random(0))
    assert not {GOLD, COPY, SHORT} & set(shown)
    assert len(shown) == 5


def test_only_a_question_that_nothing_ever_grounded_is_unanswerable() -> None:
    nothing = {"quotes": (), "gold": ()}
    assert context(**nothing, grounded=False, example={"answer": None}).unanswerable
    assert not context(**nothing, grounded=True, example={"answer": None}).unanswerable  # its source stands no more
    assert not context(**nothing, grounded=False).unanswerable  # it has an answer, on its own
    assert context(example={"answer": None}).answer == GOLD.text
    assert context(example={"answer": " ", "preferred": "a month"}).answer is not None
