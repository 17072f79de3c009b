"""Real version histories, ingested in order: the comparison of two versions shows every sentence that changed.

The pairs of sentences were made by a machine from the files' Markdown: links, emphasis and underscores are taken out of
them, and the language of a code block stands before its code. So words are compared, three in a row.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.ids import parse_time
from tests.doors import memory_folder
from tests.house import House

pytestmark = [pytest.mark.integration, pytest.mark.evaldata]

HISTORIES = ("versions_basecamp_policies", "versions_httpx_docs")
SHOWN, IN_ONE_PAIR = 0.98, 0.9
"""Least share of the sentences that are shown at all, and that stand in one changed pair."""
_LINK = re.compile(r"!?\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])")
_LANGUAGE = re.compile(r"^(python|pycon|bash|shell|console|text|json) ")
Numbers = dict[tuple[str, str | int], tuple[str, int]]


def words(text: str) -> str:
    """The words that both the pairs and our texts have."""
    plain = re.sub(r"<[^>]*>", " ", _LINK.sub(r"\1", text).replace("&rsquo;", "’"))
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"[_*`]", "", plain).casefold()))


def shows(text: str, sentence: str) -> bool:
    """True if `text` has the sentence's words, at least 85 % of its triples."""
    asked = words(sentence)
    asked = _LANGUAGE.sub("", asked) or asked
    wanted = triples(asked)
    return asked in text or (len(wanted) > 1 and len(wanted - triples(text)) <= 0.15 * len(wanted))


def triples(text: str) -> set[tuple[str, ...]]:
    found = text.split()
    return set(zip(found, found[1:], found[2:], strict=False))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with memory_folder(tmp_path_factory.mktemp("histories")) as place:
        yield place


@pytest.fixture(scope="module", params=HISTORIES)
def history(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[House, Path, Numbers]]:
    """A house with all versions of one history, and which version of which document each file became."""
    data = os.environ.get("REPRISE_EVAL_DATA")
    if not data:
        pytest.skip("REPRISE_EVAL_DATA names no folder")
    source = Path(data) / request.param
    numbers: Numbers = {}
    with House(folder / request.param) as house:
        for line in (source / "versions.jsonl").read_text().splitlines():
            told = json.loads(line)
            name = told["doc"] if told["doc"].endswith(".md") else f"{told['doc']}.md"
            day = parse_time(told["date"]) + int(told.get("version", 0))
            row = house.put(name, (source / told["file"]).read_text(), at=day)
            assert row["error"] is None, row
            numbers[told["doc"], told.get("version") or told["release"]] = (row["document"], row["version"])
        yield house, source, numbers


def test_the_diff_shows_each_changed_pair(history: tuple[House, Path, Numbers]) -> None:
    house, source, numbers = history
    diffs: dict[tuple[str, int, int], dict[str, Any]] = {}
    missed, apart, total = [], 0, 0
    for line in (source / "changed_sentences.jsonl").read_text().splitlines():
        pair = json.loads(line)
        total += 1
        (document, a), (_, b) = numbers[pair["doc"], pair["from_v"]], numbers[pair["doc"], pair["to_v"]]
        if (document, a, b) not in diffs:
            diffs[document, a, b] = told(house.library.diff(document, a, b))
        diff = diffs[document, a, b]
        if not (shows(diff["before"], pair["old"]) and shows(diff["after"], pair["new"])):
            missed.append((pair["doc"], pair["from_v"], pair["to_v"], pair["old"], pair["new"]))
        elif not any(shows(old, pair["old"]) and shows(new, pair["new"]) for old, new in diff["pairs"]):
            apart += 1
    assert len(missed) <= (1 - SHOWN) * total, missed
    assert len(missed) + apart <= (1 - IN_ONE_PAIR) * total, (len(missed), apart, total)


def told(diff: dict[str, Any]) -> dict[str, Any]:
    """A comparison as words: all that went, all that came, and the changed passages below their headings."""
    for pair in diff["changed"]:
        assert "".join(text for op, text in pair["words"] if op in "=-") == pair["before"]
        assert "".join(text for op, text in pair["words"] if op in "=+") == pair["after"]
    pairs = [
        (words(f"{pair['headings'][0]} {pair['before']}"), words(f"{pair['headings'][1]} {pair['after']}"))
        for pair in diff["changed"]
    ]
    return {
        "before": " | ".join([*(old for old, _ in pairs), *map(words, diff["removed"])]),
        "after": " | ".join([*(new for _, new in pairs), *map(words, diff["added"])]),
        "pairs": pairs,
    }
