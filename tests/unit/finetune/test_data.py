"""What may be trained on, and how it is cut into batches: checked with numpy alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data import TrainRow, batches, compose, read_config, read_train_set, steps_per_epoch
from finetune.recipe import RetrieverRecipe
from kernel.errors import NotFound, UserError

RNG = np.random.default_rng(0)


def test_rows_and_vectors_are_read_and_digested(tmp_path: Path) -> None:
    _write(tmp_path, [_line("a", [0], negatives=[1, 0, 1], part="recalled")])
    data = read_train_set(tmp_path)
    assert data.rows == (TrainRow(example="a", question="what is a", positives=(0,), negatives=(1,), part="recalled"),)
    first = data.digest
    _write(tmp_path, [_line("b", [0], negatives=[1])])
    assert read_train_set(tmp_path).digest != first


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"positives": [4]}, "4 is no row of vectors.npy, which has 3"),
        ({"positives": [True]}, "True is no row"),
        ({"positives": []}, "no positives"),
        ({"question": "  "}, "the question is empty"),
        ({"weight": 0}, "weight 0.0 is not a positive number"),
        ({"part": "old"}, "part 'old' is neither 'new' nor 'recalled'"),
        ({"example": "a"}, "1 examples stand in train.jsonl more than once"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_named(tmp_path: Path, line: dict[str, Any], told: str) -> None:
    _write(tmp_path, [_line("a", [0]), _line("b", [1]) | line])
    with pytest.raises(UserError, match=told.replace("(", r"\(")):
        read_train_set(tmp_path)


def test_a_question_may_hold_what_some_take_for_the_end_of_a_line(tmp_path: Path) -> None:
    _write(tmp_path, [_line("a", [0]), _line("b", [1])])
    rows = [{"example": "a", "question": "one\u2028line\x85", "positives": [0]}, _line("b", [1])]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    assert read_train_set(tmp_path).rows[0].question == "one\u2028line\x85"


def test_problems_of_several_rows_are_named_together(tmp_path: Path) -> None:
    _write(tmp_path, [_line("a", []), _line("b", [9])])
    with pytest.raises(UserError, match=r"(?s)line 1: no positives.*line 2: 9 is no row"):
        read_train_set(tmp_path)


@pytest.mark.parametrize(
    ("vectors", "told"),
    [
        (np.eye(3), "is float64"),
        (np.eye(3, dtype=np.float32) * np.nan, "3 rows are not finite"),
        (2 * np.eye(3, dtype=np.float32), "3 rows are not of length 1"),
    ],
)
def test_vectors_that_are_not_unit_rows_are_refused(tmp_path: Path, vectors: np.ndarray, told: str) -> None:
    _write(tmp_path, [_line("a", [0]), _line("b", [1])], vectors)
    with pytest.raises(UserError, match=told):
        read_train_set(tmp_path)


def test_nothing_to_tell_apart_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, [_line("a", [0]), _line("b", [0])])
    with pytest.raises(UserError, match="nothing to tell apart"):
        read_train_set(tmp_path)


def test_a_folder_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no config\.json"):
        read_config(tmp_path)
    with pytest.raises(NotFound, match=r"no train\.jsonl"):
        read_train_set(tmp_path)


def test_a_config_needs_a_base_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="names no base model"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"base": "models/mini", "recipe": {"rank": -1}}')
    with pytest.raises(UserError, match="rank = -1"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"base": "models/mini"}')
    config = read_config(tmp_path)
    assert (config.base_name, config.champion, config.recipe) == ("mini", None, RetrieverRecipe())


@settings(deadline=None)
@given(count=st.integers(1, 200), size=st.integers(2, 40), epoch=st.integers(0, 3))
def test_every_row_is_in_one_batch_of_an_epoch_and_batches_are_even(count: int, size: int, epoch: int) -> None:
    rows = [_row(i, [i]) for i in range(count)]
    recipe = RetrieverRecipe(batch=size)
    cut = [batch.rows for batch in batches(rows, recipe, epoch)]
    assert sorted(i for some in cut for i in some) == list(range(count))
    assert len(cut) == steps_per_epoch(count, size)
    assert max(map(len, cut)) <= size
    assert max(map(len, cut)) - min(map(len, cut)) <= 1


def test_the_same_seed_and_epoch_give_the_same_batches_and_another_epoch_others() -> None:
    rows = [_row(i, [i], negatives=list(range(100, 120))) for i in range(50)]
    first, again, next_ = (list(batches(rows, RetrieverRecipe(), epoch)) for epoch in (0, 0, 1))
    assert [b.rows for b in first] == [b.rows for b in again]
    assert all((a.candidates == b.candidates).all() for a, b in zip(first, again, strict=True))
    assert [b.rows for b in first] != [b.rows for b in next_]
    assert any(a.candidates.tolist() != b.candidates.tolist() for a, b in zip(first, next_, strict=True))


def test_a_row_is_pushed_from_its_hard_negatives_and_the_positives_of_others() -> None:
    rows = [_row(0, [0], negatives=[5]), _row(1, [1])]
    batch = compose(rows, [0, 1], 4, RNG)
    assert batch.candidates.tolist() == [0, 1, 5]
    assert batch.positive.tolist() == [[True, False, False], [False, True, False]]
    # document 5 is a hard negative of the first row alone
    assert batch.negative.tolist() == [[False, True, True], [True, False, False]]


def test_what_may_answer_a_question_is_never_pushed_away() -> None:
    rows = [
        _row(0, [0, 1]),
        _row(1, [1, 2]),  # shares 1 with the first: then its 2 may answer the first too
        _row(2, [3], negatives=[0]),  # 0 answers another row, and is still this row's own hard negative
    ]
    batch = compose(rows, [0, 1, 2], 4, RNG)
    assert batch.candidates.tolist() == [0, 1, 2, 3]
    assert batch.negative.tolist() == [
        [False, False, False, True],
        [False, False, False, True],
        [True, True, True, False],
    ]


def test_a_listed_negative_that_a_kindred_row_calls_relevant_is_left_out() -> None:
    rows = [_row(0, [0], negatives=[2]), _row(1, [0, 2])]
    batch = compose(rows, [0, 1], 4, RNG)
    assert not batch.negative.any()


def _row(number: int, positives: list[int], negatives: list[int] | None = None) -> TrainRow:
    return TrainRow(
        example=f"e{number}",
        question=f"question {number}",
        positives=tuple(positives),
        negatives=tuple(negatives or ()),
    )


def _line(example: str, positives: list[int], **more: Any) -> dict[str, Any]:
    return {"example": example, "question": f"what is {example}", "positives": positives} | more


def _write(run: Path, lines: list[dict[str, Any]], vectors: np.ndarray | None = None) -> None:
    (run / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    np.save(run / "vectors.npy", np.eye(3, dtype=np.float32) if vectors is None else vectors)
