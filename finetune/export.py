"""A run as a folder that leaves the platform and reproduces its figures by itself, without a home and without an index.

What follows is of a retriever; of a generator `finetune.generator.export` says what stands in place of vectors.

    export.json      what this is: run, base model by name and hash, figures, what is no longer there, the hash of each
                     file; written last, so that its existence means complete
    config.json      recipe, and where the run started from; paths are relative to the folder
    train.jsonl, vectors.npy      what was trained on: questions, and the frozen vectors of chunks
    champion/        the adapter that training went on from, if it did
    adapter/         the adapter that came out, with its card
    manifest.json, report.json    the mix with its reasons, the verdict with its figures
    evaluation/      questions.jsonl, candidates.json and candidates.npy: the held-out questions, and what is ranked
    base/            the base model, where it was asked for
    reproduce.py     trains again and compares

Texts of documents are not in it, but for the words of the questions, and for the passages that a generator reads. What
was deleted or superseded since is not brought back for it: rows and questions that no longer stand are left out and
counted, and the figures are those of what stands.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from qdrant_client import models
from sqlalchemy import select

from finetune.evaluate import Evaluator, Question
from finetune.facts import FIGURES
from finetune.files import new_folder, read_json, write_json
from finetune.kinds import Options
from finetune.lineage import POINTS
from finetune.materialise import materialise
from finetune.practised import LEFT_OUT
from finetune.recipe import RetrieverRecipe
from finetune.registry import Registry
from finetune.reproduce import FORMAT, TOLERANCE, figures
from finetune.runs import Runs
from finetune.tables import Run
from kernel.database import Database, listed
from kernel.epochs import Epochs
from kernel.errors import Refused
from kernel.ids import now_ms
from kernel.index.schema import DENSE, keyword, visible
from kernel.ports import VectorIndex
from kernel.serving import LocalEmbedder
from kernel.types import OPEN, When
from rehearsal.ground import made_of
from rehearsal.mix import Mix
from rehearsal.tables import Example
from retrieval.encoder import read_model, weights_sha256

MOST = 50_000
"""Chunks that are all exported as candidates; of more, those of its workspace that are nearest to a question
by one of the models."""
_POOL = 200
_SCRIPT = '''"""Trains this run again from this folder alone, and compares. It needs Reprise installed, and no home."""

import json
import sys
from pathlib import Path

from finetune.reproduce import reproduce

found = reproduce(Path(__file__).parent, Path(sys.argv[1]) if len(sys.argv) > 1 else None)
print(json.dumps(found, indent=1))
sys.exit(0 if found["reproduced"] else 1)
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The base model of a run, which must be the one that serves."""

    name: str
    folder: Path
    hashes: Mapping[str, Any]
    """`sha256` of the weights, and what else it is known by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written of a run, and what of it is gone."""

    missing: Mapping[str, int]
    asked: set[str]
    """Held-out examples."""
    expected: Mapping[str, float]
    """Model to figure, as the folder's reader computes them."""
    metric: str
    tolerance: float


class Part(Protocol):
    """What an export holds of a run of one kind of adapter, beside its record and its adapters."""

    def origin(self, row: Run, trained: dict[str, Any]) -> Origin:
        """The base model of an adapter with the manifest `trained`.

        Raises:
            Refused: another one serves.
        """

    def write(self, row: Run, source: Path, aside: Path) -> Written:
        """Write rows, mix and evaluation of the run in `source`; its adapters stand in `aside` already."""


class Exporter:
    """Exports runs: their record and adapters itself, what their kind is trained on by its part."""

    def __init__(self, db: Database, registry: Registry, runs: Runs, home: Path, parts: Mapping[str, Part]) -> None:
        self._db, self._registry, self._runs, self._home, self._parts = db, registry, runs, home, parts

    def export(self, run: str, folder: str, *, with_base: bool = False) -> dict[str, Any]:
        """Write the folder; what went into it, and what is `missing`.

        Raises:
            NotFound: no such run.
            Conflict: the folder exists and is not empty.
            Refused: the run has no verdict, is of another kind, or was trained on another model than serves.
            UserError: the folder cannot be written, or there is no model here whose adapters could be measured.
            DiskFull: there was no room for it.
        """
        row = self._runs.get(run)
        target = Path(folder)
        self._check(row)
        with new_folder(target) as aside:
            told = self._write(row, aside, with_base)
        size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
        return {"run": run, "folder": str(target), "bytes": size, **told}

    def _check(self, row: Run) -> None:
        if row.kind not in self._parts:
            kinds = " and ".join(sorted(self._parts))
            raise Refused(f"{row.id!r} trained a {row.kind} adapter", hint=f"runs of {kinds} adapters can be exported")
        if row.state not in ("accepted", "rejected"):
            raise Refused(f"{row.id!r} is {row.state}", hint="a run with a verdict can be exported", code="no_verdict")
        if not (self._runs.folder(row.id) / "train.jsonl").is_file():
            raise Refused(f"{row.id!r} trained nothing", hint="export the runs of the adapters that it merged")

    def _write(self, row: Run, aside: Path, with_base: bool) -> dict[str, Any]:
        source, part = self._runs.folder(row.id), self._parts[row.kind]
        trained = read_json(source / "adapter" / "manifest.json")
        base = part.origin(row, trained)
        origin = self._copied(row, source, aside, base.folder if with_base else None)
        written = part.write(row, source, aside)
        config = {
            "kind": row.kind,
            "recipe": trained["recipe"],
            "base": "base" if with_base else base.name,
            "base_name": trained["base"]["name"],
            "champion": "champion" if origin is not None else None,
            "parent": trained.get("parent"),
            "licences": trained.get("licences", []),
        }
        write_json(aside / "config.json", config)  # a part may have written one of its own
        missing = dict(written.missing)
        then = _at_the_verdict(source, written.asked)
        if then["gone"]:
            missing["held-out questions"] = then["gone"]
        (aside / "reproduce.py").write_text(_SCRIPT)
        rows = (aside / "train.jsonl").read_text(encoding="utf-8").count("\n")
        write_json(
            aside / "export.json",
            {
                "format": FORMAT,
                "run": row.id,
                "adapter": row.adapter,
                "kind": row.kind,
                "base": {"name": base.name, **base.hashes},
                "adapter_sha256": trained["adapter"]["sha256"],
                "versions": trained.get("versions"),
                "options": row.options,
                "metric": written.metric,
                "expected": written.expected,
                "at_the_verdict": then["means"],
                "tolerance": written.tolerance,
                "complete": not missing,
                "missing": missing,
                "files": {str(f.relative_to(aside)): _sha256(f) for f in sorted(aside.rglob("*")) if f.is_file()},
            },
        )
        return {"rows": rows, "held_out": len(written.asked), "metrics": written.expected, "missing": missing}

    def _copied(self, row: Run, source: Path, aside: Path, base: Path | None) -> str | None:
        """Copy adapters, report and, where it is given, the base model; the adapter that training went on from."""
        shutil.copytree(source / "adapter", aside / "adapter")
        origin = Options.from_json(row.options).origin(row.parent)
        if origin is not None:
            shutil.copytree(self._home / self._registry.path(origin), aside / "champion")
        if base is not None:
            shutil.copytree(base, aside / "base", symlinks=False)
        if (source / "report.json").is_file():
            shutil.copy(source / "report.json", aside / "report.json")
        return origin


class RetrieverExport:
    """`Part` of the query encoder: its metric can be told from vectors alone."""

    def __init__(
        self, db: Database, index: VectorIndex, epochs: Epochs, embedder: LocalEmbedder, evaluator: Evaluator
    ) -> None:
        self._db, self._index, self._epochs = db, index, epochs
        self._embedder, self._evaluator = embedder, evaluator

    def origin(self, row: Run, trained: dict[str, Any]) -> Origin:
        base = read_model(self._embedder.path).folder
        if weights_sha256(base) != trained["base"]["sha256"]:
            raise Refused(
                f"{row.id!r} was trained on another embedder than serves now",
                hint="its vectors are not in this index any more",
                code="adapter_misfit",
            )
        return Origin(name=self._embedder.name, folder=base, hashes={"sha256": trained["base"]["sha256"]})

    def write(self, row: Run, source: Path, aside: Path) -> Written:
        with self._epochs.one_index():
            missing = self._training(row, source, aside)
            questions = self._questions(row)
            candidates = self._candidates(questions)
        return Written(
            missing=missing,
            asked={q.example for q in questions},
            expected=self._evaluation(questions, candidates, aside),
            metric="ndcg@10",
            tolerance=TOLERANCE,
        )

    # --- what was trained on ---------------------------------------------------------------------

    def _training(self, row: Run, source: Path, aside: Path) -> dict[str, int]:
        """Training rows with their vectors, of the examples that still stand; how much of the run is gone."""
        missing, standing = standing_mix(self._db, source, aside)
        if (source / POINTS).is_file():
            missing |= self._as_it_was(source, aside, standing)
        else:  # a run of before that was written: drawn anew at its epoch
            options = Options.from_json(row.options)
            materialise(
                self._db, self._index, Mix.from_json(read_json(aside / "manifest.json")), aside,
                recipe=RetrieverRecipe.from_json(read_json(source / "config.json")["recipe"]),
                base="", parent=None, parent_path=None, without=options.without,
                shuffle=random.Random(options.seed) if options.control == "shuffled" else None,
            )  # fmt: skip
        for name in (POINTS, LEFT_OUT):
            (aside / name).unlink(missing_ok=True)
        return {what: count for what, count in missing.items() if count}

    def _as_it_was(self, source: Path, aside: Path, standing: set[str]) -> dict[str, int]:
        """The very rows, with the vectors that the index still has; what they lack."""
        points: list[str] = read_json(source / POINTS)
        found = {
            str(p.id): p.vector[DENSE]  # type: ignore[index, call-overload]
            for start in range(0, len(points), 512)
            for p in self._index.retrieve(points[start : start + 512], with_vectors=True)
        }
        numbers = {old: new for new, old in enumerate(n for n, point in enumerate(points) if point in found)}
        lines, lost = [], 0
        for text in (source / "train.jsonl").read_text(encoding="utf-8").split("\n")[:-1]:
            line = json.loads(text)
            for name in ("positives", "negatives"):
                line[name] = [numbers[n] for n in line[name] if n in numbers]
            if line["example"] in standing and line["positives"]:
                lines.append(json.dumps(line, ensure_ascii=False) + "\n")
            elif line["example"] in standing:
                lost += 1
        (aside / "train.jsonl").write_text("".join(lines), encoding="utf-8")
        np.save(aside / "vectors.npy", np.array([found[p] for p in points if p in found], dtype=np.float32))
        return {"training rows without their passage": lost, "passages": len(points) - len(numbers)}

    # --- what it is judged by --------------------------------------------------------------------

    def _questions(self, row: Run) -> list[Question]:
        """Held-out questions of the run's verdict that still stand; what came after it played no part in that."""
        asked = self._evaluator.questions(None)  # an adapter serves every workspace
        epoch = OPEN if row.epoch is None else row.epoch
        with self._db.read() as session:
            known = set(session.scalars(select(Example.id).where(Example.born <= epoch, Example.status == "approved")))
            known -= made_of(session, Options.from_json(row.options).without)
        return [q for q in asked if q.example in known]

    def _candidates(self, questions: Sequence[Question]) -> list[tuple[str, str, str, np.ndarray]]:
        """(workspace, document, chunk, vector) of the visible chunks that the questions are ranked over."""
        rule = visible(When(epoch=self._epochs.committed(), at=now_ms()))
        found = []
        for workspace in sorted({q.workspace for q in questions}):
            must: list[Any] = [keyword("kind", "chunk"), keyword("ws", workspace), *(rule.must or [])]  # type: ignore[misc]
            seen = models.Filter(must=must, must_not=rule.must_not)
            for p in self._index.scroll(seen, with_vectors=True):
                vector = np.asarray(p.vector[DENSE], dtype=np.float32)  # type: ignore[index, call-overload]
                found.append((workspace, str((p.payload or {})["doc"]), str(p.id), vector))
        return found

    def _evaluation(
        self,
        questions: Sequence[Question],
        candidates: Sequence[tuple[str, str, str, np.ndarray]],
        aside: Path,
    ) -> dict[str, Any]:
        """Write questions and candidates; the figures of each model as the folder's reader will compute them."""
        folder = aside / "evaluation"
        folder.mkdir()
        with (folder / "questions.jsonl").open("w", encoding="utf-8") as out:
            for q in questions:
                told = {
                    "example": q.example,
                    "question": q.question,
                    "slice": q.slice,
                    "pinned": q.pinned,
                    "workspace": q.workspace,
                    **{name: sorted(getattr(q, name)) for name in ("points", "documents", "sources")},
                }
                out.write(json.dumps(told, ensure_ascii=False) + "\n")
        if len(candidates) > MOST:
            candidates = self._nearest(questions, candidates, aside)
        write_json(folder / "candidates.json", [list(c[:3]) for c in candidates])
        np.save(folder / "candidates.npy", np.array([c[3] for c in candidates], dtype=np.float32))
        return figures(aside, aside / "adapter", self._embedder.path)

    def _nearest(
        self,
        questions: Sequence[Question],
        candidates: Sequence[tuple[str, str, str, np.ndarray]],
        aside: Path,
    ) -> list[tuple[str, str, str, np.ndarray]]:
        """Those among the first of a question's workspace by any model: nobody else is ranked near them."""
        from retrieval.encoder import QueryEncoder

        encoder = QueryEncoder(self._embedder.path)
        known: list[str | None] = [None]
        for name, at in (("champion", aside / "champion"), ("challenger", aside / "adapter")):
            if at.is_dir():
                encoder.load(name, at)
                known.append(name)
        of, vectors = np.array([c[0] for c in candidates]), np.stack([c[3] for c in candidates])
        near: set[int] = set()
        for model in known:
            for question, vector in zip(questions, encoder.encode([q.question for q in questions], model), strict=True):
                mine = np.where(of == question.workspace, vectors @ vector, -np.inf)
                first = np.argpartition(-mine, _POOL)[:_POOL]
                near.update(first[np.isfinite(mine[first])].tolist())
        return [candidates[n] for n in sorted(near)]


def standing_mix(db: Database, source: Path, aside: Path) -> tuple[dict[str, int], set[str]]:
    """Write the mix without rows of examples that stand no more: how many those are, and the examples that stand."""
    mix = Mix.from_json(read_json(source / "manifest.json"))
    with db.read() as session:
        ours = Example.id.in_(listed([r.example for r in mix.rows]))
        standing = set(session.scalars(select(Example.id).where(ours, Example.status == "approved")))
    kept = replace(mix, rows=tuple(r for r in mix.rows if r.example in standing))
    write_json(aside / "manifest.json", kept.to_json())
    gone = len(mix.practised) - len(kept.practised)
    return ({"training rows": gone} if gone else {}), standing


def _at_the_verdict(source: Path, standing: set[str]) -> dict[str, Any]:
    """What the models scored then on the questions that still stand, and how many do not."""
    file = source / FIGURES
    scored: dict[str, dict[str, float]] = read_json(file)["models"] if file.is_file() else {}
    means = {
        model: round(sum(some) / len(some), 6)
        for model, found in scored.items()
        if (some := [value for example, value in found.items() if example in standing])
    }
    return {"means": means, "gone": len(set(scored.get("challenger", ())) - standing)}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
