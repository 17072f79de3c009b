"""Which old examples are practised again beside the new ones: six policies, pure and seeded.

Each takes the candidates, the new examples, how many to pick and a seed, and returns as many picks as asked
for, or all candidates if there are fewer; no example twice, never a new one, each with the reason it was
chosen. The same inputs and seed give the same picks, whatever the order of the candidates. Where a policy
runs out, a stratified draw fills up and says so.

Nothing is known here of where candidates come from: that they are live, approved and in the training split is
the business of whoever asks the index.

Chance is a hash: each example gets a number from the seed and its id, and the smallest win. That is a uniform
draw without replacement (bottom-k sampling: Cohen and Kaplan, Summarizing data using bottom-k sketches, PODC
2007), equal in distribution to Vitter's reservoir (ACM TOMS 11(1), 1985), and an example that joins or leaves
changes few other picks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kernel.errors import UserError

NEIGHBOURS = 16
"""Nearest old examples of each new question that `near` considers."""
DIVERSITY = 0.5
"""MMR's lambda: 1 is likeness to the new questions alone, 0 is unlikeness to what is picked already."""
SHARES = {"pinned": 0.2, "near": 0.2, "far": 0.1}
"""Of `mixed`, in order of picking; what is left is stratified."""


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewExamples:
    """What is to be learnt: ids, and the questions' vectors (len(examples), dimension) in the same order."""

    examples: tuple[str, ...]
    vectors: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """An example to recall, and why: a fragment of a sentence with the facts in it."""

    example: str
    reason: str


Policy = Callable[[Sequence[Candidate], NewExamples, int, int], list[Pick]]


def n_old(n_new: int, rho: float) -> int:
    """How many old examples make a share `rho` of a mix with `n_new` new ones: round(rho / (1 - rho) * n_new).

    Raises:
        UserError: `rho` is not a share below 1.
    """
    if not 0 <= rho < 1:
        raise UserError(
            f"rho = {rho!r} is no share of a mix",
            hint="expected 0 (no rehearsal) to less than 1; .2 is usual",
        )
    return round(rho / (1 - rho) * n_new)


def random_sample(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """Every old example has the same chance."""
    pool = _eligible(candidates, new)
    drawn = _draw(pool, n, seed)
    return [Pick(example=c.example, reason=f"random: one of {len(drawn)} of {len(pool)} old examples") for c in drawn]


def stratified(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """A draw from every slice, in quotas that grow with the square root of its size: small slices are heard."""
    return _stratified(_eligible(candidates, new), n, seed)


def pinned_floor(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """Pinned examples, then those of rare slices; in each the least rehearsed first."""
    return _filled("pinned", _pinned, candidates, new, n, seed)


def near(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """The nearest old questions of each new one, diversified: like the new ones, and unlike each other.

    Paper: Carbonell and Goldstein, The use of MMR, diversity-based reranking, SIGIR 1998.
    """
    return _filled("near", _near, candidates, new, n, seed)


def far(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """A draw from every slice, in quotas that grow with its distance from the new questions.

    Paper: Wang et al., InsCL: a data-efficient continual learning paradigm, NAACL 2024, which gives distant
    tasks more of the budget (there by Wasserstein distance, here by the cosine of centroids).
    """
    return _filled("far", _far, candidates, new, n, seed)


def mixed(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """The default: 20 % pinned and rare, 20 % near, 10 % far, and the rest stratified with what those left over."""
    pool = _eligible(candidates, new)
    picks: list[Pick] = []
    for name, share in SHARES.items():
        arm = {"pinned": _pinned, "near": _near, "far": _far}[name]
        picks += arm(_without(pool, picks), new, min(round(share * n), n - len(picks)), seed)
    return picks + _stratified(_without(pool, picks), n - len(picks), seed)


POLICIES: Mapping[str, Policy] = {
    "random": random_sample,
    "stratified": stratified,
    "pinned": pinned_floor,
    "near": near,
    "far": far,
    "mixed": mixed,
}


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


# --- arms: at most n picks, from candidates that are eligible and sorted ------------------------


def _stratified(pool: Sequence[Candidate], n: int, seed: int, because: str = "stratified") -> list[Pick]:
    slices = _slices(pool)
    sizes = {name: len(members) for name, members in slices.items()}
    shares = quotas(sizes, {name: math.sqrt(size) for name, size in sizes.items()}, n)
    return [
        Pick(example=c.example, reason=f"{because}: slice {name!r} {shares[name]} of {sizes[name]}")
        for name, members in slices.items()
        for c in _draw(members, shares[name], seed)
    ]


def _pinned(pool: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    slices = _slices(pool)
    equal_share = len(pool) / max(1, len(slices))
    rare = {name: len(m) for name, m in slices.items() if len(m) < equal_share / 2}
    wanted = [c for c in pool if c.pinned or c.slice in rare]
    wanted.sort(key=lambda c: (not c.pinned, c.times_rehearsed, _chance(seed, c.example)))
    return [
        Pick(
            example=c.example,
            reason="pinned" if c.pinned else f"rare: slice {c.slice!r} holds {rare[c.slice]} of {len(pool)}",
        )
        for c in wanted[: max(0, n)]
    ]


def _near(pool: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    known = [c for c in pool if c.vector is not None]
    if not known or not len(new.examples) or n <= 0:
        return []
    vectors = _unit(_stack(known))
    alike = vectors @ _unit(new.vectors).T  # (candidates, new)
    best, closest = alike.max(axis=1), alike.argmax(axis=1)
    wanted, k = np.zeros(0, dtype=np.int64), NEIGHBOURS
    while len(wanted) < min(n, len(known)):  # new questions may share neighbours: look further until there are enough
        k = min(k, len(known))
        wanted = np.unique(np.argpartition(-alike, k - 1, axis=0)[:k])
        k *= 2
    picked: list[int] = []
    crowded = np.full(len(known), -np.inf)  # likeness to what is picked already
    open_ = np.full(len(known), -np.inf)
    open_[wanted] = 0.0
    while len(picked) < min(n, len(wanted)):
        crowd = crowded if picked else np.zeros(len(known))
        at = int(np.argmax(open_ + DIVERSITY * best - (1 - DIVERSITY) * crowd))
        picked.append(at)
        open_[at] = -np.inf
        crowded = np.maximum(crowded, vectors @ vectors[at])
    return [
        Pick(
            example=known[i].example,
            reason=f"near: cosine {_short(best[i])} to new question {new.examples[closest[i]]!r}",
        )
        for i in picked
    ]


def _far(pool: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    if not len(new.examples):
        return []
    slices = _slices([c for c in pool if c.vector is not None])
    centre = _centroid(new.vectors)
    distances = {name: max(0.0, 1 - float(_centroid(_stack(m)) @ centre)) for name, m in slices.items()}
    shares = quotas({name: len(members) for name, members in slices.items()}, distances, n)
    return [
        Pick(example=c.example, reason=f"far: slice {name!r} at distance {_short(distances[name])}")
        for name, members in slices.items()
        for c in _draw(members, shares[name], seed)
    ]


# --- small parts --------------------------------------------------------------------------------

_Arm = Callable[[Sequence[Candidate], NewExamples, int, int], list[Pick]]


def _filled(name: str, arm: _Arm, candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    pool = _eligible(candidates, new)
    picks = arm(pool, new, n, seed)
    return picks + _stratified(_without(pool, picks), n - len(picks), seed, f"stratified, as {name!r} ran out")


def _eligible(candidates: Sequence[Candidate], new: NewExamples) -> list[Candidate]:
    fresh, found = set(new.examples), {c.example: c for c in candidates}
    return [found[example] for example in sorted(found) if example not in fresh]


def _without(pool: Sequence[Candidate], picks: Sequence[Pick]) -> list[Candidate]:
    taken = {pick.example for pick in picks}
    return [c for c in pool if c.example not in taken]


def _slices(pool: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    found: dict[str, list[Candidate]] = {}
    for c in pool:
        found.setdefault(c.slice, []).append(c)
    return {name: found[name] for name in sorted(found)}


def _draw(pool: Sequence[Candidate], n: int, seed: int) -> list[Candidate]:
    return sorted(pool, key=lambda c: _chance(seed, c.example))[: max(0, n)]


def _chance(seed: int, example: str) -> bytes:
    return hashlib.blake2b(f"{seed}\x1f{example}".encode(), digest_size=16).digest()


def _stack(members: Sequence[Candidate]) -> np.ndarray:
    return np.stack([c.vector for c in members if c.vector is not None])


def _centroid(vectors: np.ndarray) -> np.ndarray:
    row: np.ndarray = _unit(_unit(vectors).mean(axis=0, keepdims=True))[0]
    return row


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays one, and is like nothing."""
    rows = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def _short(value: float) -> str:
    """Two decimals without the leading zero: .71, -.12, 1.00."""
    return f"{value:.2f}".replace("0.", ".", 1)
