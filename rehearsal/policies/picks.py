"""What policies speak of (candidates, new examples, picks) and the parts they share: eligibility, quotas, chance.

Chance is a hash: each example gets a number from the seed and its id, and the smallest win. That is a uniform draw
without replacement (bottom-k sampling: Cohen and Kaplan, Summarizing data using bottom-k sketches, PODC 2007), equal in
distribution to Vitter's reservoir (ACM TOMS 11(1), 1985), and an example that joins or leaves changes few other picks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from kernel.errors import UserError

RESTED_AFTER = 3
"""Recalled so often within the last `CYCLES`, an example rests: what is repeated too often is learnt by heart. What a
person pinned does not rest."""
CYCLES = 4
NOISE = 0.02
"""The share of highest losses that is suspected to be wrong labels: what chooses by loss must not choose by noise."""

Target = Literal["stored", "champion"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """An old example that may be recalled. `vector` is its question's, float (dimension,), of any length."""

    example: str
    slice: str
    pinned: bool = False
    vector: np.ndarray | None = field(default=None, repr=False)
    times_rehearsed: int = 0
    last_loss: float | None = None
    documents: tuple[str, ...] = ()
    rise: float | None = None
    """How much a virtual step on the new examples raises its loss; None where that was not measured."""
    last_rehearsed: int | None = None
    """UTC milliseconds; None if it was never practised again."""
    strength: float = 0.0
    """How well it is remembered: practised so many times without being forgotten."""
    forgotten: int = 0
    """How often it was found to be forgotten."""
    cluster: str | None = None
    recent: int = 0
    """How often it was recalled in the last `CYCLES` retrains."""
    storable: bool = True
    """Whether there is an answer and it may be kept; if not, the champion answers for it."""
    weight: float = 1.0
    """How much its slice is to be practised, against the others; the same for all of a slice."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewExamples:
    """What is to be learnt: ids, and the questions' vectors (len(examples), dimension) in the same order."""

    examples: tuple[str, ...]
    vectors: np.ndarray = field(repr=False)
    at: int | None = None
    """When the mix is drawn, UTC milliseconds; where None, or earlier, when a candidate was last rehearsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """An example to recall, and why: a fragment of a sentence with the facts in it."""

    example: str
    reason: str
    target: Target = "stored"
    """What it is trained towards: the answer that is stored, or the one the champion gives now."""


Policy = Callable[[Sequence[Candidate], NewExamples, int, int], list[Pick]]
Arm = Policy
"""A part of a policy: at most n picks, from candidates that are eligible and sorted; it may run out."""


def n_old(n_new: int, rho: float) -> int:
    """How many old examples make a share `rho` of a mix with `n_new` new ones: round(rho / (1 - rho) * n_new).

    Raises:
        UserError: `rho` is not a share below 1.
    """
    if not 0 <= rho < 1:
        raise UserError(
            f"rho = {rho!r} is no share of a mix",
            hint="expected 0 (no rehearsal) to less than 1; .3 is usual",
        )
    return round(rho / (1 - rho) * n_new)


def quotas(sizes: Mapping[str, int], weights: Mapping[str, float], n: int) -> dict[str, int]:
    """Shares of `n` in proportion to `weights`, none above its size; slices of weight 0 get nothing.

    They sum to `n`, or to all there is. What a full slice cannot take goes to the others in proportion; fractions by
    the largest remainder (Hamilton), ties by name.
    """
    given = dict.fromkeys(sizes, 0)
    open_ = {s for s, size in sizes.items() if size > 0 and weights[s] > 0}
    left = min(n, sum(sizes[s] for s in open_))
    while left:
        total = math.fsum(weights[s] for s in open_)
        wish = {s: left * weights[s] / total for s in sorted(open_)}
        full = [s for s in wish if wish[s] >= sizes[s]]
        if full:  # these take all they have; the others share what is left, in the next round
            given.update({s: sizes[s] for s in full})
            left -= sum(sizes[s] for s in full)
            open_.difference_update(full)
            continue
        given.update({s: math.floor(wish[s]) for s in wish})
        rest = left - sum(math.floor(w) for w in wish.values())
        for s in sorted(wish, key=lambda s: (math.floor(wish[s]) - wish[s], s))[:rest]:
            given[s] += 1
        left = 0
    return given


def eligible(candidates: Sequence[Candidate], new: NewExamples) -> list[Candidate]:
    """Those that may be picked, each once, in order of their ids: not what is new, nor what rests."""
    fresh, found = set(new.examples), {c.example: c for c in candidates}
    return [c for e, c in sorted(found.items()) if e not in fresh and (c.pinned or c.recent < RESTED_AFTER)]


def without(pool: Sequence[Candidate], picks: Sequence[Pick]) -> list[Candidate]:
    """The pool but for what is picked already."""
    taken = {pick.example for pick in picks}
    return [c for c in pool if c.example not in taken]


def slices(pool: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    """Members by slice, in order of the names."""
    found: dict[str, list[Candidate]] = {}
    for c in pool:
        found.setdefault(c.slice, []).append(c)
    return {name: found[name] for name in sorted(found)}


def draw(pool: Sequence[Candidate], n: int, seed: int) -> list[Candidate]:
    """A uniform draw without replacement, in an order that is chance as well."""
    return sorted(pool, key=lambda c: chance(seed, c.example))[: max(0, n)]


def chance(seed: int, example: str) -> bytes:
    """The example's number under this seed."""
    return hashlib.blake2b(f"{seed}\x1f{example}".encode(), digest_size=16).digest()


def credible(pool: Sequence[Candidate]) -> list[Candidate]:
    """The pool without the highest losses, a share `NOISE` of those that are known, which may be wrong labels."""
    known = sorted((c for c in pool if c.last_loss is not None), key=lambda c: (-(c.last_loss or 0.0), c.example))
    suspected = {c.example for c in known[: round(NOISE * len(known))]}
    return [c for c in pool if c.example not in suspected]


def stack(members: Sequence[Candidate]) -> np.ndarray:
    """Their vectors, (members, dimension)."""
    return np.stack([c.vector for c in members if c.vector is not None])


def centroid(vectors: np.ndarray) -> np.ndarray:
    """The unit vector in the middle of them, (dimension,)."""
    row: np.ndarray = unit(unit(vectors).mean(axis=0, keepdims=True))[0]
    return row


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays one, and is like nothing."""
    rows = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def short(value: float) -> str:
    """Two decimals without the leading zero: .71, -.12, 1.00."""
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"
