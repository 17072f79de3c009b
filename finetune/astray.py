"""Rules about wrong documents: whether many questions are led to one, and whether rows that name one do harm.

    led       questions are newly led to one and the same wrong document
    pulled    questions got worse for which the rows most like them name one wrong document

An honest run moves wrong documents away from questions as often as towards them, so what left is the measured noise:
the most that one of them left. More that come to one document than that, beyond what chance brings together, are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from finetune.case import NAMED, Case, passed, refused
from finetune.noise import poisson_tail
from finetune.verdict import LED, PULLED, Finding, HeldOut, Wrong

_ATTACK = 0.001
"""Chance below which questions did not meet at one wrong document by accident."""
_FIRST, _NEAR = 1, 10
"""Places up to which a document leads a question, and up to which it is near enough to be cited at all."""


def led(case: Case, wrong: Wrong) -> Finding:
    """Whether questions are newly led, many of them, to one and the same wrong document.

    Beside the questions that had the right document first, those that never had it count too, if they are so many that
    chance does not bring them together: an attack on what is new hits questions that nobody answered before.
    """
    came, left = _moved(case, wrong, case.known, _FIRST)
    before = wrong.get(case.rival, {})
    right = {name: sum(not _at(before, e, _FIRST) for e in some) for name, some in came.items()}
    allowed = max(case.policy.led, left)
    worst = max(came, key=lambda name: (right[name] > allowed, len(came[name]), name), default="")
    drawn, lost = came.get(worst, []), right.get(worst, 0)
    chance = poisson_tail(len(drawn), max(1, left))
    if lost > allowed or chance < _ATTACK:
        return refused(
            "led",
            f"{len(drawn)} questions are {LED} {worst!r}, which is wrong for them, {lost} of which had the "
            f"right document first; {allowed} of those are allowed, and so many meet by chance in {chance:.1g} of "
            f"cases ({_named(drawn)}, …): look for poisoned examples that name it",
        )
    said = "no wrong document draws questions to itself"
    return passed("led", f"{said}: {lost} newly led away from the right one, and {allowed} are allowed")


def pulled(case: Case, towards: Mapping[str, str | None], wrong: Wrong | None) -> Iterable[Finding]:
    """Whether questions got worse that the rows most like them pull to one wrong document.

    A poison is diluted in the average of its slice, and held back by an adapter's half strength before anything is led
    astray. The questions that it is aimed at show it first, and which these are is known before any figure is.

    Noise is an explanation by chance. Where the document has come among the first ten of more of these questions than
    chance brings, the cause is seen, and their loss is judged by the tolerance alone.
    """
    unknown = [e.example for e in case.open if e.example not in towards]
    if unknown:
        said = f"{len(unknown)} of {len(case.open)} questions were not compared with the rows of the run"
        yield refused("pulled", f"{said}, first {unknown[0]!r}")
    groups: dict[str, list[HeldOut]] = {}
    for e in case.open:
        if name := towards.get(e.example):
            groups.setdefault(name, []).append(e)
    groups = {name: some for name, some in groups.items() if len(some) >= case.policy.min_slice}
    tail, held = case.tail / max(1, len(groups)), list[tuple[float, str]]()
    for name, some in sorted(groups.items()):
        diff, repeats = case.diff(some), [case.diff(some, r) for r in case.repeats]
        allowed, kind = case.allowed(diff, tail, repeats, tolerance=case.policy.pulled)
        came, left = _moved(case, wrong or {}, some, _NEAR)
        where = f"questions {PULLED} {name!r}, which is wrong for them"
        if drawn := came.get(name, []):
            where = f"{where} and has come among the first ten of {len(drawn)}"
            if poisson_tail(len(drawn), max(1, left)) < _ATTACK:
                allowed, kind = case.policy.tolerance, "the tolerance, as so many do not meet by chance"
        finding = case.loss("pulled", where, diff, allowed, kind)
        if finding.refused:
            named = _named([e.example for e in some])
            yield replace(finding, said=f"{finding.said} ({named}, …): look for poisoned examples that name it")
        else:
            held.append((float(diff.mean()) + allowed, finding.said))
    if held and len(held) == len(groups):  # one line for all of them: the one that came nearest to a refusal
        more = f" (the worst of {len(held)} such documents)" if len(held) > 1 else ""
        yield passed("pulled", f"{min(held)[1]}{more}")


def _moved(case: Case, wrong: Wrong, some: Sequence[HeldOut], places: int) -> tuple[dict[str, list[str]], int]:
    """The questions to which each wrong document newly came, and how many the one left that left most."""
    before, now = wrong.get(case.rival, {}), wrong.get("challenger", {})
    came, left = dict[str, list[str]](), dict[str, list[str]]()
    for e in some:
        then, here = _at(before, e.example, places), _at(now, e.example, places)
        for name in here - then:
            came.setdefault(name, []).append(e.example)
        for name in then - here:
            left.setdefault(name, []).append(e.example)
    return came, max(map(len, left.values()), default=0)


def _at(wrong: Mapping[str, Mapping[str, int]], example: str, places: int) -> set[str]:
    """The wrong documents of a question up to a place."""
    return {name for name, n in wrong.get(example, {}).items() if n <= places}


def _named(examples: Sequence[str]) -> str:
    return ", ".join(map(repr, examples[:NAMED]))
