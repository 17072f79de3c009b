"""Which old examples are practised again beside the new ones: eleven policies, pure and seeded.

Each takes the candidates, the new examples, how many to pick and a seed, and returns as many picks as asked for, or
all that may be picked if there are fewer; no example twice, never a new one, each with the reason it was chosen. The
same inputs and seed give the same picks, whatever the order of the candidates. Where a policy runs out, a stratified
draw fills up and says so.

    room            policies
    spread          random, stratified, balanced
    floor           pinned
    nearness        near, far
    interference    mir
    memory          due, surprise
    generative      generative
    mixture         mixed

Nothing is known here of where candidates come from: that they are live, approved and in the training split is the
business of whoever asks the index.
"""

from __future__ import annotations

from collections.abc import Mapping

from rehearsal.policies.floor import pinned_floor
from rehearsal.policies.generative import generative
from rehearsal.policies.interference import mir
from rehearsal.policies.memory import due, surprise
from rehearsal.policies.mixture import mixed
from rehearsal.policies.nearness import far, near
from rehearsal.policies.picks import Candidate, NewExamples, Pick, Policy, n_old, quotas
from rehearsal.policies.spread import balanced, random_sample, stratified

POLICIES: Mapping[str, Policy] = {
    "random": random_sample,
    "stratified": stratified,
    "balanced": balanced,
    "pinned": pinned_floor,
    "near": near,
    "far": far,
    "mir": mir,
    "surprise": surprise,
    "due": due,
    "generative": generative,
    "mixed": mixed,
}

BY_LIKENESS = frozenset({"near", "far", "mir"})
"""Policies that look at the candidates' vectors."""
MEASURED = frozenset({"mir"})
"""Policies that choose by the rise of the candidates' loss, where it was measured."""

__all__ = [
    "BY_LIKENESS",
    "MEASURED",
    "POLICIES",
    "Candidate",
    "NewExamples",
    "Pick",
    "Policy",
    "balanced",
    "due",
    "far",
    "generative",
    "mir",
    "mixed",
    "n_old",
    "near",
    "pinned_floor",
    "quotas",
    "random_sample",
    "stratified",
    "surprise",
]
