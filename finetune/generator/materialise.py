"""From a mix to rows on disk: question, passages in a drawn order, what should be written.

This is the last step of a retrain that needs the index; the training child reads the folder alone. The same mix, seed
and index give the same rows.

    share of rows        shown                                        should be written
    `gold` (.8)          what answers, and `distractors` beside it    the answer, cited
    the rest             what search found without what answers       a refusal
    unanswerable ones    what search found                            a refusal

A refusal where the answer is not among the passages is how it is served; RAFT trains an answer from memory there, which
a platform that cites cannot want (docs/decisions/0028).
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from finetune.generator.context import Context, Contexts
from finetune.generator.minimum import in_rows, require
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.rows import Part, RunConfig, Said, TrainRow, write_config, write_rows
from finetune.generator.target import cited, led, target
from finetune.lineage import POINTS
from finetune.practised import leave_out
from kernel.errors import UserError
from kernel.ids import now_ms
from kernel.types import Passage, When
from rehearsal.mix import Mix, Row

NEAR = 4
"""Passages that are looked at for each distractor that is wanted."""

Answers = Callable[[str, Sequence[Passage]], Sequence[Said]]
"""(question, passages) to what the champion writes, as far as what each sentence cites supports it; nothing where it
refuses."""


def materialise(
    contexts: Contexts,
    mix: Mix,
    folder: Path,
    config: RunConfig,
    *,
    votes: Sequence[TrainRow] = (),
    champion: Answers | None = None,
    shuffle: random.Random | None = None,
    without: Collection[str] = (),
) -> list[TrainRow]:
    """Write train.jsonl, passages.jsonl, points.json (for lineage) and, last, config.json; returns the rows.

    Nothing of the documents `without` is shown. Which rows of the mix cannot be trained on is noted (`practised`).

    `votes` are rows of turns that people voted on, for KTO. `champion` answers rows whose own answer may not be kept.
    No passage is one of the documents `without`.
    With `shuffle` all answers are dealt out anew: a control that must not pass the gate.

    Raises:
        UserError: there are no rows, or fewer pairs or votes than the recipe asks for.
    """
    recipe = config.recipe
    drawing = _Drawing(recipe, champion)
    near = NEAR * max(1, recipe.distractors)
    when = When(epoch=mix.epoch, at=now_ms())
    by_id = {c.example.id: c for c in contexts.of([row.example for row in mix.rows], when, near, without)}
    rows = [made for row in mix.rows for made in drawing.rows(row, by_id.get(row.example))]
    rows += votes
    if shuffle is not None:
        rows = _dealt_anew(rows, shuffle)
    left_out = Counter(drawing.left_out.values())
    _enough(recipe, rows, left_out)
    write_rows(folder, rows)
    leave_out(folder, drawing.left_out)
    (folder / POINTS).write_text(json.dumps(sorted({p.chunk for row in rows for p in row.passages})), encoding="utf-8")
    licences = {c.example.licence for c in by_id.values() if c.example.licence}
    write_config(
        folder,
        RunConfig(
            recipe=recipe,
            base=config.base,
            base_name=config.base_name,
            champion=config.champion,
            parent=config.parent,
            licences=tuple(sorted(licences)),
            left_out=dict(left_out),
        ),
    )
    return rows


def with_gold(context: Context, distractors: int, chance: random.Random) -> tuple[Passage, ...]:
    """What answers, and so many passages beside it, in a drawn order."""
    beside = context.beside()[: 2 * distractors]
    passages = [*context.gold, *chance.sample(beside, min(distractors, len(beside)))]
    chance.shuffle(passages)
    return tuple(passages)


def without_gold(context: Context, wanted: int, chance: random.Random) -> tuple[Passage, ...]:
    """As many passages that do not answer, in a drawn order; none where search finds only what does."""
    passages = context.beside(alone=True)[:wanted]
    chance.shuffle(passages)
    return tuple(passages)


class _Drawing:
    """Turns rows of a mix into rows of training, and says of each example that it cannot why."""

    def __init__(self, recipe: GeneratorRecipe, champion: Answers | None) -> None:
        self.recipe, self.champion = recipe, champion
        self.left_out: dict[str, str] = {}

    def rows(self, row: Row, context: Context | None) -> list[TrainRow]:
        if context is None:
            return self._skip(row, "it is gone")
        copies = self.recipe.correction_weight if context.example.origin == "correction" else 1
        make = {"sft": self._answered, "dpo": self._paired, "kto": self._voted}[self.recipe.method]
        made = [
            one
            for copy in range(copies)
            for one in make(row, context, random.Random(f"{self.recipe.seed}:{row.example}:{copy}"))
        ]
        if made:
            self.left_out.pop(row.example, None)  # one copy is enough to have practised it
        return made

    def _answered(self, row: Row, context: Context, chance: random.Random) -> list[TrainRow]:
        if context.unanswerable:
            return [self._row(row, context, without_gold(context, self.recipe.distractors + 1, chance), (), gold=())]
        if not context.gold:
            return self._skip(row, "no passage that stands grounds it")
        shown = without_gold(context, self.recipe.distractors + 1, chance)
        if chance.random() >= self.recipe.gold and shown:
            return [self._row(row, context, shown, (), gold=())]
        passages = with_gold(context, self.recipe.distractors, chance)
        if row.target == "champion":
            return self._championed(row, context, passages)
        if context.answer is None:
            return self._skip(row, "it has no answer")
        said = target(context.answer, context.gold, quoted=self.recipe.quote == "first")
        return [self._row(row, context, passages, said)] if said else self._skip(row, "its answer has no sentence")

    def _championed(self, row: Row, context: Context, passages: tuple[Passage, ...]) -> list[TrainRow]:
        """What the champion writes from the passages that answer, cited as it cites them.

        A sentence from what is shown beside them is no answer, and would outlive its document: only what grounds an
        example says which rows a delete takes out.
        """
        written = self.champion(context.example.question, passages) if self.champion else ()
        if not written:
            return self._skip(row, "the champion had no supported answer for it")
        gold = {p.chunk for p in context.gold}
        said = tuple(s for s in written if gold.issuperset(s.cites))
        if not said:
            return self._skip(row, "the champion answered it from what does not ground it")
        if self.recipe.quote == "first":
            said = led(said, " ".join(s.text for s in said), context.gold)
        return [self._row(row, context, passages, said)]

    def _paired(self, row: Row, context: Context, chance: random.Random) -> list[TrainRow]:
        preferred, rejected = context.example.preferred, context.example.rejected
        if not (preferred and rejected and context.gold):
            return self._skip(row, "it is no pair of a preferred and a rejected answer")
        passages = with_gold(context, self.recipe.distractors, chance)
        chosen, worse = cited(preferred, context.gold), cited(rejected, passages)
        if not chosen or [s.text for s in chosen] == [s.text for s in worse]:
            return self._skip(row, "its two answers say the same")
        return [self._row(row, context, passages, chosen, rejected=worse)]

    def _voted(self, row: Row, context: Context, chance: random.Random) -> list[TrainRow]:
        if not context.gold:
            return self._skip(row, "no passage that stands grounds it")
        passages = with_gold(context, self.recipe.distractors, chance)
        made = []
        good = context.example.preferred or context.example.answer
        if good and (said := cited(good, context.gold)):
            made.append(self._row(row, context, passages, said))
        if context.example.rejected and (said := cited(context.example.rejected, passages)):
            made.append(self._row(row, context, passages, said, label=False))
        return made or self._skip(row, "it has no answer")

    def _row(
        self,
        row: Row,
        context: Context,
        passages: Sequence[Passage],
        chosen: tuple[Said, ...],
        *,
        gold: Sequence[str] | None = None,
        rejected: tuple[Said, ...] | None = None,
        label: bool = True,
    ) -> TrainRow:
        part: Part = "new" if row.part == "new" else "recalled"
        return TrainRow(
            example=row.example,
            question=context.example.question,
            passages=tuple(passages),
            gold=frozenset(p.chunk for p in context.gold) if gold is None else frozenset(gold),
            chosen=chosen,
            rejected=rejected,
            label=label,
            part=part,
        )

    def _skip(self, row: Row, why: str) -> list[TrainRow]:
        self.left_out[row.example] = why
        return []


def _dealt_anew(rows: Sequence[TrainRow], shuffle: random.Random) -> list[TrainRow]:
    """The same questions and passages; each answer's words go to another question, cited as its own were."""
    texts = [[s.text for s in row.chosen] for row in rows]
    shuffle.shuffle(texts)
    return [
        replace(row, chosen=tuple(Said(text=text, cites=tuple(sorted(row.gold))[:1]) for text in some))
        for row, some in zip(rows, texts, strict=True)
    ]


def _enough(recipe: GeneratorRecipe, rows: Sequence[TrainRow], left_out: Counter[str]) -> None:
    why = "; ".join(f"{reason}: {n}" for reason, n in sorted(left_out.items()))
    if not rows:
        raise UserError(
            "none of the examples can teach the generator to answer" + (f" ({why})" if why else ""),
            hint="import examples with an answer and a quote, or correct some answers",
            code="nothing_to_teach",
        )
    require(recipe, in_rows(rows))
