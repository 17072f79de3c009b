"""One case before the gate: held-out questions with their figures, and a method per rule that they decide.

What each rule refuses stands in the table of `gate`. A rule returns findings, each a sentence with its numbers; it
decides nothing alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from finetune.metrics import paired_bootstrap
from finetune.noise import chance_loss, sign_test, spread
from finetune.policy import GatePolicy
from finetune.verdict import Finding, HeldOut, Leg, ModelScores, Part, SliceResult

FEW, TOGETHER, FEW_NEW, ALL_NEW = "(small slices)", "(all old)", "(small new slices)", "(all new)"
UNSEEN = "(unseen)"
"""Rows of a verdict that are not slices: old slices too small to judge alone, all old questions, new slices too small
to judge alone, all new questions where a gain may show elsewhere, and those about passages that nobody practised."""
NAMED = 5
"""Examples that a sentence names at most."""


class Case:
    """The questions of one verdict, in order of id, and the rows of its table as the rules fill them."""

    def __init__(
        self,
        scores: ModelScores,
        examples: Sequence[HeldOut],
        policy: GatePolicy,
        seed: int,
        metric: str,
        repeats: Sequence[ModelScores] = (),
        works: ModelScores | None = None,
    ) -> None:
        self.policy, self.seed, self.metric = policy, seed, metric
        self.scores, self.repeats, self.works = scores, repeats, works
        self.rival = "champion" if "champion" in scores else "base"
        self.given = sorted(examples, key=lambda e: e.example)
        self.known = [e for e in self.given if not self._missing(e)]
        self.open = [e for e in self.known if e.suite is None]
        self.rows: list[SliceResult] = []
        self.tail = (1 - policy.confidence) / 2

    def figures(self) -> Iterable[Finding]:
        lost = [e for e in self.given if self._missing(e)]
        if lost:
            named = ", ".join(f"{e.example!r} ({', '.join(self._missing(e))})" for e in lost[:3])
            yield refused("figures", f"{len(lost)} of {len(self.given)} questions have no {self.metric}: {named}")

    def enough(self) -> Iterable[Finding]:
        few, wanted = sum(e.suite is None for e in self.given), self.policy.min_n
        if few < wanted:
            said = f"only {few} questions are held out, and {wanted} are needed to tell a gain from chance"
            yield refused("enough", f"{said}; one example in five is held out, so add examples")

    def slices(self, missing: Mapping[str, int]) -> Iterable[Finding]:
        for name, n in sorted(missing.items()):
            yield refused(
                "slices",
                f"slice {name!r} is missing: the champion was judged on {n} questions of it that still stand, and none "
                "is asked now, so nobody can tell whether it was forgotten",
            )

    def gain(self) -> Finding:
        """Whether something was gained. Where it may show in two ways, each of them is looked at more strictly."""
        if self.open:
            self._row("(all)", "all", self.open)
        if not self.policy.gain:
            return passed("gain", "none is asked of a run that only has to lose nothing")
        looks = self._looks()
        some, what = looks[-1]
        if len(some) < self.policy.min_new:
            said = f"only {len(some)} {what} could show a gain, and {self.policy.min_new} are needed"
            return refused("gain", f"{said}: add examples of what is new, of which one in five is held out, or wait")
        confidence = 1 - (1 - self.policy.confidence) / len(looks)
        found = [self._gains(some, what, confidence) for some, what in looks]
        shown = next((finding for finding in found if not finding.refused), None)
        return shown or refused("gain", "; ".join(finding.said for finding in found))

    def _looks(self) -> list[tuple[list[HeldOut], str]]:
        """Questions that may show a gain: what is new, and all of the slices that have something new.

        What is new shows it best where the slice was about something else before, and all of the slice where it is
        about the same. A look that no exact test could pass is none.
        """
        if self.rival == "base":
            return [(self.open, "questions")]
        new = self._part("new")
        wide = [e for e in self.open if e.part == "new" or e.renewed]
        if len(wide) == len(new):
            return [(new, "new questions")]
        could = len(new) >= self.policy.min_new and 0.5 ** len(new) <= self.tail / 2
        return [(new, "new questions")] * could + [(wide, "questions of slices with something new")]

    def _gains(self, some: Sequence[HeldOut], what: str, confidence: float) -> Finding:
        diff, tail = self.diff(some), (1 - confidence) / 2
        mean, low, high = self._bounds(diff, confidence)
        then, now = self._mean(self.rival, some), self._mean("challenger", some)
        sentence = (
            f"{mean:+.3f} {self.metric} against the {self.rival} on {len(some)} {what} ({then:.3f} to {now:.3f}; "
            f"{100 * confidence:.4g}% between {low:+.3f} and {high:+.3f})"
        )
        if not low > self.policy.min_gain:
            return refused("gain", f"{sentence}, and the lower bound has to be above {self.policy.min_gain:+.3f}")
        if len(some) < self.policy.sure_new:
            chance = sign_test(diff - self.policy.min_gain, self.seed, self.policy.resamples)
            if chance > tail:
                return refused(
                    "gain",
                    f"{sentence}, but with so few questions that comes about by chance in {chance:.1%} of cases, and "
                    f"{tail:.2%} are allowed: with {self.policy.sure_new} questions the bounds alone decide",
                )
        return passed("gain", sentence)

    def new(self) -> Iterable[Finding]:
        """New questions slice by slice: what one gains must not pay for what another loses that was answered before."""
        slices, renewed = self._slices("new"), {e.slice for e in self.open if e.renewed}
        new = self._part("new")
        small = [e for e in new if len(slices[e.slice]) < self.policy.min_slice]  # chance would judge each of them
        alone = self.policy.gain and len(slices) == 1 and not renewed  # then it is judged by the gain
        whole = len(small) == len(new) and (self.policy.gain or renewed)  # by the gain as well, or together below
        pooled = len(small) >= self.policy.min_slice and not whole
        tail = self.tail / max(1, pooled + sum(len(some) >= self.policy.min_slice for some in slices.values()))
        for name, some in slices.items():
            if alone or len(some) < self.policy.min_slice:
                self._row(name, "new", some)
            else:
                where = f"new slice {name!r}" + (" (what came since)" if name in renewed else "")
                yield self._loses("new", where, name, "new", some, tail)
        if pooled:
            yield self._loses("new", "small new slices together", FEW_NEW, "new", small, tail)
        if renewed and len(slices) > 1 and len(new) >= self.policy.min_slice:  # or what was there would pay for it
            yield self._loses("new", "all that is new together", ALL_NEW, "new", new, self.tail)

    def old(self) -> Iterable[Finding]:
        slices = self._slices("old")
        old = self._part("old")
        small = [e for e in old if len(slices[e.slice]) < self.policy.min_slice]
        groups = {name: some for name, some in slices.items() if len(some) >= self.policy.min_slice}
        if len(small) >= self.policy.min_slice:
            groups[FEW] = small
        elif small:  # so few show no noise of their own, and count among all old ones alone
            self._row(FEW, "old", small)
        # Many slices are many chances to lose by accident: together they get the chance that one would.
        tail = self.tail / max(1, len(groups))
        for name, some in groups.items():
            renewed = name != FEW and any(e.renewed for e in some)
            where = f"old slice {name!r}" + (" (what was asked before)" if renewed else "")
            yield self._loses("old", where, name, "old", some, tail)
        if len(groups) > 1 or (small and FEW not in groups):  # small losses, each within its noise, are one together
            yield self._loses("old", "all old slices together", TOGETHER, "old", old, self.tail)

    def unseen(self) -> Iterable[Finding]:
        """Questions whose passages nobody practised: most of a library is like that, whatever slice it is in."""
        unseen = [e for e in self.open if e.seen is False]
        if len(unseen) < self.policy.min_slice or len(unseen) == len(self.open):
            return
        where = "questions about passages that nobody practised"
        yield self._loses("unseen", where, UNSEEN, "all", unseen, self.tail)

    def pinned(self) -> Iterable[Finding]:
        pinned = [e for e in self.open if e.pinned]
        if pinned:
            self._row("(pinned)", "pinned", pinned)
            yield self._new_failures("pinned", pinned, "pinned question", "pinned questions")
        for suite in sorted({e.suite for e in self.known if e.suite is not None}):
            some = [e for e in self.known if e.suite == suite]
            self._row(suite, "suite", some)
            what = f"of the pinned suite {suite!r}"
            yield self._new_failures("suite", some, f"question {what}", f"questions {what}")

    def served(self, served: ModelScores) -> Finding:
        rival = "champion" if "champion" in served else "base"
        now, then = served.get("challenger", {}), served.get(rival, {})
        lost = [
            e.example for e in self.given if not (_is_number(now.get(e.example)) and _is_number(then.get(e.example)))
        ]
        if lost:
            said = f"{len(lost)} of {len(self.given)} questions have no figure as served, first {lost[0]!r}"
            return refused("served", said)
        diff = np.array([now[e.example] - then[e.example] for e in self.given if e.suite is None])
        if not len(diff):
            return refused("served", "no question could be measured as served")
        return self.loss("served", "as served", diff, *self.allowed(diff, self.tail))

    def legs(self, legs: Mapping[str, Leg]) -> Iterable[Finding]:
        for name in sorted(set(self.policy.legs) - set(legs)):
            yield refused("leg", f"the policy asks for {name!r}, and it was not measured")
        found = {name: self._leg(name, leg) for name, leg in sorted(legs.items())}
        for name, finding in found.items():
            cover = legs[name].covered_by
            if finding.refused and cover in found and not found[cover].refused:
                yield passed("leg", f"{finding.said}; the index covers it, since {cover!r} holds")
            else:
                yield finding

    def by_origin(self, origins: Mapping[str, str]) -> None:
        """Rows by where questions come from, where that differs. They tell, and refuse nothing (decision 0032)."""
        groups: dict[str, list[HeldOut]] = {}
        for e in self.open:
            if name := origins.get(e.example):
                groups.setdefault(name, []).append(e)
        for name, some in sorted(groups.items()) if len(groups) > 1 else ():
            if len(some) >= self.policy.min_slice:
                self._row(name, "origin", some)

    # --- parts ---------------------------------------------------------------------------------------------------

    def _part(self, part: Part) -> list[HeldOut]:
        return [e for e in self.open if e.part == part]

    def _slices(self, part: Part) -> dict[str, list[HeldOut]]:
        some = self._part(part)
        return {name: [e for e in some if e.slice == name] for name in sorted({e.slice for e in some})}

    def _loses(self, rule: str, where: str, row: str, part: Part, some: Sequence[HeldOut], tail: float) -> Finding:
        """Whether questions lost more than tolerance or noise lets pass; they get a row."""
        diff = self.diff(some)
        allowed, kind = self.allowed(diff, tail, [self.diff(some, r) for r in self.repeats])
        self._row(row, part, some, allowed)
        return self.loss(rule, where, diff, allowed, kind)

    def _leg(self, name: str, leg: Leg) -> Finding:
        rival = "champion" if "champion" in leg.scores else "base"
        now, then = leg.scores.get("challenger", {}), leg.scores.get(rival, {})
        asked = sorted(set(now) | set(then))
        lost = [e for e in asked if not (_is_number(now.get(e)) and _is_number(then.get(e)))]
        if lost or not asked:
            missing = f"{len(lost)} of {len(asked)} questions have no figure" if asked else "no question has a figure"
            return refused("leg", f"{name}: {missing}" + (f", first {lost[0]!r}" if lost else ""))
        diff = np.array([now[e] - then[e] for e in asked])
        allowed, kind = self.allowed(diff, self.tail, tolerance=self.policy.tolerance_of(name, leg.tolerance))
        base = leg.scores.get("base", {})
        mean, low, high = self._bounds(diff)
        after = math.fsum(now[e] for e in asked) / len(asked)
        self.rows.append(
            SliceResult(
                slice=name,
                n=len(asked),
                metric=name,
                base=math.fsum(base[e] for e in asked) / len(asked)
                if all(_is_number(base.get(e)) for e in asked)
                else None,
                champion=after - mean if rival == "champion" else None,
                challenger=after,
                low=low,
                high=high,
                part="leg",
                allowed=allowed,
            )
        )
        return self.loss("leg", name, diff, allowed, kind, metric="")

    def _new_failures(self, rule: str, some: Sequence[HeldOut], one: str, many: str) -> Finding:
        told = self.scores if self.works is None else self.works
        before, now = told[self.rival], told["challenger"]
        known = [e for e in some if e.example in before and e.example in now]
        more = f"; {len(some) - len(known)} more were not written out" if len(known) < len(some) else ""
        failed = [e.example for e in known if before[e.example] > 0 >= now[e.example]]
        if not failed:
            return passed(rule, f"no {one} of {len(known)} that worked fails now{more}")
        named = ", ".join(map(repr, failed[:NAMED]))
        return refused(rule, f"{len(failed)} of {len(known)} {many} worked and now fail: {named}{more}")

    def allowed(
        self, diff: np.ndarray, tail: float, repeats: Sequence[np.ndarray] = (), *, tolerance: float | None = None
    ) -> tuple[float, str]:
        """The loss that is let pass, and whether that is the tolerance or the noise."""
        tolerance = self.policy.tolerance if tolerance is None else tolerance
        if len(diff) < 2:  # figures lie between 0 and 1
            return 1.0, "one question alone cannot tell a loss from chance"
        means = [float(d.mean()) for d in (diff, *repeats)] if len(repeats) else []
        noise = max(chance_loss(diff, tail, self.seed, self.policy.resamples), spread(means))
        return max(tolerance, noise), "the measured noise" if noise > tolerance else "the tolerance"

    def loss(
        self, rule: str, where: str, diff: np.ndarray, allowed: float, kind: str, *, metric: str | None = None
    ) -> Finding:
        change = float(diff.mean())
        unit = f" {self.metric}" if metric is None else metric
        sentence = f"{where}: {change:+.3f}{unit} on {len(diff)} questions, allowed down to {-allowed:+.3f} ({kind})"
        # Rounding must not decide between two sums of the same figures.
        return Finding(rule=rule, refused=-change > allowed + 1e-9, said=sentence)

    def _row(self, name: str, part: Part, some: Sequence[HeldOut], allowed: float | None = None) -> None:
        _, low, high = self._bounds(self.diff(some))
        self.rows.append(
            SliceResult(
                slice=name,
                n=len(some),
                metric=self.metric,
                base=self._mean("base", some),
                champion=self._mean("champion", some) if self.rival == "champion" else None,
                challenger=self._mean("challenger", some),
                low=low,
                high=high,
                part=part,
                allowed=allowed,
            )
        )

    def _bounds(self, diff: np.ndarray, confidence: float | None = None) -> tuple[float, float, float]:
        return paired_bootstrap(diff, self.seed, self.policy.resamples, confidence or self.policy.confidence)

    def diff(self, some: Sequence[HeldOut], scores: ModelScores | None = None) -> np.ndarray:
        scores = scores or self.scores
        now, then = scores["challenger"], scores[self.rival]
        return np.array([now[e.example] - then[e.example] for e in some])

    def _mean(self, model: str, some: Sequence[HeldOut]) -> float:
        return math.fsum(self.scores[model][e.example] for e in some) / len(some)

    def _missing(self, e: HeldOut) -> list[str]:
        """Models without a figure of it, in the evaluation or in a repeat of it."""
        runs = (self.scores, *self.repeats)
        return [model for model in sorted(self.scores) if not all(_is_number(s[model].get(e.example)) for s in runs)]


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def refused(rule: str, said: str) -> Finding:
    return Finding(rule=rule, refused=True, said=said)


def passed(rule: str, said: str) -> Finding:
    return Finding(rule=rule, refused=False, said=said)
