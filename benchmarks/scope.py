"""How often a scope is inferred from a question, and how often it leaves out the document with the answer.

    REPRISE_EVAL_DATA=… python -m benchmarks.scope

Each collection is asked its own questions twice: over its own documents, and over the documents of all collections
at once. Only names and titles are looked at, so nothing is ingested. `wrong` is what must be 0: a scope that is used
and does not hold the gold document. FinanceBench is what scopes are for; elsewhere few questions say where
they look, so there a scope is rare.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retrieval.catalogue import Catalogue, Entry, card_of
from retrieval.inferred import infer

Asked = list[tuple[str, frozenset[str]]]
"""(question, gold documents)"""
Collection = tuple[dict[str, str], Asked]
"""Titles by name, and what is asked."""


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as file:
        yield from map(json.loads, file)


def financebench(data: Path) -> Collection:
    names = {path.name: "" for path in sorted((data / "financebench/pdfs").glob("*.pdf"))}
    asked = [
        (row["question"], frozenset({f"{row['doc_name']}.pdf"}))
        for row in lines(data / "financebench/questions_with_pdf.jsonl")
    ]
    return names, asked


def financebench_catalogue(data: Path) -> Collection:
    """With every filing its list names, also those whose file is not there: consecutive years of each company."""
    _, asked = financebench(data)
    listed = lines(data / "financebench/financebench_document_information.jsonl")
    return {f"{row['doc_name']}.pdf": "" for row in listed}, asked


def xquad(data: Path, language: str) -> Collection:
    names, asked = {}, []
    for article in json.loads((data / f"xquad/xquad.{language}.json").read_text())["data"]:
        name = f"{language}/{article['title']}.md"
        names[name] = article["title"].replace("_", " ")
        asked += [(qa["question"], frozenset({name})) for p in article["paragraphs"] for qa in p["qas"]]
    return names, asked


def clapnq(data: Path) -> Collection:
    titles = {row["_id"]: row["title"] for row in lines(data / "clapnq/pooled_corpus.jsonl")}
    asked = [
        (row["text"], frozenset({f"clapnq/{titles[row['given_passage']]}.txt"}))
        for row in lines(data / "clapnq/questions.jsonl")
        if row.get("given_passage") in titles
    ]
    return {f"clapnq/{title}.txt": title for title in titles.values()}, asked


def scifact(data: Path) -> Collection:
    names = {f"scifact/{row['_id']}": row["title"] for row in lines(data / "scifact/corpus.jsonl")}
    gold: dict[str, set[str]] = {}
    for path in (data / "scifact/qrels").glob("*.tsv"):
        with path.open() as file:
            for row in csv.DictReader(file, delimiter="\t"):
                gold.setdefault(row["query-id"], set()).add(f"scifact/{row['corpus-id']}")
    queries = lines(data / "scifact/queries.train.jsonl")
    return names, [(row["text"], frozenset(gold[row["_id"]])) for row in queries if row["_id"] in gold]


def tsqa(data: Path, questions: str) -> Collection:
    names = {row["_id"]: row["title"] for row in lines(data / "tsqa/docs.train.jsonl")}
    rows = lines(data / f"tsqa/{questions}.train.jsonl")
    return names, [(row["question"], frozenset({row["_id"].partition("#")[0]})) for row in rows]


def histories(data: Path) -> Collection:
    """Documents of the two histories, for the catalogue; nobody asked anything about them."""
    names = {}
    for path in (data / "versions_basecamp_policies/docs").iterdir():
        first = sorted(path.iterdir())[-1].read_text().lstrip("# \n").splitlines()[0]
        names[f"policies/{path.name}.md"] = first if len(first) < 100 else ""
    for path in sorted((data / "versions_httpx_docs/docs/0.28.1").rglob("*.md")):
        names[f"httpx/{path.relative_to(data / 'versions_httpx_docs/docs/0.28.1').as_posix()}"] = ""
    return names, []


def guide() -> Collection:
    """The project's own guide and the questions that `reprise demo` trains on."""
    docs = Path(__file__).parent.parent / "docs"
    names = {page.name: page.read_text().splitlines()[0].lstrip("# ") for page in (docs / "guide").glob("*.md")}
    rows = lines(docs / "demo/examples.jsonl")
    return names, [(row["question"], frozenset({row["document"]})) for row in rows]


def main() -> None:
    data = Path(os.environ["REPRISE_EVAL_DATA"])
    collections = {
        "financebench (9 PDFs)": financebench(data),
        "financebench (30 filings)": financebench_catalogue(data),
        **{f"xquad-{code}": xquad(data, code) for code in ("en", "de", "es")},
        "clapnq": clapnq(data),
        "scifact": scifact(data),
        **{f"tsqa {what}": tsqa(data, what) for what in ("questions", "paraphrase_easy", "paraphrase_hard")},
        "guide": guide(),
        "histories": histories(data),
    }
    together = {name: title for names, _ in collections.values() for name, title in names.items()}
    started = time.perf_counter()
    everything = made(together)
    building = time.perf_counter() - started
    print(f"{'collection':28} {'over':>6} {'asked':>6} {'scoped':>7} {'wrong':>6} {'suggested':>10} {'ms':>7}")
    for of, (names, asked) in collections.items():
        for catalogue in (made(names), everything):
            if asked:
                print(f"{of:28} {len(catalogue):6} {measured(catalogue, asked)}")
    print(f"a catalogue of {len(everything)} documents is made in {building:.2f} s")


def made(names: dict[str, str]) -> Catalogue:
    return Catalogue(card_of(Entry(id=name, name=name, title=title)) for name, title in names.items())


def measured(catalogue: Catalogue, asked: Asked) -> str:
    scoped = wrong = suggested = 0
    took = 0.0
    for question, gold in asked:
        began = time.perf_counter()
        found = infer(question, catalogue)
        took += time.perf_counter() - began
        if found is None:
            continue
        suggested += not found.sure
        scoped += found.sure
        missed = found.sure and not gold & set(found.documents)
        wrong += missed
        if "-vv" in sys.argv or ("-v" in sys.argv and found.sure):
            print(f"   {'WRONG' if missed else ''} {question!r} -> {found.reason} {found.names} {found.confidence}")
    return f"{len(asked):6} {scoped:7} {wrong:6} {suggested:10} {1000 * took / len(asked):7.3f}"


if __name__ == "__main__":
    main()
