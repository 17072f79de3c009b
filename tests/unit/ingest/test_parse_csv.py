"""A table of values becomes a table that can be read and cited by row."""

from __future__ import annotations

import time

import pytest

from ingest.parse import parse
from kernel.types import Parsed


def read(source: str, name: str = "a.csv") -> Parsed:
    return parse(source.encode(), name)


def test_rows_become_lines_of_a_table_under_the_first() -> None:
    parsed = read("name,age\nAda,36\nBob|by,7\n")
    assert parsed.text == "| name | age |\n| --- | --- |\n| Ada | 36 |\n| Bob\\|by | 7 |"
    assert parsed.blocks == ((0, len(parsed.text)),)
    assert (parsed.title, parsed.media_type) == ("a", "text/csv")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(separator: str) -> None:
    lines = [["name", "remark"], ["Ada", "one, two; three"], ["Bob", 'said "so"'], ["Eve", ""]]
    quoted = ["".join(separator.join('"' + c.replace('"', '""') + '"' for c in row)) for row in lines]
    rows = read("\n".join(quoted), "a.tsv").text.split("\n")
    assert rows[2:] == ["| Ada | one, two; three |", '| Bob | said "so" |', "| Eve |  |"]


def test_a_quoted_line_end_stays_in_its_row() -> None:
    assert read('a,b\n"one\ntwo",3\n').text.split("\n")[2] == "| one two | 3 |"


def test_a_quote_that_never_closes_swallows_nothing() -> None:
    assert read('size,name\n5" disk,x\n7,y\n').text.split("\n")[2:] == ['| 5" disk | x |', "| 7 | y |"]


def test_numbers_in_the_first_row_are_no_names() -> None:
    assert read("1,2\n3,4\n").text == "|  |  |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"
    assert read("country,2019,2020\nFrance,1,2\n").text.startswith("| country | 2019 | 2020 |")


def test_excels_own_first_line_says_the_separator() -> None:
    assert read("sep=;\na;b\n1;2\n").text == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_lines_without_columns_stay_lines() -> None:
    parsed = read("just some words\nand more of them\n")
    assert parsed.text == "just some words\nand more of them"
    assert parsed.blocks == ((0, len(parsed.text)),)


def test_another_encoding_is_read_and_said() -> None:
    parsed = parse("名前,年齢,住所\n佐藤太郎,30,東京\n".encode("cp932"), "a.csv")
    assert parsed.text.split("\n")[2] == "| 佐藤太郎 | 30 | 東京 |"
    assert "cp932" in parsed.notes[0]


@pytest.mark.parametrize("source", ['"' * 100_001, 'a,"' * 50_000, "," * 300_000, "x" * 300_000, '"a\n' * 30_001])
def test_no_file_makes_it_hang(source: str) -> None:
    started = time.perf_counter()
    read(source)
    assert time.perf_counter() - started < 10
