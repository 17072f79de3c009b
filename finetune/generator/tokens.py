"""Rows as tokens, exactly as they are served: passages that have no room are left out, answers never cut.

It knows a tokenizer and no model.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.generator.rows import Said, TrainRow, sentences
from kernel.types import Ask, Passage
from retrieval.generators import chat, prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A row as a model reads it. `prompt` and `chosen` together have at most the tokens that were asked for."""

    row: TrainRow
    prompt: list[int]
    chosen: list[int]
    rejected: list[int] | None = None

    @property
    def length(self) -> int:
        """Of prompt and the longer answer."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected or ()))


def tokenised(row: TrainRow, tokenizer: Any, stops: Collection[int], most: int) -> Tokens | None:
    """The row in at most `most` tokens; None where it does not fit with the passages that answer it alone.

    Passages that do not answer are left out from the end, as they would be where it is served; the numbers of the
    others follow. `stops` are the tokens that end an answer.
    """
    shown = list(row.passages)
    while True:
        made = _made(row, shown, tokenizer, stops)
        if made.length <= most:
            return made
        spare = next((n for n in range(len(shown) - 1, -1, -1) if shown[n].chunk not in row.gold), None)
        if spare is None or (len(shown) == 1 and not row.gold):
            return None
        del shown[spare]


def _made(row: TrainRow, shown: Sequence[Passage], tokenizer: Any, stops: Collection[int]) -> Tokens:
    turns = prompt.messages(Ask(question=row.question), shown, chat.reserved(tokenizer))

    def behind(said: Sequence[Said]) -> tuple[list[int], list[int]]:
        return chat.target(tokenizer, turns, prompt.answer(sentences(said, shown)), stops)

    asked, chosen = behind(row.chosen)
    rejected = None if row.rejected is None else behind(row.rejected)[1]
    return Tokens(row=row, prompt=asked, chosen=chosen, rejected=rejected)
