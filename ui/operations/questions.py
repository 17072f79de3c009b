"""Operations of asking: search, ask, feedback, and the scope a question has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kernel.errors import UserError
from kernel.ids import parse_time
from kernel.types import Exchange, Wishes
from retrieval.answer import Asked
from retrieval.followup import standalone
from retrieval.preferences import NOBODY, Preference, user_name
from retrieval.search import Scope
from retrieval.turns import LOCAL, Asker
from ui.operations.seat import Seat

GUIDE = "guide"
MAX_PASSAGES = 50
NEW = "new"
"""Instead of a conversation's id: open one."""


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
        conversation: str | None = None,
        user: str | None = None,
    ) -> dict[str, Any]:
        """The answer, whole. `conversation` is the id of one, or `new`, which opens one; None asks outside of any."""
        asked = self._asked(question, k, as_of, epoch, document, workspace, generator, history, conversation, user)
        *_, done = self._events(asked, conversation)
        return {name: value for name, value in done.items() if name != "type"}

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
        conversation: str | None = None,
        user: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The events of the answer: `searched`, then each `sentence` as it has passed its check, then `done`."""
        asked = self._asked(question, k, as_of, epoch, document, workspace, generator, history, conversation, user)
        return self._events(asked, conversation)

    def _events(self, asked: Asked, conversation: str | None) -> Iterator[dict[str, Any]]:
        """The answer's events. A conversation that was opened for a question which then failed is taken away again."""
        try:
            yield from self.w.answerer.stream(asked)
        finally:
            if conversation == NEW and asked.by.conversation:
                self.w.conversations.discard_empty(asked.by.conversation)

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
        conversation: str | None,
        user: str | None,
    ) -> Asked:
        """The question as it stands alone, with what its asker set and said before."""
        if k is not None and not 1 <= k <= MAX_PASSAGES:
            raise UserError(f"k is {k}", hint=f"give 1 to {MAX_PASSAGES}: passages an answer is made from")
        user = NOBODY if user == NOBODY else user_name(user or LOCAL)
        mine = self.w.preferences.of(user)
        standing = self._standing(mine) if document is None and workspace is None else None
        if standing:
            document, workspace = standing["document"], standing["workspace"]
        scope, workspace = self._scope(as_of, epoch, document, workspace)
        before = tuple(Exchange(question=h["question"], answer=h["answer"]) for h in history or ())
        if conversation == NEW:
            conversation = self.w.conversations.open(user, workspace, question)
        elif conversation is not None:
            before = self.w.conversations.history(self.w.conversations.find(conversation, user).id)
        meant = standalone(question, before, self.w.answerer.rewriter(generator))
        shaped = self._writes(generator) and bool(before or mine.wishes != Wishes())
        return Asked(
            question=meant.question,
            workspace=workspace,
            scope=scope,
            k=k,
            generator=generator,
            history=before,
            wishes=mine.wishes,
            by=Asker(
                user=user,
                conversation=conversation,
                asked=question if meant.changed else None,
                personal=meant.changed or shaped,
                scope=self._told(workspace, document, standing),
            ),
        )

    def turns(self, limit: int = 50) -> list[dict[str, Any]]:
        return self.w.turns.listing(limit)

    def feedback(self, turn: str, vote: str, correction: str | None = None) -> dict[str, Any]:
        found = self.w.turns.get(turn)
        feedback = self.w.turns.vote(turn, vote, correction)
        consent = self.w.preferences.of(found.user).consent
        example = self.w.memory.from_turn(found, vote, correction, consent=consent)
        if example:
            self.w.turns.made(feedback, example)
        return {
            "feedback": feedback,
            "example": example,
            "status": self.w.memory.status(example) if example else None,
            "needs_consent": bool(found.personal and not consent),
        }

    def _standing(self, mine: Preference) -> dict[str, Any] | None:
        """The scope that a person set for questions that give none; None where there is none."""
        if not mine.scoped:
            return None
        document = mine.documents[0] if len(mine.documents) == 1 else None
        return {"workspace": mine.workspace, "document": document, "tags": list(mine.tags)}

    def _told(self, workspace: str, document: str | None, standing: dict[str, Any] | None) -> dict[str, Any]:
        """What an answer says of where it looked."""
        documents = []
        if document is not None:
            found = self.w.library.find(document, workspace)
            documents = [{"document": found.id, "name": found.name}]
        told_by = "preferences" if standing else "question" if documents else None
        return {"workspace": workspace, "documents": documents, "tags": [], "from": told_by}

    def _writes(self, generator: str | None) -> bool:
        """True for a generator that writes words of its own, into which a person's history and wishes go."""
        return (generator or self.settings.generator) != "extractive"

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
