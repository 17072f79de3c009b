"""Cycles of a whole platform over real domains: is what was learnt accepted, and do topics keep domains apart?

    python -m benchmarks.cycles --folder runs/cycles
    python -m benchmarks.cycles --folder runs/other --order clinc,clapnq,scifact,climate,tsqa --questions 200

Needs REPRISE_EVAL_DATA. A team that names no slices: the documents and questions of one domain after another come in,
the platform sorts the questions into topics and retrains with its defaults, and what the gate accepts serves. Printed
for each cycle: the verdict; what was gained or lost on each domain's held-out questions (95 % by the paired bootstrap);
how many topics there are, how pure they are (share of questions in a topic that is mostly of their domain), and how
many questions were moved from one topic to another. There is no peer: the figures show whether a refusal was right.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.domains import clinc
from benchmarks.labelled import Labelled, read
from finetune.facts import FIGURES
from finetune.files import read_json
from finetune.metrics import paired_bootstrap
from ingest.incoming import Incoming
from kernel.ids import digest
from kernel.settings import load
from kernel.types import silent
from rehearsal.tables import Example
from ui.platform import Platform
from ui.wiring import Wired

ORDER = ("scifact", "tsqa", "climate", "clinc", "clapnq")
KIND = "retriever"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="the home of the platform; a new one")
    parser.add_argument("--order", default=",".join(ORDER))
    parser.add_argument("--questions", type=int, default=300, help="of each domain")
    parser.add_argument("--texts", type=int, default=2000, help="of each domain, besides those that answer")
    asked = parser.parse_args()
    found = data.folder()
    if found is None:
        raise SystemExit("REPRISE_EVAL_DATA names no folder with evaluation data")
    if asked.folder.exists():
        raise SystemExit(f"{asked.folder} is there already: a sequence begins with an empty platform")
    wired = Wired(load(home=asked.folder, min_free_mb=0))
    try:
        platform, of = Platform(wired), dict[str, str]()
        for name in asked.order.split(","):
            labelled = clinc(found) if name == "clinc" else read(found, name, None)
            if labelled is None:
                raise SystemExit(f"the data holds no {name!r}")
            _bring(platform, name, labelled, asked.questions, asked.texts)
            of |= {e.id: of.get(e.id, name) for e in _examples(platform)}
            print(f"{name}: {_sorted(platform, of)}", flush=True)
            _cycle(platform, of)
    finally:
        wired.close()


def _bring(platform: Platform, name: str, labelled: Labelled, questions: int, texts: int) -> None:
    """Documents of a domain, and questions about them in no slice."""
    asked = sorted(labelled.questions, key=lambda q: digest(q[0]))[:questions]
    needed = {text for q, _ in asked for text in labelled.grades[q]}
    others = sorted((t for t, _ in labelled.texts if t not in needed), key=digest)[:texts]
    wanted = needed | set(others)
    called = {t: f"{name}-{t}.txt".replace("/", "_") for t in wanted}
    done = platform.ingest([
        Incoming(path=called[t], name=called[t], source=called[t], workspace="default", content=text.encode())
        for t, text in labelled.texts
        if t in wanted and text.strip()
    ])  # fmt: skip
    bad = [row for row in done["documents"] if row["status"] not in ("published", "unchanged")]
    assert not bad, bad[:3]
    rows = ({"question": text, "relevant": [{"document": called[t]} for t in labelled.grades[q]]} for q, text in asked)
    platform.import_examples("".join(json.dumps(row) + "\n" for row in rows))


def _sorted(platform: Platform, of: Mapping[str, str]) -> str:
    """Topics after they are found, against the domains."""
    before = {e.id: e.cluster for e in _examples(platform)}
    platform.w.topics.find()
    now = {e.id: e.cluster for e in _examples(platform) if e.id in of}
    counts = Counter((topic, of[e]) for e, topic in now.items())
    pure = sum(max(n for (topic, _), n in counts.items() if topic == one) for one in set(now.values()))
    moved = sum(now[e] != topic for e, topic in before.items() if topic and e in now)
    return f"{len(set(now.values()))} topics, purity {pure / len(now):.2f}, {moved} questions moved"


def _cycle(platform: Platform, of: Mapping[str, str]) -> None:
    started = time.perf_counter()
    ended = platform.w.retrainer.run(platform.request_run(KIND), silent)
    verdict = ended["verdict"]
    word = "accepted" if verdict["accepted"] else f"refused by {', '.join(verdict['refused_by'])}"
    print(f"  {word} in {time.perf_counter() - started:.0f} s; {verdict['reasons'][0]}")
    print(f"  {_by_domain(platform, ended['run'], of)}", flush=True)
    if verdict["accepted"]:
        platform.promote(ended["adapter"])


def _by_domain(platform: Platform, run: str, of: Mapping[str, str]) -> str:
    models: dict[str, dict[str, float]] = read_json(platform.w.runs.folder(run) / FIGURES)["models"]
    now, then = models["challenger"], models.get("champion") or models["base"]
    said = []
    for name in dict.fromkeys(of.values()):
        diff = np.array([now[e] - then[e] for e in sorted(now) if of.get(e) == name and e in then])
        if len(diff):
            mean, low, high = paired_bootstrap(diff, 0)
            said.append(f"{name} {mean:+.3f} ({low:+.3f} to {high:+.3f}, n {len(diff)})")
    return "; ".join(said)


def _examples(platform: Platform) -> list[Any]:
    with platform.w.db.read() as session:
        return session.query(Example).filter_by(status="approved").all()


if __name__ == "__main__":
    main()
