"""A notebook is its words, its code and what the code printed, in the order of its cells."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from ingest.parse import parse
from kernel.errors import FileRefused
from kernel.types import Parsed


def read(*cells: object, name: str = "a.ipynb") -> Parsed:
    return parse(nbformat.writes(new_notebook(cells=list(cells))).encode(), name)


def test_cells_come_in_their_order_with_headings_and_blocks() -> None:
    parsed = read(
        new_markdown_cell("# Study\n\nWords with *marks*.\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
        new_code_cell("x = 1\n\nprint(x)", outputs=[new_output("stream", text="\x1b[31m1\x1b[0m\n 5%\r10%\n")]),
        new_markdown_cell("## Result"),
        new_code_cell("x", outputs=[new_output("execute_result", {"text/plain": "1"})]),
        new_raw_cell("raw words"),
    )
    assert parsed.text == (
        "# Study\n\nWords with *marks*.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nx = 1\n\nprint(x)\n\n1\n10%\n\n"
        "## Result\n\nx\n\n1\n\nraw words"
    )
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "Study"), (2, "Result")]
    blocks = [parsed.text[start:end] for start, end in parsed.blocks]
    assert blocks == ["| a | b |\n|---|---|\n| 1 | 2 |", "x = 1\n\nprint(x)", "1\n10%", "x", "1"]
    assert parsed.title == "Study"


def test_pictures_are_left_out_and_noted_and_errors_are_kept() -> None:
    picture = new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"})
    error = new_output("error", ename="ValueError", evalue="no", traceback=["..."])
    parsed = read(new_code_cell("plot()", outputs=[picture, error]))
    assert parsed.text == "plot()\n\nValueError: no"
    assert any("(1)" in note for note in parsed.notes)


def test_a_notebook_of_an_older_format_is_converted() -> None:
    old = (
        '{"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": ['
        '{"cell_type": "heading", "level": 2, "source": ["Old"]},'
        '{"cell_type": "code", "input": ["1 + 1"], "language": "python", "outputs": [], "collapsed": false}]}]}'
    )
    parsed = parse(old.encode(), "a.ipynb")
    assert parsed.text == "## Old\n\n1 + 1"


def test_a_notebook_is_recognised_without_its_name() -> None:
    assert read(new_markdown_cell("# A"), name="download").text == "# A"


@pytest.mark.parametrize(
    "source", ['{"cells": [', "[1]", '{"a": 1}', '{"nbformat": 4, "nbformat_minor": 5, "cells": 3}']
)
def test_damage_is_refused(source: str) -> None:
    with pytest.raises(FileRefused) as caught:
        parse(source.encode(), "a.ipynb")
    assert caught.value.code == "broken_ipynb"
