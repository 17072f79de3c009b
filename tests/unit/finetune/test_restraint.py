"""What holds the weights near the start is nothing there, grows with the distance, and knows which weights matter."""

from __future__ import annotations

import pytest
import torch

from finetune.restraint import Restraint

START = (torch.tensor([1.0, 2.0]), torch.tensor([[3.0]]))


def test_it_is_nothing_at_the_start() -> None:
    held = Restraint(start=START, importance=(torch.ones(2), torch.ones(1, 1)))
    assert held(START, l2=5.0, ewc=5.0).item() == 0


def test_l2_is_half_the_squared_distance_times_its_weight() -> None:
    moved = (torch.tensor([1.0, 4.0]), torch.tensor([[2.0]]))
    assert Restraint(start=START, importance=())(moved, l2=3.0, ewc=9.0).item() == pytest.approx(3 / 2 * (4 + 1))


def test_a_weight_that_mattered_is_held_and_one_that_did_not_is_free() -> None:
    held = Restraint(start=START, importance=(torch.tensor([0.0, 2.0]), torch.zeros(1, 1)))
    moved = [START[0].clone().requires_grad_(), START[1].clone().requires_grad_()]
    with torch.no_grad():
        moved[0] += 1
        moved[1] += 1
    held(moved, l2=0.0, ewc=3.0).backward()
    assert moved[0].grad is not None
    assert moved[0].grad.tolist() == [0.0, 6.0]
    assert moved[1].grad is not None
    assert moved[1].grad.tolist() == [[0.0]]
