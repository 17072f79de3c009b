"""A retrain of the generator that dies: one life of a node on a home, to a named point, where it kills itself.

As `dying_runs`, with what a generator has besides: passages, votes and the checkpoints of another trainer. It trains in
the process that tells the story, so a kill takes both; that a child ends with its parent is shown there.

    draw         the manifest of the mix is written, nothing is committed
    materialise  rows and passages are written, the config is not
    training     behind the second checkpoint
    trained      the adapter is complete, and nobody was told
    evaluate     one model of two is measured
    report       the verdict is on disk, nothing is committed
    decide       the adapter is entered, nothing is committed
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.dying_runs import kill, then
from tests.facts import COLOURS, RECIPE, THINGS

COLOUR = dict(zip(THINGS[:5], COLOURS, strict=False))
TEXTS = {thing: f"The {thing} of the house is {colour}." for thing, colour in COLOUR.items()}
ASKED = ("What colour is the {}?", "How is the {} painted?", "Which colour has the {}?")
VOTED = "Tell me the colour of the {} of the house."
MODEL, ASIDE = "model", "undisturbed"
"""Beside the home: the model that writes, and a copy of the run's folder that nobody disturbs."""
STEPS = 4
"""Steps behind which a training is killed."""


def live(home: Path, point: str) -> None:
    """One life, to its end at `point`, or to the verdict; then `told.json` says what came of it."""
    import ui.wiring
    from finetune.generator import kind as writer
    from finetune.generator import trainer
    from kernel.settings import load
    from tests.house import WordEmbedder
    from ui.platform import Platform
    from ui.wiring import Wired

    ui.wiring.SentenceTransformerEmbedder = lambda *_given: WordEmbedder()  # type: ignore[assignment, misc]
    wired = Wired(load(home=home, min_free_mb=0, generator=f"transformers:{home.parent / MODEL}"))
    platform = Platform(wired)
    wired.recover()
    wired.kinds["generator"]._generator()._new_tokens = 4  # type: ignore[attr-defined]
    writer.train = lambda run, *_: _trained(run, trainer, point)  # type: ignore[assignment]
    run = _the_run(platform)
    _end_at(point)
    assert platform.adapters() == [], "no adapter is listed before its run has decided"
    told: dict[str, Any] = {"state": platform.run(run)["state"]}
    told["result"] = wired.retrainer.run(run, lambda _s, _d, _t: None)
    told["after"] = platform.adapters()
    trainer.train(home.parent / ASIDE)
    (home.parent / "told.json").write_text(json.dumps(told))
    wired.close()


def _trained(run: Path, trainer: Any, point: str) -> None:
    trainer.train(run)
    if point == "trained":
        kill()


def _the_run(platform: Any) -> str:
    runs = platform.runs()
    if runs:
        return str(runs[0]["run"])
    from finetune.kinds import Options
    from tests.house import incoming, page

    platform.ingest([incoming(f"{t}.md", page(t.title(), {"Colour": text})) for t, text in TEXTS.items()])
    rows = [
        {
            "question": asked.format(thing), "answer": f"It is {COLOUR[thing]}.", "rejected": "Clean the house.",
            "preferred": f"It is {COLOUR[thing]}.", "document": f"{thing}.md", "quote": text,
            "split": "held-out" if thing == THINGS[0] else "train",
        }
        for thing, text in TEXTS.items()
        for asked in ASKED
    ]  # fmt: skip
    platform.import_examples("".join(json.dumps(row) + "\n" for row in rows))
    for thing in COLOUR:
        turn = platform.ask(VOTED.format(thing), generator="extractive")
        platform.feedback(turn["turn"], "down")
    recipe = {**RECIPE, "epochs": 2, "distractors": 1, "batch": 4, "micro_batch": 4, "min_votes": 2}
    options = Options(policy="mixed", rho=0.2, method="kto", recipe=recipe)
    run = platform.w.retrainer.request("generator", options, None)
    platform.w.ledger.enqueue("retrain", {"run": run}, keys=["retrain"])  # a run without a job is settled at a start
    return str(run)


def _end_at(point: str) -> None:
    from finetune import retrain
    from finetune.generator import checks, materialise
    from finetune.generator.evaluate import GeneratorEvaluator
    from finetune.registry import Registry

    if point in ("draw", "report"):
        wanted = {"draw": "manifest.json", "report": "report.json"}[point]
        retrain.write_json = then(retrain.write_json, lambda file, _value: file.name == wanted)
    elif point == "materialise":
        materialise.write_config = lambda *_: kill()
    elif point == "training":
        saved = then(checks.Watching.on_save, lambda _watching, _args, state, _control, **_: state.global_step >= STEPS)
        checks.Watching.on_save = saved  # type: ignore[method-assign]
    elif point == "evaluate":
        GeneratorEvaluator.score = then(GeneratorEvaluator.score, lambda *_, **__: True)  # type: ignore[method-assign]
    elif point == "decide":
        Registry.add = then(Registry.add, lambda *_: True)  # type: ignore[method-assign]
