"""What people complain about most in systems like this one, each complaint as a promise.

The complaints that are not here have files of their own: stuck jobs and their progress, updates and deletes, folders
that are followed, another embedder.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ingest.incoming import Incoming
from ingest.tables import Embedding
from ingest.wave import Item
from tests.doors import LIBRARY, written
from tests.house import House, WordEmbedder, incoming, page

pytestmark = pytest.mark.integration

IMPRINT = "## Imprint\n\nExample Ltd, 1 Harbour Road. Registered in the register of the harbour town."


class Counting(WordEmbedder):
    """Notes every text that is embedded as a document."""

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        self.embedded += texts
        return super().embed_documents(texts, progress)


def letter(number: int) -> str:
    """A page with a section of its own and one that all have."""
    return f"## Letter {number}\n\nDear number {number}, this is for you.\n\n{IMPRINT}\n"


# --- a re-upload makes duplicates -----------------------------------------------------------------------


def test_row_02_the_same_file_again_makes_no_duplicate(quick_folder: Path) -> None:
    with House(quick_folder / "home") as house:
        first = house.put("handbook.md", page("Handbook", {"Food": "Lunch is at noon."}))
        before = house.counts()
        for _ in range(3):
            again = house.put("handbook.md", page("Handbook", {"Food": "Lunch is at noon."}))
            assert (again["status"], again["document"], again["version"]) == ("unchanged", first["document"], 1)
        assert house.counts() == before
        found = house.search.search("When is lunch?", 10).passages
        assert [p.text for p in found] == ["Lunch is at noon."]


def test_row_02_the_same_file_from_many_hands_at_once_makes_no_duplicate(quick_folder: Path) -> None:
    text = page("Handbook", {"Food": "Lunch is at noon.", "Sleep": "Nobody sleeps here."})
    with House(quick_folder / "home") as house, ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda _: house.put("handbook.md", text), range(8)))
        assert sorted(row["status"] for row in rows) == ["published"] + ["unchanged"] * 7
        counts = house.counts()
        assert (counts["documents"], counts["versions"], counts["chunks"], counts["points"]) == (1, 1, 2, 2)


def test_row_02_the_same_file_by_another_name_is_reported_and_kept(quick_folder: Path) -> None:
    text = page("Handbook", {"Food": "Lunch is at noon.", "Sleep": "Nobody sleeps here."})
    with House(quick_folder / "home") as house:
        house.put("handbook.md", text)
        other = house.put("copy of handbook.md", text)
        assert (other["status"], other["version"]) == ("published", 1)
        house.put("menu.md", page("Menu", {"Monday": "Soup and bread."}))
        (group,) = house.near.duplicates("default")
        assert (group["kind"], group["similarity"]) == ("same bytes", 1.0)
        assert [d["name"] for d in group["documents"]] == ["copy of handbook.md", "handbook.md"]
        house.delete.delete("copy of handbook.md")
        assert house.near.duplicates("default") == []
        assert house.library.original("handbook.md")[2] == text.encode()


# --- slow ingestion on modest hardware --------------------------------------------------------------------


def test_row_14_a_text_that_many_documents_share_is_embedded_once(quick_folder: Path) -> None:
    embedder = Counting()
    with House(quick_folder / "home", embedder=embedder) as house:
        rows = house.ingest.add([incoming(f"{n}.md", letter(n)) for n in range(20)])["documents"]
        assert {(row["status"], row["chunks_new"]) for row in rows} == {("published", 2)}
        assert len(embedder.embedded) == len(set(embedder.embedded)) == 21
        assert house.index.count() == 40  # each document has a point of its own all the same
    embedder.embedded.clear()
    with House(quick_folder / "home", embedder=embedder) as house:  # after a start too
        house.put("late.md", letter(99))
        house.put("edited.md", f"{letter(98)}\n## More\n\nOne more thing.")
        assert [text.split("\n")[0] for text in embedder.embedded] == ["Letter 99", "Letter 98", "More"]
        found = house.search.search("Example Ltd, Harbour Road", 100).passages
        assert len({p.document for p in found if p.heading == "Imprint"}) == 22


def test_row_14_an_old_text_that_comes_back_is_not_embedded_again(quick_folder: Path) -> None:
    embedder = Counting()
    old, new = page("Hours", {"Open": "From nine to five."}), page("Hours", {"Open": "From ten to six."})
    with House(quick_folder / "home", embedder=embedder) as house:
        for text in (old, new, old, new, old):
            assert house.put("hours.md", text)["status"] == "published"
        assert len(embedder.embedded) == 2
        house.delete.delete("hours.md")
        assert house.rows(Embedding) == 0  # a vector says something of its text: it goes with the last that has it
        house.put("hours.md", old)
        assert len(embedder.embedded) == 3


# --- memory blow-up on many files ---------------------------------------------------------------------------


def test_row_15_of_many_files_only_a_few_are_in_hand_at_a_time(quick_folder: Path) -> None:
    most = 0

    def files() -> Iterator[Incoming]:
        nonlocal most
        for number in range(300):
            if number % 10 == 9:
                alive = sum(type(thing) is Item for thing in gc.get_objects())
                most = max(most, alive)
            yield incoming(f"{number}.md", letter(number))

    with House(quick_folder / "home") as house:
        rows = house.ingest.add(files())["documents"]
        assert [row["status"] for row in rows] == ["published"] * 300
    assert 0 < most <= 200  # three batches: just published, gathered, being read


MANY, FEW, BYTES = 1200, 300, 100_000
LEAST_IF_HELD = (MANY - FEW) * BYTES


def _grow(home: Path) -> tuple[int, int]:
    """Ingest 300 files, then 900 more; the bytes that this process had at most after each."""
    blank = b"\n" * BYTES
    peaks = []
    with House(home) as house:
        for some in (range(FEW), range(FEW, MANY)):
            house.ingest.add(incoming(f"{n}.txt", b"Letter %d%bto all." % (n, blank)) for n in some)
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        assert house.counts()["documents"] == MANY
    return peaks[0], peaks[1]


def test_row_15_memory_does_not_grow_with_the_number_of_files(
    quick_folder: Path, record_property: Callable[[str, object], None]
) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        few, many = pool.submit(_grow, quick_folder / "home").result()
    record_property("MiB after 300 and 1,200 files", (few / 2**20, many / 2**20))
    print(f"{few / 2**20:.0f} MiB after {FEW} files, {many / 2**20:.0f} MiB after {MANY}")
    assert many - few < LEAST_IF_HELD / 2


# --- offline, really ---------------------------------------------------------------------------------------

_OFFLINE = """
import json, sys
from pathlib import Path

tried = []
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        tried.append([event, repr(arguments[1:])])
        raise OSError("the network is down")
sys.addaudithook(refuse)

from ingest import sources
from kernel.settings import load
from ui.platform import Platform
from ui.wiring import Wired

home, library = map(Path, sys.argv[1:])
wired = Wired(load(home=home, min_free_mb=0))
platform = Platform(wired)
rows = platform.ingest(sources.read([str(library)], workspace="default"))["documents"]
shown = platform.ask("Within how many days can a parcel be sent back?")
print(json.dumps({"statuses": sorted(row["status"] for row in rows), "shown": shown, "tried": tried}))
wired.close()
"""


def _cut() -> list[str]:
    """What starts a process without any network, if this user may."""
    cut = ["unshare", "--user", "--map-root-user", "--net"]
    try:
        return cut if subprocess.run([*cut, "true"], capture_output=True).returncode == 0 else []
    except FileNotFoundError:
        return []


def test_row_17_offline_it_works_and_does_not_even_try_to_get_out(tmp_path: Path) -> None:
    """Somebody who never was online: no network, no cache of any hub, nothing in the environment says `offline`."""
    nobody = tmp_path / "nobody"
    nobody.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("REPRISE_", "HF_", "TRANSFORMERS_", "XDG_"))}
    library = written(tmp_path / "library", dict(LIBRARY))
    done = subprocess.run(
        [*_cut(), sys.executable, "-c", _OFFLINE, str(tmp_path / "home"), str(library)],
        env=kept | {"HOME": str(nobody)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["statuses"] == ["published"] * len(LIBRARY)
    assert not told["shown"]["abstained"]
    assert "30 days" in told["shown"]["answer"]
    assert told["tried"] == []
