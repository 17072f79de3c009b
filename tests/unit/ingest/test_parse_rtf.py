r"""Rich text gives its words, its tables and its headings, and nothing of its markup."""

from __future__ import annotations

import pytest

from ingest.parse import parse
from kernel.errors import FileRefused

HEAD = r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Arial;}}{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}}"


def read(body: str, name: str = "a.rtf") -> str:
    return parse(f"{HEAD}{body}}}".encode("cp1252"), name).text


def test_words_are_read_in_their_encoding() -> None:
    assert read(r"Caf\'e9 \u8211? na\'efve\par Second {\b bold} line.\par") == "Café – naïve\n\nSecond bold line."


def test_a_paragraph_with_an_outline_level_is_a_heading() -> None:
    source = HEAD + r"\pard\s1 The title\par\pard\s0 Words.\par\pard\outlinelevel1 Sub\par More.\par}"
    parsed = parse(source.encode(), "a.rtf")
    assert parsed.text == "The title\n\nWords.\n\nSub\n\nMore."
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "The title"), (2, "Sub")]
    assert parsed.title == "The title"


def test_rows_become_a_table() -> None:
    body = r"Before\par\trowd a\cell b\cell\row\trowd 1\cell 2\cell\row\pard After\par"
    assert read(body) == "Before\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nAfter"


def test_pictures_leave_no_letters_behind_and_are_noted() -> None:
    body = r"One {\*\shppict{\pict{\*\blipuid 0badcafe}\pngblip 89504e470d0a}} two {\pict\bin4 }{}{}\par"
    parsed = parse(f"{HEAD}{body}}}".encode(), "a.rtf")
    assert parsed.text.split() == ["One", "two"]
    assert parsed.notes


def test_the_content_decides_whatever_the_name() -> None:
    assert read("Hello", "a.doc") == "Hello"


def test_damage_and_emptiness_are_refused() -> None:
    for source, code in ((HEAD + "cut off", "broken_rtf"), (HEAD + "}", "no_text")):
        with pytest.raises(FileRefused) as caught:
            parse(source.encode(), "a.rtf")
        assert caught.value.code == code
