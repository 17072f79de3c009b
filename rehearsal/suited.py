"""What an example has to hold for a kind of adapter to learn from it at all: conditions on its row in SQL.

A pool without it would promise a replay ratio among rows of which half are left out again. What is not suited is
counted in the mix, stays new, and is drawn once it holds what is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, func, not_, or_
from sqlalchemy.orm import InstrumentedAttribute

from rehearsal.tables import Example, Ground


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Suited:
    """What is asked of new and of old examples, and what is missing where they do not hold it."""

    new: ColumnElement[bool]
    old: ColumnElement[bool]
    otherwise: str
    """As in `12 without …`."""

    @classmethod
    def both(cls, condition: ColumnElement[bool], otherwise: str) -> Suited:
        return cls(new=condition, old=condition, otherwise=otherwise)


def written(column: InstrumentedAttribute[str | None]) -> ColumnElement[bool]:
    """Whether there is more in it than spaces."""
    return func.trim(func.coalesce(column, "")) != ""


def grounded() -> ColumnElement[bool]:
    """Whether anything was ever given that grounds it, standing or not."""
    return exists().where(Ground.example == Example.id)


def answered() -> ColumnElement[bool]:
    """Whether it says an answer, by words of its own, by the words that ground it, or by standing on nothing."""
    quoted = exists().where(and_(Ground.example == Example.id, written(Ground.quote)))
    return or_(written(Example.answer), written(Example.preferred), quoted, not_(grounded()))
