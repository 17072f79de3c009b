"""The catalogue: what the documents of a workspace are called, arranged so that a question can be held against it.

It is made anew when a committed epoch, a rename or a tag changed what it says; the card of a document that did not change
is kept. Looking something up costs as much as the question is long, whatever the number of documents.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from threading import Lock

from sqlalchemy import func, select

from ingest.place import PUBLISHED
from ingest.tables import Document, Version
from ingest.tags import tags_of
from kernel.database import Database
from kernel.tables import AuditEntry, Clock
from retrieval.naming import FORMS, is_kind, naming, parted, words_of

_WORKSPACES = 32
_CARDS = 200_000
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
        """What is left of each name without the words that say it is a document: who or what it is about."""
        return [frozenset(word for word in name if not is_kind(word)) for name in self.names]


class Catalogue:
    """The cards of documents, found by their words. Not changed once made."""

    def __init__(self, cards: Iterable[Card]) -> None:
        self.cards = tuple(cards)
        self.by_word: dict[str, set[int]] = defaultdict(set)
        self.by_file: dict[str, list[int]] = defaultdict(list)
        self.by_title: dict[str, list[int]] = defaultdict(list)
        self.by_tag: dict[str, list[int]] = defaultdict(list)
        self.periods: dict[str, list[tuple[frozenset[str], int]]] = defaultdict(list)
        """Documents of a kind and a year, by the rarest word of what they are about: (its words, document)."""
        for number, card in enumerate(self.cards):
            for word in card.words:
                self.by_word[word].add(number)
            for name in {card.entry.name.casefold(), PurePosixPath(card.entry.name).name.casefold()}:
                self.by_file[name].append(number)
            for title in set(card.titles):
                self.by_title[title].append(number)
            for tag in card.entry.tags:
                self.by_tag[spelled(tag)].append(number)
        for number, card in enumerate(self.cards):
            if card.years and card.kinds:
                for rest in {rest for rest in card.rests if rest}:
                    anchor = min(rest, key=lambda word: (len(self.by_word[word]), word))
                    self.periods[anchor].append((rest, number))
        self._vocabulary = sorted(self.by_word)

    def __len__(self) -> int:
        return len(self.cards)

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

    def having(self, words: Iterable[str]) -> set[int]:
        """Documents that have every one of the words."""
        postings = sorted((self.by_word.get(word, set()) for word in words), key=len)
        return set.intersection(*postings) if postings else set()


class Catalogues:
    """The catalogue of each workspace, as of the last commit. Safe from several threads."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._made: OrderedDict[str | None, tuple[tuple[int, int], Catalogue]] = OrderedDict()
        self._cards: dict[Entry, Card] = {}
        self._lock = Lock()

    def of(self, workspace: str | None) -> Catalogue:
        """What the live documents of `workspace` are called now, of all where it is None."""
        with self._db.read() as session:
            # Whatever renames or tags without a flip leaves an entry in the audit log.
            epoch = session.scalar(select(Clock.epoch)) or 0
            stamp = (epoch, session.scalar(select(func.max(AuditEntry.seq))) or 0)
            with self._lock:
                made = self._made.get(workspace)
                if made is not None and made[0] == stamp:
                    self._made.move_to_end(workspace)
                    return made[1]
            published = select(Version.number).where(Version.document == Document.id, Version.state.in_(PUBLISHED))
            live = select(Document.id, Document.name, Document.title).where(Document.state == "live")
            if workspace is not None:
                live = live.where(Document.workspace == workspace)
            rows = session.execute(live.where(published.exists()).order_by(Document.name)).all()
            tags = tags_of(session)
        entries = [Entry(id=i, name=name, title=title, tags=tuple(tags.get(i, ()))) for i, name, title in rows]
        made_now = Catalogue(self._card(entry) for entry in entries)
        with self._lock:
            self._made[workspace] = (stamp, made_now)
            while len(self._made) > _WORKSPACES:
                self._made.popitem(last=False)
            if len(self._cards) > _CARDS:  # those of documents that are gone, mostly
                self._cards.clear()
        return made_now

    def _card(self, entry: Entry) -> Card:
        card = self._cards.get(entry)
        if card is None:
            card = self._cards[entry] = card_of(entry)
        return card


def card_of(entry: Entry) -> Card:
    """What a document of that name and title is called."""
    path = PurePosixPath(entry.name)
    stem, title = words_of(parted(path.stem)), words_of(entry.title)
    folders = words_of(" ".join(parted(part) for part in path.parent.parts))
    names = tuple(dict.fromkeys(name for name in (naming(stem), naming(title)) if name))
    own = frozenset().union(*names)
    kinds = frozenset(word for word in own | naming(folders) if is_kind(word))
    also = frozenset().union(*(FORMS.get(kind, frozenset()) for kind in kinds))
    return Card(
        entry=entry,
        names=names,
        words=own | naming(folders) | also,
        kinds=kinds | also,
        years=frozenset(word.year for word in (*stem, *title, *folders) if word.year is not None),
        titles=tuple(dict.fromkeys(filter(None, (spelled(parted(path.stem)), spelled(entry.title))))),
    )


def spelled(text: str) -> str:
    """A title or a tag word by word, for comparison."""
    return " ".join(word.key for word in words_of(text))
