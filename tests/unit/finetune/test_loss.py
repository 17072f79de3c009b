"""The contrastive loss against values worked out by hand, and the pull towards the ranking before."""

from __future__ import annotations

import math

import pytest
import torch

from finetune.model import contrast, pull


def test_one_positive_against_two_negatives_is_infonce() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0]])
    loss = contrast(scores, _mask([1, 0, 0]), _mask([0, 1, 1]))
    assert loss.item() == pytest.approx(-math.log(math.e**2 / (math.e**2 + math.e + 1)))


def test_positives_do_not_compete_with_each_other() -> None:
    scores = torch.tensor([[2.0, -1.0, 0.0]])
    loss = contrast(scores, _mask([1, 1, 0]), _mask([0, 0, 1]))
    first, second = (-math.log(math.exp(s) / (math.exp(s) + 1)) for s in (2.0, -1.0))
    assert loss.item() == pytest.approx((first + second) / 2)


def test_what_is_neither_positive_nor_negative_has_no_pull() -> None:
    scores = torch.tensor([[2.0, 1.0, 5.0]], requires_grad=True)
    contrast(scores, _mask([1, 0, 0]), _mask([0, 1, 0])).sum().backward()
    assert scores.grad is not None
    assert scores.grad[0, 2] == 0
    assert scores.grad[0, 0] < 0 < scores.grad[0, 1]


def test_a_row_without_negatives_costs_nothing_and_breaks_nothing() -> None:
    scores = torch.tensor([[2.0, 1.0]], requires_grad=True)
    loss = contrast(scores, _mask([1, 0]), _mask([0, 0]))
    loss.sum().backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert (scores.grad == 0).all()


def test_the_pull_is_zero_for_the_ranking_before_and_grows_with_the_change() -> None:
    before = torch.nn.functional.normalize(torch.tensor([[1.0, 0.2], [0.0, 1.0]]), dim=1)
    documents = torch.eye(2)
    same = before @ documents.T / 0.05
    assert pull(same, before, documents, 0.05).abs().max() < 1e-6
    little, much = (pull(same + torch.tensor([0.0, shift]), before, documents, 0.05).sum() for shift in (1, 3))
    assert 0 < little < much


def _mask(row: list[int]) -> torch.Tensor:
    return torch.tensor([row], dtype=torch.bool)
