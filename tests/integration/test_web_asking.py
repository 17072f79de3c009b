"""The pages of asking as Streamlit draws them, over a real platform in place of the node's HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from tests.doors import opened
from tests.house import incoming

pytest.importorskip("streamlit.testing.v1")

OLD = "# Travel policy 2022\n\n## Meals\n\nThe daily allowance for meals is 28 euros within Germany.\n"
NEW = "# Travel policy 2024\n\n## Meals\n\nThe daily allowance for meals is 34 euros within Germany. <b>Mind</b> it.\n"
HANDBOOK = "# Handbook\n\n## Laptops\n\nA laptop is replaced after four years by the service desk.\n"
QUESTION = "How much is the daily allowance for meals?"


def chat() -> None:
    from ui.web.views import chat

    chat.show()


def search() -> None:
    from ui.web.views import search

    search.show()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with opened(tmp_path_factory.mktemp("home")) as platform:
        files = {"policy-2022.md": OLD, "policy-2024.md": NEW, "handbook.md": HANDBOOK}
        platform.w.ingest.add([incoming(name, text) for name, text in files.items()])
        yield platform


@pytest.fixture
def drawn(platform: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws a page over the platform."""
    from streamlit.testing.v1 import AppTest

    import ui.web.client

    monkeypatch.setattr(ui.web.client, "_remote", lambda url, key: platform)
    return lambda page: AppTest.from_function(page, default_timeout=60).run()


def html(app: Any) -> str:
    """All that a page shows as HTML."""
    return "\n".join(element.proto.body for element in app.get("html"))


def asked(app: Any, question: str) -> Any:
    app.chat_input[0].set_value(question).run()
    assert not app.exception
    return app


def test_a_question_is_asked_once_and_its_answer_kept(platform: Any, drawn: Any) -> None:
    before = len(platform.turns())
    app = asked(drawn(chat), QUESTION)
    app.run()
    (turn,) = app.session_state["chat.turns"]
    assert len(platform.turns()) == before + 1
    assert "34 euros" in turn["shown"]["answer"]
    assert "disagree" in turn["shown"]["notes"][0]
    assert app.session_state["chat.conversation"] == turn["shown"]["conversation"]
    assert [b.label for b in app.button if b.label == "How was this found?"]


def test_a_scope_that_the_question_named_is_said_and_left_by_a_click(drawn: Any) -> None:
    app = asked(drawn(chat), "In handbook.md, when is a laptop replaced?")
    assert "Looked only in “handbook.md”, because you said “handbook.md”." in html(app)
    next(b for b in app.button if b.label == "Search everywhere").click().run()
    first, again = app.session_state["chat.turns"]
    assert first["shown"]["scope"]["inferred"]
    assert again["shown"]["scope"]["inferred"] is None
    assert again["shown"]["scope"]["documents"] is None


def test_an_error_is_shown_in_place_of_an_answer_and_the_next_question_is_asked(drawn: Any) -> None:
    app = asked(drawn(chat), " ")
    assert "The question is empty" in app.error[0].value
    app = asked(app, QUESTION)
    assert "shown" in app.session_state["chat.turns"][-1]
    assert app.session_state["chat.ask"] == []


def test_search_shows_ranks_verdict_and_why_each_sentence_is_quoted(drawn: Any) -> None:
    app = drawn(search)
    app.text_input[0].set_value(QUESTION).run()
    assert not app.exception
    shown = html(app)
    assert "Travel policy 2024 › Meals" in shown
    assert "would be answered" in shown
    assert shown.count(">quoted<") == 2
    assert "&lt;b&gt;Mind&lt;/b&gt; it." in shown
    assert "<b>Mind" not in shown
    table = app.dataframe[0].value
    assert list(table["Rank"]) == [1, 2, 3]
    next(b for b in app.button if b.label == "Open passage").click().run()
    assert not app.exception
    assert "Open in the Library" in [b.label for b in app.button]


def test_search_opens_where_the_chat_looked(platform: Any, drawn: Any) -> None:
    app = drawn(search)
    handbook = next(d["document"] for d in platform.documents() if d["name"] == "handbook.md")
    app.session_state["search.open"] = {
        "question": QUESTION,
        "place": {"workspace": "default", "filters": {"documents": [handbook]}, "scope": "off"},
    }
    app.run()
    assert app.text_input[0].value == QUESTION
    assert app.multiselect[0].value == [handbook]
    assert app.toggle[0].value is False
    assert "1 document of default" in html(app)
    assert "would be refused" in html(app)
    app.run()
    assert "1 document of default" in html(app)


def test_a_standing_scope_is_kept_when_an_option_narrows_it(
    platform: Any, drawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRISE_USER", "ada")
    old, new = (
        next(d["document"] for d in platform.documents() if d["name"] == f"policy-{y}.md") for y in (2022, 2024)
    )
    platform.set_me({"documents": [old, new]}, user="ada")
    app = asked(drawn(chat), QUESTION)
    assert "Looked in “policy-2022.md” and “policy-2024.md”, from your preferences." in html(app)
    app.date_input[0].set_value(date(2020, 1, 1)).run()
    asked(app, QUESTION)
    first, second = app.session_state["chat.turns"]
    assert first["shown"]["scope"]["from"] == "preferences"
    assert second["where"]["filters"]["documents"] == [old, new]
    assert second["shown"]["scope"]["count"] == 2
    assert "versions from 2020-01-01" in html(app)
