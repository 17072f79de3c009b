"""Labelled questions with the passages a search would hand over: what quoting and refusing are fitted and judged on.

XQuAD, ClapNQ and TimeQA (tsqa), from the folder that REPRISE_EVAL_DATA names. A group is an article or document, so
that a split by group has no text on both sides.
"""

from __future__ import annotations

import hashlib
import json
import math
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
from kernel.types import Passage
from retrieval import words
from retrieval.evidence import Evidence, read
from retrieval.sentences import split


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
    """An embedder that embeds each text once: passages come up in many cases."""

    def __init__(self, inner: SentenceTransformerEmbedder | None = None) -> None:
        self.inner, self.seen = inner or SentenceTransformerEmbedder(), dict[str, np.ndarray]()

    def __getattr__(self, name: str) -> Any:
        """Whatever else an embedder has."""
        return getattr(self.inner, name)

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        new = sorted(set(texts) - self.seen.keys(), key=len)
        if new:
            self.seen.update(zip(new, self.inner.embed_documents(new, progress), strict=True))
        return np.stack([self.seen[t] for t in texts]) if texts else np.empty((0, self.inner.dimension), np.float32)

    embed_queries = embed_documents


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
    """English with questions that cannot be answered, of three kinds; German and Spanish as they are."""
    for language in ("en", "de", "es"):
        articles = json.loads((data / "xquad" / f"xquad.{language}.json").read_text())["data"]
        titled = [(a["title"].replace("_", " "), p["context"]) for a in articles for p in a["paragraphs"]]
        owner = np.array([n for n, a in enumerate(articles) for _ in a["paragraphs"]])
        pool, rng, at = Pool(titled, embedder), np.random.default_rng(0), -1
        name = "xquad" if language == "en" else f"xquad_{language}"
        for n, article in enumerate(articles):
            for paragraph in article["paragraphs"]:
                at += 1
                for qa in paragraph["qas"] if not limit else paragraph["qas"][:1]:
                    question, group = qa["question"], f"x{n}"
                    top, chosen = pool.top(question, 6)
                    answers = [a["text"] for a in qa["answers"]]
                    cases[name].append(Case(question, top, answers, _where(chosen, at), group, True))
                    if language != "en":
                        continue
                    other = int(rng.choice(np.delete(np.arange(len(articles)), n)))
                    for kind, among in (
                        ("xquad_other", np.flatnonzero(owner == other)),
                        ("xquad_elsewhere", np.flatnonzero(owner != n)),
                        ("xquad_removed", np.array([i for i in np.flatnonzero(owner == n) if i != at])),
                    ):
                        cases[kind].append(Case(question, pool.top(question, 6, among)[0], [], set(), group, False))
            if limit and len(cases[name]) >= limit:
                break


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


def squad(text: str) -> str:
    """As SQuAD compares answers: lower case, no punctuation, no articles, single spaces."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def alike(one: str, other: str) -> bool:
    a, b = set(squad(one).split()), set(squad(other).split())
    return len(a & b) >= 0.6 * max(1, min(len(a), len(b)))


def _where(chosen: Sequence[int], gold: int) -> set[int]:
    return {n for n, i in enumerate(chosen, 1) if i == gold}


def _scaled(x: np.ndarray) -> np.ndarray:
    return (x - x.min()) / (x.max() - x.min() + 1e-9)


def evidence_of(case: Case) -> Evidence:
    assert case.evidence is not None
    return case.evidence


def fold(case: Case) -> int:
    """One of five, fixed by the group."""
    return int(hashlib.sha1(case.group.encode()).hexdigest()[:8], 16) % 5
