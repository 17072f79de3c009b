"""Rehearsal without stored answers: the champion answers for what may not be kept.

Papers: Shin et al., Continual learning with deep generative replay, NeurIPS 2017; Sun et al., LAMOL, ICLR 2020; the
answers of the model that serves, as targets, are Li and Hoiem's (Learning without forgetting, ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rehearsal.policies.picks import Candidate, NewExamples, Pick, eligible
from rehearsal.policies.spread import strata


def generative(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """A stratified draw; where there is no answer that may be kept, the target is what the champion says now.

    A kind of adapter that has no answers (a retriever) takes no notice: under every policy it is held to the champion's
    ranking of recalled rows.
    """
    pool = eligible(candidates, new)
    kept = {c.example for c in pool if c.storable}
    return [
        pick
        if pick.example in kept
        else replace(pick, target="champion", reason=f"{pick.reason}; the champion answers, none may be kept")
        for pick in strata(pool, n, seed, "generative")
    ]
