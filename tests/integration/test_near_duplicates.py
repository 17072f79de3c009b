"""Copies are reported and never dropped: the same bytes, the same text, and nearly the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.near import same_bytes, shingles
from ingest.tables import Sketch
from kernel.errors import UserError
from kernel.ids import digest, now_ms
from tests.house import House, page

pytestmark = pytest.mark.integration

CHANCE = random.Random(7)
VOCABULARY = [f"word{n}" for n in range(2000)]


def prose(length: int = 400) -> list[str]:
    return [CHANCE.choice(VOCABULARY) for _ in range(length)]


def text(words: list[str]) -> str:
    return page("Report", {"Body": " ".join(words)})


@pytest.fixture
def house(quick_folder: Path) -> Iterator[House]:
    with House(quick_folder / "home") as opened:
        yield opened


def told(groups: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(group["kind"], [one["name"] for one in group["documents"]]) for group in groups]


def test_each_kind_of_copy_is_reported_once_and_everything_stays(house: House) -> None:
    words = prose()
    edited = [*words[:200], "another", *words[201:]]
    for name, content in {
        "a.md": text(words),
        "b.md": text(words),
        "c.md": text(words).replace("\n\n", "\r\n\r\n"),
        "d.md": text(edited),
        "alone.md": text(prose()),
    }.items():
        assert house.put(name, content)["status"] == "published"
    groups = house.near.duplicates("default")
    kinds = dict(told(groups))
    assert kinds["same bytes"] == ["a.md", "b.md"]
    assert kinds["near"][-1] == "d.md"
    assert {"a.md", "b.md", "d.md"} <= set(kinds["near"])
    assert all("alone.md" not in names for names in kinds.values())
    near = next(group for group in groups if group["kind"] == "near")
    exact = shingles(text(words)), shingles(text(edited))
    assert near["similarity"] == pytest.approx(len(exact[0] & exact[1]) / len(exact[0] | exact[1]), abs=1e-3)
    assert house.counts()["documents"] == 5


def test_the_threshold_decides_by_the_exact_similarity(house: House) -> None:
    words = prose()
    for name, changed in (("base.md", 0), ("close.md", 8), ("far.md", 60)):
        edited = list(words)
        for place in range(0, changed * 6, 6):
            edited[place] = f"new{place}"
        house.put(name, text(edited))
    assert told(house.near.duplicates("default", 0.75)) == [("near", ["base.md", "close.md"])]
    assert told(house.near.duplicates("default", 0.97)) == []
    for wrong in (0.0, 0.2, 1.01):
        with pytest.raises(UserError):
            house.near.duplicates("default", wrong)


def test_a_report_is_about_one_workspace_and_the_versions_that_count(house: House) -> None:
    words = prose()
    house.put("a.md", text(words))
    house.put("b.md", text(words), workspace="another")
    assert house.near.duplicates("default") == []
    house.put("b.md", text(prose()))
    house.put("b.md", text(words), at=now_ms() + 10**9)  # b becomes a copy of a, but not yet
    assert house.near.duplicates("default") == []


def test_an_edit_ends_a_likeness_and_a_delete_takes_the_sketch(house: House) -> None:
    words = prose()
    for name in ("a.md", "b.md"):
        house.put(name, text([*words, name]))
    assert told(house.near.duplicates("default")) == [("near", ["a.md", "b.md"])]
    house.put("b.md", text(prose()))
    assert house.near.duplicates("default") == []
    assert house.delete.delete("a.md")["sketches"] == 1
    assert house.rows(Sketch) == 1


def test_sketches_are_made_in_portions_and_not_twice(house: House) -> None:
    for number in range(4):
        house.put(f"{number}.md", text(prose(60)))
    assert house.rows(Sketch) == 0  # publishing makes none
    assert house.near.sketch(seconds=0) <= 1
    made = house.rows(Sketch)
    assert house.near.sketch() == 4 - made
    assert house.near.sketch() == 0


def test_documents_without_words_are_like_none(house: House) -> None:
    house.put("a.md", "---\n")
    house.put("b.md", "***\n")
    house.put("short.md", "Only four words here.\n")
    assert [g for g in house.near.duplicates("default") if g["kind"] == "near"] == []


def test_an_upload_can_be_told_which_documents_have_its_bytes(house: House) -> None:
    content = text(prose())
    mine = house.put("a.md", content)["document"]
    house.put("b.md", content)
    house.put("c.md", content, workspace="another")
    house.put("old.md", content)
    house.put("old.md", text(prose()))
    with house.db.read() as session:
        assert same_bytes(session, "default", digest(content), mine) == ["b.md"]
        assert same_bytes(session, "default", digest(content)) == ["a.md", "b.md"]
        assert same_bytes(session, "default", digest("other")) == []
