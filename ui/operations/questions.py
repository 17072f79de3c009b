"""Operations of asking: search, ask, feedback, and the scope a question has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kernel.errors import UserError
from kernel.ids import parse_time
from kernel.types import Exchange
from retrieval.answer import Asked
from retrieval.search import Scope
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
    ) -> dict[str, Any]:
        scope, workspace = self._scope(as_of, epoch, document, workspace)
        found = self.w.search.search(query, k, scope)
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
            }
            for p in found.passages
        ]
        return {
            "hits": hits,
            "epoch": found.when.epoch,
            "workspace": workspace,
            "adapter": found.adapter,
            "ms": found.ms,
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
        history: Sequence[dict[str, str]] | None = None,
        adapter: str | None = None,
    ) -> dict[str, Any]:
        """The answer, whole."""
        return self.w.answerer.ask(
            self._asked(question, k, as_of, epoch, document, workspace, generator, history, adapter)
        )

    def ask_stream(
        self,
        question: str,
        k: int | None = None,
        *,
        as_of: str | None = None,
        epoch: int | None = None,
        document: str | None = None,
        workspace: str | None = None,
        generator: str | None = None,
        history: Sequence[dict[str, str]] | None = None,
        adapter: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The events of the answer: `searched`, then each `sentence` as it has passed its check, then `done`."""
        return self.w.answerer.stream(
            self._asked(question, k, as_of, epoch, document, workspace, generator, history, adapter)
        )

    def _asked(
        self,
        question: str,
        k: int | None,
        as_of: str | None,
        epoch: int | None,
        document: str | None,
        workspace: str | None,
        generator: str | None,
        history: Sequence[dict[str, str]] | None,
        adapter: str | None,
    ) -> Asked:
        if k is not None and not 1 <= k <= MAX_PASSAGES:
            raise UserError(f"k is {k}", hint=f"give 1 to {MAX_PASSAGES}: passages an answer is made from")
        scope, workspace = self._scope(as_of, epoch, document, workspace)
        return Asked(
            question=question,
            workspace=workspace,
            scope=scope,
            k=k,
            generator=generator,
            history=tuple(Exchange(question=h["question"], answer=h["answer"]) for h in history or ()),
            pinned=None if adapter is None else self.w.registry.pinned(adapter),
        )

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
