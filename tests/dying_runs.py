"""A retrain that dies: in the process that tells its story, and in the one that trains.

`live` is one life of a node: it opens a home, takes the run up and is killed at a named point, by itself, or comes to
the verdict. `python -m tests.dying_runs DEATHS RUN` is the training child that dies as often as it has deaths.

    draw         the manifest of the mix is written, nothing is committed
    materialise  the rows are written, the vectors are not
    full         there is no room for the vectors
    training     in the middle of the second epoch, by the child's hand; the child ends with its parent
    child        as the child's other deaths say, one after the other, and then it trains to the end
    evaluate     one model of two is measured
    report       the verdict is on disk, nothing is committed
    decide       the adapter is entered, nothing is committed
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EPOCHS = 3
DEATHS = "parent,between,manifest"
ENOUGH = 12_000
"""Bytes that hold the rows of the run, and not their vectors."""
ANIMALS = {
    "walrus": "clams", "puffin": "sand eels", "otter": "sea urchins", "heron": "frogs", "badger": "earthworms",
    "koala": "eucalyptus", "panda": "bamboo", "lynx": "hares", "osprey": "fish", "bison": "grass",
    "gecko": "crickets", "toad": "slugs",
}  # fmt: skip


def live(home: Path, points: str) -> None:
    """One life on a home, to its end at one of `points`, or to the verdict; then `told.json` says what came of it."""
    from kernel.settings import load
    from ui.platform import Platform
    from ui.wiring import Wired

    wired = Wired(load(home=home, min_free_mb=0, precision="float32"))
    platform = Platform(wired)
    wired.recover()
    run = _the_run(platform)
    for point in points.split():
        _end_at(point, platform)
    told: dict[str, Any] = {"listed": platform.adapters(), "state": platform.run(run)["state"]}
    try:
        told["result"] = wired.retrainer.run(run, lambda *_: None)
    except Exception as error:
        told["error"] = {"kind": type(error).__name__, "run": platform.run(run)}
    told["after"] = platform.adapters()
    (home.parent / "told.json").write_text(json.dumps(told))
    wired.close()


def _the_run(platform: Any) -> str:
    runs = platform.runs()
    if runs:
        return str(runs[0]["run"])
    from finetune.kinds import Options
    from tests.house import incoming

    platform.ingest([incoming(f"{a}.md", f"# {a.title()}\n\nThe {a} eats {f}.\n") for a, f in ANIMALS.items()])
    rows = [
        {"question": question, "document": f"{a}.md", "quote": f"The {a} eats {f}."}
        for a, f in ANIMALS.items()
        for question in (f"What does a {a} live on?", f"Who feeds on {f}?", f"Favourite dish of every {a}?")
    ]
    platform.import_examples("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {"epochs": EPOCHS, "batch": 8, "threads": 1}
    run = platform.w.retrainer.request("retriever", Options(policy="mixed", rho=0.2, recipe=recipe), None)
    platform.w.ledger.enqueue("retrain", {"run": run}, keys=["retrain"])  # a run without a job is settled at a start
    return str(run)


def _end_at(point: str, platform: Any) -> None:
    from finetune import child, materialise, retrain, retriever
    from finetune.evaluate import Evaluator
    from finetune.registry import Registry

    if point in ("draw", "report"):
        wanted = {"draw": "manifest.json", "report": "report.json"}[point]
        retrain.write_json = then(retrain.write_json, lambda file, _value: file.name == wanted)
    elif point == "materialise":
        materialise.np.save = lambda *_: kill()  # type: ignore[assignment]
    elif point == "full":
        kind = platform.w.kinds["retriever"]
        whole = kind.materialise

        def narrow(*arguments: Any) -> None:
            with _no_room(ENOUGH):
                whole(*arguments)

        kind.materialise = narrow
    elif point in ("training", "child"):
        retriever.train = lambda folder, progress: child.train(folder, progress, ("-m", "tests.dying_runs", DEATHS))
    elif point == "evaluate":
        Evaluator.score = then(Evaluator.score, lambda *_: True)  # type: ignore[method-assign]
    elif point == "decide":
        Registry.add = then(Registry.add, lambda *_: True)  # type: ignore[method-assign]


def then(method: Callable[..., Any], last: Callable[..., bool]) -> Callable[..., Any]:
    """The method, and after a call that `last` says is the last one, the end."""

    def called(*arguments: Any, **named: Any) -> Any:
        result = method(*arguments, **named)
        if last(*arguments, **named):
            kill()
        return result

    return called


@contextmanager
def _no_room(most: int) -> Iterator[None]:
    """No file may grow beyond `most` bytes: what a full disk is to who writes a large one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def kill() -> None:
    """The end, at once."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def train_and_die(deaths: list[str], run: Path) -> int:
    """Train, and die the death whose turn it is: with the parent, behind the first checkpoint, before the manifest."""
    from finetune import trainer, training

    counter = run / "deaths"
    died = int(counter.read_text()) if counter.exists() else 0
    death = deaths[died] if died < len(deaths) else None
    counter.write_text(str(died + 1))
    if death == "parent":
        trainer.tell = then(trainer.tell, lambda told: _kill_parent(told["step"], told["steps"]))
    elif death == "between":
        training.keep = then(training.keep, lambda _training: True)
    elif death == "manifest":
        write = trainer.write
        trainer.write = lambda file, text: kill() if file.name == "manifest.json" else write(file, text)
    return trainer.main([str(run)])


def train_until(step: int, run: str, trainer: str = "finetune.trainer", tells: str = "finetune.trainer") -> None:
    """Train as the child of that module does, and be killed right behind what `tells` says of a step."""
    told = importlib.import_module(tells)
    vars(told)["tell"] = then(vars(told)["tell"], lambda message: bool(message["step"] == step))
    importlib.import_module(trainer).main([run])


def _kill_parent(step: int, steps: int) -> bool:
    """In the second epoch; and then this process comes to nothing more, until it sees that it has no parent."""
    if step > steps // EPOCHS + 1:
        os.kill(os.getppid(), signal.SIGKILL)
        while True:
            signal.pause()
    return False


if __name__ == "__main__":
    sys.exit(train_and_die(sys.argv[1].split(","), Path(sys.argv[2])))
