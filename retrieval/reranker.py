"""Rerankers: one that needs no model and looks at years, and any cross-encoder that is named.

A cross-encoder reads question and passage together, which an index of vectors cannot. Any of sentence-transformers will
do, by name or folder. It costs a forward pass for each candidate, some hundred milliseconds for thirty on two cores, so
it looks only where it was asked for or measured to help.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from kernel.errors import UserError
from kernel.ports import Reranker
from kernel.types import Passage
from retrieval.years import named, share_named

_CROSS_ENCODER = "cross-encoder:"


def make_reranker(wanted: str) -> Reranker | None:
    """The reranker of a setting: `off`, `embedded`, or `cross-encoder:NAME_OR_PATH`.

    Raises:
        UserError: it is called otherwise.
    """
    if wanted == "off":
        return None
    if wanted == EmbeddedReranker.name:
        return EmbeddedReranker()
    model = wanted.removeprefix(_CROSS_ENCODER)
    if model == wanted or not model:
        raise UserError(
            f"REPRISE_RERANKER={wanted!r} is no reranker",
            hint="give `off`, `embedded`, or `cross-encoder:` and a name or folder of a sentence-transformers "
            "cross-encoder",
            code="bad_reranker",
        )
    return CrossEncoderReranker(model)


class EmbeddedReranker:
    """The `Reranker` port without a model: passages that name the question's years go first.

    Of two dozen features of words, numbers, phrases, titles and neighbours this is the only one that wins surely and
    loses nowhere (docs/decisions/0015). A question that names no year leaves everything as it is.
    """

    name = "embedded"
    share = 1 / 4
    """The more, the worse for claims that name a year in passing (`benchmarks.calibrate_reranker`)."""
    by_default = True

    def looks(self, question: str) -> bool:
        return bool(named(question))

    def rerank(self, question: str, passages: Sequence[Passage]) -> list[float]:
        wanted = named(question)
        return [share_named(wanted, named(f"{p.title}\n{p.heading}\n{p.text}")) for p in passages]


class CrossEncoderReranker:
    """The `Reranker` port on a sentence-transformers cross-encoder. Loads at the first question."""

    share = 0.5
    """By itself a cross-encoder can be below untouched fusion (docs/decisions/0005)."""
    by_default = False

    def __init__(self, model: str) -> None:
        self.name = f"{_CROSS_ENCODER}{model}"
        self._path = model
        self._lock = threading.Lock()  # a model's tokenizer is not safe from several threads

    def looks(self, question: str) -> bool:
        return True

    def rerank(self, question: str, passages: Sequence[Passage]) -> list[float]:
        if not passages:
            return []
        pairs = [(question, f"{p.heading}\n{p.text}" if p.heading else p.text) for p in passages]
        with self._lock:
            scores = self._model.predict(pairs, batch_size=16, show_progress_bar=False)
        return [float(score) for score in scores]

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import CrossEncoder

        try:
            return CrossEncoder(self._path, device="cpu", num_labels=1)
        except Exception as error:
            raise UserError(
                f"the reranker {self._path!r} cannot be loaded: {error}",
                hint="REPRISE_RERANKER takes a folder with a cross-encoder, or a name your hub has",
                code="bad_reranker",
            ) from error
