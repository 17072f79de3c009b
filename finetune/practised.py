"""What of a mix was practised, as the run's folder tells it, and why the rest was not.

A mix is drawn before anybody knows what can be trained on. A pair is wanted and an example is none, no passage of it
stands any more, a row is too long for the model: whatever is left out was not practised. It stays new to the next
retrain, and nobody counts it as seen.

    of a run that is     practised is what stands in
    materialised         train.jsonl
    trained              losses.jsonl

`left_out.json` says why of each example; whoever leaves one out adds to it, here and in the training child. It knows no
database: `retrain` makes the rows there agree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from finetune.files import drop_lines, read_json, read_lines, write_json

ROWS, LOSSES, LEFT_OUT = "train.jsonl", "losses.jsonl", "left_out.json"
MANIFEST = Path("adapter", "manifest.json")
_UNTOLD = "training went on without it"


def leave_out(folder: Path, why: Mapping[str, str]) -> None:
    """Note why these examples are not trained on, beside those that were noted before. Repeatable."""
    if why:
        write_json(folder / LEFT_OUT, _noted(folder) | dict(why))


def practised(folder: Path) -> set[str]:
    """The examples, and turns that were voted on, that are trained on, or were.

    One that was left out of some of its rows is among them as long as one is left. Empty for a merge.
    """
    trained = (folder / MANIFEST).is_file() and (folder / LOSSES).is_file()
    file = folder / (LOSSES if trained else ROWS)
    return {str(line["example"]) for line in read_lines(file)} if file.is_file() else set()


def left_out(folder: Path, examples: Collection[str]) -> dict[str, str]:
    """Why, of each of `examples` that was not practised."""
    noted, did = _noted(folder), practised(folder)
    return {example: noted.get(example, _UNTOLD) for example in examples if example not in did}


def strike(folder: Path) -> None:
    """Take the rows of what was not practised out of train.jsonl.

    A delete looks for a document's words where something was practised that the document grounds, and nowhere else.
    """
    did = practised(folder)
    drop_lines(folder / ROWS, lambda row: row["example"] not in did)


def _noted(folder: Path) -> dict[str, str]:
    file = folder / LEFT_OUT
    return dict(read_json(file)) if file.is_file() else {}
