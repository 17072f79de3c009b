"""Topics: vectors of what is asked to a few groups, each with a name that stays, pure and seeded.

Spherical k-means (Dhillon and Modha, Concept decompositions for large sparse text data, 2001) by scikit-learn's
k-means on vectors of length 1, where squared distance is 2 - 2 cosine. How many topics there are is told by the
silhouette (Rousseeuw 1987), within what a gate can judge: a topic with a handful of questions is noise to it. A topic
keeps its name for as long as it keeps most of its questions. What is asked about something else than before becomes a
topic beside those there are. Nothing is known here of where vectors come from.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rehearsal.policies.picks import unit
from retrieval.words import stem, stems, tokens

FEWEST = 40
"""Questions of a topic on average: with one in five held out, about eight of each stand in the exam."""
MOST = 12
"""Topics of a workspace. Slices are lines of a report."""
LEAST = 25
"""Questions of a topic that is split off: about five of them are held out, which a gate judges by themselves."""
HYSTERESIS = 0.03
"""How much better (in silhouette) new topics must be than those there are, before these give way."""
SPLIT = 0.005
"""How much better (in silhouette) topics must be when one of them is split. Less than `HYSTERESIS`: the others stay."""
KEPT = 0.5
"""Share of a topic's earlier questions that must be in a new one for it to have the name on."""

_SAMPLED = 1500
_WORDS = 2
_FEWEST_SAYING = 3
_LEAST_SHARE = 0.05
_LEAST_LIFT = 1.5
"""How much more often a topic's questions use a word than questions do that make no difference."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """A question to be sorted: its vector, float (dimension,), of any length, and the topic it has, or none yet."""

    example: str
    question: str
    vector: np.ndarray = field(repr=False)
    cluster: str = ""


def topics(asked: Sequence[Asked], *, seed: int = 0, taken: Collection[str] = ()) -> dict[str, str]:
    """The topic of each question, by example; as they have it where there are too few questions for two topics.

    The same questions give the same topics, whatever their order. Topics that there are already stay while they have a
    question, however few there are by now. `taken` are names that mean something else.
    """
    rows = sorted(asked, key=lambda a: a.example)
    most = min(MOST, len(rows) // FEWEST)
    if most < 2 and len({a.cluster for a in rows if a.cluster}) < 2:
        return {a.example: a.cluster for a in rows}
    vectors = unit(np.stack([a.vector for a in rows]))
    labels = _best(vectors, [a.cluster for a in rows], most, seed)
    names = _names(rows, labels, set(taken))
    return {a.example: names[label] for a, label in zip(rows, labels, strict=True)}


def _best(vectors: np.ndarray, before: Sequence[str], most: int, seed: int) -> np.ndarray:
    """The grouping with the best silhouette; the one there was, carried on, where no other is clearly better.

    `most` groups are made anew or by splits. What was carried may have more: an example less is no reason to lose one.
    """
    found: list[tuple[float, np.ndarray]] = []
    for k in range(2, most + 1):
        labels = _grouped(vectors, k, seed)
        found.append((_silhouette(vectors, labels, seed), labels))
    names = sorted({name for name in before if name})
    if 2 <= len(names) <= MOST:
        at = np.array([names.index(name) if name else -1 for name in before])
        carried, its_value = _grown(vectors, _settled(vectors, at, seed), most, seed)
        if all(its_value >= value - HYSTERESIS for value, _ in found):
            return carried
    return max(found, key=lambda f: f[0])[1]


def _grown(vectors: np.ndarray, labels: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, float]:
    """The grouping with groups split in two for as long as that makes it better, and its silhouette."""
    value = _silhouette(vectors, labels, seed)
    while labels.max() + 1 < most:
        tried = [
            split for one in range(int(labels.max()) + 1) if (split := _split(vectors, labels, one, seed)) is not None
        ]
        if not tried:
            break
        split = _settled(vectors, max(tried, key=lambda found: _silhouette(vectors, found, seed)), seed)
        its_value = _silhouette(vectors, split, seed)
        if its_value < value + SPLIT:
            break
        labels, value = split, its_value
    return labels, value


def _split(vectors: np.ndarray, labels: np.ndarray, one: int, seed: int) -> np.ndarray | None:
    """The grouping with the smaller part of a group as one more; None where it would be too small to judge."""
    ours = np.flatnonzero(labels == one)
    if len(ours) < 2 * LEAST:
        return None
    halves = _grouped(vectors[ours], 2, seed)
    sizes = np.bincount(halves, minlength=2)
    if sizes.min() < LEAST:
        return None
    found = labels.copy()
    found[ours[halves == sizes.argmin()]] = labels.max() + 1
    return found


def _settled(vectors: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Every question in the group whose centre is nearest, from the groups there are; -1 is in none yet."""
    # Not of length 1: then a grouping that has come to rest stays as it is.
    centres = np.stack([vectors[labels == i].mean(axis=0) for i in np.unique(labels[labels >= 0])])
    return _grouped(vectors, len(centres), seed, centres)


def _grouped(vectors: np.ndarray, k: int, seed: int, centres: np.ndarray | None = None) -> np.ndarray:
    from sklearn.cluster import KMeans

    given: dict[str, Any] = {"n_init": 8} if centres is None else {"init": centres, "n_init": 1}
    labels: np.ndarray = KMeans(k, random_state=seed, **given).fit_predict(vectors)
    return labels


def _silhouette(vectors: np.ndarray, labels: np.ndarray, seed: int) -> float:
    from sklearn.metrics import silhouette_score

    if len(set(labels.tolist())) < 2:
        return -1.0
    some = min(_SAMPLED, len(vectors))
    try:
        return float(silhouette_score(vectors, labels, metric="cosine", sample_size=some, random_state=seed))
    except ValueError:  # the sample fell into one group
        return -1.0


def _names(rows: Sequence[Asked], labels: np.ndarray, taken: set[str]) -> dict[int, str]:
    """A name for each label: the earlier one where most of its questions came along, otherwise salient words."""
    members: dict[int, list[Asked]] = defaultdict(list)
    for row, label in zip(rows, labels.tolist(), strict=True):
        members[label].append(row)
    sizes = Counter(row.cluster for row in rows if row.cluster)
    came = [
        (count / sizes[name], name, label)
        for label, ours in members.items()
        for name, count in Counter(row.cluster for row in ours if row.cluster).items()
    ]
    names: dict[int, str] = {}
    for share, name, label in sorted(came, key=lambda c: (-c[0], c[1])):
        if share >= KEPT and label not in names and name not in names.values():
            names[label] = name
    words = _salient({label: [row.question for row in ours] for label, ours in members.items()})
    for label in sorted(set(members) - set(names), key=lambda one: min(row.example for row in members[one])):
        names[label] = _free(words[label], taken | set(names.values()))
    return names


def _free(words: Sequence[str], taken: set[str]) -> str:
    """The first words that make a name nobody has."""
    for n in range(min(_WORDS, len(words)), len(words) + 1):
        name = "-".join(words[:n])
        if name and name not in taken:
            return name
    stand_in = "-".join(words[:_WORDS]) or "topic"
    return next(f"{stand_in}-{n}" for n in range(1 if stand_in == "topic" else 2, len(taken) + 3)
                if f"{stand_in}-{n}" not in taken)  # fmt: skip


def _salient(questions: Mapping[int, Sequence[str]]) -> dict[int, list[str]]:
    """Words that say what a group asks about and others do not, best first: how many of its questions use one, by the
    logarithm of how much more often than all do (a log-likelihood ratio without its second term, Dunning 1993).

    Only words that several of its questions use: a name outlives the deletion of one document.
    """
    spelled: dict[str, Counter[str]] = defaultdict(Counter)
    used: dict[int, Counter[str]] = {}
    for label, ours in questions.items():
        counts: Counter[str] = Counter()
        for question in ours:
            counts.update({s for s in stems(question) if len(s) > 2 and not s[0].isdigit()})
            for token in tokens(question):
                spelled[stem(token)][token] += 1
        used[label] = counts
    everywhere = sum(used.values(), Counter[str]())
    total = sum(len(ours) for ours in questions.values())
    found: dict[int, list[str]] = {}
    for label, counts in used.items():
        size = len(questions[label])
        least = max(_FEWEST_SAYING, _LEAST_SHARE * size)
        lift = {s: (n / size) / (everywhere[s] / total) for s, n in counts.items() if n >= least}
        weight = {s: counts[s] * math.log(lifted) for s, lifted in lift.items() if lifted > _LEAST_LIFT}
        best = sorted(weight, key=lambda s: (-weight[s], s))[: 2 * _WORDS]
        found[label] = [_usual(spelled[s]) for s in best]
    return found


def _usual(spellings: Counter[str]) -> str:
    return min(spellings, key=lambda word: (-spellings[word], word))
