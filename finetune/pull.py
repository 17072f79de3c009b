"""Where the rows of a run pull held-out questions: to what the row most like a question names, if that is wrong for it.

Examples that somebody poisoned name one document for questions that others answer. Such a row stands nearest to honest
questions of its topic, and says of them what is not so. That alone is no fault: two questions may differ in one word
and in their answer. So nothing is judged here; the gate asks whether just those questions got worse (`Case.pulled`).

It reads what was really trained on, `train.jsonl` of the run's folder, and knows no example's history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from finetune.data import ROWS
from finetune.evaluate import Encode, Question
from finetune.files import read_json, read_lines
from finetune.lineage import POINTS

_AT_ONCE = 256
Aims = Sequence[tuple[str, frozenset[str]]]
"""Rows as (question, documents it names), all of them documents that still stand."""


def aims(folder: Path, documents: Callable[[Collection[str]], Mapping[str, str]]) -> Aims | None:
    """The rows of a run's folder; None where nothing was trained on rows, as in a merge.

    Args:
        folder: of a run.
        documents: chunks to the document of each that still has one.
    """
    if not (folder / ROWS).is_file() or not (folder / POINTS).is_file():
        return None
    points = read_json(folder / POINTS)
    rows = [(str(row["question"]), [points[n] for n in row["positives"]]) for row in read_lines(folder / ROWS)]
    of = documents({point for _, named in rows for point in named})
    found = [(question, frozenset(of[point] for point in named if point in of)) for question, named in rows]
    return [(question, named) for question, named in found if named]


def pulled(questions: Sequence[Question], rows: Aims, encode: Encode) -> dict[str, str | None]:
    """For each question the document that the row most like it names and that is wrong for it, or None.

    Most like is the highest cosine by `encode`, the base model's, which neither the champion nor the run can have bent.
    A row that names several documents stands for the one to which most questions are pulled, so that one attack is one
    group.
    """
    if not questions or not rows:
        return {q.example: None for q in questions}
    theirs = _encoded([question for question, _ in rows], encode)
    ours = _encoded([q.question for q in questions], encode)
    parts = (ours[start : start + _AT_ONCE] for start in range(0, len(ours), _AT_ONCE))  # of all the table is large
    nearest = np.concatenate([(part @ theirs.T).argmax(axis=1) for part in parts])
    named = [rows[int(n)][1] for n in nearest]
    wrong = {q.example: () if q.sources & to else sorted(to) for q, to in zip(questions, named, strict=True)}
    votes = Counter(document for to in wrong.values() for document in to)
    return {e: max(to, key=lambda document: votes[document], default=None) for e, to in wrong.items()}


def _encoded(texts: Sequence[str], encode: Encode) -> np.ndarray:
    """Unit vectors (n, dimension).

    Raises:
        ValueError: one of them is not a number: a question that cannot be compared must not pass as unlike all others.
    """
    vectors = np.concatenate([encode(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE)])
    if not np.isfinite(vectors).all():
        raise ValueError("the base model gave a vector that is not a number")
    return vectors
