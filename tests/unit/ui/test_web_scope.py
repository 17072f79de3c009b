"""Where a question looked, in words; what an answer is made of while it comes; how a passage came to its rank."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kernel.errors import UserError
from ui.web import scope

pytest.importorskip("streamlit")

EVIL = "<img src=x onerror=alert(1)>"
A, B, C, D = ({"document": f"doc-{n}", "name": f"{n}.md"} for n in "abcd")
OPEN: dict[str, Any] = {
    "workspace": "default",
    "documents": None,
    "count": None,
    "inferred": None,
    "suggested": None,
    "widened": False,
    "from": None,
    "tags": [],
}
INFERRED = OPEN | {"inferred": {"documents": [A], "phrase": "in the handbook", "reason": "named"}}


def test_documents_are_named_in_a_sentence_and_many_are_counted() -> None:
    assert scope.named([]) == ""
    assert scope.named([A]) == "“a.md”"
    assert scope.named([A, B]) == "“a.md” and “b.md”"
    assert scope.named([A, B, C, D]) == "“a.md”, “b.md”, “c.md” and 1 more"
    assert scope.named([A, B, C], 120) == "“a.md”, “b.md”, “c.md” and 117 more"


def test_a_scope_that_was_inferred_is_said_with_the_phrase_that_says_so() -> None:
    assert scope.looked(OPEN) == ""
    assert scope.looked(INFERRED) == "Looked only in “a.md”, because you said “in the handbook”."
    assert "all documents were searched" in scope.looked(INFERRED | {"widened": True})


def test_a_standing_scope_is_said_to_come_from_the_preferences() -> None:
    mine = OPEN | {"from": "preferences"}
    assert scope.looked(mine) == "Looked in workspace “default”, from your preferences."
    assert scope.looked(mine | {"documents": [A], "count": 1}) == "Looked in “a.md”, from your preferences."
    tagged = mine | {"documents": [A], "count": 1, "tags": ["hr"]}
    assert scope.looked(tagged) == "Looked with the tags hr, from your preferences."


def test_another_place_to_look_keeps_what_was_chosen() -> None:
    place = {"workspace": "default", "filters": {"tags": ["hr"]}}
    assert scope.everywhere(place) == place | {"scope": "off"}
    assert scope.only(place, [A, B])["filters"] == {"tags": ["hr"], "documents": ["doc-a", "doc-b"]}
    assert place == {"workspace": "default", "filters": {"tags": ["hr"]}}


def test_the_place_of_an_earlier_answer_leaves_out_what_its_question_inferred() -> None:
    narrow = {"documents": [A], "count": 1}
    assert scope.of({"workspace": "default", "scope": INFERRED | narrow}) == {"workspace": "default"}
    given = scope.of({"workspace": "default", "scope": OPEN | narrow | {"from": "question"}})
    assert given == {"workspace": "default", "filters": {"documents": ["doc-a"]}}
    about = scope.of({"workspace": "default", "slice": "tax", "scope": OPEN})
    assert about == {"workspace": "default", "slice": "tax"}
    assert scope.given(about, {}) == "about “tax”"


def test_what_was_chosen_is_told_in_a_few_words() -> None:
    place = {"as_of": "2024-03-01T12:00:00+00:00", "filters": {"documents": ["doc-a"], "languages": ["de", "xx"]}}
    assert scope.given(place, {"doc-a": "a.md"}) == "as of 2024-03-01 12:00 UTC, in “a.md”, in German or xx"
    assert scope.given({"workspace": "default"}, {}) == ""
    assert scope.given({"workspace": "default", "slice": "returns"}, {}) == "about “returns”"


def test_an_answer_that_comes_is_escaped_and_its_note_and_doubt_stand_apart() -> None:
    from retrieval.compose import UNSUPPORTED
    from ui.web.marks import coming

    cited = {"n": 1, **A, "title": EVIL}
    html = coming(
        [
            {"text": f"{EVIL} [1]", "citations": [cited]},
            {"text": f" Not so. {UNSUPPORTED}", "citations": []},
            {"text": "\n\nThe sources disagree. [1]", "citations": []},
        ]
    )
    assert "<img" not in html
    assert '<span class="rp-mark">1</span>' in html
    assert f'<span class="rp-doubt"> Not so. {UNSUPPORTED}</span>' in html
    assert '<div>The sources disagree. <span class="rp-mark">1</span></div>' in html


def test_an_answer_under_way_is_taken_up_again_and_asked_once() -> None:
    from ui.web.reply import Reply

    asked, go_on = [], threading.Event()

    def ask() -> Iterator[dict[str, Any]]:
        asked.append(1)
        yield {"type": "searched"}
        go_on.wait(10)
        yield {"type": "done"}

    reply = Reply(ask)
    assert next(iter(reply)) == {"type": "searched"}  # and the page is drawn anew
    go_on.set()
    assert [event["type"] for event in reply] == ["searched", "done"]
    assert [event["type"] for event in reply] == ["searched", "done"]
    assert asked == [1]


def test_what_came_before_an_error_is_given_first_and_the_error_every_time() -> None:
    from ui.web.reply import Reply

    def ask() -> Iterator[dict[str, Any]]:
        yield {"type": "searched"}
        raise UserError("no such workspace", hint="choose another")

    reply = Reply(ask)
    for _ in range(2):
        heard = []
        with pytest.raises(UserError):
            heard.extend(heard.append(event) or event for event in reply)
        assert heard[0] == {"type": "searched"}


def test_a_sentence_says_in_words_why_it_is_quoted_or_not() -> None:
    from ui.web.views.search import sentence

    read = {"rank": 2, "text": EVIL, "score": 1.25, "support": 0.5, "why": "weaker"}
    cells = sentence(read, enough=True)
    assert "<img" not in cells[0]
    assert cells[1:4] == ["2", "1.2", "0.50"]
    assert "too far behind the best" in cells[4]
    assert "quoted" in sentence(read | {"why": "quoted"}, enough=True)[4]
    assert "not enough" in sentence(read | {"why": "quoted"}, enough=False)[4]


def test_a_candidate_that_is_not_shown_says_why() -> None:
    from ui.web.views.search import arm, row

    standing = {"rank": 3, "score": 6.5, "normal": 1.7}
    one = {"rank": None, "dropped": "diversity", "dense": None, "words": standing, "fused": 0.4, "fused_rank": 2}
    cells = row(one | {"name": "a.md", "heading": None, "text": None, "rerank": 0.9}, reranked=True)
    assert cells["Shown"] == "says much the same as one that is shown"
    assert (cells["Meaning"], cells["Words no."], cells["Second look"]) == (None, 3, 0.9)
    assert "width:100%" in arm("words", standing)
    assert "not among the best" in arm("meaning", None)
