"""What a generator adapter forgets when domains are learnt one after another, with rehearsal and without.

    python -m benchmarks.forgetting_generator --folder runs/forgetting-generator
    python -m benchmarks.forgetting_generator --folder ... --model FOLDER --data public --rows 400 --epochs 1 --seeds 5
    python -m benchmarks.forgetting_generator --folder ... --table       what is there, and run nothing

`answered` has the domains. Rows are what is served: the prompt of the platform, one passage, the cited answer. Training
is the child's own code in this process, from the adapter of the domain before, at half its rate.
Without a model a random one of about 100,000 weights is built that reads the words of the rows.

    none        the new domain alone             control     the same steps as with rehearsal, on the new domain alone
    random      and a share rho of old rows      joint       all domains at once, the peer
    mixed       as many, by the default policy   base        nothing was trained

Figures of held-out rows: the negative log-likelihood per token of the right answer (nats), and the share of answers
that greedy decoding would write to the letter, marks and end included; of the refusals that is the share that is
refused. Both come from one pass over the right answer, so nothing is sampled. Every training is kept in the folder as
soon as it is done; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.answered import MADE, Domain, domains, fitted, reader
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.rows import RunConfig, TrainRow, write_config, write_rows
from finetune.metrics import paired_bootstrap
from kernel.ids import canonical, digest
from rehearsal.policies import POLICIES, Candidate, NewExamples, n_old

NONE, CONTROL, JOINT = "none", "control", "joint"
COMPARED = (NONE, "random", "mixed", CONTROL)
PAIRS = (("random", NONE), ("mixed", NONE), ("mixed", CONTROL), ("mixed", "random"))
_NLL, _EXACT = 0, 1

Figures = Mapping[str, Mapping[str, Sequence[float]]]
"""Domain to held-out example to (NLL per token, 1 where greedy decoding writes it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything that figures depend on, but for the domains and the seed."""

    model: str
    rho: float
    rate: float
    recipe: Mapping[str, Any]


class Bench:
    """Sequences of trainings over domains, in their order; what was trained before is read."""

    def __init__(self, domains: Sequence[Domain], setting: Setting, folder: Path, *, train: bool = True) -> None:
        """Without `train` what was not trained yet is a `LookupError`."""
        self.domains, self.setting, self._folder, self._trains = list(domains), setting, folder, train
        self._vectors: dict[str, np.ndarray] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def base(self) -> Figures:
        """Of the model without an adapter."""
        file = self._folder / f"base-{self._digest({})}.json"
        if not file.exists():
            _write(file, self._score(None))
        return json.loads(file.read_text())  # type: ignore[no-any-return]

    def run(self, policy: str, seed: int) -> list[dict[str, Any]]:
        """The record of each training, in order: `figures`, `rows`, `recalled`, `seconds`, `folder`."""
        if policy == JOINT:
            return [self._step([row for d in self.domains for row in d.train], [], None, {"joint": True}, seed)]
        records: list[dict[str, Any]] = []
        for n, domain in enumerate(self.domains):
            parent = Path(records[-1]["folder"]) / "adapter" if records else None
            recalled = self._recalled(policy, n, seed)
            told = {"policy": policy if n else "", "done": [d.name for d in self.domains[: n + 1]]}
            records.append(self._step(domain.train, recalled, parent, told, seed))
        return records

    # --- one training ----------------------------------------------------------------------------

    def _recalled(self, policy: str, n: int, seed: int) -> list[TrainRow]:
        new, old = self.domains[n].train, [row for d in self.domains[:n] for row in d.train]
        if policy == NONE or not old:
            return []
        wanted = n_old(len(new), self.setting.rho)
        if policy == CONTROL:
            return random.Random(f"control:{seed}").sample(new, min(wanted, len(new)))
        slices = {row.example: d.name for d in self.domains for row in d.train}
        fresh = NewExamples(examples=tuple(row.example for row in new), vectors=self._likeness(self.domains[n]))
        vectors = np.concatenate([self._likeness(d) for d in self.domains[:n]])
        candidates = [
            Candidate(example=row.example, slice=slices[row.example], vector=vector)
            for row, vector in zip(old, vectors, strict=True)
        ]
        by_id = {row.example: row for row in old}
        picks = POLICIES[policy](candidates, fresh, min(wanted, len(old)), seed + n)
        return [replace(by_id[pick.example], part="recalled") for pick in picks]

    def _step(
        self, new: Sequence[TrainRow], recalled: Sequence[TrainRow], parent: Path | None, told: Any, seed: int
    ) -> dict[str, Any]:
        folder = self._folder / self._digest({**told, "seed": seed})
        if not (folder / "record.json").exists():
            if not self._trains:
                raise LookupError(folder)
            from finetune.generator.trainer import train

            folder.mkdir(exist_ok=True)
            write_rows(folder, [*new, *recalled])
            rate = self.setting.rate / (2 if parent else 1)
            recipe = GeneratorRecipe.from_json({**self.setting.recipe, "learning_rate": rate, "seed": seed})
            base = Path(self.setting.model).name
            write_config(folder, RunConfig(recipe=recipe, base=self.setting.model, base_name=base, champion=parent))
            started = time.process_time()
            with redirect_stdout(io.StringIO()):  # the child tells its parent each step
                train(folder)
            seconds = time.process_time() - started
            counts = {"rows": len(new) + len(recalled), "recalled": len(recalled), "seconds": round(seconds, 1)}
            _write(folder / "record.json", {"figures": self._score(folder / "adapter"), **counts, **told})
        return json.loads((folder / "record.json").read_text()) | {"folder": str(folder)}

    def _digest(self, told: Mapping[str, Any]) -> str:
        """A name for all that went in, so that a changed recipe or other rows are not taken for what was measured."""
        rows = [[d.name, [r.example for r in d.train], [r.example for r in d.held_out]] for d in self.domains]
        of = self.setting
        return digest(canonical([Path(of.model).name, of.rho, of.rate, dict(of.recipe), rows, dict(told)]))[:16]

    def _score(self, adapter: Path | None) -> dict[str, dict[str, list[float]]]:
        import torch

        from finetune.generator.model import build
        from finetune.generator.tokens import tokenised

        learner = build(self.setting.model, GeneratorRecipe(), adapter, 1)  # a fresh adapter does nothing yet
        learner.model.eval()
        found: dict[str, dict[str, list[float]]] = {}
        with torch.inference_mode():
            for domain in self.domains:
                found[domain.name] = {}
                for row in domain.held_out:
                    made = tokenised(row, learner.tokenizer, learner.stops, learner.context)
                    assert made is not None, f"{row.example} does not fit"
                    ids, wanted = torch.tensor([[*made.prompt, *made.chosen]]), torch.tensor(made.chosen)
                    logits = learner.model(input_ids=ids, logits_to_keep=len(wanted) + 1).logits[0, :-1].float()
                    nll = torch.nn.functional.cross_entropy(logits, wanted)
                    exact = bool((logits.argmax(-1) == wanted).all())
                    found[domain.name][row.example] = [round(float(nll), 5), float(exact)]
        return found

    def _likeness(self, domain: Domain) -> np.ndarray:
        """Vectors of a domain's rows to practise, of question and passage together, by the packaged embedder."""
        if domain.name not in self._vectors:
            file = self._folder / f"{domain.name}-{digest(canonical([r.example for r in domain.train]))[:16]}.npy"
            if not file.exists():
                from kernel.embedder import SentenceTransformerEmbedder
                from kernel.settings import DEFAULT_EMBEDDER

                texts = [f"{row.question} {row.passages[0].text}" for row in domain.train]
                np.save(file, SentenceTransformerEmbedder(DEFAULT_EMBEDDER).embed_queries(texts))
            self._vectors[domain.name] = np.load(file)
        return self._vectors[domain.name]


# --- reading -------------------------------------------------------------------------------------


def table(bench: Bench, seeds: Sequence[int]) -> str:
    """Figures at the end of each sequence, what each domain lost since it was learnt, and the policies compared.

    Of what was not trained yet nothing is shown; policies are compared over the seeds that both have.
    """
    names = [domain.name for domain in bench.domains]
    runs = {policy: _there(bench, policy, seeds) for policy in (*COMPARED, JOINT)}
    heads = [f"{name}{' (last)' if name == names[-1] else ''}" for name in names]
    lines = [f"| | {' | '.join(heads)} | seeds | rows | CPU s |", "|---" * (len(names) + 4) + "|"]
    lines.append(_line("base", [_cell([bench.base()], name) for name in names], "", "", ""))
    firsts = [run[0]["figures"] for run in runs[NONE].values()]
    lines.append(_line(f"after {names[0]}", [_cell(firsts, name) for name in names], str(len(firsts)), "", ""))
    for policy, some in runs.items():
        if not some:
            continue
        ends = [run[-1]["figures"] for run in some.values()]
        rows, seconds = (fmean(sum(r[of] for r in run) for run in some.values()) for of in ("rows", "seconds"))
        told = [str(len(some)), f"{rows:.0f}", f"{seconds:.0f}"]
        lines.append(_line(policy, [_cell(ends, name) for name in names], told))
    lines += ["", "NLL per token of the right answer / share written to the letter, means over seeds.", ""]
    lines += ["| domain | policy | NLL when learnt | at the end | change | to the letter, change |", "|---" * 6 + "|"]
    for n, name in enumerate(names[:-1]):
        for policy in COMPARED:
            if pairs := [(run[n]["figures"][name], run[-1]["figures"][name]) for run in runs[policy].values()]:
                then, now = (_over([pair[k] for pair in pairs], _NLL) for k in (0, 1))
                changes = [_bounds(_apart(pairs, of)) for of in (_NLL, _EXACT)]
                lines.append(f"| {name} | {policy} | {then:.3f} | {now:.3f} | {changes[0]} | {changes[1]} |")
    lines += ["", "Differences at the end, of the first minus the second; for NLL below 0 is better:", ""]
    for a, b in PAIRS:
        both = sorted(set(runs[a]) & set(runs[b]))
        parts = []
        for what, some_names in (("old domains", names[:-1]), ("last domain", names[-1:])):
            ends_of = [tuple(_merged(runs[p][seed][-1]["figures"], some_names) for p in (b, a)) for seed in both]
            told = [_bounds(_apart(ends_of, of)) for of in (_NLL, _EXACT)] if both else ["?", "?"]
            parts.append(f"{what} NLL {told[0]}, to the letter {told[1]}")
        lines.append(f"- {a} minus {b}, {len(both)} seeds: {'; '.join(parts)}")
    return "\n".join(lines)


def _there(bench: Bench, policy: str, seeds: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    found = {}
    for seed in seeds:
        try:
            found[seed] = bench.run(policy, seed)
        except LookupError:
            continue
    return found


def _apart(pairs: Iterable[tuple[Mapping[str, Sequence[float]], ...]], of: int) -> np.ndarray:
    """Of each held-out row the second minus the first, its mean over seeds: rows are drawn again, seeds are not."""
    pairs = list(pairs)
    return np.array([fmean(after[e][of] - before[e][of] for before, after in pairs) for e in pairs[0][0]])


def _bounds(diff: np.ndarray) -> str:
    mean, low, high = paired_bootstrap(diff, seed=0)
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def _merged(figures: Figures, names: Sequence[str]) -> dict[str, Sequence[float]]:
    return {example: found for name in names for example, found in figures[name].items()}


def _over(some: Sequence[Mapping[str, Sequence[float]]], of: int) -> float:
    return fmean(found[of] for figures in some for found in figures.values())


def _cell(some: Sequence[Figures], name: str) -> str:
    of = [figures[name] for figures in some]
    return f"{_over(of, _NLL):.3f} / {_over(of, _EXACT):.2f}"


def _line(*cells: Any) -> str:
    flat = [c for cell in cells for c in (cell if isinstance(cell, list) else [cell])]
    return f"| {' | '.join(flat)} |"


# --- running -------------------------------------------------------------------------------------


def _write(file: Path, value: Any) -> None:
    aside = file.with_suffix(".tmp")
    aside.write_text(json.dumps(value))
    aside.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a causal language model; a tiny one is built if left out")
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--data", default=MADE, help="made, public, or a file of JSON lines")
    parser.add_argument("--rows", type=int, default=96, help="rows of a domain to practise")
    parser.add_argument("--held-out", type=int, default=60, help="rows of a domain held out")
    parser.add_argument("--rho", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=8, help="a random model has much to learn; others want fewer")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=5e-3, help="of the first training; a tiny model wants a high one")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of the training; a tiny model is slower with more")
    parser.add_argument("--table", action="store_true", help="print the tables of what is there, and run nothing")
    given = parser.parse_args()
    found = domains(given.data, given.rows, given.held_out)
    model = given.model or reader(given.folder / "model", found)
    recipe = {"epochs": given.epochs, "rank": given.rank, "threads": given.threads, "micro_batch": 8, "checkpoints": 1}
    recipe["batch"] = given.batch
    setting = Setting(model=model, rho=given.rho, rate=given.rate, recipe=recipe)
    bench = Bench(fitted(found, model), setting, given.folder, train=not given.table)
    seeds = [17 + n for n in range(given.seeds)]
    if not given.table:
        for seed in seeds:
            for policy in (*COMPARED, JOINT):
                ends = bench.run(policy, seed)[-1]["figures"]
                told = "  ".join(f"{name} {_cell([ends], name)}" for name in ends)
                print(f"seed {seed}  {policy:<8} {told}", flush=True)
    print(f"\n{Path(model).name}, {given.rows} rows a domain, rho {given.rho:g}, {len(seeds)} seeds\n")
    print(table(bench, seeds))


if __name__ == "__main__":
    main()
