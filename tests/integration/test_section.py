"""The passage around a passage."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.section import section
from kernel.errors import NotFound
from tests.house import House, page

RULES = {
    "Travel": " ".join(f"Rule {n} of travel says what is paid and by whom it is signed." for n in range(40)),
    "Food": "Lunch is free on Fridays.",
}


def test_a_chunk_opens_the_whole_section_it_was_cut_from(tmp_path: Path) -> None:
    with House(tmp_path / "home") as house:
        document = house.put("rules.md", page("Rules", RULES))["document"]
        found = house.search.search("Rule 20 of travel", 1).passages[0]
        assert len(found.text) < len(RULES["Travel"]), "the section is one chunk, and this test shows nothing"
        around = section(house.db, house.library, document, None, found.start)
        assert around["text"] == RULES["Travel"]
        assert around["heading"] == "Rules › Travel"
        text = house.library.text(document)["text"]
        assert text[around["start"] : around["end"]] == around["text"]


def test_it_is_the_section_of_the_version_that_was_cited(tmp_path: Path) -> None:
    with House(tmp_path / "home") as house:
        document = house.put("rules.md", page("Rules", RULES))["document"]
        start = house.library.text(document)["text"].index("Lunch")
        house.put("rules.md", page("Rules", RULES | {"Food": "Lunch is free every day."}))
        assert section(house.db, house.library, document, 1, start)["text"] == "Lunch is free on Fridays."
        assert section(house.db, house.library, document, None, start)["text"] == "Lunch is free every day."


def test_a_place_without_a_passage_is_refused_in_words(tmp_path: Path) -> None:
    with House(tmp_path / "home") as house:
        house.put("rules.md", page("Rules", RULES))
        with pytest.raises(NotFound) as refusal:
            section(house.db, house.library, "rules.md", None, 10**9)
        assert "rules.md" in refusal.value.message
