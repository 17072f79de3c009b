"""The whole of storage against a plain model: random edits, renames, restores, deletes, crashes, looks into the past.

A crash here is an image of the home's files at a random step, opened as a start opens what a killed process left. Kills
of real processes at every step and write are in `test_publish_kill`.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import func, select

from ingest.tables import Version
from kernel.errors import NotFound
from kernel.ids import iso, now_ms, parse_time
from kernel.index.schema import keyword
from kernel.types import When
from rehearsal.examples import NewExample
from rehearsal.ground import Quote
from retrieval.search import Scope
from tests.doors import memory_folder
from tests.dying import image
from tests.house import House, incoming, page, visible_points

pytestmark = pytest.mark.integration

NAMES = ("a.md", "b.md", "c.md")
BODIES = tuple(f"Sentence number {number} stands here." for number in range(6))
MINUTE = 60_000
AGO = 10_000
"""How many minutes before now the model's time begins."""
CLAIMED = ("flipping", "born", "died", "applied")
STEPS = ("before stage", "staged", "inserted", *CLAIMED, "committed")
"""Where a process can end. Once a flip is claimed it happens, whoever finishes it."""
EXPIRING = ("marked", "followed", "moved", "deleted", "recorded")
"""The same while versions expire. What is marked goes, whoever erases it."""

Bodies = tuple[str, ...]
names = st.sampled_from(NAMES)
some_bodies = st.lists(st.sampled_from(BODIES), min_size=1, max_size=4, unique=True).map(tuple)
again = st.sampled_from((None, *STEPS, *EXPIRING))  # where the start after a death ends too
minutes = st.none() | st.integers(0, 40) | st.integers(AGO + 60, AGO + 90)  # no date, the past, the future


class Killed(BaseException):
    """A process that ends in the middle."""


@dataclass(slots=True)
class Shown:
    """A published version, as the model knows it."""

    number: int
    epoch: int
    starts: int
    bodies: Bodies
    expired: bool = False


@dataclass(slots=True)
class Doc:
    """A document that was not deleted: its id, its versions in order, and the examples that stand on it."""

    id: str
    versions: list[Shown] = field(default_factory=list)
    examples: dict[str, str] = field(default_factory=dict)

    def at(self, when: When) -> Shown | None:
        """Of what was known, the last that counts; nothing where that expired."""
        known = [v for v in self.versions if v.epoch <= when.epoch and v.starts <= when.at]
        return known[-1] if known and not known[-1].expired else None

    @property
    def kept(self) -> list[Shown]:
        return [v for v in self.versions if not v.expired]


def text_of(bodies: Bodies) -> str:
    return page("Page", {f"Heading of {body[:17]}": body for body in bodies})


@pytest.fixture(scope="module", autouse=True)
def _new_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home that is made once and copied: making it is most of what opening a new one costs."""
    with memory_folder(tmp_path_factory.mktemp("model")) as folder:
        House(folder / "new").close()
        Storage.folder = folder
        yield


class Storage(RuleBasedStateMachine):
    """Rules do to both what a person could do, or a crash; invariants compare."""

    folder: Path
    _lives = count()

    def __init__(self) -> None:
        super().__init__()
        self.house = House(image(self.folder / "new", self._next()))
        self.docs: dict[str, Doc] = {}
        self.epoch = self.asked = 0
        self.start = now_ms() - AGO * MINUTE
        self.chance = random.Random(0)

    def teardown(self) -> None:
        self.house.close()
        shutil.rmtree(self.house.home)

    # --- what a person does -----------------------------------------------------------------------

    @rule(name=names, bodies=some_bodies, minutes=minutes)
    def put(self, name: str, bodies: Bodies, minutes: int | None) -> None:
        at = None if minutes is None else self.start + minutes * MINUTE
        doc = self.docs.get(name)
        last = doc.versions[-1] if doc else None
        expected = self._outcome(name, bodies, at)
        row = self.house.put(name, text_of(bodies), at=at)
        if expected == "out_of_order":
            assert (row["status"], row["error"]["code"]) == ("refused", expected)
            return
        assert row["status"] == expected
        if expected == "unchanged":
            assert row["version"] == last.number  # type: ignore[union-attr]
            return
        self._flip([partial(self._publish, name, bodies, at)])
        assert (row["document"], row["version"]) == (self.docs[name].id, self.docs[name].versions[-1].number)
        before = last.bodies if last else ()
        assert row["chunks_kept"] == len(set(before) & set(bodies))
        assert row["chunks_new"] == len(set(bodies) - set(before))
        assert row["chunks_retired"] == len(set(before) - set(bodies))

    @rule(files=st.lists(st.tuples(names, some_bodies), min_size=2, max_size=5))
    def put_several_at_once(self, files: list[tuple[str, Bodies]]) -> None:
        """One batch: as many flips as it has versions of one document."""
        rows = self.house.ingest.add([incoming(name, text_of(bodies)) for name, bodies in files])["documents"]
        statuses, flips = self._batch(files)
        assert [row["status"] for row in rows] == statuses
        for flip in flips:
            self._flip(flip)

    @precondition(lambda self: self.docs)
    @rule(data=st.data(), keep=st.booleans())
    def rename(self, data: st.DataObject, keep: bool) -> None:
        """The same bytes under another name are a document of their own; the old name goes, or stays beside it."""
        old = data.draw(st.sampled_from(sorted(self.docs)))
        new = data.draw(st.sampled_from(NAMES).filter(lambda name: name != old))
        bodies = self.docs[old].versions[-1].bodies
        expected = self._outcome(new, bodies, None)
        assert self.house.put(new, text_of(bodies))["status"] == expected
        if expected == "published":
            self._flip([partial(self._publish, new, bodies, None)])
        assert self.docs[new].id != self.docs[old].id
        if not keep:
            self.house.delete.delete(old)
            self._flip([partial(self._forget, old)])

    @precondition(lambda self: self.docs)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        name, old = self._draw_version(data)
        row = self.house.ingest.again(*self.house.library.original(name, old.number), "restore")
        assert row["status"] == self._outcome(name, old.bodies, None)
        if row["status"] == "published":
            self._flip([partial(self._publish, name, old.bodies, None)])

    @precondition(lambda self: self.docs)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.docs)))
        document = self.docs[name].id
        receipt = self.house.delete.delete(name)
        self._flip([partial(self._forget, name)])
        assert receipt["remaining"] == 0
        with pytest.raises(NotFound):
            self.house.library.find(document)

    @precondition(lambda self: self.docs)
    @rule(data=st.data())
    def remember(self, data: st.DataObject) -> None:
        """An example that stands on a sentence of the version that is live."""
        name = data.draw(st.sampled_from(sorted(self.docs)))
        body = data.draw(st.sampled_from(self.docs[name].versions[-1].bodies))
        self.house.examples.add([self._example(name, body)])
        self._flip([partial(self._learn, name, body)])

    # --- what happens to a process ----------------------------------------------------------------

    @rule(closed=st.booleans())
    def start_again(self, closed: bool) -> None:
        """After a stop, or after a kill between two deeds."""
        if closed:
            self.house.close()
            self.house = House(self.house.home)
            self.house.recover()
        else:
            self._reopen(self._image(), None)

    @rule(
        name=names, bodies=some_bodies, where=st.sampled_from(STEPS), again=st.sampled_from((None, *STEPS, *EXPIRING))
    )
    def die_while_publishing(self, name: str, bodies: Bodies, where: str, again: str | None) -> None:
        flips: list[list[Callable[[], None]]] = []
        if self._outcome(name, bodies, None) == "published":
            flips = [[partial(self._publish, name, bodies, None)]]
        self._die(where, again, lambda: self.house.put(name, text_of(bodies)), flips)

    @rule(files=st.lists(st.tuples(names, some_bodies), min_size=2, max_size=4), where=st.sampled_from(STEPS))
    def die_in_a_batch(self, files: list[tuple[str, Bodies]], where: str) -> None:
        _, flips = self._batch(files)
        batch = [incoming(name, text_of(bodies)) for name, bodies in files]
        self._die(where, None, lambda: self.house.ingest.add(batch), flips)

    @precondition(lambda self: self.docs)
    @rule(
        data=st.data(),
        deed=st.sampled_from(("restore", "delete", "remember")),
        where=st.sampled_from(STEPS[2:]),
        again=again,
    )
    def die_while_doing(self, data: st.DataObject, deed: str, where: str, again: str | None) -> None:
        name, old = self._draw_version(data)
        if deed == "restore":
            original = self.house.library.original(name, old.number)
            changes = self._outcome(name, old.bodies, None) == "published"
            flips = [[partial(self._publish, name, old.bodies, None)]] if changes else []
            self._die(where, again, lambda: self.house.ingest.again(*original, "restore"), flips)
        elif deed == "delete":
            self._die(where, again, lambda: self.house.delete.delete(name), [[partial(self._forget, name)]])
        else:
            body = data.draw(st.sampled_from(self.docs[name].versions[-1].bodies))
            example = self._example(name, body)
            self._die(where, again, lambda: self.house.examples.add([example]), [[partial(self._learn, name, body)]])

    @rule(keep=st.integers(1, 3), where=st.sampled_from((None, None, *EXPIRING)))
    def expire(self, keep: int, where: str | None) -> None:
        """Retention is asked for and applied; perhaps the process dies of it."""
        self.house.keeper.set("default", versions=keep)
        passed, images = self._armed(self.house, where)
        try:
            self.house.keeper.apply()
        except Killed:
            self._reopen(images[0], None)
        else:
            self._disarm()
        self.house.keeper.set("default")
        due = [(doc, old) for _, doc in sorted(self.docs.items()) if (old := self._overdue(doc, keep))]
        for _, old in due[: passed.count("marked")]:
            for version in old:
                version.expired = True
        assert images or passed.count("marked") == len(due)

    # --- looking ----------------------------------------------------------------------------------

    @rule(data=st.data())
    def look_into_the_past(self, data: st.DataObject) -> None:
        epoch = data.draw(st.integers(0, self.epoch))
        self._compare(When(epoch=epoch, at=data.draw(st.sampled_from(self._moments()))))

    @rule(body=st.sampled_from(BODIES), data=st.data())
    def ask(self, body: str, data: st.DataObject) -> None:
        """A question as of a time or an epoch finds exactly what counted then, the sentence itself first."""
        epoch = data.draw(st.none() | st.integers(0, self.epoch))
        moment = data.draw(st.none() | st.sampled_from(self._moments()))
        when = self.house.search.when(None if moment is None else parse_time(str(iso(moment))), epoch)
        found = self.house.search.search(body, 100, Scope(when=when)).passages
        visible = {name: v for name, doc in self.docs.items() if (v := doc.at(when))}
        expected = {(name, v.number, text) for name, v in visible.items() for text in v.bodies}
        assert len(found) == len(expected)
        assert {(p.name, p.version, p.text) for p in found} == expected
        holders = sum(body in v.bodies for v in visible.values())
        assert all(p.text == body for p in found[:holders])
        assert all(p.text == text_of(visible[p.name].bodies)[p.start : p.end] for p in found)

    # --- what must hold ---------------------------------------------------------------------------

    @invariant()
    def the_epoch_counts_what_happened(self) -> None:
        assert self.house.epochs.committed() == self.epoch

    @invariant()
    def every_document_shows_what_the_model_says_now_and_at_some_earlier_moment(self) -> None:
        self._compare(When(epoch=self.epoch, at=now_ms()))
        self._compare(When(epoch=self.chance.randint(0, self.epoch), at=self.chance.choice(self._moments())))

    @invariant()
    def the_library_lists_what_is_there_with_one_live_version_each(self) -> None:
        listed = {d["name"]: (d["document"], d["live_version"], d["versions"]) for d in self.house.library.documents()}
        now = When(epoch=self.epoch, at=now_ms())
        counting = {name: version.number if (version := doc.at(now)) else None for name, doc in self.docs.items()}
        assert listed == {name: (doc.id, counting[name], len(doc.kept)) for name, doc in self.docs.items()}
        with self.house.db.read() as session:
            states = session.execute(
                select(Version.document, Version.state, func.count()).group_by(Version.document, Version.state)
            )
            found = {(document, state): count for document, state, count in states}
        expected: Counter[tuple[str, str]] = Counter()
        for doc in self.docs.values():
            expected[doc.id, "live"] += 1
            expected[doc.id, "superseded"] += len(doc.kept) - 1
            expected[doc.id, "expired"] += len(doc.versions) - len(doc.kept)
        assert found == +expected

    @invariant()
    def examples_live_exactly_as_long_as_their_sentences(self) -> None:
        alive = {e for doc in self.docs.values() for e in doc.examples}
        assert {e["question"] for e in self.house.memory.listing("approved")} == alive
        # A source that is superseded in the future ends an example in SQL at once, in the index when the time comes.
        everywhere = When(epoch=self.epoch, at=2**52)
        assert len(visible_points(self.house.index, everywhere, keyword("kind", "example"))) == len(alive)

    @invariant()
    def nothing_is_left_over(self) -> None:
        counts = self.house.counts()
        erased = sum(e["question"] == "[deleted]" for e in self.house.memory.listing())
        assert counts["points"] == counts["chunks"] + counts["examples"] - erased
        assert counts["positions"] == sum(len(v.bodies) for doc in self.docs.values() for v in doc.kept)
        texts = {text_of(v.bodies) for doc in self.docs.values() for v in doc.kept}
        assert counts["blobs"] == len(texts)  # the bytes of a Markdown file are its text

    # --- the model's own --------------------------------------------------------------------------

    def _outcome(self, name: str, bodies: Bodies, at: int | None) -> str:
        """What a put of it must say."""
        doc = self.docs.get(name)
        if doc is None:
            return "published"
        last = doc.versions[-1]
        if last.bodies == bodies:
            return "unchanged"
        return "out_of_order" if at is not None and at <= last.starts else "published"

    def _batch(self, files: Sequence[tuple[str, Bodies]]) -> tuple[list[str], list[list[Callable[[], None]]]]:
        """What each file of a batch must say, and what each of its flips does: one holds a document once at most."""
        live = {name: doc.versions[-1].bodies for name, doc in self.docs.items()}
        statuses: list[str] = []
        flips: list[list[Callable[[], None]]] = []
        turn: dict[str, int] = {}
        for name, bodies in files:
            statuses.append("unchanged" if live.get(name) == bodies else "published")
            if statuses[-1] == "unchanged" and name not in turn:
                turn.setdefault(name, 0)
                continue
            place = turn[name] = turn.get(name, 0) + 1
            if statuses[-1] == "published":
                flips += [[] for _ in range(place - len(flips))]
                flips[place - 1].append(partial(self._publish, name, bodies, None))
                live[name] = bodies
        return statuses, [flip for flip in flips if flip]

    def _flip(self, done: Sequence[Callable[[], None]]) -> None:
        self.epoch += 1
        for what in done:
            what()

    def _publish(self, name: str, bodies: Bodies, at: int | None) -> None:
        document = self.house.library.find(name).id
        doc = self.docs.setdefault(name, Doc(document))
        assert doc.id == document
        number = len(doc.versions) + 1
        starts = self.house.library.version(name, number)[1].valid_from
        assert at in (None, starts)
        assert not doc.versions or starts > doc.versions[-1].starts
        doc.versions.append(Shown(number, self.epoch, starts, bodies))
        doc.examples = {example: body for example, body in doc.examples.items() if body in bodies}

    def _forget(self, name: str) -> None:
        del self.docs[name]

    def _learn(self, name: str, body: str) -> None:
        self.docs[name].examples[f"What of sentence {self.asked}?"] = body

    def _example(self, name: str, body: str) -> NewExample:
        doc = self.docs[name]
        live = self.house.library.version(name, doc.versions[-1].number)[1]
        text = self.house.library.text_of(live.text_key)
        self.asked += 1
        placed = self.house.library.place(
            sorted(self.house.positions(doc.id, live.number)), When(epoch=self.epoch, at=live.valid_from)
        )
        chunk = next(p.point for p in placed.values() if text[p.start : p.end] == body)
        quotes = (Quote(document=doc.id, point=chunk, text=body),)
        return NewExample(workspace="default", question=f"What of sentence {self.asked}?", quotes=quotes)

    def _draw_version(self, data: st.DataObject) -> tuple[str, Shown]:
        name = data.draw(st.sampled_from(sorted(self.docs)))
        return name, data.draw(st.sampled_from(self.docs[name].kept))

    def _overdue(self, doc: Doc, keep: int) -> list[Shown]:
        """What goes when so many are kept: of what counts now and what was before it, all but the newest."""
        now = now_ms()
        counted = [v for v in doc.versions if v.starts <= now]
        return [v for v in counted[:-keep] if not v.expired]

    def _moments(self) -> list[int]:
        changes = [v.starts + d for doc in self.docs.values() for v in doc.versions for d in (-1, 0, 1)]
        return [now_ms(), self.start, *changes]

    def _compare(self, when: When) -> None:
        for doc in self.docs.values():
            expected = doc.at(when)
            shown = self.house.shown(doc.id, when)
            seen = {version: tuple(p.text for p in places) for version, places in shown.items()}
            assert seen == ({expected.number: expected.bodies} if expected else {})

    # --- dying ------------------------------------------------------------------------------------

    def _die(
        self, where: str, again: str | None, deed: Callable[[], Any], flips: Sequence[Sequence[Callable[[], None]]]
    ) -> None:
        """Do it until it reaches a step, and start on what is there then; once more in that start if `again` says so.

        A deed that does not come past the step is done. Of `flips`, what had been claimed by then has happened.
        """
        passed, images = self._armed(self.house, where)
        try:
            deed()
        except Killed:
            self._reopen(images[0], again)
            happened = passed.count("committed") + (where in CLAIMED)
            assert happened <= len(flips)
        else:
            self._disarm()
            happened = len(flips)
        for flip in flips[:happened]:
            self._flip(flip)

    def _armed(self, house: House, where: str | None) -> tuple[list[str], list[Path]]:
        passed: list[str] = []
        images: list[Path] = []

        def step(reached: str) -> None:
            passed.append(reached)
            if reached == where and not images:  # what is tidied up after that happens to nobody
                images.append(self._image())
                raise Killed

        house.ingest.step = house.epochs.step = house.keeper.step = step
        return passed, images

    def _disarm(self) -> None:
        self.house.ingest.step = self.house.epochs.step = self.house.keeper.step = lambda _name: None

    def _image(self) -> Path:
        return image(self.house.home, self._next())

    def _next(self) -> Path:
        """Where the next home can lie."""
        return self.folder / str(next(self._lives))

    def _reopen(self, home: Path, again: str | None) -> None:
        gone, self.house = self.house, House(home)
        gone.close()
        shutil.rmtree(gone.home)
        _, images = self._armed(self.house, again)
        try:
            self.house.recover()
        except Killed:
            self._reopen(images[0], None)
        self._disarm()


Storage.TestCase.settings = settings(
    max_examples=22,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes; add it to look at a failure
    suppress_health_check=list(HealthCheck),
)
TestStorage = Storage.TestCase
