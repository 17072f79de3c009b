"""NAME=VALUE as people write it, at a terminal or in a form. It knows no names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from kernel.errors import UserError


def pairs(given: Iterable[str], example: str) -> dict[str, Any]:
    """Values are JSON where they can be read as such, otherwise text. Of a name that is given twice the last counts.

    Raises:
        UserError: one sets nothing; `example` is one that does.
    """
    found: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name.strip() and equals):
            raise UserError(f"{one!r} sets nothing", hint=f"give it as NAME=VALUE, as in {example}")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value.strip()
    return found
