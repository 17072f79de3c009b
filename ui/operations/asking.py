"""From what a door was given to what is asked: scope, person, conversation, the question as it stands alone.

given with the question  >  the person's standing scope  >  the workspace of the settings
what remains open is narrowed by what the question itself says, unless that is switched off
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from kernel.errors import UserError
from kernel.ids import parse_time
from kernel.types import Exchange, Wishes
from retrieval.answer import Asked
from retrieval.filters import Filters
from retrieval.followup import standalone
from retrieval.preferences import NOBODY, Preference, user_name
from retrieval.scoping import Scoped
from retrieval.search import Scope
from retrieval.turns import LOCAL, Asker
from ui.operations.seat import Seat

GUIDE = "guide"
MAX_PASSAGES = 50
NEW = "new"
"""Instead of a conversation's id: open one."""


class Where(TypedDict, total=False):
    """Where and when a question looks."""

    as_of: str | None
    """ISO time: what counted in the world then."""
    epoch: int | None
    document: str | None
    """One document, by id or name."""
    workspace: str | None
    filters: dict[str, Any] | None
    """As `retrieval.filters.Filters.of` reads them."""
    scope: str | None
    """auto | off: whether the question itself may say which documents."""


class How(Where, total=False):
    """And by whom, in which conversation, and who answers."""

    generator: str | None
    adapter: str | None
    """A retriever adapter to search with, by name, or `base`; None is the one that serves."""
    history: Sequence[dict[str, str]] | None
    """Earlier turns, oldest first, where no conversation is named."""
    conversation: str | None
    """The id of one, or `new`, which opens one; None asks outside of any."""
    user: str | None


class Asking(Seat):
    """Makes questions of what doors are given."""

    def _asked(self, question: str, k: int | None, how: How) -> Asked:
        if k is not None and not 1 <= k <= MAX_PASSAGES:
            raise UserError(f"k is {k}", hint=f"give 1 to {MAX_PASSAGES}: passages an answer is made from")
        user = how.get("user")
        user = NOBODY if user == NOBODY else user_name(user or LOCAL)
        mine = self.w.preferences.of(user)
        where, given_by = _where(how, mine)
        given, workspace = self._given(where)
        before = tuple(Exchange(question=h["question"], answer=h["answer"]) for h in how.get("history") or ())
        conversation = how.get("conversation")
        if conversation == NEW:
            conversation = self.w.conversations.open(user, workspace, question)
        elif conversation is not None:
            before = self.w.conversations.history(self.w.conversations.find(conversation, user).id)
        generator, adapter = how.get("generator"), how.get("adapter")
        meant = standalone(question, before, self.w.answerer.rewriter(generator))
        shaped = (generator or self.settings.generator) != "extractive" and bool(before or mine.wishes != Wishes())
        return Asked(
            question=meant.question,
            workspace=workspace,
            scoped=self._scoped(meant.question, given, where),
            where={"from": given_by, "tags": list((where.get("filters") or {}).get("tags") or ())},
            k=k,
            generator=generator,
            adapter=self.w.registry.pinned(adapter) if adapter else None,
            history=before,
            wishes=mine.wishes,
            by=Asker(
                user=user,
                conversation=conversation,
                asked=question if meant.changed else None,
                personal=meant.changed or shaped,
            ),
        )

    def _scoped(self, question: str, given: Scope, where: Where) -> Scoped:
        return self.w.scoping.of(question, given, Filters.of(where.get("filters")), where.get("scope"))

    def _given(self, where: Where) -> tuple[Scope, str]:
        """Workspace, document and time that were given, and the workspace's name."""
        as_of, epoch, document = where.get("as_of"), where.get("epoch"), where.get("document")
        if as_of is not None and epoch is not None:
            raise UserError("both --as-of and --epoch were given", hint="give one: a time in the world, or an epoch")
        workspace = where.get("workspace")
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


def _where(how: How, mine: Preference) -> tuple[Where, str | None]:
    """Where to look, and who says so: the question, or else the person's preferences, or nobody."""
    where = Where(**{name: how[name] for name in Where.__annotations__ if how.get(name)})  # type: ignore[literal-required,typeddict-item]
    if where.get("document") or where.get("filters"):
        return where, "question"
    if where.get("workspace") or not mine.scoped:
        return where, None
    standing = {"documents": list(mine.documents), "tags": list(mine.tags)}
    where["workspace"], where["filters"] = mine.workspace, {k: v for k, v in standing.items() if v} or None
    return where, "preferences"
