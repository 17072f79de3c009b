"""What holds the weights near where training started: an L2 pull, and elastic weight consolidation.

Both are sums over the adapter's own weights, A and B, and both are zero at the start. Only the training child imports
this module; it needs torch at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from finetune.data import TrainRow, compose
from finetune.model import Learner, losses

_MOST = 256
"""Recalled rows that importance is estimated from; more of them change it little and cost a backward pass each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """Where training started, and how much each weight mattered there; in the order of `Learner.weights`."""

    start: tuple[torch.Tensor, ...]
    importance: tuple[torch.Tensor, ...]
    """Diagonal Fisher information, scaled to a mean of 1 over all weights; empty where it is not asked for."""

    def __call__(self, weights: Sequence[torch.Tensor], l2: float, ewc: float) -> torch.Tensor:
        """l2 / 2 * sum (w - start)^2 + ewc / 2 * sum importance * (w - start)^2.

        Papers: Li, Grandvalet and Davoine, Explicit inductive bias for transfer learning with convolutional networks,
        ICML 2018 (L2-SP); Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, PNAS 2017 (EWC).
        """
        away = [(now - then).square() for now, then in zip(weights, self.start, strict=True)]
        total = l2 / 2 * torch.stack([a.sum() for a in away]).sum()
        if self.importance:
            held = [(f * a).sum() for f, a in zip(self.importance, away, strict=True)]
            total = total + ewc / 2 * torch.stack(held).sum()
        return total


def restrain(learner: Learner, vectors: torch.Tensor, rows: Sequence[TrainRow], ewc: bool) -> Restraint:
    """A restraint to the weights as they are now; with `ewc` by the recalled ones of `rows`, if there are any."""
    start = tuple(w.detach().clone() for w in learner.weights)
    recalled = [i for i, row in enumerate(rows) if row.part == "recalled"][:_MOST]
    importance = _fisher(learner, vectors, rows, recalled) if ewc and recalled else ()
    return Restraint(start=start, importance=importance)


def _fisher(
    learner: Learner, vectors: torch.Tensor, rows: Sequence[TrainRow], chosen: Sequence[int]
) -> tuple[torch.Tensor, ...]:
    """Mean squared gradient of single rows, without dropout: the empirical Fisher information, its diagonal.

    The scale of it depends on how well the model knows the rows already; scaled to a mean of 1, a weight of the penalty
    means the same in every run.
    """
    recipe, rng = learner.recipe, np.random.default_rng(learner.recipe.seed)
    total = [torch.zeros_like(w) for w in learner.weights]
    learner.model.eval()
    for begin in range(0, len(chosen), recipe.batch):
        some = chosen[begin : begin + recipe.batch]
        batch = compose(rows, some, recipe.hard_negatives, rng)
        each, _ = losses(learner, vectors, [rows[i].question for i in some], batch)
        for loss in each:
            gradients = torch.autograd.grad(loss, learner.weights, retain_graph=True)
            for sum_, gradient in zip(total, gradients, strict=True):
                sum_ += gradient.square()
    learner.model.train()
    mean = sum(float(t.sum()) for t in total) / sum(t.numel() for t in total)
    return tuple(t / max(mean, 1e-30) for t in total)
