"""Markdown is quoted as it is written; only its structure is read."""

from __future__ import annotations

from textwrap import dedent

from ingest.parse import parse
from ingest.parse.markdown import front_matter_end, heading_end
from kernel.types import Parsed


def read(source: str, name: str = "a.md") -> Parsed:
    return parse(dedent(source).lstrip("\n").encode(), name)


def outline(parsed: Parsed) -> list[tuple[int, str]]:
    return [(h.level, h.title) for h in parsed.headings]


def test_the_text_is_the_source() -> None:
    source = "# A *b* `c`\n\n* one\n* two [link](http://x)\n\n\n<b>html</b> &amp; more  \n"
    assert parse(source.encode(), "a.md").text == source


def test_headings_stand_where_their_lines_begin() -> None:
    parsed = read(
        """
        # One `code` and *emphasis* and [a link](http://x)

        Two
        lines
        =====

        ### Three ###

        Four
        ----
        """
    )
    assert outline(parsed) == [(1, "One code and emphasis and a link"), (1, "Two lines"), (3, "Three"), (2, "Four")]
    lines = [parsed.text[h.start :].split("\n")[0] for h in parsed.headings]
    assert lines == ["# One `code` and *emphasis* and [a link](http://x)", "Two", "### Three ###", "Four"]
    ends = [parsed.text[h.start : heading_end(parsed.text, h.start)] for h in parsed.headings]
    assert ends[1:] == ["Two\nlines\n=====", "### Three ###", "Four\n----"]


def test_what_only_looks_like_a_heading_is_none() -> None:
    parsed = read(
        """
        #hashtag

        ```bash
        # a comment
        ```

            # indented code

        > # in a quote

        - # in a list

        \\# escaped
        """
    )
    assert parsed.headings == ()


def test_a_long_paragraph_above_a_rule_stays_text() -> None:
    assert read("word " * 60 + "\n---\n\nafter\n").headings == ()


def test_code_and_tables_are_blocks() -> None:
    parsed = read(
        """
        Before.

        ```python
        x = 1

        y = 2
        ```

        | a | b |
        |---|---|
        | 1 | 2 |

        1. item

           ~~~
           in a list
           ~~~

        Last:

            indented
        """
    )
    texts = [parsed.text[start:end] for start, end in parsed.blocks]
    assert texts == [
        "```python\nx = 1\n\ny = 2\n```",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "   ~~~\n   in a list\n   ~~~",
        "    indented",
    ]


def test_an_open_fence_runs_to_the_end() -> None:
    parsed = read("text\n\n```\n# no heading\n")
    assert parsed.headings == ()
    assert parsed.blocks[0][1] <= len(parsed.text)


def test_front_matter_gives_the_title_and_no_headings() -> None:
    parsed = read('---\ntitle: "A: title"\n# comment\ntags:\n  - x\n- y\n---\n\n# Heading\n\nBody\n')
    assert parsed.title == "A: title"
    assert outline(parsed) == [(1, "Heading")]
    assert parsed.text[parsed.headings[0].start :].startswith("# Heading")
    assert parsed.text[front_matter_end(parsed.text) :] == "\n# Heading\n\nBody\n"


def test_two_rules_are_not_front_matter() -> None:
    for source in (
        "---\n\nHello, reader.\n\n---\nmore",
        "---\nkey: value\nand it never ends\n",
        "---\n---\nx",
        "----\na: b\n---\n",
    ):
        assert front_matter_end(source) == 0


def test_the_title_is_the_first_heading_of_level_one() -> None:
    assert read("## Two\n\n# One\n\n# Other\n").title == "One"
    assert read("## Two\n", "guide/setup.md").title == "setup"
    assert read('<h1 align="center">\n  <img src="x"> The <b>Project</b>\n</h1>\n\n## Two\n').title == "The Project"
