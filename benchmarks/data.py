"""What the benchmarks run on: real data from the folder that REPRISE_EVAL_DATA names, or the project's own guide."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def folder() -> Path | None:
    """The evaluation data, or None when it is not at hand."""
    named = os.environ.get("REPRISE_EVAL_DATA")
    return Path(named) if named and Path(named).is_dir() else None


def distinct_texts(limit: int) -> tuple[str, list[tuple[str, str]]]:
    """(what they are, (name, Markdown text) pairs), no two of them versions of one another.

    Real documentation, policies and articles, each in its newest version; without evaluation data the guide.
    """
    data = folder()
    if data is None:
        guide = Path(__file__).parent.parent / "docs" / "guide"
        return "pages of the project's guide", [(f.name, f.read_text()) for f in sorted(guide.glob("*.md"))][:limit]
    texts: list[tuple[str, str]] = []
    for name in ("versions_httpx_docs", "versions_basecamp_policies"):
        newest = {row["doc"]: row["file"] for row in jsonl(data / name / "versions.jsonl")}  # in order of their dates
        texts += [(f"{name}/{doc}", (data / name / file).read_text()) for doc, file in sorted(newest.items())]
    for row in jsonl(data / "tsqa" / "docs.train.jsonl"):
        texts.append((f"articles/{len(texts)}.md", f"# {row['title']}\n\n" + "\n\n".join(row["paras"])))
    return "real documentation, policies and articles", texts[:limit]


def jsonl(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]


def settings(text: str) -> dict[str, Any]:
    """`name=value, ...`, each value as JSON, such as those of a recipe."""
    pairs = [part.split("=", 1) for part in text.split(",") if part.strip()]
    return {name.strip(): json.loads(value) for name, value in pairs}


def qrels(file: Path) -> dict[str, dict[str, int]]:
    """query id -> document id -> grade."""
    found: dict[str, dict[str, int]] = {}
    for line in file.read_text().splitlines()[1:]:
        query, document, score = line.split("\t")
        found.setdefault(query, {})[document] = int(score)
    return found
