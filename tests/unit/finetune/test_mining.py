"""Negatives are the hardest of a pool by the model as it is now, and none that scores almost as high as the answer."""

from __future__ import annotations

import numpy as np

from finetune.data import TrainRow
from finetune.materialise import POOL, tell_apart
from finetune.mining import hardest, trusted

DOCUMENTS = np.array([[1, 0], [0.96, 0.28], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
ROW = TrainRow(example="e", question="q", positives=(0,), negatives=(1, 2, 3, 4))
ALONG, ACROSS = np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)


def test_the_hardest_come_first_by_the_question_as_it_is_now() -> None:
    (before,) = hardest([ROW], ALONG, DOCUMENTS, 2)
    (after,) = hardest([ROW], ACROSS, DOCUMENTS, 2)
    assert before.negatives == (1, 2)
    assert after.negatives == (4, 3)


def test_a_pool_smaller_than_what_is_asked_for_is_taken_whole() -> None:
    assert hardest([ROW], ALONG, DOCUMENTS, 10)[0].negatives == ROW.negatives
    assert hardest([TrainRow(example="e", question="q", positives=(0,))], ALONG, DOCUMENTS, 4)[0].negatives == ()


def test_what_scores_almost_as_high_as_the_answer_is_no_negative() -> None:
    assert trusted([ROW], ALONG, DOCUMENTS, 0.95)[0].negatives == (2, 3, 4)
    assert trusted([ROW], ALONG, DOCUMENTS, 0.97)[0].negatives == (1, 2, 3, 4)


def test_the_best_of_several_positives_is_the_measure() -> None:
    row = TrainRow(example="e", question="q", positives=(4, 0), negatives=(1, 2))
    assert trusted([row], ALONG, DOCUMENTS, 0.95)[0].negatives == (2,)


def test_a_copy_of_the_answer_is_no_negative_and_a_pool_has_an_end() -> None:
    candidates = [DOCUMENTS[1], DOCUMENTS[0], DOCUMENTS[4]]
    assert tell_apart(DOCUMENTS[:1], candidates) == [2]
    assert len(tell_apart(DOCUMENTS[:1], [DOCUMENTS[4]] * 200)) == POOL
