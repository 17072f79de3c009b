"""The gate against bad retrains: 20 with a planted fault must be refused for the right reason, 20 honest ones pass.

    python -m benchmarks.gate --folder runs/gate                          4 seeds x (5 faults + 5 honest runs)
    python -m benchmarks.gate --folder runs/gate --seeds 17 --honest 1    a first look
    python -m benchmarks.gate --folder runs/renewed --renewed             the champion knows half of what is new
    python -m benchmarks.gate --folder runs/gate --table                  only the table of what is there

Needs REPRISE_EVAL_DATA. Every run is a retrain of a real platform: real documents are ingested once, real questions are
its examples, a champion is trained and promoted for each seed, and each run is drawn, trained, evaluated and judged by
the platform itself. Only the training child's work is done in this process, to save the seconds of its start.

    old slices    tsqa (questions about a period, over paragraphs), banking and travel (utterances of 15 intents each)
    new slices    kitchen and work; with `--renewed` the champion has practised half of their questions before
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks import data, faults
from finetune.kinds import Options
from ingest.incoming import Incoming
from kernel.errors import TrainingFailed
from kernel.ids import digest
from kernel.settings import load
from kernel.types import silent
from rehearsal.tables import Example, MixRow
from ui.platform import Platform
from ui.wiring import Wired

OLD, NEW = {"banking": "banking", "travel": "travel"}, {"kitchen": "kitchen_and_dining", "work": "work"}
SHOWN, ASKED, ARTICLES, PARAGRAPHS = 10, 10, 70, 12
"""Of an intent: utterances that are documents, and that are asked. Articles of tsqa, and paragraphs of each at most."""
SEEDS = (17, 23, 42, 71)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="homes and results; what is there is not done again")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="several processes may share the folder")
    parser.add_argument("--honest", type=int, default=5, help="honest runs for each seed")
    parser.add_argument("--renewed", action="store_true", help="in a folder of its own")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if not asked.table:
        found = data.folder()
        if found is None:
            raise SystemExit("REPRISE_EVAL_DATA names no folder with evaluation data")
        for seed in asked.seeds:
            wanted = [*faults.RULES, *(f"honest-{n}" for n in range(asked.honest))]
            _one_seed(found, asked.folder, seed, wanted, renewed=asked.renewed)
    print(table(asked.folder))
    if wrong := failures(asked.folder):
        raise SystemExit(wrong)


# --- running --------------------------------------------------------------------------------------------------


def _one_seed(found: Path, folder: Path, seed: int, wanted: list[str], *, renewed: bool) -> None:
    results = folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    todo = [what for what in wanted if not (results / f"{seed}-{what}.json").exists()]
    if not todo:
        return
    home = _champion_home(found, folder, seed, renewed=renewed)
    with _platform(home) as platform:
        for what in todo:
            started = time.perf_counter()
            result = _one_run(platform, folder, seed, what) | {"seconds": round(time.perf_counter() - started, 1)}
            aside = results / f".{seed}-{what}.tmp"
            aside.write_text(json.dumps(result, indent=1))
            aside.rename(results / f"{seed}-{what}.json")
            print(f"seed {seed} {what}: {_outcome(result)} ({result['seconds']} s)", flush=True)


def _one_run(platform: Platform, folder: Path, seed: int, what: str) -> dict[str, Any]:
    kind, targets = platform.w.kinds["retriever"], _targets(platform)
    plant = {
        "shuffled": lambda run: faults.shuffled(run, seed),
        "slice": lambda run: faults.without(run, _of_slice(platform, "tsqa")),
        "poisoned": lambda run: faults.poisoned(run, targets, faults.bystander(run, targets, seed)),
        "rate": faults.exploding,
        "base": lambda run: faults.stale_base(
            run, faults.another_base(Path(platform.w.embedder.path), folder / "another-base")
        ),
    }.get(what, lambda run: None)
    number = seed if what in faults.RULES else seed * 1000 + int(what.split("-")[1])
    with mock.patch.object(kind, "train", faults.planted(faults.here, plant), create=True):
        run = platform.w.retrainer.request("retriever", _options(platform, number), None)
        try:
            ended = platform.w.retrainer.run(run, silent)
        except TrainingFailed as error:
            return {"what": what, "seed": seed, "accepted": False, "refused_by": [f"failed: {error.code}"]} | {
                "reasons": [error.message]
            }
    verdict = ended["verdict"]
    return {"what": what, "seed": seed} | verdict | {"metrics": ended["metrics"]}


def _options(platform: Platform, seed: int) -> Options:
    """As the platform draws by default, where its controller has no word yet."""
    return Options(policy="mixed", rho=platform.w.settings.rho, seed=seed, recipe={"threads": 1})


# --- a platform with a champion -------------------------------------------------------------------------------


def _champion_home(found: Path, folder: Path, seed: int, *, renewed: bool) -> Path:
    """A home with documents, examples of the old slices, the champion that learnt them, and examples of the new.

    Where those are `renewed`, all questions are taken, and every second of the new slices is the champion's.
    """
    home, aside = folder / f"home-{seed}", folder / f"home-{seed}.tmp"
    if home.is_dir():
        return home
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(_documents_home(found, folder), aside)
    intents, tsqa = _intents(found), _tsqa(found)
    with _platform(aside) as platform, _same_ids(), mock.patch("finetune.retriever.train", faults.here):
        old = tsqa[1] + [row for name in OLD for row in intents[1][name]]
        new = [row for name in NEW for row in intents[1][name]]
        if renewed:
            first, then = (
                old + [row for row in new if _half(row, "known")],
                [row for row in new if not _half(row, "known")],
            )
        else:
            first, then = _sample(old, seed), _sample(new, seed)
        platform.import_examples(_lines(first))
        champion = platform.w.retrainer.run(
            platform.w.retrainer.request("retriever", _options(platform, seed), None), silent
        )
        print(f"seed {seed} champion: {_outcome(champion['verdict'])}", flush=True)
        platform.promote(champion["adapter"], "the benchmark's champion")
        platform.import_examples(_lines(then))
    aside.rename(home)
    return home


def _documents_home(found: Path, folder: Path) -> Path:
    home, aside = folder / "home-documents", folder / f"home-documents-{os.getpid()}.tmp"
    if not home.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
        texts = _tsqa(found)[0] | _intents(found)[0]
        files = [
            Incoming(path=name, name=name, source=name, workspace="default", content=text.encode())
            for name, text in texts.items()
        ]
        with _platform(aside) as platform, _same_ids():
            done = platform.ingest(files)
            assert all(row["status"] == "published" for row in done["documents"]), done["documents"][:3]
        with suppress(OSError):  # another process was quicker
            aside.rename(home)
        shutil.rmtree(aside, ignore_errors=True)
    return home


@contextmanager
def _same_ids() -> Iterator[None]:
    """Ids of documents and examples, which order rows and passages, are the same in every repeat of the benchmark."""
    numbers = count()

    def fresh(prefix: str) -> str:
        return f"{prefix}-{digest(f'{prefix} {next(numbers)}')[:12]}"

    with mock.patch("ingest.wave.fresh", fresh), mock.patch("rehearsal.examples.fresh", fresh):
        yield


@contextmanager
def _platform(home: Path) -> Iterator[Platform]:
    wired = Wired(load(home=home, min_free_mb=0))
    try:
        yield Platform(wired)
    finally:
        wired.close()


Texts = dict[str, str]
Rows = list[dict[str, Any]]


def _intents(found: Path) -> tuple[Texts, dict[str, Rows]]:
    """Utterances as documents, and others that ask for them, by slice."""
    said: dict[str, list[str]] = {}
    for utterance, intent in json.loads((found / "clinc150" / "data_full.json").read_text())["train"]:
        said.setdefault(intent, []).append(utterance)
    domains = json.loads((found / "clinc150" / "domains.json").read_text())
    texts: Texts = {}
    rows: dict[str, Rows] = {}
    for name, domain in (OLD | NEW).items():
        for intent in domains[domain]:
            shown = {f"{intent}-{n}.txt": text for n, text in enumerate(said[intent][:SHOWN])}
            texts |= shown
            relevant = [{"document": document} for document in shown]
            rows.setdefault(name, []).extend(
                {"question": text, "relevant": relevant, "slice": name}
                for text in said[intent][SHOWN : SHOWN + 2 * ASKED]
            )
    return texts, rows


def _tsqa(found: Path) -> tuple[Texts, Rows]:
    """Paragraphs as documents, and questions about a period."""
    asked = [row for row in data.jsonl(found / "tsqa" / "questions.train.jsonl") if row["gold_paras"]]
    articles = sorted(data.jsonl(found / "tsqa" / "docs.train.jsonl"), key=lambda row: digest(row["_id"]))[:ARTICLES]
    texts: Texts = {}
    rows: Rows = []
    for article in articles:
        ours = [row for row in asked if row["doc"] == article["_id"]]
        gold = {n for row in ours for n in row["gold_paras"]}
        others = [n for n in range(len(article["paras"])) if n not in gold][: max(0, PARAGRAPHS - len(gold))]
        names = {n: f"{digest(article['_id'])[:12]}-{n}.txt" for n in (*gold, *others) if article["paras"][n].strip()}
        texts |= {name: f"{article['title']}: {article['paras'][n]}" for n, name in names.items()}
        rows += [
            {"question": row["question"], "relevant": [{"document": names[n]} for n in row["gold_paras"] if n in names]}
            for row in ours
        ]
    return texts, [row | {"slice": "tsqa"} for row in rows if row["relevant"]]


def _sample(rows: Rows, seed: int) -> Rows:
    """Half of the intents' questions, others for each seed, and all of tsqa."""
    return [row for row in rows if row["slice"] == "tsqa" or _half(row, seed)]


def _half(row: dict[str, Any], seed: object) -> bool:
    return bool(int(digest(f"{seed}{row['question']}")[:8], 16) % 2)


def _of_slice(platform: Platform, name: str) -> set[str]:
    return {e["example"] for e in platform.examples() if e["slice"] == name}


def _targets(platform: Platform) -> set[str]:
    """What is practised of a whole new slice: a file that came in with one document named in all of its rows."""
    champions = platform.w.registry.lineage("retriever")
    with platform.w.db.read() as session:
        known = {row.example for row in session.query(MixRow).filter(MixRow.run.in_(champions))}
        ours = session.query(Example).filter(Example.slice == "work", Example.split == "train")
        return {e.id for e in ours if e.id not in known}


def _lines(rows: Rows) -> str:
    """One question in four is held out, by a hash of its words: by its ten passages nearly every one would be."""
    sides = ["held-out" if int(digest(row["question"])[:8], 16) % 4 == 0 else "train" for row in rows]
    return "".join(json.dumps(row | {"split": side}) + "\n" for row, side in zip(rows, sides, strict=True))


# --- telling --------------------------------------------------------------------------------------------------


def failures(folder: Path) -> str | None:
    """What the gate has got wrong: a fault that it let pass, or more honest runs refused than one of twenty."""
    found = _results(folder)
    passed = [f"seed {r['seed']} {r['what']}" for r in found if r["what"] in faults.RULES and r["accepted"]]
    honest = [r for r in found if r["what"] not in faults.RULES]
    refused = sum(not r["accepted"] for r in honest)
    said = [f"let pass: {', '.join(passed)}"] if passed else []
    if refused > max(1, len(honest) // 20):
        said.append(f"{refused} of {len(honest)} honest runs were refused")
    return "; ".join(said) or None


def table(folder: Path) -> str:
    """What is there, as Markdown: refused, and for the right reason, by fault."""
    found = _results(folder)
    lines = ["| planted | runs | refused | for the right reason | rules that refused |", "|---|---|---|---|---|"]
    for name, rules in {**faults.RULES, "honest": ()}.items():
        some = [r for r in found if r["what"].split("-")[0] == name]
        refused = [r for r in some if not r["accepted"]]
        right = [
            r
            for r in refused
            if {*rules} & {*r["refused_by"]} or (name == "rate" and "failed: diverged" in r["refused_by"])
        ]
        by = sorted({rule for r in refused for rule in r["refused_by"]})
        told = f"{len(right)} ({' or '.join(rules)})" if rules else ""
        lines.append(f"| {name} | {len(some)} | {len(refused)} | {told} | {', '.join(by)} |")
    seconds = sorted(r["seconds"] for r in found)
    if seconds:
        lines += ["", f"{len(found)} runs; a run took {seconds[len(seconds) // 2]:.0f} s (median)."]
    return "\n".join(lines)


def _results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((folder / "results").glob("*.json"))]


def _outcome(verdict: dict[str, Any]) -> str:
    word = "accepted" if verdict["accepted"] else f"refused by {', '.join(verdict['refused_by'])}"
    return f"{word}; {verdict['reasons'][0]}"


if __name__ == "__main__":
    main()
