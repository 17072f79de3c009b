"""The gate: may a challenger take the champion's place? It judges figures that others measured, and says why.

    rule        the challenger is refused when
    base        it was trained on another base model than the one that serves
    champion    what it was compared with is not the champion any more
    epoch       too much of what it was trained on is not so any more
    training    its loss did not end as a number, or rose
    figures     a figure is missing or not a number
    enough      fewer than `min_n` questions were held out
    slices      a slice that the champion was judged on is not asked about any more
    gain        it is not surely better on what is new, nor on the slices that have something new: the lower bound of
                its gain is not above `min_gain`
    new         what is new in one slice, or in the small ones together, lost more than max(tolerance, measured noise),
                whatever others gained
    old         it lost more on what is old in a slice, or in all together, than max(tolerance, measured noise)
    unseen      it lost as much on questions about passages that nobody practised, of old and new slices
    pinned      it finds nothing (0) for a pinned question for which the champion found something
    suite       the same, for a question of a suite that a person pinned
    led         many questions that had the right document first are now led to one wrong document
    pulled      questions got worse for which the rows most like them name one wrong document (`astray`)
    served      the answers as they are served got worse by more than max(tolerance, measured noise)
    leg         refusals, citations or another leg got worse by more than max(its tolerance, measured noise)

The measured noise is the loss that chance alone would show (`noise`): the chance that a harmless challenger is refused
for its old slices is a few per cent, however many slices there are. Rules that do not apply say so or stay silent;
every rule that was applied leaves a sentence with its numbers, the refusals first. It is the same for every adapter
kind: what the figures mean is in the name of the metric. By where questions come from there are rows, and no rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from finetune import astray
from finetune.case import FEW, TOGETHER, Case
from finetune.policy import GatePolicy
from finetune.standing import findings as standing_findings
from finetune.verdict import Finding, HeldOut, Leg, ModelScores, SliceResult, Standing, Verdict, Wrong
from kernel.errors import UserError

__all__ = [
    "FEW",
    "TOGETHER",
    "GatePolicy",
    "HeldOut",
    "Leg",
    "ModelScores",
    "SliceResult",
    "Standing",
    "Verdict",
    "Wrong",
    "judge",
]


def judge(
    scores: ModelScores,
    examples: Sequence[HeldOut],
    *,
    policy: GatePolicy | None = None,
    seed: int = 0,
    metric: str = "ndcg@10",
    served_scores: ModelScores | None = None,
    legs: Mapping[str, Leg] | None = None,
    wrong: Wrong | None = None,
    pulled: Mapping[str, str | None] | None = None,
    repeats: Sequence[ModelScores] = (),
    standing: Standing | None = None,
    works: ModelScores | None = None,
    origins: Mapping[str, str] | None = None,
) -> Verdict:
    """The verdict on the challenger. The same figures, policy and seed give the same verdict.

    Args:
        scores: the metric of each model for each held-out example; higher is better.
        examples: what was held out; their ids are unique.
        policy: how strict; the default where None.
        seed: of the bootstrap.
        metric: its name, for the sentences.
        served_scores: the same for the answers as served (fused, reranked), where that was measured.
        legs: what else must not get worse, by name.
        wrong: which wrong documents each model ranks among the first ten, where that was looked at.
        pulled: which wrong document, or None, the training row most like a question names, where that was looked at.
        repeats: `scores` again by other seeds of the evaluation, where it draws random numbers: their spread is noise.
        standing: where the run stands, where that is known. A run of a stale base has no figures that mean anything,
            so `scores` may be empty then.
        works: 1 where a pinned question works and 0 where it fails, of metrics that are above 0 also where it fails.
        origins: where examples come from, where that is known: rows of the table, by which nothing is refused.

    Raises:
        UserError: `base` or `challenger` is not among the models, or an example is given twice.
    """
    policy = policy or GatePolicy()
    found = list(standing_findings(standing, policy)) if standing is not None else []
    if not scores and any(f.refused for f in found):
        return _verdict(found, [], policy)
    _check(scores, examples)
    case = Case(scores, examples, policy, seed, metric, repeats, works)
    found += [*case.figures(), *case.enough()]
    if standing is not None:
        found += case.slices(standing.missing)
    if case.known:
        found += _of_figures(case, served_scores, wrong, pulled)
    found += case.legs(legs or {})
    case.by_origin(origins or {})
    return _verdict(found, case.rows, policy)


def _of_figures(
    case: Case, served: ModelScores | None, wrong: Wrong | None, pulled: Mapping[str, str | None] | None
) -> Iterator[Finding]:
    yield case.gain()
    yield from case.new()
    yield from case.old()
    yield from case.unseen()
    yield from case.pinned()
    if wrong is not None:
        yield astray.led(case, wrong)
    if pulled is not None:
        yield from astray.pulled(case, pulled, wrong)
    if served is not None:
        yield case.served(served)


def _verdict(found: Sequence[Finding], rows: list[SliceResult], policy: GatePolicy) -> Verdict:
    refusals = [f for f in found if f.refused]
    waits = policy.approval and not refusals
    reasons = [f"refused: {f.said}" for f in refusals]
    if waits:
        reasons.append("waits: accepted, and the policy asks for a person's approval before it serves")
    return Verdict(
        accepted=not refusals,
        reasons=reasons + [f"passed: {f.said}" for f in found if not f.refused],
        slices=rows,
        refused_by=list(dict.fromkeys(f.rule for f in refusals)),
        approval=waits,
        policy=policy.to_json(),
    )


def _check(scores: ModelScores, examples: Sequence[HeldOut]) -> None:
    missing = sorted({"base", "challenger"} - set(scores))
    if missing:
        raise UserError(f"the gate has no figures of {missing}", hint="give those of base and challenger at least")
    if len({e.example for e in examples}) < len(examples):
        raise UserError("a held-out example is given twice", hint="give each once")
