"""The scope of a question: what is given with it, narrowed by what it says itself.

What is given is a promise and is kept whatever comes. What is inferred is a guess: it is told, it can be switched off,
and `Scoped.wide` is the scope without it, for whoever finds nothing in the narrow one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from operator import itemgetter
from typing import Any, Literal

from kernel.errors import UserError
from kernel.types import When
from retrieval.catalogue import Catalogue, Catalogues
from retrieval.filters import Filtering, Filters
from retrieval.inferred import Inferred, infer
from retrieval.search import Scope

Mode = Literal["auto", "off"]
MODES = ("auto", "off")
TOLD = 100
"""Documents that the JSON of a scope lists at most, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoped:
    """Where a question looks, and why there."""

    scope: Scope
    wide: Scope
    """Without what was inferred; `scope` where nothing was."""
    inferred: Inferred | None = None
    suggested: Inferred | None = None
    """What the question may have meant, but not surely enough to look nowhere else."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Of documents, by id; for showing."""

    def as_json(self, *, widened: bool = False) -> dict[str, Any]:
        """The `scope` of a result. `widened`: nothing was found in it, and `wide` was searched."""
        scope = self.wide if widened else self.scope
        ids = scope.documents if scope.document is None else {scope.document}
        return {
            "workspace": scope.workspace,
            "documents": None if ids is None else nsmallest(TOLD, map(self._named, ids), key=itemgetter("name")),
            "count": None if ids is None else len(ids),
            "inferred": self._told(self.inferred),
            "suggested": self._told(self.suggested),
            "widened": widened,
        }

    def _named(self, document: str) -> dict[str, str]:
        return {"document": document, "name": self.names.get(document, document)}

    def _told(self, found: Inferred | None) -> dict[str, Any] | None:
        if found is None:
            return None
        named = [self._named(one) for one in found.documents]
        return {"documents": named, "phrase": found.phrase, "reason": found.reason}


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
        catalogue = self._catalogues.of(given.workspace)
        found = self._narrowed(question, given, filters, catalogue, chosen)
        ids = (found.scope.documents or frozenset()) | ({given.document} if given.document else frozenset())
        told = [one for some in (found.inferred, found.suggested) if some for one in some.documents]
        names = {one: catalogue.cards[one].entry.name for one in (*ids, *told) if one in catalogue.cards}
        return replace(found, names=names)

    def _narrowed(self, question: str, given: Scope, filters: Filters, catalogue: Catalogue, mode: str) -> Scoped:
        wide = given
        if filters.given:
            when = given.when or self._now()
            found = self._filtering.documents(filters, given.workspace, when)
            # Searched at this very moment: a version that is published meanwhile might not fit the filter.
            wide = replace(given, documents=found, when=when)
        if mode == "off" or given.document is not None or filters.documents:
            return Scoped(scope=wide, wide=wide)  # or somebody has said which documents
        inferred = infer(question, catalogue)
        if inferred is None:
            return Scoped(scope=wide, wide=wide)
        if not inferred.sure:
            return Scoped(scope=wide, wide=wide, suggested=inferred)
        there = self._filtering.counting(inferred.documents, given.workspace, wide.when or self._now())
        there = there if wide.documents is None else there & wide.documents
        if not there:  # not at that time, or not among what is given
            return Scoped(scope=wide, wide=wide)
        return Scoped(scope=replace(wide, documents=there), wide=wide, inferred=inferred)
