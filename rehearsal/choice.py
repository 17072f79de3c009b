"""Which new examples are taken, beside what is there already and beside each other; what each replaces, and why.

Nothing is thrown away without a word: whoever is refused or replaced is told in favour of which example. Of two that
come together the first stays. What is to wait for a person takes the place of nothing that is in use; that is for
whoever approves it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from kernel.database import listed
from rehearsal import duplicates
from rehearsal.duplicates import Stated
from rehearsal.split import question_key
from rehearsal.tables import NO_PASSAGE, UNNAMED, Example, Ground

if TYPE_CHECKING:
    from rehearsal.examples import NewExample

ASKED = "the same question"
_EDITED = "edited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is to be done with new examples; `place` is an index into them."""

    kept: tuple[int, ...]
    refused: dict[int, tuple[str | int, str]]
    """By place: the example, or the place of the new one, that stays instead, and why."""
    replaced: dict[str, tuple[int, str]]
    """Examples that go: the place of what comes instead, and why."""
    held_out: frozenset[int]
    """Those that come instead of a held-out one, and are held out as well: no exam loses a question to training."""
    kept_in: dict[int, str]
    """By place: the slice that a person had named for what was there, where nobody named one for what is new."""
    pinned: frozenset[int]
    """Those that come instead of a pinned one."""


def choose(session: Session, new: Sequence[NewExample], *, replace: bool) -> Choice:
    """Decide in the caller's transaction. With `replace`, what asks the same question gives way to what is of no worse
    origin, unless a person holds it back; and what is to wait is taken in beside what is in use."""
    there = _There(session, new)
    kept: list[int] = []
    refused: dict[int, tuple[str | int, str]] = {}
    replaced: dict[str, tuple[int, str]] = {}
    held_out: set[int] = set()
    kept_in: dict[int, str] = {}
    pinned: set[int] = set()
    for place, n in enumerate(new):
        mine = _stated(n, place)
        beside = bool(replace and n.reason)
        same = [(old, why) for old, why in there.same(n, mine, beside) if old.stated.example != n.edits]
        stays = next(((old, why) for old, why in same if not _gives_way(n, old, why, replace)), None)
        if stays is not None:
            old, why = stays
            refused[place] = (old.stated.example if old.place is None else old.place, why)
            continue
        kept.append(place)
        went = [(old.stated.example, old.stated.split, _because(why, n, replace)) for old, why in same]
        if n.edits is not None:
            went.append((n.edits, session.get_one(Example, n.edits).split, _EDITED))
        for example, side, why in went:
            replaced[example] = (place, why)
            there.drop(example)
            if side == "held-out":
                held_out.add(place)
        for old, _ in same:
            if n.slice == UNNAMED and old.slice != UNNAMED:
                kept_in.setdefault(place, old.slice)
            if old.pinned:
                pinned.add(place)
        there.add(n.workspace, _Standing(stated=mine, place=place), {q.point for q in n.quotes})
    return Choice(
        kept=tuple(kept),
        refused=refused,
        replaced=replaced,
        held_out=frozenset(held_out),
        kept_in=kept_in,
        pinned=frozenset(pinned),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """An example that is there: in use, or on its way in at `place`, or in quarantine because of `held`."""

    stated: Stated
    place: int | None = None
    held: str = ""
    slice: str = UNNAMED
    pinned: bool = False


def _gives_way(n: NewExample, old: _Standing, why: str, replace: bool) -> bool:
    """Whether what is there goes for what is new."""
    if old.place is not None or n.edits is not None:
        return False  # an edit takes the place of one example, and of no other
    if n.reason and not old.held:
        return False  # or nothing would be in use
    better, worse = (
        duplicates.better(*pair) for pair in ((n.origin, old.stated.origin), (old.stated.origin, n.origin))
    )
    if replace and why == ASKED:  # a thumb up does not bring back what a person holds back; a correction of it may
        return better or (old.held in ("", NO_PASSAGE) and not worse)
    if old.held:  # what is held back does not come in by another door, unless grounding is all that it lacked
        return old.held == NO_PASSAGE and not n.reason
    return better and (why != ASKED or old.stated.origin == "document")


def _because(why: str, n: NewExample, replace: bool) -> str:
    if why != ASKED:
        return f"duplicate: {why}"
    return "replaced by a newer correction" if replace else f"replaced: {why}, from {n.origin}"


class _There:
    """What is there that new examples could be the same as: by their question, and by span and answer."""

    def __init__(self, session: Session, new: Sequence[NewExample]) -> None:
        self._asked: dict[tuple[str, str], list[_Standing]] = defaultdict(list)
        self._on: dict[str, list[_Standing]] = defaultdict(list)
        self._gone: set[str] = set()
        keys = {(n.workspace, question_key(n.question)) for n in new}
        workspaces, standing_on = {n.workspace for n in new}, {q.point for n in new for q in n.quotes}
        mine = select(Example).where(
            Example.workspace.in_(workspaces), Example.status.in_(("approved", "staged", "quarantined"))
        )
        on_them = select(Ground.example).where(Ground.point.in_(listed(standing_on)))
        saying = {e.id: e for e in session.scalars(mine.where(Example.id.in_(on_them)))}
        asking = {e.id: e for e in session.scalars(mine.where(Example.question_key.in_({key for _, key in keys})))}
        found = saying | {i: e for i, e in asking.items() if (e.workspace, e.question_key) in keys}
        quotes: dict[str, set[tuple[str, str]]] = defaultdict(set)
        points: dict[str, set[str]] = defaultdict(set)
        for ground in session.scalars(select(Ground).where(Ground.example.in_(listed(found)))):
            quotes[ground.example].add((ground.document, ground.quote))
            points[ground.example].add(ground.point)
        for example in sorted(found.values(), key=lambda e: (e.status == "quarantined", e.created, e.id)):
            stated = Stated(
                example=example.id,
                question=example.question,
                answer=example.answer,
                quotes=frozenset(quotes[example.id]),
                origin=example.origin,
                split=example.split,
            )
            standing = _Standing(stated=stated, held=example.reason, slice=example.slice, pinned=bool(example.pinned))
            self.add(example.workspace, standing, points[example.id])

    def same(self, n: NewExample, mine: Stated, beside: bool) -> Iterator[tuple[_Standing, str]]:
        """What is the same as a new one, each with the reason. `beside`: what is in use does not count."""
        there = [old for old in self._asked[n.workspace, question_key(n.question)] if self._is_there(old)]
        met = {old.stated.example for old in there}
        in_use = [old for old in there if not old.held]
        waiting = [old for old in there if old.held or old.place is not None]
        # One is in use at most, but several may be on their way in at once. What waits counts where nothing is in use.
        yield from ((old, ASKED) for old in (waiting if beside else in_use or there))
        # Who says the same from the same span stands on one of its chunks: a long document is not looked through.
        for old in (old for point in {q.point for q in n.quotes} for old in self._on[point]):
            if old.stated.example in met or not self._is_there(old):
                continue
            met.add(old.stated.example)
            why = duplicates.why(mine, old.stated)
            if why is not None:
                yield old, why

    def add(self, workspace: str, standing: _Standing, points: Iterable[str]) -> None:
        self._asked[workspace, question_key(standing.stated.question)].append(standing)
        for point in points:
            self._on[point].append(standing)

    def drop(self, example: str) -> None:
        self._gone.add(example)

    def _is_there(self, standing: _Standing) -> bool:
        return standing.stated.example not in self._gone


def _stated(n: NewExample, place: int) -> Stated:
    return Stated(
        example=f"new {place}",
        question=n.question,
        answer=n.answer,
        quotes=frozenset((q.document, q.text) for q in n.quotes),
        origin=n.origin,
        split="",
    )
