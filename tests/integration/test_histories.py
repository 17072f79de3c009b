"""Real histories of documents, told version by version: what changed is found as it was, at its time.

The sets `versions_*` hold documents in their real versions with their dates, and pairs of sentences that differ from
one version to the next, each with a cloze (`masked`) that fits both. A probe is the cloze asked of its document as of
a moment: the old sentence must be found just before the new version counts, the new one from then on.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.library import Placed
from kernel.embedder import SentenceTransformerEmbedder
from kernel.ids import parse_time
from kernel.index.schema import sparse_query
from kernel.types import Passage, When
from retrieval.search import Scope
from tests.doors import memory_folder
from tests.house import House, incoming

DATA = Path(os.environ.get("REPRISE_EVAL_DATA", "/nowhere"))
SETS = ("versions_basecamp_policies", "versions_httpx_docs")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.evaldata,
    pytest.mark.skipif(not (DATA / SETS[0]).is_dir(), reason="REPRISE_EVAL_DATA is not set"),
]
K = 3
"""How many passages a reader is taken to look at."""
MINUTE = 60_000
RUN = 8
HELD = 0.45
"""Some sentences were put together from a paragraph and the code after it, and stand in two or three chunks."""
_UNREAD = re.compile(r"\]\([^)]*\)|<[^>\n]+>")
"""Link targets and tags: the sentences were taken from the text as it reads."""


class Embedder(SentenceTransformerEmbedder):
    """The packaged model, which embeds all the questions of a test at once."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, np.ndarray] = {}

    def know(self, texts: Sequence[str]) -> None:
        new = sorted(set(texts) - self._known.keys())
        for start in range(0, len(new), 64):
            some = new[start : start + 64]
            self._known.update(zip(some, super().embed_queries(some), strict=True))

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        self.know(texts)
        return np.stack([self._known[text] for text in texts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A version as the set tells it."""

    name: str
    label: str
    release: str | None
    at: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A cloze, and the sentence that the document had from `at` on or until then."""

    name: str
    cloze: str
    sentence: str
    at: int
    when: str


class History:
    """Everything told, published in order."""

    def __init__(self, house: House) -> None:
        self.house, self.embedder = house, house.embedder
        self.told = {name: _told(name) for name in SETS}
        self.rows: dict[str, list[dict[str, Any]]] = {}
        for name, told in self.told.items():
            files = [incoming(t.name, t.content, at=t.at) for t in told]
            self.rows[name] = house.ingest.add(files)["documents"]
        self.by_document: dict[str, list[Told]] = defaultdict(list)
        for told in self.told.values():
            for t in told:
                self.by_document[t.name].append(t)
        self._known: dict[tuple[str, int], tuple[int, list[Placed]]] = {}
        self.ids = {d["name"]: d["document"] for d in house.library.documents()}

    def search(self, question: str, at: int, name: str | None = None) -> tuple[Passage, ...]:
        when = When(epoch=self.house.epochs.committed(), at=at)
        return self.house.search.search(
            question, K, Scope(document=self.ids[name] if name else None, when=when)
        ).passages

    def at(self, name: str, at: int) -> tuple[int, list[Placed]]:
        """The version that counts at a moment, and its chunks."""
        if (name, at) in self._known:
            return self._known[name, at]
        shown = self.house.shown(self.ids[name], When(epoch=self.house.epochs.committed(), at=at))
        (self._known[name, at],) = shown.items()
        return self._known[name, at]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    slow = tmp_path_factory.mktemp("histories")
    with memory_folder(slow) as folder, House(folder / "home", embedder=Embedder()) as house:
        yield History(house)


@pytest.mark.parametrize(("name", "floor"), [(SETS[0], 0.99), (SETS[1], 0.95)])
def test_a_sentence_that_changed_is_found_as_it_was_at_its_time(
    history: History, name: str, floor: float, record_property: Callable[[str, object], None]
) -> None:
    """Of the clozes that say something, nearly all lead to the right words among the first `K` passages.

    The floors leave room for fragments of code that stand in many places of one page (`client.get(____)`): those are
    what is missed, and which of them depends on the processor's arithmetic. A cloze of fewer than two words that
    carry meaning (`____`, `If you ____`) asks nothing; it is counted apart.
    """
    probes = _probes(history, name)
    history.embedder.know([p.cloze for p in probes])
    found: Counter[bool] = Counter()
    asked: Counter[bool] = Counter()
    missed = []
    for probe in probes:
        version, places = history.at(probe.name, probe.at)
        passages = history.search(probe.cloze, probe.at, probe.name)
        assert {p.version for p in passages} == {version}
        share, holders = _holders(probe.sentence, places)
        assert share >= HELD, probe
        telling = len(sparse_query(probe.cloze).indices) >= 2
        asked[telling] += 1
        if any(p.chunk in holders for p in passages):
            found[telling] += 1
        elif telling:
            missed.append(f"{probe.name} {probe.when}: {probe.cloze}")
    _tell(record_property, f"{name} probes found", f"{found[True]} of {asked[True]} among the first {K}")
    _tell(record_property, f"{name} empty probes found", f"{found[False]} of {asked[False]} among the first {K}")
    assert found[True] >= floor * asked[True], missed


@pytest.mark.parametrize(("name", "floor"), [(SETS[0], 0.35), (SETS[1], 0.75)])
def test_a_chunk_that_stands_in_the_next_version_is_kept(
    history: History, name: str, floor: float, record_property: Callable[[str, object], None]
) -> None:
    """The floors are of these histories: the first set's versions were picked to be as different as could be."""
    before: dict[str, list[Placed]] = {}
    shares: Counter[str] = Counter()
    for told, row in zip(history.told[name], history.rows[name], strict=True):
        _, places = history.at(told.name, told.at)
        if told.name in before:
            last = before[told.name]
            stands = _chunks(last) & _chunks(places)
            kept = {p.point for p in last} & {p.point for p in places}
            assert len(kept) == stands.total()
            assert row["status"] == "unchanged" or row["chunks_kept"] == len(kept)
            shares["kept"] += len(kept)
            shares["retired"] += len(last) - len(kept)
        before[told.name] = places
    share = shares["kept"] / shares.total()
    _tell(record_property, f"{name} chunks kept", f"{shares['kept']} of {shares.total()} ({share:.0%})")
    assert share >= floor


def test_every_version_opens_as_it_came_and_counts_from_its_date(history: History) -> None:
    for name, all_told in history.by_document.items():
        different = [all_told[0], *(b for a, b in pairwise(all_told) if a.content != b.content)]
        versions = history.house.library.history(name)[::-1]
        assert [parse_time(v["at"]) for v in versions] == [told.at for told in different]
        for number, told in enumerate(different, 1):
            assert history.house.library.original(name, number)[2] == told.content
            version, places = history.at(name, told.at)
            text = history.house.library.text(name, number)["text"]
            assert version == number
            assert [text[p.start : p.end] for p in places] == [p.text for p in places]


def test_what_a_release_moved_to_another_page_is_found_there_from_then_on(
    history: History, record_property: Callable[[str, object], None]
) -> None:
    """One page was renamed and one split into many. Nobody said so: the new pages are documents of their own."""
    releases: dict[str, dict[str, Told]] = defaultdict(dict)
    for told in history.told[SETS[1]]:
        releases[str(told.release)][told.name] = told
    moved = []
    for before, after in pairwise(releases.values()):
        new_pages = sorted(after.keys() - before.keys())
        come = [(after[name].at, place) for name in new_pages for place in history.at(name, after[name].at)[1]]
        for gone in sorted(before.keys() - after.keys()):
            for old in history.at(gone, before[gone].at)[1]:
                moved += [(old, new, at) for at, new in come if new.text == old.text]
    history.embedder.know([new.text for _, new, _ in moved])
    found = 0
    for old, new, at in moved:
        assert old.point in {p.chunk for p in history.search(old.text, at - 1)}
        assert {p.name for p in history.search(new.text, at - 1)} & {new.name} == set()
        found += new.point in {p.chunk for p in history.search(new.text, at)}
    names = {(old.name.split("/", 1)[1], new.name.split("/", 1)[1]) for old, new, _ in moved}
    _tell(record_property, "moved passages found on their new page", f"{found} of {len(moved)}")
    _tell(record_property, "pages renamed or split", ", ".join(f"{a} -> {b}" for a, b in sorted(names)))
    assert len({old for old, _ in names}) == 2
    assert found >= 0.95 * len(moved)


# --- the sets -----------------------------------------------------------------------------------------


def _told(name: str) -> list[Told]:
    """A set's versions in the order of their dates; two of one day count from different minutes of it."""
    lines = (DATA / name / "versions.jsonl").read_text().splitlines()
    days: Counter[tuple[str, str]] = Counter()
    found = []
    for row in map(json.loads, lines):
        document = f"{name}/{row['doc'].removesuffix('.md')}.md"
        days[document, row["date"]] += 1
        found.append(
            Told(
                name=document,
                label=str(row.get("version", row.get("release"))),
                release=row.get("release"),
                at=parse_time(row["date"]) + days[document, row["date"]] * MINUTE,
                content=(DATA / name / row["file"]).read_bytes(),
            )
        )
    return sorted(found, key=lambda t: t.at)


def _probes(history: History, name: str) -> list[Probe]:
    starts = {(t.name, t.label): t.at for t in history.told[name]}
    found = []
    for row in map(json.loads, (DATA / name / "changed_sentences.jsonl").read_text().splitlines()):
        document = f"{name}/{row['doc'].removesuffix('.md')}.md"
        comes = starts[document, str(row["to_v"])]
        common = {"name": document, "cloze": row["masked"]}
        found.append(Probe(sentence=row["old"], at=comes - 1, when="before", **common))
        found.append(Probe(sentence=row["new"], at=comes, when="after", **common))
    return found


def _chunks(places: Sequence[Placed]) -> Counter[tuple[str, str]]:
    return Counter((p.heading, p.text) for p in places)


def _tell(record_property: Callable[[str, object], None], what: str, value: str) -> None:
    record_property(what, value)
    print(f"{what}: {value}")


@lru_cache(maxsize=8192)
def _letters(text: str) -> str:
    """A text as it reads, letters and digits alone: the sentences have lost marks, underscores and line ends."""
    return "".join(c for c in _UNREAD.sub("", text).casefold() if c.isalnum())


def _held(sentence: str, passage: str) -> float:
    """The share of a sentence that stands in a passage, by runs of letters; 1 when all of it does."""
    wanted, there = _letters(sentence), _letters(passage)
    if wanted in there:
        return 1.0
    runs = {wanted[i : i + RUN] for i in range(max(1, len(wanted) - RUN + 1))}
    return sum(run in there for run in runs) / len(runs)


def _holders(sentence: str, places: Sequence[Placed]) -> tuple[float, set[str]]:
    """How much of a sentence the best chunk holds, and which chunks hold as much: a sentence can stand twice."""
    shares = {p.point: _held(sentence, f"{p.heading}\n{p.text}") for p in places}
    best = max(shares.values())
    return best, {point for point, share in shares.items() if share == best}
