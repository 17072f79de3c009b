"""How old a source is, from its name or from when its version counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from kernel.types import Passage

_MONTH, _DAY_OF_MONTH = r"0[1-9]|1[0-2]", r"0[1-9]|[12]\d|3[01]"
_DATE = re.compile(
    rf"(?<!\d)(?P<year>(?:19|20)\d\d)(?:[-_./ ]?(?P<month>{_MONTH})(?:[-_./ ]?(?P<day>{_DAY_OF_MONTH}))?)?(?!\d)"
)
_DAY = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """Which of two sources is the newer one: 0 or 1, and the dates, as people write them, in their order."""

    which: Literal[0, 1]
    dates: tuple[str, str]


def newest(one: Passage, other: Passage, one_from: int | None, other_from: int | None) -> Dated | None:
    """The newer of two sources, or None where that cannot be told.

    Dates in both names go first: files are often uploaded on one day, whatever day they were written on. Otherwise the
    times (UTC ms) from which their versions count, if they are a day apart or more.
    """
    a, b = _in_name(one), _in_name(other)
    if a and b and a != b and not (a.startswith(b) or b.startswith(a)):
        return Dated(which=0 if a > b else 1, dates=(a, b))
    if one_from is None or other_from is None or abs(one_from - other_from) < _DAY:
        return None
    return Dated(which=0 if one_from > other_from else 1, dates=(_day(one_from), _day(other_from)))


def _in_name(passage: Passage) -> str:
    """`2022`, `2022-03` or `2022-03-31` where the document's name or title holds one date; else nothing."""
    for text in (passage.name, passage.title):
        found = {"-".join(filter(None, match.group("year", "month", "day"))) for match in _DATE.finditer(text)}
        if len(found) == 1:
            return found.pop()
    return ""


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, tz=UTC).strftime("%Y-%m-%d")
