"""What a mix practises after documents changed: rows that state a superseded fact, by the index and by a plain buffer.

    python -m benchmarks.rehearsal_versions [--sets versions_basecamp_policies,...] [--seeds 5]

Real histories are published version by version. While a version is live, its sentences become examples: those that a
later version will change, and as many that stay; half of them with their quote, half as answers to the whole document.
At the end every policy draws mixes from the index, and a buffer that remembers everything it ever saw (reservoir
sampling, as replay buffers do) draws as many rows. Whether a row states a superseded fact is decided from the files
alone: its sentence stands in no newest file. Ends with an error if a row of a mix does.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import data
from benchmarks.figures import wilson
from ingest.incoming import Incoming
from kernel.ids import digest, parse_time
from kernel.settings import load
from rehearsal.policies import POLICIES
from rehearsal.tables import Example
from ui.platform import Platform
from ui.wiring import Wired

SETS = ("versions_basecamp_policies", "versions_httpx_docs")
RHO = 0.2
_NEW = 20
"""Questions on the newest versions that are learnt while the others are recalled."""


class History:
    """A folder of real versions: files in order of their dates, and the sentences that changed between them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.versions = data.jsonl(folder / "versions.jsonl")
        self.changed = [row for row in data.jsonl(folder / "changed_sentences.jsonl") if len(row["old"]) > 40]

    def text(self, version: dict[str, Any]) -> str:
        return (self._folder / version["file"]).read_text()

    def newest(self) -> dict[str, str]:
        """The text of each document as it stands at the end."""
        return {version["doc"]: self.text(version) for version in self.in_order()}

    def in_order(self) -> Iterator[dict[str, Any]]:
        yield from sorted(self.versions, key=lambda v: (v["date"], v["doc"]))


def fill(platform: Platform, history: History, workspace: str) -> dict[str, int]:
    """Publish every version, and make examples of its sentences while it is live; how many of which kind."""
    rng, told = random.Random(0), {"versions": 0, "examples": 0}
    for nth, version in enumerate(history.in_order()):
        text, doc = history.text(version), version["doc"]
        name = doc if doc.endswith(".md") else f"{doc}.md"
        file = Incoming(
            path=name,
            name=name,
            source=f"benchmark:{name}",
            workspace=workspace,
            content=text.encode(),
            at=parse_time(version["date"]) + nth,
        )
        (done,) = platform.ingest([file])["documents"]
        told["versions"] += done["status"] == "published"
        label = version.get("version") or version["release"]
        changing = [row["old"] for row in history.changed if row["doc"] == doc and row["from_v"] == label]
        said = _plain(platform.text(done["document"])["text"])
        leaving = [s for s in changing if _plain(s) in said]  # the list has marks of code that no text has
        standing = [line.strip() for line in text.splitlines() if 60 < len(line.strip()) < 300 and line[0].isalpha()]
        rows = [*leaving, *rng.sample(standing, min(len(standing), len(leaving) + 2))]
        told["examples"] += _remember(platform, name, rows, workspace)
    return told


def _remember(platform: Platform, name: str, sentences: Sequence[str], workspace: str) -> int:
    """Every other one is quoted; the rest are answers that stand on the document as a whole."""
    lines = [
        {"question": f"What does {name} say about: {' '.join(s.split()[:9])}?", "answer": s, "document": name}
        | ({"quote": s} if int(digest(s)[:8], 16) % 2 else {})
        for s in dict.fromkeys(sentences)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    return int(platform.import_examples(content, "history", workspace)["imported"])


def states(wired: Wired, workspace: str) -> dict[str, str]:
    """What every example of the workspace states: its answer, whatever became of it since."""
    with wired.db.read() as session:
        rows = session.query(Example.id, Example.answer)
        return dict(rows.filter(Example.workspace == workspace, Example.split == "train").all())


def measure(folder: Path, seeds: int) -> int:
    """Prints the figures of one history; how many superseded rows a policy drew."""
    history = History(folder)
    with tempfile.TemporaryDirectory() as home:
        wired = Wired(load(home=Path(home)))
        try:
            platform = Platform(wired)
            told = fill(platform, history, "w")
            stated = states(wired, "w")
            newest = "\n".join(map(_plain, history.newest().values()))
            false = {e for e, said in stated.items() if _plain(said) not in newest}
            print(
                f"\n{folder.name}: {told['versions']} versions published, {told['examples']} examples made, of "
                f"{len(stated)} to practise {len(false)} state what no newest file says"
            )
            drawn_whole = wired.mixer.draw(
                kind="retriever", policy="random", rho=0.0, seed=0, workspace="w", practised=set()
            )
            standing, ever = sorted(row.example for row in drawn_whole.rows), sorted(stated)
            print(f"  {len(standing)} of them may still be practised; left out: {drawn_whole.excluded}")
            new = set(random.Random(1).sample(standing, min(_NEW, len(standing) // 4)))
            wrong = 0
            for policy in sorted(POLICIES):
                rows: list[str] = []
                for seed in range(seeds):
                    mix = wired.mixer.draw(
                        kind="retriever", policy=policy, rho=0.5, seed=seed, workspace="w", practised=set(ever) - new
                    )
                    rows += [row.example for row in mix.rows]
                wrong += sum(r in false for r in rows)
                print(f"  {policy:15} superseded rows {wilson(sum(r in false for r in rows), len(rows))}")
            size = max(1, len(rows) // seeds)
            drawn = [e for seed in range(seeds) for e in random.Random(seed).sample(ever, min(size, len(ever)))]
            share = [e in false for e in drawn]
            print(f"  {'random buffer':15} superseded rows {wilson(sum(share), len(share))}")
            print(f"  difference: {100 * fmean(share):.1f} points of every mix")
            return wrong
        finally:
            wired.close()


def _plain(text: str) -> str:
    return " ".join(text.split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    found = data.folder()
    if found is None:
        raise SystemExit("set REPRISE_EVAL_DATA to the folder of the evaluation data")
    wrong = sum(measure(found / name, given.seeds) for name in given.sets.split(","))
    if wrong:
        raise SystemExit(f"{wrong} rows of mixes state a superseded fact")


if __name__ == "__main__":
    main()
