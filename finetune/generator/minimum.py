"""What a method learns from: what an example has to hold, and the least that preferences need of it.

The least is counted in examples and turns. What a person said once counts once, however often it is shown in a round:
a correction is two rows of DPO and four of KTO, and no more evidence for that. It is asked for when a run is requested,
of the mix that would be drawn, and again of the rows that were written, as some of the mix may turn out to be none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import and_, or_, true

from finetune.generator.recipe import GeneratorRecipe, Method
from finetune.generator.rows import TrainRow
from kernel.errors import UserError
from rehearsal.suited import Suited, answered, grounded, written
from rehearsal.tables import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How many examples and turns say something."""

    pairs: int
    """Those with a preferred and a rejected answer."""
    liked: int
    """Those with an answer that somebody approved of."""
    disliked: int
    """Those with an answer that somebody did not."""


def suited(method: Method, policy: str | None = None) -> Suited:
    """What examples have to hold to be drawn for a run of this method."""
    if method == "dpo":
        pair = and_(written(Example.preferred), written(Example.rejected), grounded())
        return Suited.both(pair, "without a pair of a preferred and a rejected answer")
    if method == "kto":
        voted = or_(written(Example.answer), written(Example.preferred), written(Example.rejected))
        return Suited.both(and_(voted, grounded()), "without an answer that somebody judged")
    old = true() if policy == "generative" else answered()  # there the champion answers for those without
    return Suited(new=answered(), old=old, otherwise="without an answer")


def in_examples(examples: Iterable[Example], votes: int) -> Told:
    """Of what a mix holds, with so many turns that were voted down beside it: the most that rows can be made of."""
    some = list(examples)
    return Told(
        pairs=sum(bool(e.preferred and e.rejected) for e in some),
        liked=sum(bool(e.preferred or e.answer) for e in some),
        disliked=sum(bool(e.rejected) for e in some) + votes,
    )


def in_rows(rows: Iterable[TrainRow]) -> Told:
    """Of rows that are to be trained on."""
    some = list(rows)
    return Told(
        pairs=len({row.example for row in some if row.rejected is not None}),
        liked=len({row.example for row in some if row.label}),
        disliked=len({row.example for row in some if not row.label}),
    )


def require(recipe: GeneratorRecipe, told: Told) -> None:
    """Nothing, if that is enough for the recipe's method.

    Raises:
        UserError: it is not; the message says how many there are, and how many are needed.
    """
    if recipe.method == "dpo" and told.pairs < recipe.min_pairs:
        raise UserError(
            f"the mix holds {told.pairs} pairs of a preferred and a rejected answer, and {recipe.min_pairs} are needed",
            hint="corrections make them; --method sft trains on corrections without pairs; or lower min_pairs",
            code="too_few_pairs",
        )
    fewer = min(told.liked, told.disliked)
    if recipe.method == "kto" and fewer < recipe.min_votes:
        raise UserError(
            f"the mix holds {fewer} votes of the rarer kind, and {recipe.min_votes} are needed",
            hint="collect more thumbs up and down, or lower min_votes in the recipe",
            code="too_few_votes",
        )
