"""Reading an exported run of a generator: its questions with what is read with them, and its figures.

It knows no home, no index and no database. A generator is trained on texts, so the folder holds the passages that its
rows and questions show, and nothing else of their documents.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune.files import read_lines
from finetune.generator.evaluate import METRIC, Question, likely
from finetune.generator.rows import TRAINER, Said
from kernel.errors import NotFound, Refused
from kernel.types import BASE, Passage
from retrieval.generators.identity import folder_of, identity_of
from retrieval.generators.transformers import TransformersGenerator

FILES = ("train.jsonl", "passages.jsonl")
"""What training reads beside its config."""
TOLERANCE = 0.01
"""Answer probability by which a figure may differ: another processor rounds otherwise, in every step of a training."""
_QUESTIONS, _PASSAGES = Path("evaluation", "questions.jsonl"), Path("evaluation", "passages.jsonl")

__all__ = ["FILES", "METRIC", "TOLERANCE", "TRAINER", "base", "figures", "identity", "write_questions"]


def identity(source: str) -> dict[str, Any]:
    """The hashes by which a base model is known in an export."""
    found = identity_of(source)
    return {"sha256": found.weights, "tokenizer_sha256": found.tokenizer, "template_sha256": found.template}


def base(folder: Path, given: Path | None, about: dict[str, Any]) -> str:
    """The folder of the run's base model: the export's own, the one that is given, or the one of its name.

    Raises:
        NotFound: there is none of these.
        Refused: it has other weights, another tokenizer or another chat template.
    """
    named = about["base"]["name"]
    wanted = "give its folder with --base, or export with --with-base"
    try:
        found = folder_of(str(folder / "base" if (folder / "base").is_dir() else given or named))
    except NotFound as error:
        raise NotFound(f"the base model of this run, {named!r}, is not here", hint=wanted) from error
    if any(about["base"][name] != value for name, value in identity(str(found)).items()):
        what = f"the model in {str(found)!r} is not the base model of this run, {named!r}"
        raise Refused(what, hint=wanted, code="other_base")
    return str(found)


def write_questions(folder: Path, questions: Iterable[Question]) -> None:
    """The questions, and each passage that is read with one of them once."""
    (folder / "evaluation").mkdir()
    lines, passages = list[dict[str, Any]](), dict[str, Passage]()
    for q in questions:
        passages |= {p.chunk: p for p in q.shown}
        told = {name: getattr(q, name) for name in ("example", "question", "slice", "workspace", "pinned")}
        targets = [[asdict(said) for said in one] for one in q.targets]
        lines.append(told | {"targets": targets, "passages": [p.chunk for p in q.shown]})
    for file, rows in ((_QUESTIONS, lines), (_PASSAGES, [asdict(p) for p in passages.values()])):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / file).write_text(text, encoding="utf-8")


def figures(folder: Path, adapter: Path, model: str) -> dict[str, float]:
    """Mean answer probability of the base, of the champion where there is one, and of `adapter`."""
    questions = _questions(folder)
    if not questions:
        return {}
    generator = TransformersGenerator(model)
    found = {"base": _mean(generator, questions, BASE)}
    for name, at in (("champion", folder / "champion"), ("challenger", adapter)):
        if at.is_dir():
            generator.load_adapter(name, str(at))
            found[name] = _mean(generator, questions, name)
    return found


def _mean(generator: TransformersGenerator, questions: list[Question], alias: str) -> float:
    return round(sum(likely(generator, q, alias) for q in questions) / len(questions), 6)


def _questions(folder: Path) -> list[Question]:
    passages = {told["chunk"]: Passage(**told) for told in read_lines(folder / _PASSAGES)}
    made = []
    for told in read_lines(folder / _QUESTIONS):
        read = tuple(passages[chunk] for chunk in told.pop("passages"))
        targets = tuple(tuple(Said(text=s["text"], cites=tuple(s["cites"])) for s in one) for one in told["targets"])
        made.append(Question(**told | {"targets": targets}, answers=(), gold=frozenset(), read=read, withheld=read))
    return made
