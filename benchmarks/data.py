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


def markdown_files(limit: int) -> tuple[str, list[Path]]:
    """(what they are, Markdown files): real documentation and policies in their versions, or the guide."""
    data = folder()
    if data is not None:
        sets = ("versions_httpx_docs", "versions_basecamp_policies")
        files = [f for name in sets for f in (data / name).rglob("*.md")]
        return "real documentation and policies", sorted(files)[:limit]
    guide = Path(__file__).parent.parent / "docs" / "guide"
    return "the project's guide", sorted(guide.glob("*.md"))[:limit]


def jsonl(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]


def qrels(file: Path) -> dict[str, dict[str, int]]:
    """query id -> document id -> grade."""
    found: dict[str, dict[str, int]] = {}
    for line in file.read_text().splitlines()[1:]:
        query, document, score = line.split("\t")
        found.setdefault(query, {})[document] = int(score)
    return found
