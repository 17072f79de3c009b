"""Rows of examples as people bring them: what is read, and what is said of what cannot be."""

from __future__ import annotations

import pytest

from kernel.errors import UserError
from rehearsal.rows import read


def told(content: str) -> list[tuple[int, str]]:
    return [(row.line, row.error) for row in read(content).rows if row.error]


def fields(content: str) -> list[dict[str, object]]:
    return [row.fields for row in read(content).rows if not row.error]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_table_gives_the_same_rows_as_json_lines_whatever_separates_its_cells(separator: str) -> None:
    table = "\ufeff" + "".join(
        separator.join(cells) + "\r\n"
        for cells in (
            ("Question", "answer", "pinned", "relevant"),
            ('"How long, in ""days""?\n(and why?)"', "30", "yes", '"[{""document"": ""a.md""}]"'),
            ("Short?", "", "", ""),
        )
    )
    lines = (
        '{"question": "How long, in \\"days\\"?\\n(and why?)", "answer": "30", "pinned": true, '
        '"relevant": [{"document": "a.md"}]}\n{"question": "Short?"}\n'
    )
    assert fields(table) == fields(lines)
    assert told(table) == told(lines) == []


def test_the_lines_of_a_table_are_counted_as_an_editor_counts_them() -> None:
    table = 'question,answer\n"one\ntwo?",yes\n,no question\nOne?,too,many\nLast?,ok\n"Two?","x"y,\n'
    assert [line for line, _ in told(table)] == [4, 5, 7]
    assert "no question" in told(table)[0][1]
    assert "3 cells, where the header has 2" in told(table)[1][1]
    assert [row["question"] for row in fields(table)] == ["one\ntwo?", "Last?"]


def test_after_a_cell_that_is_broken_no_part_of_it_is_taken_for_a_row() -> None:
    table = 'question,answer\nFirst?,yes\nTwo?,"He said "no".\nThen he left.\nIs this a question?,or not\n'
    assert [row["question"] for row in fields(table)] == ["First?"]
    ((line, error),) = told(table)
    assert line == 3
    assert "From here on nothing was read: repair this line and import the file again" in error


def test_a_quote_that_is_never_closed_is_told_where_it_opens() -> None:
    ((line, error),) = told('question,answer\nOne?,"open\nTwo?,two\n')
    assert (line, "nothing was read" in error) == (2, True)


def test_a_cell_may_be_as_long_as_an_answer_is() -> None:
    long = "word " * 40_000
    (row,) = fields(f'question,answer\nLong?,"{long}"\n')
    assert row["answer"] == long


def test_a_table_without_questions_is_refused_and_an_unknown_column_is_named() -> None:
    with pytest.raises(UserError, match="no column `question`"):
        read("frage,answer\nWas?,Das.\n")
    with pytest.raises(UserError, match="answer twice"):
        read("question,answer,answer\n")
    assert read("question,anwser\nWhat?,that\n").ignored == ("anwser",)


def test_a_header_in_quotes_is_a_table_and_json_that_is_broken_is_not() -> None:
    assert fields('"question";"answer"\n"A?";"b"\n') == [{"question": "A?", "answer": "b"}]
    assert told('{"question": "A?"\n')[0][1].startswith("not JSON")
    assert read("  \n").rows == ()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"question": 3}', "question must be text"),
        ('{"question": "A?", "pinned": "perhaps"}', "give true or false"),
        ('{"question": "A?", "split": "test"}', "train or held-out"),
        ('{"question": "A?", "preferred": "x", "rejected": "x"}', "two answers"),
        ('{"question": "\\ud800?"}', "surrogate"),
        ('["question"]', "no object"),
        ("[" * 100_000, "nested too deep"),
        ('{"question": "A?", "relevant": ' + "[" * 100_000, "nested too deep"),
    ],
)
def test_what_does_not_fit_is_said_in_words(row: str, says: str) -> None:
    ((line, error),) = told(row)
    assert line == 1
    assert says in error


def test_a_switch_that_says_false_in_words_is_off() -> None:
    assert fields('{"question": "A?", "pinned": "false", "standalone": true}') == [
        {"question": "A?", "pinned": False, "standalone": True}
    ]
