"""Rows of a suite as people write them."""

from __future__ import annotations

from ui.evalsuite import parse


def test_an_answer_may_be_written_as_a_number_and_there_may_be_several() -> None:
    suite = '{"question": "When?", "answer": 1997}\n{"question": "How much?", "answer": [2.5, "two and a half"]}'
    assert [row["answer"] for row in parse(suite, dict)] == ["1997", ["2.5", "two and a half"]]
