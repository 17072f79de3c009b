"""Putting an answer together: marks that resolve, and nothing in it that a renderer would open."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from kernel.types import Passage, Sentence
from retrieval.compose import UNSUPPORTED, Composer

TEXT = "The fee is 20 euros. It is due in May. See https://fees.example/table for more."
PASSAGES = [
    Passage(chunk=c, document=d, name=f"{d}.md", title=d, version=1, start=at, end=at + len(TEXT), text=TEXT)
    for c, d, at in (("a", "d", 100), ("b", "e", 0))
]


def sentence(text: str, *quotes: tuple[int, int, int]) -> Sentence:
    return Sentence(text=text, marks=tuple(q[0] for q in quotes), quotes=quotes)


def test_marks_count_from_one_in_order_of_appearance_and_a_quote_has_one_number() -> None:
    answer = Composer(PASSAGES)
    first = answer.add(sentence("The fee is 20 euros.", (2, 0, 20), (1, 100, 120)))
    again = answer.add(sentence("It is 20.", (1, 100, 120)))
    assert first["text"] == "The fee is 20 euros. [1][2]"
    assert again == {"text": " It is 20. [2]", "citations": []}
    assert answer.text == first["text"] + again["text"]
    assert [(c["n"], c["document"], c["quote"]) for c in answer.citations] == [
        (1, "e", "The fee is 20 euros."),
        (2, "d", "The fee is 20 euros."),
    ]


def test_a_note_cites_as_a_sentence_does_in_a_paragraph_of_its_own() -> None:
    answer = Composer(PASSAGES)
    answer.add(sentence("The fee is 20 euros.", (1, 100, 120)))
    note = answer.note("They differ.", [(1, 100, 120), (2, 21, 38)])
    assert note["text"] == "\n\nThey differ. [1][2]"
    assert [c["n"] for c in note["citations"]] == [2]
    assert note["citations"][0]["quote"] == "It is due in May."


def test_an_unsupported_sentence_that_is_shown_says_so_and_cites_nothing() -> None:
    answer = Composer(PASSAGES)
    assert answer.flag(Sentence(text="It is free [7]."))["text"] == f"It is free (7). {UNSUPPORTED}"
    assert answer.citations == []


@pytest.mark.parametrize(
    "said",
    [
        "See https://evil.example/a for more.",
        "See www.evil.example/a now.",
        "A stray ` and https://evil.example/a then ` another.",
        "`code` and ``more` https://evil.example/x `",
        "In `curl https://evil.example/x` it stands.",
        "Right _https://evil.example/a_ and 1https://evil.example/b beside a word.",
        "Behind a \\https://evil.example/a stroke \\`https://evil.example/b` it is.",
        "Beside ``code``https://evil.example/a and https://evil.example/b``code`` it is.",
        "[go](https://evil.example) ![x](https://evil.example/p.png) <a href='https://evil.example'>x</a>",
    ],
)
def test_an_address_in_an_answer_is_no_link_whoever_renders_it(said: str) -> None:
    answer = Composer(PASSAGES)
    answer.add(sentence("A first ` stray backtick.", (1, 100, 120)))
    answer.add(sentence(said, (1, 100, 120)))
    tokens = [child for t in MarkdownIt("commonmark").parse(answer.text) for child in t.children or ()]
    assert not {t.type for t in tokens} & {"image", "link_open", "html_inline"}
    assert not re.search(r"://|www\.", "".join(t.content for t in tokens if t.type == "text")), answer.text
