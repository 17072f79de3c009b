"""The years that a question names, and whether a text names them too.

"Who chaired it from 2005 to 2006?" is answered where 2005 and 2006 stand, and not where all its other words do; to an
index a year is a word like any other, and a frequent one. A year is four digits from 1500 to 2099, wherever they stand:
`FY2022`, `31.12.2022`. `1990s` and `1990er` are ten years, `2007–09` three and `2015/16` two. It knows no calendar:
months, `'99` and centuries in words are not read, and `since 2005` is the year 2005.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

Period = tuple[int, int]
"""First and last year, both within."""

_YEARS = re.compile(
    r"(?<!\d)(?P<year>1[5-9]\d\d|20\d\d)(?!\d)"
    r"(?:(?P<decade>(?<=0)(?:['’]?s|er)\b)|[-–/](?P<to>\d\d)(?![\d/–-]))?"
)


def named(text: str) -> frozenset[Period]:
    """The periods that `text` names."""
    return frozenset(_period(match) for match in _YEARS.finditer(text))


def share_named(wanted: AbstractSet[Period], found: AbstractSet[Period]) -> float:
    """How many of `wanted` share a year with one of `found`, 0 to 1; 0 where nothing is wanted.

    That a text names a year nearby was tried as well: it helps no more (docs/decisions/0015).
    """
    met = sum(any(first <= other[1] and other[0] <= last for other in found) for first, last in wanted)
    return met / len(wanted) if wanted else 0.0


def _period(match: re.Match[str]) -> Period:
    year = int(match["year"])
    if match["decade"]:
        return year, year + 9
    last = year - year % 100 + int(match["to"]) if match["to"] else year
    return year, max(year, last)  # 2022/03 is a month
