"""What an adapter adds to each layer, as a matrix, and how several such matrices become one of low rank.

Everything is done on delta W = scale * B A and never on A and B apart: (sum B)(sum A) has cross terms of adapters that
never met. Only the training child imports this module; it needs torch at once. It knows no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """delta W = scale * b @ a of one layer; `a` (rank, in), `b` (out, rank), float32."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    @property
    def delta(self) -> torch.Tensor:
        return self.scale * (self.b @ self.a)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factored:
    """The best approximation of a matrix at a rank, and what it leaves out."""

    factors: Factors
    energy: float
    """Squared Frobenius norm of the matrix."""
    lost: float
    """Squared Frobenius norm of what the rank could not hold."""


def cat(layers: Sequence[Factors], weights: Sequence[float], rank: int, scale: float) -> Factored:
    """sum w_i delta W_i, exactly, then the nearest matrix of `rank` (Eckart and Young, Psychometrika 1936).

    The sum is [w_1 s_1 B_1 | w_2 s_2 B_2 | ...] [A_1; A_2; ...], so its singular values are those of a small matrix
    between two orthogonal ones, and the full matrix is never made.
    """
    b = torch.cat([w * layer.scale * layer.b for w, layer in zip(weights, layers, strict=True)], dim=1).double()
    a = torch.cat([layer.a for layer in layers]).double()
    left, upper = torch.linalg.qr(b)
    right, lower = torch.linalg.qr(a.T)
    u, s, v = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    return _cut(left @ u, s, v @ right.T, rank, scale)


def ties(deltas: Sequence[torch.Tensor], weights: Sequence[float], density: float) -> torch.Tensor:
    """Trim each matrix to its largest `density` of entries, elect a sign per entry, average those that agree with it.

    Weights are 0 or more, and only their proportions count: the result is a mean.

    Paper: Yadav et al., TIES-Merging: resolving interference when merging models, NeurIPS 2023 (arXiv 2306.01708).
    """
    trimmed = torch.stack([_largest(delta, density) for delta in deltas])
    shares = torch.tensor(weights, dtype=trimmed.dtype).view(-1, 1, 1)
    elected = (shares * trimmed).sum(0).sign()
    agree = (trimmed.sign() == elected) & (trimmed != 0)
    total = (shares * agree).sum(0)
    mean: torch.Tensor = (shares * trimmed * agree).sum(0) / total.where(total != 0, torch.ones_like(total))
    return mean


def dare(
    deltas: Sequence[torch.Tensor], weights: Sequence[float], density: float, generator: torch.Generator
) -> torch.Tensor:
    """Drop each entry with probability 1 - `density`, rescale the rest by 1 / `density`, and add up by weight.

    Paper: Yu et al., Language models are super Mario, ICML 2024 (arXiv 2311.03099).
    """
    total = torch.zeros_like(deltas[0])
    for weight, delta in zip(weights, deltas, strict=True):
        kept = torch.rand(delta.shape, generator=generator, dtype=torch.float64) < density
        total += weight * delta * kept / density
    return total


def factored(delta: torch.Tensor, rank: int, scale: float) -> Factored:
    """The nearest matrix of `rank` to a full one."""
    u, s, v = torch.linalg.svd(delta.double(), full_matrices=False)
    return _cut(u, s, v, rank, scale)


def _largest(delta: torch.Tensor, density: float) -> torch.Tensor:
    keep = max(1, round(density * delta.numel()))
    least = delta.abs().flatten().kthvalue(delta.numel() - keep + 1).values
    return delta.where(delta.abs() >= least, torch.zeros_like(delta))


def _cut(u: torch.Tensor, s: torch.Tensor, v: torch.Tensor, rank: int, scale: float) -> Factored:
    """The root of each singular value to either side: A and B of like size train on well. Rank that is left is zero."""
    squares, root = s.square(), (s[:rank] / scale).sqrt()
    b, a = u[:, :rank] * root, root.unsqueeze(1) * v[:rank]
    left = rank - len(root)
    if left > 0:
        b = torch.cat([b, b.new_zeros(len(b), left)], dim=1)
        a = torch.cat([a, a.new_zeros(left, a.shape[1])])
    factors = Factors(a=a.float().contiguous(), b=b.float().contiguous(), scale=scale)
    return Factored(factors=factors, energy=float(squares.sum()), lost=float(squares[rank:].sum()))
