"""Operations of asking: search, ask whole or as it is written, feedback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Unpack, cast, get_args

from ingest.section import Expand, around
from kernel.errors import UserError
from retrieval.answer import Asked
from retrieval.choosing import Asks, unit_of
from retrieval.live import RETRIEVER
from retrieval.preferences import user_name
from retrieval.search import Found
from retrieval.search import How as Manner
from retrieval.tables import Turn
from retrieval.turns import LOCAL
from ui.operations.asking import NEW, Asking, How, Where, readable


class Questions(Asking):
    def search(
        self,
        query: str,
        k: int = 10,
        *,
        explain: bool = False,
        diversity: float | None = None,
        expand: str | None = None,
        **where: Unpack[Where],
    ) -> dict[str, Any]:
        if expand is not None and expand not in get_args(Expand):
            raise UserError(f"expand is {expand!r}", hint=f"give {' or '.join(get_args(Expand))}, or leave it out")
        query = readable(query)
        given, workspace = self._given(where)
        scoped = self._scoped(query, given, where)
        adapter, user = where.get("adapter"), where.get("user")
        unit = unit_of(user_name(user) if user else LOCAL if user is None else user, None, query)
        asks = Asks(workspace=workspace, slice=where.get("slice") or None, unit=unit)
        with self.w.lending.lend(asks, self.w.registry.named(adapter) if adapter else None, [RETRIEVER]) as lent:
            how = Manner(diversity=diversity, adapter=lent.pinned(RETRIEVER))
            found = self.w.search.search(query, k, scoped.scope, how=how, explain=explain)
            widened = not found.passages and scoped.inferred is not None
            if widened:
                found = self.w.search.search(query, k, scoped.wide, how=how, explain=explain)
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
            "scope": scoped.as_json(widened=widened),
            "adapter": found.adapter,
            "chosen": lent.as_json()[RETRIEVER],
            "ms": found.ms,
            **({"explain": self._explained(query, found)} if explain else {}),
        }

    def ask(self, question: str, k: int | None = None, **how: Unpack[How]) -> dict[str, Any]:
        """The answer, whole."""
        *_, done = self.ask_stream(question, k, **how)
        return {name: value for name, value in done.items() if name != "type"}

    def ask_stream(self, question: str, k: int | None = None, **how: Unpack[How]) -> Iterator[dict[str, Any]]:
        """The events of the answer: `searched`, then each `sentence` as it has passed its check, then `done`."""
        return self._events(self._asked(question, k, how), opens=how.get("conversation") == NEW)

    def turns(self, limit: int = 50) -> list[dict[str, Any]]:
        return self.w.turns.listing(limit)

    def feedback(self, turn: str, vote: str, correction: str | None = None) -> dict[str, Any]:
        found = self.w.turns.get(turn)
        feedback = self.w.turns.vote(turn, vote, correction)
        example = self.w.memory.from_turn(found, vote, correction, consent=self.w.preferences.of(found.user).consent)
        if example and not self._stands(feedback, found, example):
            self._take_back([example], "taken back while it was made")
            example = None
        return {
            "feedback": feedback,
            "example": example,
            "status": self.w.memory.status(example) if example else None,
            "needs_consent": bool(found.personal and not self.w.preferences.of(found.user).consent),
        }

    def _stands(self, feedback: str, turn: Turn, example: str) -> bool:
        """Whether the feedback is still there, and the person still allows what it made. Written down before it is
        asked: who takes it back from now on finds the example."""
        there = self.w.turns.made(feedback, example)
        return there and (not turn.personal or self.w.preferences.of(turn.user).consent)

    def _events(self, asked: Asked, *, opens: bool) -> Iterator[dict[str, Any]]:
        """The answer's events. A conversation that was opened for a question which then failed is taken away again."""
        if not opens:
            yield from self.w.answerer.stream(asked)
            return
        by = asked.by
        opened = self.w.conversations.open(by.user, asked.workspace, by.asked or asked.question)
        try:
            yield from self.w.answerer.stream(replace(asked, by=replace(by, conversation=opened)))
        finally:
            self.w.conversations.discard_empty(opened)

    def _explained(self, query: str, found: Found) -> dict[str, Any]:
        """How the hits came to their ranks, and what an answer would make of them."""
        placed = self.w.library.place([trace.chunk for trace in found.trace], found.when)
        candidates = []
        for trace in found.trace:
            where = placed.get(trace.chunk)  # None where it was deleted meanwhile
            named = {
                "document": where and where.document,
                "name": where and where.name,
                "heading": where and where.heading,
                "text": where and where.text,
            }
            candidates.append(trace.as_json() | named)
        return {
            "weight": found.tuning.weight,
            "tuned": bool(found.tuning.measured),
            "reranker": found.reranker,
            "candidates": candidates,
            **self.w.answerer.explain(query, found.passages),
        }
