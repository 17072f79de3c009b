"""Fit and judge the constants of checking claims, on labelled claims that are not part of this project.

    REPRISE_EVAL_DATA=/path/to/data python -m benchmarks.calibrate_claims [--limit N]

Prints, for each set, how the shipped constants do and how constants fitted on the other sets do: AUC and balanced
accuracy of support (what supports against all else), and of contradiction (what refutes against all else), and which
share of each label passes as supported. The peer is the cosine alone. Then the constants fitted on everything.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from benchmarks.cases import Remembering
from benchmarks.claims import SETS, Claim, load
from benchmarks.data import folder
from benchmarks.figures import auc, balanced
from retrieval.claims import Comparison, compare, read
from retrieval.verifiers import embedded
from retrieval.verify import CLAIM_THRESHOLD

NONE = Comparison(said=0.0, cosine=0.0, number=False, other_number=False, swapped=False, turned=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=0, help="so many claims of each set at most, for a quick look")
    limit = parser.parse_args().limit
    data = folder()
    if data is None:
        print("REPRISE_EVAL_DATA is not set: nothing to calibrate on.")
        return
    embedder = Remembering()
    claims = {name: load(data, name)[: limit or None] for name in SETS if (data / name).is_dir()}
    found = {name: compared(some, embedder) for name, some in claims.items()}
    for name, some in claims.items():
        others = [other for other in claims if other != name]
        report(name, some, found[name], fit(others, claims, found))
    w = fit(list(claims), claims, found)
    print(f"fitted on everything: said {w[0]:.1f} cosine {w[1]:.1f} bias {w[2]:.1f}")
    print(f"shipped: {embedded.SUPPORT_WEIGHTS} bias {embedded.SUPPORT_BIAS}")


def compared(claims: Sequence[Claim], embedder: Remembering) -> list[Comparison]:
    readings = [read([claim.evidence]) for claim in claims]
    embedder.embed_documents(sorted({s for r in readings for s in r.sentences} | {c.text for c in claims}))
    found = []
    for claim, reading in zip(claims, readings, strict=True):
        own = embedder.embed_documents([claim.text])[0]
        cosines = (embedder.embed_documents(reading.sentences) @ own).tolist() if reading.sentences else []
        found.append(compare(claim.text, reading, cosines) or NONE)
    return found


def fit(names: Sequence[str], claims: dict[str, list[Claim]], found: dict[str, list[Comparison]]) -> np.ndarray:
    """Logistic over claims that nothing sinks; labels count alike within a set, and sets alike."""
    from scipy.optimize import minimize

    xs, ys, shares = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for name in names:
        open_ = [(c, f) for c, f in zip(claims[name], found[name], strict=True) if not _sunk(f)]
        y = np.array([c.label == "supports" for c, _ in open_], dtype=bool)
        xs.append(np.array([(f.said, f.cosine, 1.0) for _, f in open_]))
        ys.append(y)
        shares.append(np.where(y, 0.5 / max(1, y.sum()), 0.5 / max(1, (~y).sum())))
    x, y, share = np.concatenate(xs), np.concatenate(ys).astype(float), np.concatenate(shares) / len(names)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        p = 1 / (1 + np.exp(-(x @ w)))
        return -float(share @ (y * np.log(p + 1e-12) + (1 - y) * np.log(1 - p + 1e-12))), x.T @ (share * (p - y))

    return minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B").x


def report(name: str, claims: Sequence[Claim], found: Sequence[Comparison], fitted: np.ndarray) -> None:
    labels = np.array([claim.label for claim in claims])
    judged = [embedded.judgement(f) for f in found]
    support = np.array([j.support for j in judged])
    others = np.array([_support(f, fitted) for f in found])
    cosine = np.array([f.cosine for f in found])
    denied = np.array([j.contradiction for j in judged])
    supports, refutes = labels == "supports", labels == "refutes"
    print(f"{name}: {len(claims)} claims")
    for what, scores in (("shipped", support), ("fitted on the other sets", others), ("cosine alone", cosine)):
        print(f"  support, {what:24} AUC {auc(scores, supports):.3f}  balanced {balanced(scores, supports, 0.5):.3f}")
    print(f"  contradiction, shipped: AUC {auc(denied, refutes):.3f}  balanced {balanced(denied, refutes, 0.5):.3f}")
    passing = {str(label): (support[labels == label] >= CLAIM_THRESHOLD).mean() for label in np.unique(labels)}
    print("  passes as supported: " + "  ".join(f"{label} {share:.3f}" for label, share in passing.items()))
    for how in sorted({claim.spoilt for claim in claims} - {""}):
        at = np.array([claim.spoilt == how for claim in claims])
        print(f"    {how:20} n={at.sum():4}  passes {(support[at] >= CLAIM_THRESHOLD).mean():.3f}")


def _support(found: Comparison, w: np.ndarray) -> float:
    p = 1 / (1 + np.exp(-(w[0] * found.said + w[1] * found.cosine + w[2])))
    return float(p * (embedded.SUNK if _sunk(found) else 1.0))


def _sunk(found: Comparison) -> bool:
    return found.number or found.turned or found.swapped


if __name__ == "__main__":
    main()
