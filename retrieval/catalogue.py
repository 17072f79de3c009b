"""The catalogue: what the documents of a workspace are called, arranged so that a question can be held against it.

It is brought up to date when a committed epoch, a rename or a tag may have changed what it says, by whoever asks first;
what did not change is kept. Looking something up costs as much as the question is long, however many documents there
are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from threading import Lock
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ingest.place import PUBLISHED
from ingest.tables import Document, Version
from ingest.tags import tags_of
from kernel.database import Database
from kernel.tables import AuditEntry, Clock
from retrieval.naming import FORMS, PERIOD, Word, is_kind, naming, parted, undated, words_of

_WORKSPACES = 32
_NAMING = ("move", "tag")
"""Actions of the audit log that change names or tags without an epoch of their own."""
_LEAST_PREFIX, _MOST_MISSING = 5, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A document as the library has it."""

    id: str
    name: str
    title: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a document is called."""

    entry: Entry
    names: tuple[frozenset[str], ...]
    """The words of its file name, and of its title, without years."""
    words: frozenset[str]
    """All of them, those of its folders, and what else its kind is called."""
    kinds: frozenset[str]
    years: frozenset[int]
    titles: tuple[str, ...]
    """Title and file name, word by word, as somebody would quote them."""

    @property
    def rests(self) -> list[frozenset[str]]:
        """What is left of each name without the words that say it is a document: whom or what it is about."""
        rests = (
            frozenset(word for word in name if not is_kind(word) and not PERIOD.fullmatch(word)) for name in self.names
        )
        return [rest for rest in rests if rest]

    @property
    def subjects(self) -> frozenset[str]:
        """The words of `rests`, of a document that has a kind and a year."""
        return frozenset().union(*self.rests) if self.years and self.kinds else frozenset()

    @property
    def files(self) -> set[str]:
        return {self.entry.name.casefold(), PurePosixPath(self.entry.name).name.casefold()}


class Catalogue:
    """The cards of documents, by id, and the ids by what a question may say. It does not change: `changed` is another.

    Args:
        cards: of all documents.
    """

    def __init__(self, cards: Iterable[Card] = ()) -> None:
        self.cards: dict[str, Card] = {}
        self.by_word: dict[str, frozenset[str]] = {}
        self.by_file: dict[str, frozenset[str]] = {}
        """By file name, with and without its folders, case folded."""
        self.by_title: dict[str, frozenset[str]] = {}
        self.by_tag: dict[str, frozenset[str]] = {}
        self.by_subject: dict[str, frozenset[str]] = {}
        """Documents of a kind and a year, by each word of whom or what they are about."""
        self._vocabulary: list[str] = []
        self._take((), cards)

    def changed(self, gone: Iterable[Card], came: Iterable[Card]) -> Catalogue:
        """This catalogue without some cards and with others. What is alike is shared, so a few cost little."""
        other = Catalogue()
        other.cards, other.by_word, other.by_file = dict(self.cards), dict(self.by_word), dict(self.by_file)
        other.by_title, other.by_tag = dict(self.by_title), dict(self.by_tag)
        other.by_subject, other._vocabulary = dict(self.by_subject), self._vocabulary
        other._take(gone, came)
        return other

    def _take(self, gone: Iterable[Card], came: Iterable[Card]) -> None:
        shelves = (
            (self.by_word, lambda card: card.words),
            (self.by_file, lambda card: card.files),
            (self.by_title, lambda card: set(card.titles)),
            (self.by_tag, lambda card: {spelled(tag) for tag in card.entry.tags}),
            (self.by_subject, lambda card: card.subjects),
        )
        out, into = tuple(gone), tuple(came)
        for card in out:
            self.cards.pop(card.entry.id)
        self.cards |= {card.entry.id: card for card in into}
        for shelf, keys_of in shelves:
            without, with_too = _ids(out, keys_of), _ids(into, keys_of)
            for key in without.keys() | with_too.keys():
                left = (shelf.get(key, frozenset()) - without.get(key, set())) | with_too.get(key, set())
                if left:
                    shelf[key] = left
                else:
                    shelf.pop(key, None)
        self._vocabulary = sorted(self.by_word)

    def __len__(self) -> int:
        return len(self.cards)

    def filed(self, name: str) -> frozenset[str]:
        """Documents of that file name, given whole or from some folder on, case folded."""
        there = self.by_file.get(name)
        if there is None and "/" in name:
            below = self.by_file.get(name.rpartition("/")[2], frozenset())
            there = frozenset(id for id in below if self.cards[id].entry.name.casefold().endswith(f"/{name}"))
        return there or frozenset()

    def known(self, key: str) -> str | None:
        """The word of the catalogue that `key` is: itself, or the only one that goes on a little longer or ends a
        little sooner, as Pepsi and PepsiCo do."""
        if key in self.by_word:
            return key
        if len(key) < _LEAST_PREFIX:
            return None
        found = {short for n in range(1, _MOST_MISSING + 1) if len(short := key[:-n]) >= _LEAST_PREFIX} & (
            self.by_word.keys()
        )
        at = bisect_left(self._vocabulary, key)
        while at < len(self._vocabulary) and self._vocabulary[at].startswith(key) and len(found) < 2:
            if len(self._vocabulary[at]) <= len(key) + _MOST_MISSING:
                found.add(self._vocabulary[at])
            at += 1
        return found.pop() if len(found) == 1 else None

    def having(self, words: Iterable[str]) -> frozenset[str]:
        """Documents that have every one of the words."""
        postings = sorted((self.by_word.get(word, frozenset()) for word in words), key=len)
        return frozenset.intersection(*postings) if postings else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """How far the library had come when it was last looked at: its epoch, and the newest entry of its audit log."""

    epoch: int
    logged: int


@dataclass(slots=True)
class _Shelf:
    """A workspace's catalogue, what of the library it knows, and the right to bring it up to date."""

    catalogue: Catalogue = field(default_factory=Catalogue)
    seen: _Seen | None = None
    lock: Lock = field(default_factory=Lock)


class Catalogues:
    """The catalogue of each workspace, as of the last commit. Safe from several threads.

    One thread at a time brings a catalogue up to date. Who asks meanwhile gets the one before, and waits only for the
    first: an answer may so be given by names as they were when that thread began, and by no older ones.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._shelves: OrderedDict[str | None, _Shelf] = OrderedDict()
        self._lock = Lock()
        """Of the shelves' order; nothing is read while it is held."""

    def of(self, workspace: str | None) -> Catalogue:
        """What the live documents of `workspace` are called now, of all where it is None."""
        shelf = self._shelf(workspace)
        with self._db.read() as session:
            current = _look(session) == shelf.seen
        if not current and shelf.lock.acquire(blocking=shelf.seen is None):
            try:
                self._bring_up(shelf, workspace)
            finally:
                shelf.lock.release()
        return shelf.catalogue

    def erase(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        """`ingest.delete.Eraser`: the document's card goes at once from this process, from others when they ask next.

        A catalogue that is being made at this moment is waited for: it may have been begun before the delete.
        """
        with self._lock:
            shelves = list(self._shelves.values())
        for shelf in shelves:
            with shelf.lock:
                card = shelf.catalogue.cards.get(document)
                if card is not None:
                    shelf.catalogue = shelf.catalogue.changed([card], ())
        return {}

    def _shelf(self, workspace: str | None) -> _Shelf:
        with self._lock:
            shelf = self._shelves.setdefault(workspace, _Shelf())
            self._shelves.move_to_end(workspace)
            while len(self._shelves) > _WORKSPACES:
                self._shelves.popitem(last=False)
            return shelf

    def _bring_up(self, shelf: _Shelf, workspace: str | None) -> None:
        with self._db.read() as session:
            now = _look(session)  # before the rows: what comes in between is read twice and not never
            if shelf.seen is None or _renamed(session, shelf.seen, now):
                shelf.catalogue = _brought_up(session, workspace, shelf.catalogue)
            shelf.seen = now


def _look(session: Session) -> _Seen:
    newest = select(func.max(AuditEntry.seq)).scalar_subquery()
    epoch, logged = session.execute(select(Clock.epoch, newest)).one()
    return _Seen(epoch=epoch, logged=logged or 0)


def _renamed(session: Session, before: _Seen, now: _Seen) -> bool:
    """Whether anything happened in between that a catalogue tells of. Reads what the audit log has grown by."""
    if now.epoch != before.epoch:
        return True
    noted = select(AuditEntry.seq).where(AuditEntry.seq > before.logged, AuditEntry.action.in_(_NAMING))
    return session.scalar(noted.limit(1)) is not None


def _brought_up(session: Session, workspace: str | None, catalogue: Catalogue) -> Catalogue:
    """The catalogue as the library is now, from what it was."""
    published = select(Version.number).where(Version.document == Document.id, Version.state.in_(PUBLISHED))
    live = select(Document.id, Document.name, Document.title).where(Document.state == "live", published.exists())
    if workspace is not None:
        live = live.where(Document.workspace == workspace)
    tags = tags_of(session, workspace=workspace)
    entries = (Entry(id=i, name=n, title=t, tags=tuple(tags.get(i, ()))) for i, n, t in session.execute(live))
    now = {entry.id: entry for entry in entries}
    gone = [card for id, card in catalogue.cards.items() if now.get(id) != card.entry]
    came = [entry for id, entry in now.items() if id not in catalogue.cards or catalogue.cards[id].entry != entry]
    return catalogue.changed(gone, map(card_of, came)) if gone or came else catalogue


def _ids(cards: Iterable[Card], keys_of: Callable[[Card], Iterable[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for card in cards:
        for key in keys_of(card):
            found[key].add(card.entry.id)
    return found


def card_of(entry: Entry) -> Card:
    """What a document of that name and title is called."""
    path = PurePosixPath(entry.name)
    called, title_words = words_of(parted(path.stem)), words_of(entry.title)
    stem, title = undated(called), undated(title_words)
    folders = [word for part in path.parent.parts for word in words_of(parted(part))]
    names = tuple(dict.fromkeys(name for name in (naming(stem), naming(title)) if name))
    own, around = frozenset().union(*names), naming(folders)
    kinds = frozenset(word for word in own | around if is_kind(word))
    also = frozenset().union(*(FORMS.get(kind, frozenset()) for kind in kinds))
    return Card(
        entry=entry,
        names=names,
        words=own | around | also,
        kinds=kinds | also,
        years=frozenset(word.year for word in (*stem, *title, *folders) if word.year is not None),
        titles=tuple(dict.fromkeys(filter(None, (_joined(called), _joined(title_words))))),
    )


def spelled(text: str) -> str:
    """A title or a tag word by word, for comparison."""
    return _joined(words_of(text))


def _joined(words: Iterable[Word]) -> str:
    return " ".join(word.key for word in words)
