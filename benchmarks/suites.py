"""Documents and questions as the answers benchmark puts them through the product, from the evaluation data."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.data import jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    question: str
    answers: tuple[str, ...] = ()
    """Any of these is right; empty where no words can be compared."""
    gold: tuple[tuple[str, ...], ...] = ()
    """The sentences that answer, as each annotator marked them."""
    answerable: bool = True
    document: str | None = None
    """The document that the question names, where it names one."""
    pages: frozenset[int] = frozenset()
    """Pages that hold the evidence, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Documents in one workspace, and the questions asked there."""

    name: str
    documents: list[tuple[str, bytes]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    scope: Literal["named", "inferred", "none"] = "none"
    """Whether a question is asked of its document only, of what the platform infers from it, or of all documents."""


def load(data: Path, name: str, limit: int) -> list[Suite]:
    """The suites of one data set; `limit` questions of each at most, evenly taken, all for 0."""
    return {"clapnq": _clapnq, "xquad": _xquad, "tsqa": _tsqa, "financebench": _financebench}[name](data, limit)


def _clapnq(data: Path, limit: int) -> list[Suite]:
    rows = jsonl(data / "clapnq" / "pooled_corpus.jsonl")
    documents = [(f"{row['_id']}.md", f"# {row['title']}\n\n{row['text']}\n".encode()) for row in rows]
    asked = [
        Asked(
            question=row["text"],
            gold=tuple(tuple(some) for some in row.get("gold_sentences", [])),
            answerable=row["answerable"],
            document=f"{row['given_passage']}.md",
        )
        for row in jsonl(data / "clapnq" / "questions.jsonl")
    ]
    some = _evenly(asked, limit)
    return [
        Suite(name="clapnq, its document", documents=documents, asked=some, scope="named"),
        Suite(name="clapnq, all documents", documents=documents, asked=some),
    ]


def _xquad(data: Path, limit: int) -> list[Suite]:
    suites = []
    for language in ("en", "de", "es"):
        articles = json.loads((data / "xquad" / f"xquad.{language}.json").read_text())["data"]
        documents, asked = list[list[tuple[str, bytes]]](), list[list[Asked]]()
        for article in articles:
            title = article["title"].replace("_", " ")
            documents.append(
                [
                    (f"{article['title']}-{n}.md", f"# {title}\n\n{p['context']}\n".encode())
                    for n, p in enumerate(article["paragraphs"])
                ]
            )
            asked.append(
                [
                    Asked(question=qa["question"], answers=tuple(a["text"] for a in qa["answers"]))
                    for p in article["paragraphs"]
                    for qa in p["qas"]
                ]
            )
        half = [
            Asked(question=a.question, answerable=n % 2 == 0, answers=a.answers)
            for n, some in enumerate(asked)
            for a in some
        ]
        name = f"xquad-{language}"
        suites.append(
            Suite(
                name=f"{name}, all paragraphs",
                documents=[d for some in documents for d in some],
                asked=_evenly([a for some in asked for a in some], limit),
            )
        )
        suites.append(
            Suite(
                name=f"{name}, every second article left out",
                documents=[d for some in documents[::2] for d in some],
                asked=_evenly(half, limit),
            )
        )
    return suites


def _tsqa(data: Path, limit: int) -> list[Suite]:
    """At most 60 documents, as they are long; a question asks its own document."""
    by_document = defaultdict[str, list[Asked]](list)
    for row in jsonl(data / "tsqa" / "questions.train.jsonl"):
        by_document[row["doc"]].append(
            Asked(
                question=row["question"],
                answers=tuple(a for a in row["answers"] if a),
                answerable=not row["unanswerable"],
                document=row["doc"].strip("/").replace("/", "_") + ".md",
            )
        )
    texts = {row["_id"]: row for row in jsonl(data / "tsqa" / "docs.train.jsonl")}
    chosen = _evenly(sorted(by_document), min(limit or 60, 60))
    documents = [
        (by_document[d][0].document or d, (f"# {texts[d]['title']}\n\n" + "\n\n".join(texts[d]["paras"])).encode())
        for d in chosen
    ]
    asked = _evenly([a for d in chosen for a in by_document[d]], limit)
    return [Suite(name="tsqa, its document", documents=documents, asked=asked, scope="named")]


def _financebench(data: Path, limit: int) -> list[Suite]:
    folder = data / "financebench"
    asked = [
        Asked(
            question=row["question"],
            document=f"{row['doc_name']}.pdf",
            pages=frozenset(e["evidence_page_num"] + 1 for e in row["evidence"]),
        )
        for row in jsonl(folder / "questions_with_pdf.jsonl")
    ]
    some = _evenly(asked, limit)
    documents = [(file.name, file.read_bytes()) for file in sorted((folder / "pdfs").glob("*.pdf"))]
    return [
        Suite(name="financebench, document named", documents=documents, asked=some, scope="named"),
        Suite(name="financebench, document inferred", documents=documents, asked=some, scope="inferred"),
        Suite(name="financebench, all documents", documents=documents, asked=some),
    ]


def _evenly(items: list[Any], limit: int) -> list[Any]:
    if not limit or len(items) <= limit:
        return items
    return [items[round(i * (len(items) - 1) / max(1, limit - 1))] for i in range(limit)]
