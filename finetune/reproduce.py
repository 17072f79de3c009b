"""Reading an exported run: its figures, and training it again from the folder alone.

Of a retriever the figures come from its vectors; of a generator `finetune.generator.reproduce` knows them.

It knows no home, no index and no database: a folder that `export` wrote, a base model, and a temporary folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finetune.child import TRAINER, train
from finetune.evaluate import K, Question, ndcg
from finetune.files import read_lines
from kernel.errors import NotFound, Refused, UserError
from kernel.types import Passage, Progress, silent
from retrieval.encoder import QueryEncoder, read_model, weights_sha256

FORMAT = 1
TOLERANCE = 0.005
"""nDCG@10 by which a figure may differ: another processor rounds otherwise, and a rank or two may change places."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """How the export of one kind is read."""

    files: Sequence[str]
    """What training reads beside its config."""
    trainer: Sequence[str]
    base: Callable[[Path, Path | None, dict[str, Any]], str]
    figures: Callable[[Path, Path, str], dict[str, float]]


def reproduce(folder: Path, base: Path | None = None, progress: Progress = silent) -> dict[str, Any]:
    """Train the exported run again and compare: `reproduced` if every figure is within the tolerance.

    Args:
        folder: what `export-run` wrote.
        base: the base model's folder, where the export holds none and its name is not to be had here.

    Raises:
        NotFound: no export, or no base model.
        Refused: a file is not what was exported, or the base model has other weights.
        TrainingFailed: training ended badly.
    """
    about = _checked(folder)
    reader = _reader(about["kind"])
    model = reader.base(folder, base, about)
    with tempfile.TemporaryDirectory(prefix="reprise-reproduce-") as place:
        work = Path(place)
        for name in reader.files:
            shutil.copy(folder / name, work / name)
        config = json.loads((folder / "config.json").read_text())
        champion = str((folder / "champion").absolute()) if config["champion"] else None
        (work / "config.json").write_text(json.dumps(config | {"base": model, "champion": champion}))
        train(work, progress, reader.trainer)
        progress("evaluating", 0, 0)
        found = reader.figures(folder, work / "adapter", model)
        made = json.loads((work / "adapter" / "manifest.json").read_text())["adapter"]["sha256"]
    metrics = {
        name: {"expected": expected, "found": found[name], "difference": round(found[name] - expected, 6)}
        for name, expected in about["expected"].items()
    }
    off = [name for name, m in metrics.items() if abs(m["difference"]) > about["tolerance"]]
    reason = None
    if off:
        reason = f"{' and '.join(off)} differ by more than {about['tolerance']:g}"
        if not about["complete"]:
            reason += "; some of what the run was trained on was gone when it was exported"
    return {
        "run": about["run"],
        "adapter": about["adapter"],
        "reproduced": not off,
        "reason": reason,
        "identical": made == about["adapter_sha256"],
        "metric": about["metric"],
        "tolerance": about["tolerance"],
        "complete": about["complete"],
        "missing": about["missing"],
        "metrics": metrics,
    }


def figures(folder: Path, adapter: Path, base: str) -> dict[str, float]:
    """Mean nDCG@10 of the base, of the champion where there is one, and of `adapter`, over the exported candidates."""
    questions = [_question(told) for told in read_lines(folder / "evaluation" / "questions.jsonl")]
    candidates = json.loads((folder / "evaluation" / "candidates.json").read_text())
    vectors = np.load(folder / "evaluation" / "candidates.npy", allow_pickle=False)
    if not questions:
        return {}
    encoder = QueryEncoder(base)
    models: dict[str, str | None] = {"base": None}
    for name, at in (("champion", folder / "champion"), ("challenger", adapter)):
        if at.is_dir():
            encoder.load(name, at)
            models[name] = name
    texts = [q.question for q in questions]
    return {name: _mean(questions, encoder.encode(texts, of), candidates, vectors) for name, of in models.items()}


def _mean(questions: Sequence[Question], asked: np.ndarray, candidates: list[list[str]], vectors: np.ndarray) -> float:
    scores = asked @ vectors.T
    of = np.array([workspace for workspace, _, _ in candidates])
    total = 0.0
    for question, row in zip(questions, scores, strict=True):
        mine = np.where(of == question.workspace, row, -np.inf)
        first = np.argsort(-mine, kind="stable")[: 3 * K]
        total += ndcg(question, [_passage(candidates[n], float(mine[n])) for n in first if np.isfinite(mine[n])])
    return round(total / len(questions), 6)


def _reader(kind: str) -> _Reader:
    if kind == "retriever":
        return _Reader(("train.jsonl", "vectors.npy"), TRAINER, _base, figures)
    if kind == "generator":
        from finetune.generator import reproduce as of

        return _Reader(of.FILES, of.TRAINER, of.base, of.figures)
    raise UserError(f"there is no kind of adapter {kind!r}", hint="use the release that wrote it")


def _checked(folder: Path) -> dict[str, Any]:
    file = folder / "export.json"
    if not file.is_file():
        raise NotFound(f"there is no export in {str(folder)!r}", hint="name a folder that `export-run` wrote")
    about: dict[str, Any] = json.loads(file.read_text())
    if about.get("format") != FORMAT:
        raise UserError(
            f"the export has the format {about.get('format')!r}, and this release reads {FORMAT}",
            hint="use the release that wrote it",
        )
    for name, digest in about["files"].items():
        if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise Refused(f"{name!r} is not what was exported", hint="copy the folder again", code="tampered")
    return about


def _base(folder: Path, base: Path | None, about: dict[str, Any]) -> str:
    from kernel.embedder import model_path

    given = str(folder / "base") if (folder / "base").is_dir() else str(base or model_path(about["base"]["name"]))
    if weights_sha256(read_model(given).folder) != about["base"]["sha256"]:
        raise Refused(
            f"the model in {given!r} is not the base model of this run, {about['base']['name']!r}",
            hint="give its folder with --base, or export with --with-base",
            code="other_base",
        )
    return given


def _question(told: dict[str, Any]) -> Question:
    return Question(**told | {name: frozenset(told[name]) for name in ("points", "documents", "sources")})


def _passage(candidate: list[str], score: float) -> Passage:
    _, document, chunk = candidate
    blank: dict[str, Any] = {"name": "", "title": "", "version": 0, "start": 0, "end": 0, "text": "", "heading": ""}
    return Passage(chunk=chunk, document=document, page=None, score=score, rank=0, since=0, **blank)
