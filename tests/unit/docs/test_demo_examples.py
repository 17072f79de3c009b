"""The shipped examples fit the shipped guide: a page may not be edited away from under its questions."""

import json
import re
from collections import Counter
from pathlib import Path

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted((DOCS / "guide").glob("*.md"))}
ROWS = [
    json.loads(line)
    for line in (DOCS / "demo" / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    if line.strip()
]
FIELDS = {"question", "answer", "document", "quote", "slice", "licence"}
SLICES = {"documents", "answers", "rehearsal", "operations"}
LINK = re.compile(r"\]\(([^)#]+)\)")


def test_there_are_enough_examples_in_every_slice() -> None:
    per_slice = Counter(row["slice"] for row in ROWS)
    assert len(ROWS) >= 200
    assert set(per_slice) == SLICES
    assert min(per_slice.values()) >= 55


def test_every_row_has_its_fields_filled() -> None:
    incomplete = [row for row in ROWS if set(row) != FIELDS or not all(row.values())]
    assert incomplete == []


def test_every_quote_occurs_exactly_once_in_its_page() -> None:
    wrong = [(row["document"], row["quote"]) for row in ROWS if PAGES[row["document"]].count(row["quote"]) != 1]
    assert wrong == []


def test_quotes_survive_rendering() -> None:
    """No line break and no Markdown mark-up: the quote is the same in the source and in the parsed text."""
    wrong = [row["quote"] for row in ROWS if re.search(r"[\n`*_|<>]|\]\(", row["quote"])]
    assert wrong == []


def test_questions_are_unique() -> None:
    counts = Counter(row["question"].casefold().strip() for row in ROWS)
    assert [question for question, count in counts.items() if count > 1] == []


def test_every_guide_page_is_used_by_four_rows_of_one_slice() -> None:
    used = Counter(row["document"] for row in ROWS)
    assert [page for page in PAGES if used[page] < 4] == []
    slices: dict[str, set[str]] = {}
    for row in ROWS:
        slices.setdefault(row["document"], set()).add(row["slice"])
    assert [page for page, names in slices.items() if len(names) != 1] == []


def test_links_between_pages_resolve_and_the_index_lists_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    broken = [
        (name, target)
        for name, text in PAGES.items()
        for target in LINK.findall(text)
        if "://" not in target and target not in PAGES
    ]
    assert broken == []
    listed = {target.removeprefix("guide/") for target in LINK.findall(index) if target.startswith("guide/")}
    assert listed == set(PAGES)
