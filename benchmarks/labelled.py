"""Labelled retrieval sets below REPRISE_EVAL_DATA: texts, questions, and which texts answer which question.

scifact    abstracts and claims
tsqa       paragraphs of articles, each under its article's title, and questions about a period
clapnq     passages of articles and real users' questions
xquad-en   paragraphs and questions; likewise xquad-de and xquad-es
climate    sentences of articles and claims
rgb        snippets of news, half of them beside the point, and questions
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import jsonl, qrels

Texts = list[tuple[str, str]]
Grades = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """(name, Markdown) of each document, (id, text) of each question, and grades by question and document."""

    texts: Texts
    questions: Texts
    grades: Grades


def read(data: Path, name: str, limit: int | None) -> Labelled | None:
    """A set, or None if it is not there. With a limit, what the first questions need and others up to `limit`.

    Raises:
        SystemExit: there is no set of that name.
    """
    if name not in SETS:
        raise SystemExit(f"no set {name!r}; there are {', '.join(SETS)}")
    try:
        whole = SETS[name](data)
    except (FileNotFoundError, StopIteration):
        return None
    return whole if limit is None else _part(whole, limit)


def _part(whole: Labelled, limit: int) -> Labelled:
    """The same one every time, drawn by digest: neither the first documents nor the first questions are typical."""
    needed: set[str] = set()
    questions = []
    for q, text in sorted(whole.questions, key=lambda question: _digest(question[0])):
        if len(needed | whole.grades[q].keys()) <= limit // 2:
            needed |= whole.grades[q].keys()
            questions.append((q, text))
    others = sorted((name for name, _ in whole.texts if name not in needed), key=_digest)
    kept = needed | set(others[: max(0, limit - len(needed))])
    texts = [(name, text) for name, text in whole.texts if name in kept]
    return Labelled(texts=texts, questions=questions, grades={q: whole.grades[q] for q, _ in questions})


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _scifact(data: Path) -> Labelled:
    rows = jsonl(data / "scifact" / "corpus.jsonl")
    grades = qrels(next((data / "scifact" / "qrels").glob("*.tsv")))
    asked = jsonl(next((data / "scifact").glob("queries*.jsonl")))
    return _labelled([(row["_id"], f"{row['title']}\n\n{row['text']}") for row in rows], asked, grades)


def _tsqa(data: Path) -> Labelled:
    texts = [
        (f"{row['_id']}|{n}", f"# {row['title']}\n\n{paragraph}")
        for row in jsonl(data / "tsqa" / "docs.train.jsonl")
        for n, paragraph in enumerate(row["paras"])
        if paragraph.strip()
    ]
    asked = [row for row in jsonl(data / "tsqa" / "questions.train.jsonl") if row["gold_paras"]]
    grades = {row["_id"]: {f"{row['doc']}|{n}": 1 for n in row["gold_paras"]} for row in asked}
    return _labelled(texts, [row | {"text": row["question"]} for row in asked], grades)


def _clapnq(data: Path) -> Labelled:
    rows = jsonl(data / "clapnq" / "pooled_corpus.jsonl")
    texts = [(row["_id"], f"# {row['title']}\n\n{row['text']}") for row in rows]
    return _labelled(texts, jsonl(data / "clapnq" / "questions.jsonl"), qrels(data / "clapnq" / "qrels.tsv"))


def _xquad(language: str) -> Callable[[Path], Labelled]:
    def made(data: Path) -> Labelled:
        articles = json.loads((data / "xquad" / f"xquad.{language}.json").read_text())["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        texts = [(str(n), paragraph["context"]) for n, paragraph in enumerate(paragraphs)]
        asked = [
            {"_id": qa["id"], "text": qa["question"], "n": str(n)} for n, p in enumerate(paragraphs) for qa in p["qas"]
        ]
        return _labelled(texts, asked, {row["_id"]: {row["n"]: 1} for row in asked})

    return made


def _climate(data: Path) -> Labelled:
    texts: dict[str, str] = {}
    grades: Grades = {}
    asked = jsonl(data / "climate_fever" / "climate-fever.jsonl")
    for row in asked:
        for evidence in row["evidences"]:
            texts[evidence["evidence_id"]] = f"# {evidence['article']}\n\n{evidence['evidence']}"
            if evidence["evidence_label"] != "NOT_ENOUGH_INFO":
                grades.setdefault(row["claim_id"], {})[evidence["evidence_id"]] = 1
    return _labelled(list(texts.items()), [{"_id": r["claim_id"], "text": r["claim"]} for r in asked], grades)


def _rgb(data: Path) -> Labelled:
    asked = jsonl(data / "rgb" / "en_fact.json")
    texts = [
        (f"{row['id']}{sign}{n}", text)
        for row in asked
        for sign, found in (("+", row["positive"]), ("-", row["negative"]))
        for n, text in enumerate(found)
    ]
    grades = {str(row["id"]): {f"{row['id']}+{n}": 1 for n in range(len(row["positive"]))} for row in asked}
    return _labelled(texts, [{"_id": str(row["id"]), "text": row["query"]} for row in asked], grades)


def _labelled(texts: Texts, asked: list[dict[str, str]], grades: Grades) -> Labelled:
    """Questions without a text that answers them are left out."""
    questions = [(row["_id"], row["text"]) for row in asked if grades.get(row["_id"])]
    return Labelled(texts=texts, questions=questions, grades={q: grades[q] for q, _ in questions})


SETS: dict[str, Callable[[Path], Labelled]] = {
    "scifact": _scifact,
    "tsqa": _tsqa,
    "clapnq": _clapnq,
    "xquad-en": _xquad("en"),
    "xquad-de": _xquad("de"),
    "xquad-es": _xquad("es"),
    "climate": _climate,
    "rgb": _rgb,
}
