"""JSON is laid out for people: tables where it is one, headings and lines where it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.parse import parse
from ingest.parse.limits import Limits
from kernel.errors import FileRefused
from kernel.types import Parsed


def read(data: Any, name: str = "a.json") -> Parsed:
    return parse(json.dumps(data).encode(), name)


def test_an_array_of_flat_objects_is_a_table() -> None:
    parsed = read([{"name": "Ada", "age": 36}, {"name": "Bob", "city": None}])
    assert parsed.text == "| name | age | city |\n| --- | --- | --- |\n| Ada | 36 |  |\n| Bob |  | null |"
    assert len(parsed.blocks) == 1


def test_outer_keys_are_headings_and_scalars_are_lines() -> None:
    parsed = read({"title": "A report", "year": 2020, "parts": {"first": {"a": 1, "b": [1, 2]}, "n": True}})
    assert parsed.title == "A report"
    assert parsed.text == "title: A report\nyear: 2020\n\nparts\n\nn: true\n\nfirst\n\na: 1\n\nb\n\n- 1\n- 2"
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "parts"), (2, "first"), (3, "b")]
    assert all(parsed.text.startswith(h.title, h.start) for h in parsed.headings)


def test_what_is_nested_deeper_is_indented_lines() -> None:
    parsed = read({"a": {"b": {"c": {"d": {"e": 1}, "f": ["x", {"g": 2}]}}}})
    assert parsed.text.endswith("c\n\nd:\n  e: 1\nf:\n  - x\n  -\n    g: 2")


def test_entries_are_called_by_what_they_call_themselves() -> None:
    parsed = read([{"name": "Ada", "tags": ["x"]}, {"n": 2, "tags": ["y"]}])
    assert [h.title for h in parsed.headings] == ["Ada", "tags", "Entry 2", "tags"]


def test_numbers_are_kept_as_written() -> None:
    text = parse(b'{"a": 1.10, "b": 123456789012345678901234567890, "c": 1e3, "d": NaN}', "a.json").text
    assert text == "a: 1.10\nb: 123456789012345678901234567890\nc: 1e3\nd: NaN"


def test_json_lines_are_a_table_where_they_are_alike() -> None:
    parsed = parse(b'{"a": 1, "b": "x"}\n\n{"a": 2, "b": "y"}\n', "a.jsonl")
    assert parsed.text == "| a | b |\n| --- | --- |\n| 1 | x |\n| 2 | y |"
    assert parsed.media_type == "application/jsonl"


def test_a_wrong_line_is_named() -> None:
    with pytest.raises(FileRefused, match="line 2") as caught:
        parse(b'{"a": 1}\n{"a": \n', "a.jsonl")
    assert caught.value.code == "broken_jsonl"


def test_a_file_that_was_cut_off_is_refused_with_the_place() -> None:
    with pytest.raises(FileRefused, match="line 2, column") as caught:
        parse(b'{"a": 1,\n "b": [1, 2', "a.json")
    assert caught.value.code == "broken_json"


@pytest.mark.parametrize("depth", [60, 900, 200_000])
def test_depth_is_no_danger(depth: int) -> None:
    for source in ("[" * depth + '"word"' + "]" * depth, '{"a":' * depth + '"word"' + "}" * depth):
        parsed = parse(source.encode(), "a.json")
        assert "word" in parsed.text


def test_data_without_a_telling_name_is_recognised() -> None:
    assert read({"a": "b"}, "download").media_type == "application/json"
    assert parse(b"{braces} and words", "download").media_type == "text/plain"
    assert read({"a": "b"}, "a.txt").text == '{"a": "b"}', "a text stays as it is written"


def test_a_large_array_is_held_to_the_limit() -> None:
    with pytest.raises(FileRefused) as caught:
        parse(json.dumps([{"key": n} for n in range(90_000)]).encode(), "a.json", Limits(max_text_mb=1))
    assert caught.value.code == "limit_max_text_mb"


@pytest.mark.parametrize("source", ["{}", "[]", "null", '""', "[[], {}]"])
def test_empty_data_is_a_document_all_the_same(source: str) -> None:
    assert parse(source.encode(), "a.json").text.strip()
