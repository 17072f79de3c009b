"""Labelled claims with texts that say so, deny it, or do neither: what checking claims is fitted and judged on.

climate_fever   a claim and a sentence of Wikipedia, voted on by five people
scifact         a claim and a whole abstract; the evidence is one to a few of its sentences
clapnq          sentences of gold answers and their passage: as they are, another passage, a number changed, a `not` in
rgb             sentences with a right answer, beside a snippet that gives a wrong one, and beside others on the subject
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.data import jsonl
from retrieval import words
from retrieval.sentences import split

Label = Literal["supports", "refutes", "neither"]
_LABELS: dict[str, Label] = {
    "SUPPORTS": "supports",
    "REFUTES": "refutes",
    "NOT_ENOUGH_INFO": "neither",
    "SUPPORT": "supports",
    "CONTRADICT": "refutes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    text: str
    evidence: str
    label: Label
    group: str
    """What must not be on both sides of a split."""
    spoilt: str = ""
    """How a true claim was made a false one, where it was."""


SETS = ("climate_fever", "scifact", "clapnq", "rgb")


def load(data: Path, name: str) -> list[Claim]:
    """The claims of a set, in a fixed order."""
    return {"climate_fever": _climate_fever, "scifact": _scifact, "clapnq": _clapnq, "rgb": _rgb}[name](data)


def _climate_fever(data: Path) -> list[Claim]:
    return [
        Claim(text=row["claim"], evidence=e["evidence"], label=_LABELS[e["evidence_label"]], group=row["claim_id"])
        for row in jsonl(data / "climate_fever" / "climate-fever.jsonl")
        for e in row["evidences"]
    ]


def _scifact(data: Path) -> list[Claim]:
    folder = data / "scifact"
    texts = {row["_id"]: row["text"] for row in jsonl(folder / "corpus.jsonl")}
    labels = {(row["claim_id"], row["doc_id"]): row["label"] for row in jsonl(folder / "evidence.train.jsonl")}
    claims = {row["_id"]: row["text"] for row in jsonl(folder / "queries.train.jsonl")}
    cited = [line.split("\t")[:2] for line in (folder / "qrels" / "train.tsv").read_text().splitlines()[1:]]
    return [
        Claim(
            text=claims[claim],
            evidence=texts[document],
            label=_LABELS[labels.get((claim, document), "NOT_ENOUGH_INFO")],
            group=claim,
        )
        for claim, document in cited
    ]


def _clapnq(data: Path) -> list[Claim]:
    rows = jsonl(data / "clapnq" / "pooled_corpus.jsonl")
    texts = {row["_id"]: row["text"] for row in rows}
    rng, found = np.random.default_rng(0), list[Claim]()
    for row in jsonl(data / "clapnq" / "questions.jsonl"):
        for answer in row["answers"] if row["answerable"] else []:
            for text in (answer[a:b] for a, b in split(answer)):
                if len(words.stems(text)) < 3:
                    continue
                own, group = texts[row["given_passage"]], row["given_passage"]
                other = rows[rng.integers(len(rows))]["text"]
                found.append(Claim(text=text, evidence=own, label="supports", group=group))
                found.append(Claim(text=text, evidence=other, label="neither", group=group, spoilt="another passage"))
                found += [
                    Claim(text=spoilt, evidence=own, label="refutes", group=group, spoilt=how)
                    for how, spoilt in _spoilt(text)
                ]
    return found


def _spoilt(text: str) -> list[tuple[str, str]]:
    found = []
    if number := re.search(r"\d+", text):
        changed = str(int(number.group()) + 7)
        found.append(("a number changed", text[: number.start()] + changed + text[number.end() :]))
    if (verb := re.search(r"\b(is|was|are|were|can|will|has|had)\b", text)) and not words.negated(text):
        found.append(("a `not` put in", text[: verb.end()] + " not" + text[verb.end() :]))
    return found


def _rgb(data: Path) -> list[Claim]:
    """The sentences in which a right and a wrong snippet differ, beside the wrong one, the right one and another."""
    found = list[Claim]()
    for row in jsonl(data / "rgb" / "en_fact.json"):
        group = f"rgb{row['id']}"
        for n, (right, wrong) in enumerate(zip(row["positive"], row["positive_wrong"], strict=False)):
            ours, theirs = _sentences(right), _sentences(wrong)
            for text in (one for one, other in zip(ours, theirs, strict=False) if one != other):
                if len(ours) != len(theirs) or len(words.stems(text)) < 3:
                    continue
                swapped = "the answer swapped"
                found.append(Claim(text=text, evidence=wrong, label="refutes", group=group, spoilt=swapped))
                found.append(Claim(text=text, evidence=right, label="supports", group=group))
                if n < len(row["negative"]):
                    found.append(Claim(text=text, evidence=row["negative"][n], label="neither", group=group))
    return found


def _sentences(text: str) -> list[str]:
    return [" ".join(text[a:b].split()) for a, b in split(text)]
