"""The scope of a question: what is given with it, narrowed by what it says itself.

What is given is a promise and is kept whatever comes. What is inferred is a guess: it is told, it can be switched off,
and `Scoped.wide` is the scope without it, for whoever finds nothing in the narrow one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from kernel.errors import UserError
from kernel.types import When
from retrieval.catalogue import Catalogues
from retrieval.filters import Filtering, Filters
from retrieval.inferred import Inferred, infer
from retrieval.search import Scope

Mode = Literal["auto", "off"]
MODES = ("auto", "off")
TOLD = 100
"""Ids of documents that the JSON of a scope lists at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoped:
    """Where a question looks, and why there."""

    scope: Scope
    wide: Scope
    """Without what was inferred; `scope` where nothing was."""
    inferred: Inferred | None = None
    suggested: Inferred | None = None
    """What the question may have meant, but not surely enough to look nowhere else."""

    def as_json(self, *, widened: bool = False) -> dict[str, Any]:
        """The `scope` of a result. `widened`: nothing was found in it, and `wide` was searched."""
        documents = (self.wide if widened else self.scope).documents
        return {
            "documents": None if documents is None else sorted(documents)[:TOLD],
            "count": None if documents is None else len(documents),
            "inferred": self.inferred.as_json() if self.inferred else None,
            "suggested": self.suggested.as_json() if self.suggested else None,
            "widened": widened,
        }


class Scoping:
    """Makes scopes. Safe from several threads.

    Args:
        now: the committed epoch and the present time.
        mode: what is done where a question does not say.
    """

    def __init__(self, filtering: Filtering, catalogues: Catalogues, now: Callable[[], When], mode: Mode) -> None:
        self._filtering, self._catalogues, self._now, self._mode = filtering, catalogues, now, mode

    def of(self, question: str, given: Scope, filters: Filters, mode: str | None = None) -> Scoped:
        """The scope of `question` within what is `given` and what the filters let through.

        Raises:
            UserError: there is no such mode.
            NotFound: the filters name a document that is not there.
        """
        chosen = mode or self._mode
        if chosen not in MODES:
            raise UserError(f"no scope {chosen!r}", hint=f"there are: {', '.join(MODES)}", code="bad_scope")
        wide = given
        if filters.given:
            when = given.when or self._now()
            found = self._filtering.documents(filters, given.workspace, when)
            # Searched at this very moment: a version that is published meanwhile might not fit the filter.
            wide = replace(given, documents=found, when=when)
        if chosen == "off" or given.document is not None or filters.documents:
            return Scoped(scope=wide, wide=wide)  # or somebody has said which documents
        inferred = infer(question, self._catalogues.of(given.workspace))
        if inferred is None:
            return Scoped(scope=wide, wide=wide)
        if not inferred.sure:
            return Scoped(scope=wide, wide=wide, suggested=inferred)
        there = self._filtering.counting(inferred.documents, given.workspace, wide.when or self._now())
        there = there if wide.documents is None else there & wide.documents
        if not there:  # not at that time, or not among what is given
            return Scoped(scope=wide, wide=wide)
        return Scoped(scope=replace(wide, documents=there), wide=wide, inferred=inferred)
