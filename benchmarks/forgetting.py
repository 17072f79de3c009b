"""What rehearsal keeps: sequences of domains learnt one after another, by policy and share, against joint training.

    python -m benchmarks.forgetting --folder runs/forgetting                 both parts; goes on where it stopped
    python -m benchmarks.forgetting --folder runs/forgetting --part nine     3 seeds x 3 orders of five domains
    python -m benchmarks.forgetting --folder runs/forgetting --part nine --rho .3 --policies none,random,mixed
    python -m benchmarks.forgetting --folder runs/forgetting --part grid     every policy and share, two domains, a seed
    python -m benchmarks.forgetting --folder runs/forgetting --table FILE    the tables of what is there, as Markdown

Needs REPRISE_EVAL_DATA. It runs for hours; every retrain is kept in the folder as soon as it is done.

    AvgAcc   mean nDCG@10 over all domains after the last one
    BWT      mean over the earlier domains of what is left, minus what was reached right after learning them
    new      mean over the steps after the first of what is reached on the domain just learnt
    FWT      mean over the steps of what a domain gained, against the base model, before it was learnt
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.domains import domain
from benchmarks.sequence import JOINT, NONE, Bench, Cell, seen
from finetune import matrix
from finetune.metrics import paired_bootstrap

DOMAINS = ("scifact", "tsqa", "climate", "clinc", "xquad-es")
ORDERS = (
    ("scifact", "tsqa", "climate", "clinc", "xquad-es"),
    ("clinc", "xquad-es", "scifact", "climate", "tsqa"),
    ("tsqa", "clinc", "xquad-es", "scifact", "climate"),
)
SEEDS = (17, 23, 42)
COMPARED = (NONE, "random", "stratified", "mixed", JOINT)
RHO = 0.2
PAIR = ("tsqa", "scifact")
POLICIES = ("random", "stratified", "balanced", "near", "far", "mir", "surprise", "due", "mixed")
SHARES = (0.05, 0.1, 0.2, 0.5)
OLD_LOSS, NEW_LOSS = 0.015, 0.005
"""What the default may lose on old domains, and give up on the new one against no rehearsal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything a worker process needs to make a `Bench` of its own."""

    folder: Path
    train: int
    held_out: int
    recipe: tuple[tuple[str, Any], ...]


def nine(policies: Sequence[str] = COMPARED, rho: float = RHO) -> list[Cell]:
    return [
        Cell(order=order, policy=policy, rho=rho if policy not in (NONE, JOINT) else 0.0, seed=seed)
        for seed in SEEDS
        for order in ORDERS
        for policy in policies
    ]


def grid(policies: Sequence[str] = POLICIES) -> list[Cell]:
    ends = [Cell(order=PAIR, policy=policy, rho=0.0, seed=SEEDS[0]) for policy in (NONE, JOINT)]
    return ends + [Cell(order=PAIR, policy=p, rho=rho, seed=SEEDS[0]) for p in policies for rho in SHARES]


# --- running ------------------------------------------------------------------------------------

_bench: Bench | None = None


def _begin(setting: Setting) -> None:
    global _bench
    from kernel.embedder import SentenceTransformerEmbedder
    from kernel.settings import DEFAULT_EMBEDDER

    found = data.folder()
    if found is None:
        raise SystemExit("set REPRISE_EVAL_DATA to the folder of the evaluation data")
    setting.folder.mkdir(parents=True, exist_ok=True)
    embedder = SentenceTransformerEmbedder(DEFAULT_EMBEDDER)

    def embed(texts: list[str], documents: bool) -> np.ndarray:
        return embedder.embed_documents(texts) if documents else embedder.embed_queries(texts)

    domains = [
        domain(found, name, setting.folder, embed, train=setting.train, held_out=setting.held_out) for name in DOMAINS
    ]
    _bench = Bench(domains, embedder.path, setting.folder, dict(setting.recipe))


def bench(setting: Setting) -> Bench:
    """The bench of this process."""
    if _bench is None:
        _begin(setting)
    assert _bench is not None
    return _bench


def _first(cell: Cell) -> None:
    assert _bench is not None
    _bench.first(cell)


def _whole(cell: Cell) -> Cell:
    assert _bench is not None
    _bench.run(cell)
    return cell


def run(setting: Setting, cells: Sequence[Cell], jobs: int) -> None:
    """Run what is not there yet. Steps that cells share come first, so that no two processes do the same."""
    bench(setting).base()
    firsts = {(c.order[0], c.seed): c for c in cells if c.policy != JOINT}
    joints = {(tuple(sorted(c.order)), c.seed): c for c in cells if c.policy == JOINT}
    with ProcessPoolExecutor(jobs, initializer=_begin, initargs=(setting,)) as pool:
        list(pool.map(_first, firsts.values()))
        todo = [*joints.values(), *(c for c in cells if c.policy != JOINT)]
        for n, cell in enumerate(pool.map(_whole, todo), 1):
            print(f"{n}/{len(todo)} {cell.policy} rho {cell.rho:g} seed {cell.seed} {'>'.join(cell.order)}", flush=True)


# --- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a cell came to; nDCG@10 as a share, `cpu` in seconds of training and drawing."""

    average: float
    backward: float
    new: float
    forward: float
    cpu: float
    rows: int


def figures(found: Bench, cell: Cell, only: Callable[[str], bool] = lambda _id: True) -> Figures:
    """Read a cell that was run, by the held-out questions that `only` lets through."""
    records = found.run(cell)
    base = found.base()["scores"]
    R = np.array([[_mean(record["scores"][name], only) for name in cell.order] for record in records])
    start = [_mean(base[name], only) for name in cell.order]
    cost = sum(sum(record["cost"].values()) for record in records)
    rows = sum(record["mix"]["new"] + record["mix"]["recalled"] for record in records)
    if cell.policy == JOINT:
        none = float("nan")
        average = matrix.average_accuracy(R)
        return Figures(average=average, backward=none, new=none, forward=none, cpu=cost, rows=rows)
    return Figures(
        average=matrix.average_accuracy(R),
        backward=matrix.backward_transfer(R),
        new=fmean(R[n, n] for n in range(1, len(R))),
        forward=matrix.forward_transfer(R, start),
        cpu=cost,
        rows=rows,
    )


def table_nine(found: Bench, policies: Iterable[str], rho: float = RHO) -> str:
    """Means over seeds and orders, with the spread of the nine runs, and the default against random."""
    known = seen(list(found.domains.values()))
    lines = [
        "| policy | AvgAcc | BWT | new | FWT | BWT, seen | BWT, unseen | AvgAcc, unseen | rows | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    base = found.base()["scores"]
    start = fmean(_mean(base[name]) for name in DOMAINS)
    unseen = fmean(_mean(base[name], lambda q: q not in known) for name in DOMAINS)
    lines.append(f"| base model | {_points(start)} | | | | | | {_points(unseen)} | | |")
    by: dict[str, list[Figures]] = {}
    for policy in policies:
        cells = nine([policy], rho)
        by[policy] = [figures(found, cell) for cell in cells]
        on = [figures(found, cell, lambda q: q in known) for cell in cells]
        off = [figures(found, cell, lambda q: q not in known) for cell in cells]
        some = by[policy]
        lines.append(
            f"| {policy} | {_spread([f.average for f in some])} | {_spread([f.backward for f in some])} "
            f"| {_spread([f.new for f in some])} | {_spread([f.forward for f in some])} "
            f"| {_spread([f.backward for f in on])} | {_spread([f.backward for f in off])} "
            f"| {_spread([f.average for f in off])} | {fmean(f.rows for f in some):.0f} "
            f"| {fmean(f.cpu for f in some):.0f} |"
        )
    lines += ["", "Differences over the nine runs (mean, 95 % by the paired bootstrap), in points of nDCG@10:", ""]
    for a, b in (
        ("mixed", "random"),
        ("mixed", "stratified"),
        ("stratified", "random"),
        ("mixed", NONE),
        ("random", NONE),
    ):
        if a in by and b in by:
            parts = []
            for name in ("average", "backward", "new"):
                parts.append(
                    f"{name} {_difference([getattr(f, name) for f in by[a]], [getattr(f, name) for f in by[b]])}"
                )
            lines.append(f"- {a} minus {b}: {'; '.join(parts)}")
    if "mixed" in by and NONE in by:
        lost = -fmean(f.backward for f in by["mixed"])
        given = fmean(f.new for f in by[NONE]) - fmean(f.new for f in by["mixed"])
        lines.append(
            f"- mixed loses {100 * lost:.2f} points on old domains (aim: at most {100 * OLD_LOSS:.1f}) and gives up "
            f"{100 * given:.2f} on the new one (aim: at most {100 * NEW_LOSS:.1f})"
        )
    return "\n".join(lines)


def table_grid(found: Bench, policies: Sequence[str]) -> str:
    """Each policy by its share: what is kept of the old domain, and what the new one reaches."""
    old, new = PAIR
    ends = {policy: found.run(Cell(order=PAIR, policy=policy, rho=0.0, seed=SEEDS[0])) for policy in (NONE, JOINT)}
    first, last = ends[NONE]
    lines = [
        f"{old}: base {_points(_mean(found.base()['scores'][old]))}, after learning it "
        f"{_points(_mean(first['scores'][old]))}; without rehearsal {_points(_mean(last['scores'][old]))}; "
        f"joint {_points(_mean(ends[JOINT][0]['scores'][old]))}.  ",
        f"{new}: base {_points(_mean(found.base()['scores'][new]))}; without rehearsal "
        f"{_points(_mean(last['scores'][new]))}; joint {_points(_mean(ends[JOINT][0]['scores'][new]))}.",
        "",
        f"| policy | {' | '.join(f'rho {rho:g}' for rho in SHARES)} |",
        "|---|" + "---|" * len(SHARES),
    ]
    for policy in policies:
        shown = []
        for rho in SHARES:
            end = found.run(Cell(order=PAIR, policy=policy, rho=rho, seed=SEEDS[0]))[-1]["scores"]
            kept = _mean(end[old]) - _mean(first["scores"][old])
            shown.append(f"{100 * kept:+.1f} / {_points(_mean(end[new]))}")
        lines.append(f"| {policy} | {' | '.join(shown)} |")
    lines += ["", f"Each cell: points kept (+) or lost (-) on {old} against before / nDCG@10 on {new}."]
    return "\n".join(lines)


def _mean(scores: dict[str, float], only: Callable[[str], bool] = lambda _id: True) -> float:
    return fmean(value for asked, value in scores.items() if only(asked))


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _spread(values: Sequence[float]) -> str:
    if np.isnan(values).any():
        return ""
    return f"{100 * fmean(values):+.2f} ± {100 * float(np.std(values, ddof=1)):.2f}".replace(
        "+", "", fmean(values) > 0.2
    )


def _difference(a: Sequence[float], b: Sequence[float]) -> str:
    mean, low, high = paired_bootstrap(np.array(a) - np.array(b), seed=0)
    return f"{100 * mean:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--part", choices=("nine", "grid", "both"), default="both")
    parser.add_argument("--rho", type=float, default=RHO, help="replay ratio of the nine")
    parser.add_argument("--policies", help="comma-separated; all by default")
    parser.add_argument("--train", type=int, default=300, help="questions to practise, of each domain at most")
    parser.add_argument("--held-out", type=int, default=200, help="questions held out, of each domain at most")
    parser.add_argument("--recipe", default="", help="settings that differ from the default, name=value, ...")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2)))
    parser.add_argument("--table", action="store_true", help="print the tables of what is there, and run nothing")
    given = parser.parse_args()
    recipe = tuple(sorted({"threads": 1, **data.settings(given.recipe)}.items()))
    setting = Setting(folder=given.folder, train=given.train, held_out=given.held_out, recipe=recipe)
    policies = given.policies.split(",") if given.policies else None
    parts = ("nine", "grid") if given.part == "both" else (given.part,)
    if not given.table:
        cells = nine(policies or COMPARED, given.rho) if "nine" in parts else []
        run(setting, cells + (grid(policies or POLICIES) if "grid" in parts else []), given.jobs)
    found = bench(setting)
    if "nine" in parts:
        print("\n" + table_nine(found, policies or COMPARED, given.rho))
    if "grid" in parts:
        print("\n" + table_grid(found, policies or POLICIES))


if __name__ == "__main__":
    main()
