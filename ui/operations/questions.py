"""Operations of asking: search, ask, feedback, and the scope a question has."""

from __future__ import annotations

from typing import Any, cast, get_args

from ingest.section import Expand, around
from kernel.errors import UserError
from kernel.ids import parse_time
from retrieval.search import Found, How, Scope
from ui.operations.seat import Seat

GUIDE = "guide"
MAX_PASSAGES = 50


class Questions(Seat):
    def search(
        self,
        query: str,
        k: int = 10,
        *,
        as_of: str | None = None,
        epoch: int | None = None,
        document: str | None = None,
        workspace: str | None = None,
        explain: bool = False,
        diversity: float | None = None,
        expand: str | None = None,
    ) -> dict[str, Any]:
        if expand is not None and expand not in get_args(Expand):
            raise UserError(f"expand is {expand!r}", hint=f"give {' or '.join(get_args(Expand))}, or leave it out")
        scope, workspace = self._scope(as_of, epoch, document, workspace)
        found = self.w.search.search(query, k, scope, how=How(diversity=diversity), explain=explain)
        more = around(self.w.db, self.w.library, found.passages, cast(Expand, expand)) if expand else {}
        hits = [
            {
                "rank": p.rank,
                "score": p.score,
                "chunk": p.chunk,
                "document": p.document,
                "name": p.name,
                "title": p.title,
                "version": p.version,
                "page": p.page,
                "heading": p.heading,
                "start": p.start,
                "end": p.end,
                "text": p.text,
                **({"around": more.get(p.chunk)} if expand else {}),
            }
            for p in found.passages
        ]
        return {
            "hits": hits,
            "epoch": found.when.epoch,
            "workspace": workspace,
            "adapter": found.adapter,
            "ms": found.ms,
            **({"explain": _explained(found)} if explain else {}),
        }

    def ask(
        self,
        question: str,
        k: int | None = None,
        *,
        as_of: str | None = None,
        epoch: int | None = None,
        document: str | None = None,
        workspace: str | None = None,
        generator: str | None = None,
    ) -> dict[str, Any]:
        if k is not None and not 1 <= k <= MAX_PASSAGES:
            raise UserError(f"k is {k}", hint=f"give 1 to {MAX_PASSAGES}: passages an answer is made from")
        scope, workspace = self._scope(as_of, epoch, document, workspace)
        return self.w.answerer.ask(question, scope, workspace=workspace, k=k, generator=generator)

    def turns(self, limit: int = 50) -> list[dict[str, Any]]:
        return self.w.turns.listing(limit)

    def feedback(self, turn: str, vote: str, correction: str | None = None) -> dict[str, Any]:
        found = self.w.turns.get(turn)
        feedback = self.w.turns.vote(turn, vote, correction)
        example = self.w.memory.from_turn(found, vote, correction)
        return {"feedback": feedback, "example": example, "status": self.w.memory.status(example) if example else None}

    def _scope(
        self, as_of: str | None, epoch: int | None, document: str | None, workspace: str | None
    ) -> tuple[Scope, str]:
        if as_of is not None and epoch is not None:
            raise UserError("both --as-of and --epoch were given", hint="give one: a time in the world, or an epoch")
        chosen = workspace or self._default_workspace()
        doc = None
        if document is not None:
            found = self.w.library.find(document, workspace)
            doc, chosen = found.id, found.workspace
        when = None
        if as_of is not None or epoch is not None:
            when = self.w.search.when(parse_time(as_of) if as_of else None, epoch)
        return Scope(workspace=chosen, document=doc, when=when), chosen

    def _default_workspace(self) -> str:
        """The settings' workspace; while that is empty, the guide, so that a first question has something to find."""
        mine = self.settings.workspace
        return GUIDE if self.w.library.empty(mine) and not self.w.library.empty(GUIDE) else mine


def _explained(found: Found) -> dict[str, Any]:
    return {
        "weight": found.tuning.weight,
        "tuned": bool(found.tuning.measured),
        "reranker": found.reranker,
        "candidates": [trace.as_json() for trace in found.trace],
    }
