"""Hard negatives: which documents of a question's pool stand against it in this epoch.

The pool of each row is what the index found near its question, less what cannot be told from its answer; that is
decided where the index is at hand (`materialise`). Here the model that is being trained looks at the same pool: which
of it is too near to the answer to be trusted, and which is hardest by now.

Only the training child uses this; it knows vectors and no model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from finetune.data import TrainRow


def trusted(rows: Sequence[TrainRow], questions: np.ndarray, documents: np.ndarray, margin: float) -> list[TrainRow]:
    """The rows without likely false negatives: what scores `margin` times the row's best positive or more is dropped.

    A share of the positive's score and not a fixed score: how high an answer scores differs by question. `questions`
    (n, dimension) are by the model that training starts from, `documents` (m, dimension) the frozen vectors.

    Paper: Moreira et al., NV-Retriever: improving text embedding models with effective hard-negative mining, 2024
    (there TopK-PercPos, with .95).
    """
    kept = []
    for row, question in zip(rows, questions, strict=True):
        most = margin * float((documents[list(row.positives)] @ question).max())
        scores = documents[list(row.negatives)] @ question
        negatives = tuple(n for n, score in zip(row.negatives, scores, strict=True) if score < most)
        kept.append(dataclasses.replace(row, negatives=negatives))
    return kept


def hardest(rows: Sequence[TrainRow], questions: np.ndarray, documents: np.ndarray, most: int) -> list[TrainRow]:
    """The rows with the `most` negatives of their pool that score highest now, hardest first; ties in pool order.

    Paper: Xiong et al., Approximate nearest neighbor negative contrastive learning for dense text retrieval, ICLR
    2021. There the documents move as well and are embedded again; here they are frozen, so a look costs no more than
    the questions' vectors.
    """
    mined = []
    for row, question in zip(rows, questions, strict=True):
        order = np.argsort(-(documents[list(row.negatives)] @ question), kind="stable")[:most]
        mined.append(dataclasses.replace(row, negatives=tuple(row.negatives[i] for i in order)))
    return mined
