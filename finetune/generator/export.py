"""What an export holds of a run of a generator: rows with their passages, and held-out questions with theirs.

The passages of a run went when its training ended. They are read again as they were at its epoch; what was deleted or
has expired since is not brought back, and neither are rows that lost what answers them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import select

from finetune.export import Origin, Written, standing_mix
from finetune.files import read_json, read_lines
from finetune.generator.evaluate import GeneratorEvaluator
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.reproduce import METRIC, TOLERANCE, figures, identity, write_questions
from finetune.generator.writer import trainable
from finetune.kinds import Options
from finetune.tables import Run
from ingest.library import Library
from kernel.database import Database
from kernel.errors import Refused
from kernel.ids import now_ms
from kernel.types import OPEN, When
from rehearsal.tables import Example
from retrieval.generators.identity import folder_of
from retrieval.live_generator import LiveGenerator
from retrieval.search import as_passage


class GeneratorExport:
    """`finetune.export.Part` of the model that writes."""

    def __init__(
        self,
        db: Database,
        library: Library,
        evaluator: GeneratorEvaluator,
        writing: LiveGenerator,
        epoch: Callable[[], int],
    ) -> None:
        """`epoch` is the committed one."""
        self._db, self._library, self._evaluator = db, library, evaluator
        self._writing, self._epoch = writing, epoch

    def origin(self, row: Run, trained: dict[str, Any]) -> Origin:
        source = trainable(self._writing).source
        now = identity(source)
        if any(trained["base"].get(name, value) != value for name, value in now.items()):
            raise Refused(
                f"{row.id!r} was trained on another model than writes now",
                hint="set REPRISE_GENERATOR to the model it was trained on, and export again",
                code="adapter_misfit",
            )
        return Origin(name=trained["base"]["name"], folder=folder_of(source), hashes=now)

    def write(self, row: Run, source: Path, aside: Path) -> Written:
        missing = self._training(row, source, aside)
        options = Options.from_json(row.options)
        recipe = GeneratorRecipe.from_json(read_json(source / "adapter" / "manifest.json")["recipe"])
        when = When(epoch=self._epoch(), at=now_ms())
        asked = self._evaluator.questions(when, recipe, options.without)
        with self._db.read() as session:
            born = Example.born <= (OPEN if row.epoch is None else row.epoch)
            known = set(session.scalars(select(Example.id).where(born, Example.status == "approved")))
        questions = [q for q in asked if q.example in known]
        write_questions(aside, questions)
        return Written(
            missing=missing,
            asked={q.example for q in questions},
            expected=figures(aside, aside / "adapter", trainable(self._writing).source),
            metric=METRIC,
            tolerance=TOLERANCE,
        )

    def _training(self, row: Run, source: Path, aside: Path) -> dict[str, int]:
        """Rows of examples that still stand, with their passages as they were; how much of the run is gone."""
        missing, standing = standing_mix(self._db, source, aside)
        lines = read_lines(source / "train.jsonl")
        chunks = sorted({chunk for line in lines for chunk in line["passages"]})
        then = When(epoch=OPEN if row.epoch is None else row.epoch, at=row.created)
        found = {point: as_passage(placed) for point, placed in self._library.place(chunks, then).items()}
        stand = [line for line in lines if line["part"] == "vote" or line["example"] in standing]
        kept = [line for line in stand if set(line["gold"]) <= found.keys()]
        shown = {chunk for line in kept for chunk in line["passages"] if chunk in found}
        for name, rows in (("train.jsonl", kept), ("passages.jsonl", [asdict(found[c]) for c in sorted(shown)])):
            text = "".join(json.dumps(told, ensure_ascii=False) + "\n" for told in rows)
            (aside / name).write_text(text, encoding="utf-8")
        gone = {"training rows without their passage": len(stand) - len(kept), "passages": len(chunks) - len(found)}
        return missing | {what: count for what, count in gone.items() if count}
