"""Fit and judge the constants of quoting and refusing, on labelled data that is not part of this project.

    REPRISE_EVAL_DATA=/path/to/data python -m benchmarks.calibrate_support [--limit N]

Reads XQuAD-en, ClapNQ and TimeQA (tsqa) below that folder; without it, says so and stops. It prints
1. the sentence weights (`retrieval/generators/extractive.py`), fitted on half of the groups, judged on the other,
2. the answer weights (`retrieval/support.py`), likewise, and for ClapNQ five-fold by document,
3. the constants fitted on everything, to be written into those files, and
4. what the shipped constants give: answers that hold the gold answer, right refusals, claims told apart.
The peer in each table is the cosine alone. A group is an article or document, so that no text is on both sides.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import re
import string
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kernel.embedder import SentenceTransformerEmbedder
from kernel.types import Ask, Passage
from retrieval import support, words
from retrieval.evidence import FEATURES, PASSAGE_FEATURES, Evidence, read
from retrieval.generators import collect
from retrieval.generators.extractive import WEIGHTS, ExtractiveGenerator
from retrieval.sentences import split

SETS = {
    # name: (cases that can be answered, cases that cannot, weight in the fit of the answer weights)
    "clapnq, its document": ("clapnq", "clapnq", 2.0),
    "clapnq, all documents": ("clapnq_pool", "clapnq_pool", 1.0),
    "tsqa, its document": ("tsqa", "tsqa", 0.3),
    "xquad, other article": ("xquad", "xquad_other", 1.0),
    "xquad, all other articles": ("xquad", "xquad_elsewhere", 1.0),
    "xquad, without the paragraph": ("xquad", "xquad_removed", 0.5),
}


@dataclass
class Case:
    question: str
    passages: list[Passage]
    answers: list[str]
    gold: set[int]
    group: str
    answerable: bool
    gold_sentences: list[str] = field(default_factory=list)
    evidence: Evidence | None = None


class Remembering:
    """The embedder, each text embedded once: passages come up in many cases."""

    def __init__(self) -> None:
        self.inner, self.seen = SentenceTransformerEmbedder(), dict[str, np.ndarray]()
        self.dimension, self.fingerprint, self.max_tokens = 384, "remembering", 254

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        new = sorted(set(texts) - self.seen.keys(), key=len)
        if new:
            self.seen.update(zip(new, self.inner.embed_documents(new, progress), strict=True))
        return np.stack([self.seen[t] for t in texts])

    embed_queries = embed_documents

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.inner.count_tokens(texts)


# --- data -------------------------------------------------------------------------------------------------------------


class Pool:
    """Passages ranked by half BM25 (k1 .9, b .4), half cosine, each scaled to 0..1: roughly what search does."""

    def __init__(self, titled: list[tuple[str, str]], embedder: Remembering) -> None:
        self.titled, self.embedder = titled, embedder
        self.counts = [Counter(words.stems(text)) for _, text in titled]
        self.vectors = embedder.embed_documents([text for _, text in titled])
        self.lengths = np.array([max(1, c.total()) for c in self.counts])
        self.df = Counter(w for c in self.counts for w in c)

    def top(self, question: str, k: int, among: Sequence[int] | None = None) -> tuple[list[Passage], list[int]]:
        at = np.arange(len(self.titled)) if among is None else np.array(among)
        lexical = np.zeros(len(at))
        for w in words.stems(question):
            tf = np.array([self.counts[i][w] for i in at])
            idf = math.log(1 + (len(self.titled) - self.df[w] + 0.5) / (self.df[w] + 0.5))
            lexical += idf * tf * 1.9 / (tf + 0.9 * (0.6 + 0.4 * self.lengths[at] / self.lengths.mean()))
        dense = self.vectors[at] @ self.embedder.embed_queries([question])[0]
        score = _scaled(lexical) + _scaled(dense)
        best = np.argsort(-score)[:k]
        chosen = [int(at[b]) for b in best]
        ranked = enumerate(zip(chosen, best, strict=True), 1)
        return [passage(*self.titled[i], rank, float(score[b])) for rank, (i, b) in ranked], chosen


def passage(title: str, text: str, rank: int, score: float) -> Passage:
    own = hashlib.sha1(text.encode()).hexdigest()  # each text is a document of its own: offsets start at 0 in each
    return Passage(
        chunk=own, document=own, name=title, title=title, version=1, start=0, end=len(text), text=text, rank=rank,
        score=score,
    )  # fmt: skip


def load(data: Path, embedder: Remembering, limit: int) -> dict[str, list[Case]]:
    cases: dict[str, list[Case]] = defaultdict(list)
    _xquad(data, embedder, limit, cases)
    _clapnq(data, embedder, limit, cases)
    _tsqa(data, embedder, limit, cases)
    started, all_cases = time.perf_counter(), [c for some in cases.values() for c in some]
    texts = {p.text for c in all_cases for p in c.passages}
    embedder.embed_documents([" ".join(t[a:b].split()) for t in texts for a, b in split(t)])
    embedder.embed_documents([c.question for c in all_cases])
    for case in all_cases:
        case.evidence = read(case.question, case.passages, embedder)
    print(f"read {len(all_cases)} cases in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return cases


def _xquad(data: Path, embedder: Remembering, limit: int, cases: dict[str, list[Case]]) -> None:
    articles = json.loads((data / "xquad" / "xquad.en.json").read_text())["data"]
    titled = [(a["title"].replace("_", " "), p["context"]) for a in articles for p in a["paragraphs"]]
    owner = np.array([n for n, a in enumerate(articles) for _ in a["paragraphs"]])
    pool, rng, at = Pool(titled, embedder), np.random.default_rng(0), -1
    for n, article in enumerate(articles):
        for paragraph in article["paragraphs"]:
            at += 1
            for qa in paragraph["qas"] if not limit else paragraph["qas"][:1]:
                question, group = qa["question"], f"x{n}"
                top, chosen = pool.top(question, 6)
                answers = [a["text"] for a in qa["answers"]]
                cases["xquad"].append(Case(question, top, answers, _where(chosen, at), group, True))
                other = int(rng.choice(np.delete(np.arange(len(articles)), n)))
                for name, among in (
                    ("xquad_other", np.flatnonzero(owner == other)),
                    ("xquad_elsewhere", np.flatnonzero(owner != n)),
                    ("xquad_removed", np.array([i for i in np.flatnonzero(owner == n) if i != at])),
                ):
                    cases[name].append(Case(question, pool.top(question, 6, among)[0], [], set(), group, False))
        if limit and len(cases["xquad"]) >= limit:
            return


def _clapnq(data: Path, embedder: Remembering, limit: int, cases: dict[str, list[Case]]) -> None:
    rows = [json.loads(line) for line in (data / "clapnq" / "pooled_corpus.jsonl").read_text().splitlines()]
    place = {row["_id"]: n for n, row in enumerate(rows)}
    pool = Pool([(row["title"], row["text"]) for row in rows], embedder)
    by_title: dict[str, list[int]] = defaultdict(list)
    for n, row in enumerate(rows):
        by_title[row["title"]].append(n)
    questions = [json.loads(line) for line in (data / "clapnq" / "questions.jsonl").read_text().splitlines()]
    for row in questions[:: max(1, len(questions) // limit)] if limit else questions:
        given = place[row["given_passage"]]
        title = rows[given]["title"]
        gold = [sentence for some in row.get("gold_sentences", []) for sentence in some]
        for name, among in (("clapnq", by_title[title]), ("clapnq_pool", None)):
            top, chosen = pool.top(row["text"], 6, among)
            where = _where(chosen, given) if row["answerable"] else set()
            cases[name].append(Case(row["text"], top, row["answers"], where, title, row["answerable"], gold))


def _tsqa(data: Path, embedder: Remembering, limit: int, cases: dict[str, list[Case]]) -> None:
    docs = {
        d["_id"]: d for line in (data / "tsqa" / "docs.train.jsonl").read_text().splitlines() if (d := json.loads(line))
    }
    rows = [json.loads(line) for line in (data / "tsqa" / "questions.train.jsonl").read_text().splitlines()]
    for row in rows[:: max(1, len(rows) // limit)] if limit else rows:
        doc = docs[row["doc"]]
        texts = [(doc["title"], text) for text in doc["paras"]]
        asked = set(words.stems(row["question"]))
        # Documents are long: rank by words first, as embedding every paragraph of 318 documents takes too long here.
        order = sorted(range(len(texts)), key=lambda i: -words.coverage(asked, set(words.stems(texts[i][1])), {}))[:6]
        top = [passage(*texts[i], rank, 1.0) for rank, i in enumerate(order, 1)]
        where = {n for n, i in enumerate(order, 1) if i in (row["gold_paras"] or [])}
        answers = [a for a in row["answers"] if a]
        cases["tsqa"].append(Case(row["question"], top, answers, where, row["doc"], not row["unanswerable"]))


# --- sentence weights -------------------------------------------------------------------------------------------------


def fit_sentences(cases: dict[str, list[Case]], half: int | None) -> np.ndarray:
    """Conditional logit: the log of the probability mass on sentences that answer, sets weighted alike."""
    from scipy.optimize import minimize

    rows = []
    for name in ("xquad", "clapnq", "tsqa"):
        some = [(_of(c).features, y) for c in cases[name] if _in(c, half) and (y := answering(name, c)).any()]
        rows += [(x, y, 1 / len(some)) for x, y in some]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        total, slope = 0.0, np.zeros_like(w)
        for x, y, share in rows:
            p = np.exp(x @ w - (x @ w).max())
            p /= p.sum()
            mass = float(p[y].sum()) + 1e-12
            total -= share * math.log(mass)
            slope -= share * (x.T @ (p * y / mass - p))
        return total / 3 + 5e-4 * float(w @ w), slope / 3 + 1e-3 * w

    return minimize(loss, np.zeros(len(FEATURES)), jac=True, method="L-BFGS-B").x


def answering(name: str, case: Case) -> np.ndarray:
    """Which candidates answer: those in a gold passage with the answer's words, or that are a gold sentence."""
    return np.array(
        [
            c.mark in case.gold
            and (
                any(_alike(c.text, g) for g in case.gold_sentences)
                if name.startswith("clapnq")
                else any(squad(a) in squad(c.text) for a in case.answers)
            )
            for c in _of(case).candidates
        ],
        dtype=bool,
    )


def hits(name: str, cases: Sequence[Case], weights: np.ndarray) -> str:
    at = np.zeros(3)
    for case in cases:
        y = answering(name, case)
        order = np.argsort(-(_of(case).features @ weights))
        at += [y[order[:k]].any() for k in (1, 2, 3)]
    return "  ".join(f"{v:.3f}" for v in at / max(1, len(cases)))


# --- answer weights ---------------------------------------------------------------------------------------------------


def fit_answers(cases: dict[str, list[Case]], keep: Callable[[Case], bool]) -> np.ndarray:
    """Logistic over the best passage of each case; no weight is negative, classes count alike within a set.

    Which passage is best depends on the weights: both are found in turn (multiple-instance learning). The last entry
    is the bias.
    """
    from scipy.optimize import minimize

    bags, ys, shares = list[np.ndarray](), [], []
    for name, (_, _, weight) in SETS.items():
        x, y = table(name, cases, keep)
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


def table(name: str, cases: dict[str, list[Case]], keep: Callable[[Case], bool]) -> tuple[list[np.ndarray], np.ndarray]:
    yes, no, _ = SETS[name]
    some = [c for c in cases[yes] if c.answerable and keep(c)] + [c for c in cases[no] if not c.answerable and keep(c)]
    return [_of(c).passages for c in some], np.array([c.answerable for c in some])


def judged(x: np.ndarray, y: np.ndarray, threshold: float) -> str:
    """Balanced accuracy, share of answerable ones answered, share of the others refused."""
    yes, no = (x >= threshold)[y].mean(), (x < threshold)[~y].mean()
    return f"{(yes + no) / 2:.3f}  answered {yes:.3f}  refused {no:.3f}"


def best_cosine(x: np.ndarray, y: np.ndarray) -> float:
    return max(np.linspace(0.2, 0.9, 71), key=lambda t: (x >= t)[y].mean() + (x < t)[~y].mean())


# --- claims -----------------------------------------------------------------------------------------------------------


def claims(data: Path, embedder: Remembering) -> None:
    """Gold answers of ClapNQ against their passage, whole and spoilt: shares that pass the claim threshold."""
    rows = [json.loads(line) for line in (data / "clapnq" / "pooled_corpus.jsonl").read_text().splitlines()]
    texts = {row["_id"]: row["text"] for row in rows}
    questions = [json.loads(line) for line in (data / "clapnq" / "questions.jsonl").read_text().splitlines()]
    rng, found = np.random.default_rng(0), defaultdict[str, list[tuple[str, str]]](list)
    for row in (r for r in questions if r["answerable"]):
        own = texts[row["given_passage"]]
        for text in row["answers"]:
            for claim in (text[a:b] for a, b in split(text)):
                if len(words.stems(claim)) < 3:
                    continue
                found["true to its passage"].append((claim, own))
                found["another passage cited"].append((claim, rows[rng.integers(len(rows))]["text"]))
                if number := re.search(r"\d+", claim):
                    changed = str(int(number.group()) + 7)
                    found["a number changed"].append((claim[: number.start()] + changed + claim[number.end() :], own))
                if (verb := re.search(r"\b(is|was|are|were|can|will|has|had)\b", claim)) and not words.negated(claim):
                    found["a `not` put in"].append((claim[: verb.end()] + " not" + claim[verb.end() :], own))
    print(f"\nClaims (ClapNQ answers), share that passes {support.CLAIM_THRESHOLD}: with cosine, by words alone")
    for name, pairs in found.items():
        both = [np.mean([support.claim_support(c, [t], e) >= 0.5 for c, t in pairs]) for e in (embedder, None)]
        print(f"  {name:24} n={len(pairs):4}  {both[0]:.3f}  {both[1]:.3f}")


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

    print("Sentences: a sentence that answers among the best 1, 2, 3 (halves fitted and judged in turn)")
    cosine = np.eye(len(FEATURES))[FEATURES.index("cosine")]
    for half in (0, 1):
        fitted = fit_sentences(cases, 1 - half)
        for name in ("xquad", "clapnq", "tsqa"):
            some = [c for c in cases[name] if c.answerable and _in(c, half)]
            peer = hits(name, some, cosine)
            print(f"  half {half} {name:8} n={len(some):4}  {hits(name, some, fitted)}   cosine alone {peer}")
    print(f"  fitted on everything: {_named(FEATURES, fit_sentences(cases, None))}\n  shipped: {WEIGHTS}")

    print("\nRefusal: balanced accuracy at the shipped threshold (halves fitted and judged in turn)")
    for half in (0, 1):
        w = fit_answers(cases, lambda c, h=half: not _in(c, h))  # type: ignore[misc]
        for name in SETS:
            x, y = table(name, cases, lambda c, h=half: _in(c, h))  # type: ignore[misc]
            x0, y0 = table(name, cases, lambda c, h=half: not _in(c, h))  # type: ignore[misc]
            peer = judged(_cosine(x), y, best_cosine(_cosine(x0), y0))
            ours = judged(_p(x, w), y, support.REFUSAL_THRESHOLD)
            print(f"  half {half} {name:29} n={len(y):4}  {ours}   cosine alone {peer}")
    folds = []
    for fold in range(5):
        w = fit_answers(cases, lambda c, f=fold: _hash(c.group) % 5 != f)  # type: ignore[misc]
        x, y = table("clapnq, its document", cases, lambda c, f=fold: _hash(c.group) % 5 == f)  # type: ignore[misc]
        folds.append((_p(x, w), y))
    p, y = np.concatenate([f[0] for f in folds]), np.concatenate([f[1] for f in folds])
    print(f"  five-fold clapnq, its document  n={len(y)}  {judged(p, y, support.REFUSAL_THRESHOLD)}")
    w = fit_answers(cases, lambda c: True)
    print(f"  fitted on everything: {_named(PASSAGE_FEATURES, w[:-1])} bias {w[-1]:.2f}")
    print(f"  shipped: {support.ANSWER_WEIGHTS} bias {support.ANSWER_BIAS}")
    for threshold in (0.3, 0.35, 0.4, 0.45, 0.5):
        rows = [table(name, cases, lambda c: True) for name in SETS]
        print(f"  threshold {threshold:.2f}: " + "  ".join(judged(_p(x, w), y, threshold)[:5] for x, y in rows))

    print("\nShipped constants, whole path: XQuAD answers that hold the gold answer, 5 and 6 passages of 240")
    for k, limit_ in ((5, 1), (5, 2), (5, 3), (6, 2), (6, 3)):
        print(f"  {k} passages, up to {limit_} sentences: {contains(cases['xquad'], embedder, k, limit_)}")
    claims(Path(folder), embedder)


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


def squad(text: str) -> str:
    """As SQuAD compares answers: lower case, no punctuation, no articles, single spaces."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def _alike(one: str, other: str) -> bool:
    a, b = set(squad(one).split()), set(squad(other).split())
    return len(a & b) >= 0.6 * max(1, min(len(a), len(b)))


def _where(chosen: Sequence[int], gold: int) -> set[int]:
    return {n for n, i in enumerate(chosen, 1) if i == gold}


def _of(case: Case) -> Evidence:
    assert case.evidence is not None
    return case.evidence


def _hash(group: str) -> int:
    return int(hashlib.sha1(group.encode()).hexdigest()[:8], 16)


def _in(case: Case, half: int | None) -> bool:
    return half is None or _hash(case.group) % 2 == half


def _p(bags: Sequence[np.ndarray], w: np.ndarray) -> np.ndarray:
    return np.array([1 / (1 + np.exp(-((bag @ w[:-1]).max() + w[-1]))) for bag in bags])


def _cosine(bags: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([bag[:, PASSAGE_FEATURES.index("cosine")].max() for bag in bags])


def _named(names: Sequence[str], values: np.ndarray) -> dict[str, Any]:
    return {name: round(float(v), 2) for name, v in zip(names, values, strict=True)}


def _scaled(x: np.ndarray) -> np.ndarray:
    return (x - x.min()) / (x.max() - x.min() + 1e-9)


if __name__ == "__main__":
    main()
