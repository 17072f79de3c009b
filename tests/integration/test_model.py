"""The whole of storage against a plain model: random edits, restores, deletes, crashes and looks into the past."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel.errors import NotFound
from kernel.ids import now_ms
from kernel.index.schema import keyword
from kernel.types import When
from rehearsal.examples import NewExample
from rehearsal.ground import Quote
from tests.house import House, incoming, page, visible_points

pytestmark = pytest.mark.integration

NAMES = ("a.md", "b.md")
BODIES = tuple(f"Sentence number {number} stands here." for number in range(6))
MINUTE = 60_000


class Killed(BaseException):
    """A process that ends in the middle."""


@dataclass(slots=True)
class Shown:
    """A published version, as the model knows it."""

    number: int
    epoch: int
    starts: int
    bodies: tuple[str, ...]


@dataclass(slots=True)
class Doc:
    """A document that was not deleted: its id, its versions in order, and the examples that stand on it."""

    id: str
    versions: list[Shown] = field(default_factory=list)
    examples: dict[str, str] = field(default_factory=dict)

    def at(self, when: When) -> Shown | None:
        """Of what was known, the last that counts."""
        known = [v for v in self.versions if v.epoch <= when.epoch and v.starts <= when.at]
        return known[-1] if known else None


def text_of(bodies: tuple[str, ...]) -> str:
    return page("Page", {f"Heading of {body[:17]}": body for body in bodies})


class Storage(RuleBasedStateMachine):
    """Rules do to both what a person could do; invariants compare."""

    def __init__(self) -> None:
        super().__init__()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="reprise-test-", dir=memory))
        self.house = House(self.folder / "home")
        self.docs: dict[str, Doc] = {}
        self.epoch = self.asked = 0
        self.start = now_ms() - 10_000 * MINUTE

    def teardown(self) -> None:
        self.house.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- what a person does -----------------------------------------------------------------------

    @rule(
        name=st.sampled_from(NAMES),
        bodies=st.lists(st.sampled_from(BODIES), min_size=1, max_size=4, unique=True).map(tuple),
        minutes=st.none() | st.integers(0, 40),
    )
    def put(self, name: str, bodies: tuple[str, ...], minutes: int | None) -> None:
        at = None if minutes is None else self.start + minutes * MINUTE
        doc = self.docs.get(name)
        last = doc.versions[-1] if doc else None
        row = self.house.put(name, text_of(bodies), at=at)
        if last is not None and last.bodies == bodies:
            assert (row["status"], row["version"]) == ("unchanged", last.number)
        elif last is not None and at is not None and at <= last.starts:
            assert row["error"]["code"] == "out_of_order"
        else:
            assert row["status"] == "published"
            self._published(name, row["document"], row["version"], bodies, at)
            before = last.bodies if last else ()
            assert row["chunks_kept"] == len(set(before) & set(bodies))
            assert row["chunks_new"] == len(set(bodies) - set(before))
            assert row["chunks_retired"] == len(set(before) - set(bodies))

    @rule(bodies=st.lists(st.sampled_from(BODIES), min_size=2, max_size=4, unique=True).map(tuple))
    def put_several_at_once(self, bodies: tuple[str, ...]) -> None:
        """One batch: a version of each document, and then another of the first."""
        files = [incoming(name, text_of(some)) for name, some in zip((*NAMES, NAMES[0]), _thirds(bodies), strict=True)]
        rows = self.house.ingest.add(files)["documents"]
        assert all(row["status"] in ("published", "unchanged") for row in rows)
        together = 2 if rows[0]["status"] == "published" else 3  # two versions of one document cannot share a flip
        for flip in (slice(0, together), slice(together, 3)):
            published = [row["status"] == "published" for row in rows[flip]]
            self.epoch += any(published)
            for row, some, is_new in zip(rows[flip], _thirds(bodies)[flip], published, strict=True):
                if is_new:
                    self._published(row["name"], row["document"], row["version"], some, None, flip=False)

    @precondition(lambda self: self.docs)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.docs)))
        doc = self.docs[name]
        old = data.draw(st.sampled_from(doc.versions))
        row = self.house.ingest.restore(*self.house.library.original(name, old.number))
        if old.bodies == doc.versions[-1].bodies:
            assert row["status"] == "unchanged"
        else:
            assert row["status"] == "published"
            self._published(name, doc.id, row["version"], old.bodies, None)

    @precondition(lambda self: self.docs)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.docs)))
        doc = self.docs.pop(name)
        receipt = self.house.delete.delete(name)
        self.epoch += 1
        assert receipt["remaining"] == 0
        with pytest.raises(NotFound):
            self.house.library.find(doc.id)

    @precondition(lambda self: self.docs)
    @rule(data=st.data())
    def remember(self, data: st.DataObject) -> None:
        """An example that stands on a sentence of the version that is live."""
        name = data.draw(st.sampled_from(sorted(self.docs)))
        doc = self.docs[name]
        body = data.draw(st.sampled_from(doc.versions[-1].bodies))
        live = self.house.library.version(name)[1]
        text = self.house.library.text_of(live.text_key)
        self.asked += 1
        placed = self.house.library.place(
            sorted(self.house.positions(doc.id, live.number)), When(epoch=self.epoch, at=live.valid_from)
        )
        chunk = next(p.point for p in placed.values() if text[p.start : p.end] == body)
        quotes = (Quote(document=doc.id, point=chunk, text=body),)
        question = f"What of sentence {self.asked}?"
        (example,) = self.house.examples.add([NewExample(workspace="default", question=question, quotes=quotes)])
        self.epoch += 1
        doc.examples[str(example)] = body

    # --- what happens to a process ----------------------------------------------------------------

    @rule()
    def start_again(self) -> None:
        self.house.close()
        self.house = House(self.folder / "home")
        self.house.recover()

    @rule(name=st.sampled_from(NAMES), where=st.sampled_from(["staged", "inserted", "flipping", "born", "applied"]))
    def die_while_publishing(self, name: str, where: str) -> None:
        def step(reached: str) -> None:
            if reached == where:
                raise Killed

        bodies = (f"Sentence of crash {self.epoch} in {name}.",)
        self.house.ingest.step = self.house.epochs.step = step
        with pytest.raises(Killed):
            self.house.put(name, text_of(bodies))
        self.start_again()
        if where in ("flipping", "born", "applied"):  # past the claim it happens, whoever finishes it
            document, version = self.house.library.version(name)
            self._published(name, document.id, version.number, bodies, None)

    # --- what must hold ---------------------------------------------------------------------------

    @invariant()
    def the_epoch_counts_what_happened(self) -> None:
        assert self.house.epochs.committed() == self.epoch

    @invariant()
    def every_document_shows_what_the_model_says_now(self) -> None:
        self._compare(When(epoch=self.epoch, at=now_ms()))

    @rule(data=st.data())
    def look_into_the_past(self, data: st.DataObject) -> None:
        moments = [v.starts + d for doc in self.docs.values() for v in doc.versions for d in (-1, 0, 1)]
        epoch = data.draw(st.integers(0, self.epoch))
        self._compare(When(epoch=epoch, at=data.draw(st.sampled_from([now_ms(), self.start, *moments]))))

    @invariant()
    def examples_live_exactly_as_long_as_their_sentences(self) -> None:
        alive = {e for doc in self.docs.values() for e in doc.examples}
        assert {e["example"] for e in self.house.memory.listing("approved")} == alive
        # A source that is superseded in the future ends an example in SQL at once, in the index when the time comes.
        everywhere = When(epoch=self.epoch, at=2**52)
        assert len(visible_points(self.house.index, everywhere, keyword("kind", "example"))) == len(alive)

    @invariant()
    def nothing_is_left_over(self) -> None:
        counts = self.house.counts()
        erased = sum(e["question"] == "[deleted]" for e in self.house.memory.listing())
        assert counts["points"] == counts["chunks"] + counts["examples"] - erased
        texts = {text_of(v.bodies) for doc in self.docs.values() for v in doc.versions}
        assert counts["blobs"] == len(texts)  # the bytes of a Markdown file are its text

    # --- the model's own --------------------------------------------------------------------------

    def _published(
        self, name: str, document: str, number: int, bodies: tuple[str, ...], at: int | None, *, flip: bool = True
    ) -> None:
        self.epoch += flip
        doc = self.docs.setdefault(name, Doc(document))
        assert doc.id == document
        starts = self.house.library.version(name, number)[1].valid_from
        assert at in (None, starts)
        assert not doc.versions or (starts > doc.versions[-1].starts and number == doc.versions[-1].number + 1)
        doc.versions.append(Shown(number, self.epoch, starts, bodies))
        doc.examples = {example: body for example, body in doc.examples.items() if body in bodies}

    def _compare(self, when: When) -> None:
        for doc in self.docs.values():
            expected = doc.at(when)
            shown = self.house.shown(doc.id, when)
            seen = {version: tuple(p.text for p in places) for version, places in shown.items()}
            assert seen == ({expected.number: expected.bodies} if expected else {})


def _thirds(bodies: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return bodies[:1], bodies[1:], bodies


Storage.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestStorage = Storage.TestCase
