"""reStructuredText is read as docutils reads it, and what belongs to Sphinx for its words."""

from __future__ import annotations

import pytest

from ingest.parse import parse
from kernel.types import Parsed


def read(source: str) -> Parsed:
    return parse(source.encode(), "a.rst")


def test_sections_lists_and_paragraphs_are_read() -> None:
    parsed = read(
        "Title\n=====\n\nWith *marks* and ``code``.\n\n* one\n* two\n\n  more\n\nSub\n---\n\nterm\n  meaning\n"
    )
    assert parsed.text == "Title\n\nWith marks and code.\n\n- one\n- two\n  more\n\nSub\n\n- term: meaning"
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "Title"), (2, "Sub")]
    assert all(parsed.text.startswith(h.title, h.start) for h in parsed.headings)
    assert (parsed.title, parsed.media_type) == ("Title", "text/x-rst")


@pytest.mark.parametrize(
    "table",
    [
        "+---+-----+\n| a | b   |\n+===+=====+\n| 1 | x   |\n|   | y   |\n+---+-----+\n",
        "=  ====\na  b\n=  ====\n1  x y\n=  ====\n",
        '.. csv-table::\n   :header: "a","b"\n\n   "1","x y"\n',
        ".. list-table::\n   :header-rows: 1\n\n   * - a\n     - b\n   * - 1\n     - x y\n",
    ],
)
def test_tables_of_every_kind_can_be_cited_by_row(table: str) -> None:
    parsed = read(f"Before.\n\n{table}\nAfter.\n")
    rows = "| a | b |\n| --- | --- |\n| 1 | x y |"
    assert parsed.text == f"Before.\n\n{rows}\n\nAfter."
    assert [parsed.text[start:end] for start, end in parsed.blocks] == [rows]


def test_code_is_a_block_as_it_stands() -> None:
    source = "Use::\n\n    def f():\n\n        return 1\n\n.. code-block:: python\n   :linenos:\n\n   x = 1\n"
    parsed = read(source)
    assert [parsed.text[start:end] for start, end in parsed.blocks] == ["def f():\n\n    return 1", "x = 1"]


def test_what_only_sphinx_knows_is_read_for_its_words() -> None:
    parsed = read(
        "See :ref:`the start <start>` and :class:`Reader`.\n\n.. versionadded:: 2.1\n   It reads *rows*.\n\n"
        ".. function:: parse(content)\n   :noindex:\n\n   Reads it.\n\n.. toctree::\n\n   a\n   b\n\n|version|\n\n"
        ".. |version| replace:: 3.2\n"
    )
    assert parsed.text == (
        "See the start and Reader.\n\nNew in version 2.1.\n\nIt reads rows.\n\nparse(content)\n\nReads it.\n\n3.2"
    )


def test_nothing_is_included() -> None:
    parsed = read(
        "Words.\n\n.. include:: /etc/passwd\n\n"
        ".. raw:: html\n   :file: /etc/passwd\n\n.. csv-table::\n   :file: /etc/passwd\n"
    )
    assert "root" not in parsed.text
    assert parsed.text.startswith("Words.")
    assert any("/etc/passwd" in note for note in parsed.notes)


def test_flaws_cost_nothing_but_themselves() -> None:
    text = read(
        "Title\n==\n\n*open `never ref_ |sub|\n\n+--+\n| a\n\n.. image:: x.png\n\n.. unknown::\n\n      deep\n\nLast.\n"
    ).text
    assert text.startswith("Title")
    assert text.endswith("deep\n\nLast.")


@pytest.mark.parametrize("depth", [500, 900])
def test_what_docutils_cannot_read_is_kept_as_it_is_written(depth: int) -> None:
    source = "".join(" " * n * 2 + "* a\n\n" for n in range(depth))
    parsed = read(source)
    assert parsed.text == source.strip()
    assert any("as it is written" in note for note in parsed.notes)
