"""What a generator adapter forgets when domains are learnt one after another, with rehearsal and without.

    python -m benchmarks.forgetting_generator --folder runs/forgetting-generator
    python -m benchmarks.forgetting_generator --folder ... --model FOLDER --data public --rows 400 --epochs 1 --seeds 5
    python -m benchmarks.forgetting_generator --folder ... --table       what is there, and run nothing

Each domain is asked and answered in its own words. `made` are three that are made up here: colours of things, questions
that the passage does not answer and that must be refused, and how often a thing is cleaned. `public` are news by their
topic, articles by what they describe and reviews by what people felt (REPRISE_EVAL_DATA). A file has rows of JSON lines
{"slice", "question", "passage", "answer"}. Rows are what is served: the prompt of the platform, one passage, the cited
answer. Training is the child's own code in this process, from the adapter of the domain before, at half its rate.
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

from benchmarks import data
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.rows import RunConfig, Said, TrainRow, write_config, write_rows
from finetune.metrics import paired_bootstrap
from kernel.ids import canonical, digest
from kernel.types import Passage
from rehearsal.policies import POLICIES, Candidate, NewExamples, n_old

NONE, CONTROL, JOINT = "none", "control", "joint"
COMPARED = (NONE, "random", "mixed", CONTROL)
PAIRS = (("random", NONE), ("mixed", NONE), ("mixed", CONTROL), ("mixed", "random"))
CHARS = 300
"""Of a passage, and fewer where a small model has no room for them behind the instructions."""
_NLL, _EXACT = 0, 1
_PUBLIC = {
    "agnews": ("What is the news about?", "The topic is {}."),
    "dbpedia": ("What kind of thing does the article describe?", "It describes a thing of the kind {}."),
    "yelp": ("How did the visitor feel?", "As the review says, {}."),
}
_MADE, _PUBLIC_SET = "made", "public"
_THINGS = ("door", "lamp", "chair", "table", "fence", "roof", "gate", "wall", "bell", "clock", "stove", "shelf")
_COLOURS = ("red", "blue", "green", "black", "white", "brown", "grey", "pink")
_PLACES = ("kitchen", "hall", "garden", "cellar", "yard", "barn")

Figures = Mapping[str, Mapping[str, Sequence[float]]]
"""Domain to held-out example to (NLL per token, 1 where greedy decoding writes it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Rows to practise and rows held out, all answered in one way."""

    name: str
    train: tuple[TrainRow, ...]
    held_out: tuple[TrainRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything that figures depend on, but for the domains and the seed."""

    model: str
    rho: float
    rate: float
    recipe: Mapping[str, Any]


class Bench:
    """Sequences of trainings over domains, in their order; what was trained before is read."""

    def __init__(self, domains: Sequence[Domain], setting: Setting, folder: Path) -> None:
        self.domains, self.setting, self._folder = list(domains), setting, folder
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
    """Figures at the end of each sequence, what each domain lost since it was learnt, and the policies compared."""
    names = [domain.name for domain in bench.domains]
    runs = {policy: [bench.run(policy, seed) for seed in seeds] for policy in (*COMPARED, JOINT)}
    heads = [f"{name}{' (last)' if name == names[-1] else ''}" for name in names]
    lines = [f"| | {' | '.join(heads)} | rows | CPU s |", "|---" * (len(names) + 3) + "|"]
    lines.append(_line("base", [_cell([bench.base()], name) for name in names], "", ""))
    for n, name in enumerate(names):
        reached = [run[n]["figures"] for run in runs[NONE]]
        if n == 0:
            lines.append(_line(f"after {name}", [_cell(reached, other) for other in names], "", ""))
    for policy, some in runs.items():
        ends = [run[-1]["figures"] for run in some]
        rows = fmean(sum(r["rows"] for r in run) for run in some)
        seconds = fmean(sum(r["seconds"] for r in run) for run in some)
        lines.append(_line(policy, [_cell(ends, name) for name in names], f"{rows:.0f}", f"{seconds:.0f}"))
    lines += ["", "NLL per token of the right answer / share written to the letter, means over seeds.", ""]
    lines += ["| domain | policy | NLL when learnt | at the end | change | to the letter |", "|---" * 6 + "|"]
    for n, name in enumerate(names[:-1]):
        for policy in COMPARED:
            pairs = [(run[n]["figures"][name], run[-1]["figures"][name]) for run in runs[policy]]
            then, now = (_over([pair[k] for pair in pairs], _NLL) for k in (0, 1))
            changes = [_bounds(_apart(pairs, of)) for of in (_NLL, _EXACT)]
            lines.append(f"| {name} | {policy} | {then:.3f} | {now:.3f} | {changes[0]} | {changes[1]} |")
    lines += ["", "Differences at the end, of the first minus the second; for NLL below 0 is better:", ""]
    for a, b in PAIRS:
        parts = []
        for what, some_names in (("old domains", names[:-1]), ("last domain", names[-1:])):
            pairs = [
                (_merged(y[-1]["figures"], some_names), _merged(x[-1]["figures"], some_names))
                for x, y in zip(runs[a], runs[b], strict=True)
            ]
            told = [_bounds(_apart(pairs, of)) for of in (_NLL, _EXACT)]
            parts.append(f"{what} NLL {told[0]}, to the letter {told[1]}")
        lines.append(f"- {a} minus {b}: {'; '.join(parts)}")
    return "\n".join(lines)


def _apart(pairs: Iterable[tuple[Mapping[str, Sequence[float]], Mapping[str, Sequence[float]]]], of: int) -> np.ndarray:
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


# --- rows ----------------------------------------------------------------------------------------


def domains(source: str, train: int, held_out: int) -> list[Domain]:
    """`made`, `public` or those of a file, in the order in which they are learnt; at most so many rows of each sort."""
    if source == _MADE:
        return [_parted(name, rows, train, held_out) for name, rows in _made(train + held_out).items()]
    if source != _PUBLIC_SET:
        by_slice: dict[str, list[TrainRow]] = {}
        for n, told in enumerate(data.jsonl(Path(source))):
            row = _row(f"row-{n}", told["question"], told["passage"], told["answer"])
            by_slice.setdefault(told["slice"], []).append(row)
        return [_parted(name, rows, train, held_out) for name, rows in by_slice.items()]
    found = data.folder()
    if found is None:
        raise SystemExit("set REPRISE_EVAL_DATA to the folder of the evaluation data")
    made = []
    for name, (question, answer) in _PUBLIC.items():
        parts: dict[str, tuple[TrainRow, ...]] = {}
        for part, most in (("train", train), ("test", held_out)):
            told = data.jsonl(found / "cl_benchmark" / f"{name}.{part}.jsonl")
            chosen = sorted(range(len(told)), key=lambda n: digest(f"{name}:{part}:{n}"))[:most]
            parts[part] = tuple(
                _row(f"{name}-{part}-{n}", question, _plain(told[n]["sentence"]), answer.format(told[n]["label"]))
                for n in chosen
            )
        made.append(Domain(name=name, train=parts["train"], held_out=parts["test"]))
    return made


def fitted(found: Sequence[Domain], model: str) -> list[Domain]:
    """The domains with passages that were shortened until their row fits the model."""
    from transformers import AutoConfig, AutoTokenizer

    from finetune.generator.tokens import tokenised

    tokenizer, most = AutoTokenizer.from_pretrained(model), AutoConfig.from_pretrained(model).max_position_embeddings

    def fits(row: TrainRow) -> TrainRow:
        while tokenised(row, tokenizer, [tokenizer.eos_token_id], most) is None:
            text = row.passages[0].text[:-12].rpartition(" ")[0]
            if not text:
                raise SystemExit(f"{model!r} reads {most} tokens, and no row fits")
            row = replace(row, passages=(replace(row.passages[0], text=text, end=len(text)),))
        return row

    return [replace(d, train=tuple(map(fits, d.train)), held_out=tuple(map(fits, d.held_out))) for d in found]


def _parted(name: str, rows: Sequence[TrainRow], train: int, held_out: int) -> Domain:
    out = min(held_out, len(rows) // 3)
    return Domain(name=name, train=tuple(rows[out:][:train]), held_out=tuple(rows[:out]))


def _plain(sentence: str) -> str:
    text = " ".join(sentence.replace("Title:", "").replace("Text:", "").split())
    return text if len(text) <= CHARS else text[:CHARS].rpartition(" ")[0]


def _row(example: str, question: str, text: str, answer: str | None) -> TrainRow:
    """With an answer that the passage supports; None is a refusal."""
    passage = Passage(
        chunk=example, document="d", name="a.txt", title="", version=1, start=0, end=len(text), text=text
    )  # fmt: skip
    said, gold = ((Said(text=answer, cites=(example,)),), frozenset({example})) if answer else ((), frozenset[str]())
    return TrainRow(example=example, question=question, passages=(passage,), gold=gold, chosen=said)


def _made(count: int) -> dict[str, list[TrainRow]]:
    """Three domains, told by the words of their questions and answers."""
    chance, rows = random.Random("rows"), dict[str, list[TrainRow]](colours=[], refusals=[], cleaning=[])
    for n in range(count):
        thing, place, colour = chance.choice(_THINGS), chance.choice(_PLACES), chance.choice(_COLOURS)
        days, text = chance.randrange(2, 30), f"The {thing} in the {place} is {colour}."
        asked = f"What colour is the {thing} in the {place}?"
        rows["colours"].append(_row(f"colours-{n}", asked, text, f"It is {colour}."))
        rows["refusals"].append(_row(f"refusals-{n}", f"Who made the {thing} in the {place}?", text, None))
        asked, text = f"How often is the {thing} cleaned?", f"Clean the {thing} every {days} days."
        rows["cleaning"].append(_row(f"cleaning-{n}", asked, text, f"Every {days} days, as the rules say."))
    return rows


def reader(folder: Path, found: Sequence[Domain]) -> str:
    """A small random model that reads the words of these rows, built once."""
    if not (folder / "config.json").is_file():
        from tests.tiny import save_reader

        rows = [row for d in found for row in (*d.train, *d.held_out)]
        words = [text for row in rows for text in (row.question, row.passages[0].text, *(s.text for s in row.chosen))]
        save_reader(folder, words)
    return str(folder)


# --- running -------------------------------------------------------------------------------------


def _write(file: Path, value: Any) -> None:
    aside = file.with_suffix(".tmp")
    aside.write_text(json.dumps(value))
    aside.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a causal language model; a tiny one is built if left out")
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--data", default=_MADE, help="made, public, or a file of JSON lines")
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
    bench = Bench(fitted(found, model), setting, given.folder)
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
