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
    slice: str | None
    """What the question is about, where whoever asks says so: an adapter may be routed to it."""
    adapter: str | None
    """Adapters to answer with whatever serves, by name, one of each kind with commas between; `base` is none."""
    user: str | None


class How(Where, total=False):
    """And by whom, in which conversation, and who answers."""

    generator: str | None
    history: Sequence[dict[str, str]] | None
    """Earlier turns, oldest first, where no conversation is named."""
    conversation: str | None
    """The id of one, or `new`, which opens one; None asks outside of any."""


class Asking(Seat):
    """Makes questions of what doors are given."""

    def _asked(self, question: str, k: int | None, how: How) -> Asked:
        if k is not None and not 1 <= k <= MAX_PASSAGES:
            raise UserError(f"k is {k}", hint=f"give 1 to {MAX_PASSAGES}: passages an answer is made from")
        question = readable(question)
        conversation, user = how.get("conversation"), how.get("user")
        if user == NOBODY and conversation is not None:
            raise UserError("nobody holds no conversations", hint="ask with a user, or without a conversation")
        user = NOBODY if user == NOBODY else user_name(user or LOCAL)
        mine = self.w.preferences.of(user)
        where, given_by = _where(how, mine)
        given, workspace = self._given(where)
        before = _understood(how.get("history") or ())
        if conversation not in (None, NEW):
            before = self.w.conversations.history(self.w.conversations.find(conversation, user).id)
        generator, adapter = how.get("generator"), how.get("adapter")
        meant = standalone(question, before, self.w.answerer.rewriter(generator))
        return Asked(
            question=meant.question,
            workspace=workspace,
            scoped=self._scoped(meant.question, given, where),
            where={"from": given_by, "tags": list((where.get("filters") or {}).get("tags") or ())},
            k=k,
            generator=generator,
            named=self.w.registry.named(adapter) if adapter else {},
            slice=how.get("slice") or None,
            history=before,
            wishes=mine.wishes,
            by=Asker(
                user=user,
                conversation=None if conversation == NEW else conversation,
                asked=question if meant.changed else None,
                personal=meant.changed or self._shaped(generator, before, mine.wishes),
            ),
        )

    def _shaped(self, generator: str | None, before: Sequence[Exchange], wishes: Wishes) -> bool:
        """Whether what was said before, or how the person wishes to be answered, goes into the answer."""
        if (generator or self.settings.generator) == "extractive":
            return wishes.length in ("short", "long")  # it quotes: all else would change nothing
        return bool(before) or wishes != Wishes()

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


def readable(text: str) -> str:
    """The text as it can be stored and sent.

    Raises:
        UserError: it holds half of a character.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError("the question holds half of a character (a lone surrogate)", hint="send it as UTF-8") from None
    return text.replace("\x00", " ")


def _understood(history: Sequence[dict[str, str]]) -> tuple[Exchange, ...]:
    """Earlier turns with their questions as they stand alone: clients send them as they were typed."""
    before: list[Exchange] = []
    for turn in history:
        meant = standalone(turn["question"], tuple(before), None).question
        before.append(Exchange(question=meant, answer=turn["answer"]))
    return tuple(before)


def _where(how: How, mine: Preference) -> tuple[Where, str | None]:
    """Where to look, and who says so: the question, or else the person's preferences, or nobody."""
    given = {name: how.get(name) for name in Where.__annotations__}
    where = Where(**{name: value for name, value in given.items() if value not in (None, "")})  # type: ignore[typeddict-item]
    if where.get("document") or Filters.of(where.get("filters")).given:
        return where, "question"
    if where.get("workspace") or not mine.scoped:
        return where, None
    standing = {"documents": list(mine.documents), "tags": list(mine.tags)}
    where["workspace"], where["filters"] = mine.workspace, {k: v for k, v in standing.items() if v} or None
    return where, "preferences"
