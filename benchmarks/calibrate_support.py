"""Fit and judge the constants of quoting and refusing, on labelled data that is not part of this project.

    REPRISE_EVAL_DATA=/path/to/data python -m benchmarks.calibrate_support [--limit N]

Reads XQuAD-en, ClapNQ and TimeQA (tsqa) below that folder; without it, says so and stops. It prints
1. the sentence weights (`retrieval/generators/extractive.py`), judged on the set that was left out of the fit,
2. the answer weights (`retrieval/support.py`), five-fold by article or document, and on the family of sets left out,
3. the constants fitted on everything, to be written into those files, and
4. what the shipped constants give: answers that hold the gold answer, before and after refusals.
The peer in each table is the cosine alone. `benchmarks.calibrate_claims` does the same for claims.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Case, Remembering, alike, evidence_of, fold, load, squad
from benchmarks.figures import auc, balanced, calibration_error
from kernel.types import Ask
from retrieval import support
from retrieval.evidence import FEATURES, PASSAGE_FEATURES
from retrieval.generators import collect
from retrieval.generators.extractive import WEIGHTS, ExtractiveGenerator

SETS = {
    # name: (cases that can be answered, cases that cannot, weight in the fit of the answer weights)
    "clapnq, its document": ("clapnq", "clapnq", 2.0),
    "clapnq, all documents": ("clapnq_pool", "clapnq_pool", 1.0),
    "tsqa, its document": ("tsqa", "tsqa", 0.3),
    "xquad, other article": ("xquad", "xquad_other", 1.0),
    "xquad, all other articles": ("xquad", "xquad_elsewhere", 1.0),
    "xquad, without the paragraph": ("xquad", "xquad_removed", 0.5),
}
FAMILIES = ("clapnq", "tsqa", "xquad")
"""Sets that share texts: a family is left out as a whole."""


# --- sentence weights -------------------------------------------------------------------------------------------------


def fit_sentences(cases: dict[str, list[Case]], sets: Sequence[str] = FAMILIES) -> np.ndarray:
    """Conditional logit: the log of the probability mass on sentences that answer, sets weighted alike."""
    from scipy.optimize import minimize

    rows = []
    for name in sets:
        some = [(evidence_of(c).features, y) for c in cases[name] if (y := answering(name, c)).any()]
        rows += [(x, y, 1 / len(some)) for x, y in some]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        total, slope = 0.0, np.zeros_like(w)
        for x, y, share in rows:
            p = np.exp(x @ w - (x @ w).max())
            p /= p.sum()
            mass = float(p[y].sum()) + 1e-12
            total -= share * math.log(mass)
            slope -= share * (x.T @ (p * y / mass - p))
        return total / len(sets) + 5e-4 * float(w @ w), slope / len(sets) + 1e-3 * w

    used = [(None, None) if name in WEIGHTS else (0, 0) for name in FEATURES]
    return minimize(loss, np.zeros(len(FEATURES)), jac=True, method="L-BFGS-B", bounds=used).x


def answering(name: str, case: Case) -> np.ndarray:
    """Which candidates answer: those in a gold passage with the answer's words, or that are a gold sentence."""
    return np.array(
        [
            c.mark in case.gold
            and (
                any(alike(c.text, g) for g in case.gold_sentences)
                if name.startswith("clapnq")
                else any(squad(a) in squad(c.text) for a in case.answers)
            )
            for c in evidence_of(case).candidates
        ],
        dtype=bool,
    )


def hits(name: str, cases: Sequence[Case], weights: np.ndarray) -> str:
    at = np.zeros(3)
    for case in cases:
        y = answering(name, case)
        order = np.argsort(-(evidence_of(case).features @ weights))
        at += [y[order[:k]].any() for k in (1, 2, 3)]
    return "  ".join(f"{v:.3f}" for v in at / max(1, len(cases)))


# --- answer weights ---------------------------------------------------------------------------------------------------


def fit_answers(cases: dict[str, list[Case]], keep: Callable[[str, Case], bool]) -> np.ndarray:
    """Logistic over the best passage of each case; no weight is negative, classes count alike within a set.

    Which passage is best depends on the weights: both are found in turn (multiple-instance learning). The last entry
    is the bias.
    """
    from scipy.optimize import minimize

    bags, ys, shares = list[np.ndarray](), [], []
    for name, (_, _, weight) in SETS.items():
        x, y = table(name, cases, lambda c, n=name: keep(n, c))  # type: ignore[misc]
        if not len(y):
            continue
        bags += x
        ys.append(y)
        shares.append(weight * np.where(y, 0.5 / max(1, y.sum()), 0.5 / max(1, (~y).sum())))
    y, share = np.concatenate(ys).astype(float), np.concatenate(shares)
    share /= share.sum()
    w = np.append(np.ones(len(PASSAGE_FEATURES)), 0.0)
    for _ in range(8):
        x = np.array([np.append(bag[np.argmax(bag @ w[:-1])], 1.0) for bag in bags])

        def loss(w: np.ndarray, x: np.ndarray = x) -> tuple[float, np.ndarray]:
            p = 1 / (1 + np.exp(-(x @ w)))
            total = -float(share @ (y * np.log(p + 1e-12) + (1 - y) * np.log(1 - p + 1e-12)))
            ridge = 1e-3 * np.append(w[:-1], 0)
            return total + float(ridge @ w) / 2, x.T @ (share * (p - y)) + ridge

        w = minimize(loss, w, jac=True, method="L-BFGS-B", bounds=[(0, None)] * (len(w) - 1) + [(None, None)]).x
    return w


def table(
    name: str, cases: dict[str, list[Case]], keep: Callable[[Case], bool], *, cosine: bool = False
) -> tuple[list[np.ndarray], np.ndarray]:
    """The rows of each case's passages, or the cosines of its sentences, and whether it can be answered."""
    yes, no, _ = SETS[name]
    some = [c for c in cases[yes] if c.answerable and keep(c)] + [c for c in cases[no] if not c.answerable and keep(c)]
    at = FEATURES.index("cosine")
    rows = [evidence_of(c).features[:, at] if cosine else evidence_of(c).passages for c in some]
    return rows, np.array([c.answerable for c in some], dtype=bool)


# --- report -----------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=0, help="about so many questions of each set, for a quick look")
    limit = parser.parse_args().limit
    folder = os.environ.get("REPRISE_EVAL_DATA")
    if not folder:
        print("REPRISE_EVAL_DATA is not set: nothing to calibrate on. Set it to a folder with xquad, clapnq and tsqa.")
        return
    embedder = Remembering()
    cases = load(Path(folder), embedder, limit)
    _report_sentences(cases)
    _report_answers(cases)
    print("\nShipped constants, whole path: XQuAD answers that hold the gold answer, passages of 240")
    for language in ("en", "de", "es"):
        for k, lines in ((5, 1), (6, 2), (6, 3)):
            some = cases["xquad" if language == "en" else f"xquad_{language}"]
            print(f"  {language}, {k} passages, up to {lines} sentences: {contains(some, embedder, k, lines)}")


def _report_sentences(cases: dict[str, list[Case]]) -> None:
    print("Sentences: a sentence that answers among the best 1, 2, 3 (fitted on the other sets)")
    cosine = np.eye(len(FEATURES))[FEATURES.index("cosine")]
    for name in FAMILIES:
        some = [c for c in cases[name] if c.answerable]
        fitted = fit_sentences(cases, [other for other in FAMILIES if other != name])
        peer = hits(name, some, cosine)
        print(f"  {name:8} n={len(some):4}  {hits(name, some, fitted)}   cosine alone {peer}")
    print(f"  fitted on everything: {_named(FEATURES, fit_sentences(cases))}\n  shipped: {WEIGHTS}")


def _report_answers(cases: dict[str, list[Case]]) -> None:
    """Both ways of leaving out; the threshold is the shipped one, fitted on nothing."""
    print(f"\nRefusal: AUC, balanced accuracy at {support.REFUSAL_THRESHOLD}, calibration error")
    five = {name: (list[float](), list[bool]()) for name in SETS}
    for k in range(5):
        w = fit_answers(cases, lambda _, c, k=k: fold(c) != k)  # type: ignore[misc]
        for name, (scores, labels) in five.items():
            x, y = table(name, cases, lambda c, k=k: fold(c) == k)  # type: ignore[misc]
            scores += list(_p(x, w))
            labels += list(y)
    for name, (scores, labels) in five.items():
        family = next(f for f in FAMILIES if name.startswith(f))
        w = fit_answers(cases, lambda n, _, f=family: not n.startswith(f))  # type: ignore[misc]
        x, y = table(name, cases, lambda _: True)
        cosine = np.array([bag.max() for bag in table(name, cases, lambda _: True, cosine=True)[0]])
        print(f"  {name:29} n={len(y):4}  five-fold by document {judged(np.array(scores), np.array(labels))}")
        print(f"  {'':29} family left out {judged(_p(x, w), y)}   cosine alone AUC {auc(cosine, y):.3f}")
    w = fit_answers(cases, lambda _, c: True)
    print(f"  fitted on everything: {_named(PASSAGE_FEATURES, w[:-1])} bias {w[-1]:.2f}")
    print(f"  shipped: {support.ANSWER_WEIGHTS} bias {support.ANSWER_BIAS}")


def judged(p: np.ndarray, y: np.ndarray) -> str:
    threshold = support.REFUSAL_THRESHOLD
    return f"{auc(p, y):.3f} {balanced(p, y, threshold):.3f} {calibration_error(p, y):.3f}"


def contains(cases: Sequence[Case], embedder: Remembering, k: int, limit: int) -> str:
    generator = ExtractiveGenerator(embedder, limit)
    hit = shown = refused = lines = 0
    for case in cases:
        quoted, _ = collect(generator.stream(Ask(question=case.question), case.passages[:k]))
        text = squad(" ".join(s.text for s in quoted))
        right = any(squad(a) in text for a in case.answers)
        kept = max(s.support for s in quoted) >= support.REFUSAL_THRESHOLD
        hit, shown, refused, lines = (
            hit + right,
            shown + (right and kept),
            refused + (not kept),
            lines + len(quoted),
        )
    n = len(cases)
    return f"{hit / n:.3f}  after refusals {shown / n:.3f} (refused {refused / n:.3f})  sentences {lines / n:.2f}"


def _p(bags: Sequence[np.ndarray], w: np.ndarray) -> np.ndarray:
    return np.array([1 / (1 + np.exp(-((bag @ w[:-1]).max() + w[-1]))) for bag in bags])


def _named(names: Sequence[str], values: np.ndarray) -> dict[str, Any]:
    return {name: round(float(v), 2) for name, v in zip(names, values, strict=True)}


if __name__ == "__main__":
    main()
