"""One turn of the chat: the question and where it looked, the cited answer or the refusal, and the small print."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from ui.web import look, marks, scope
from ui.web.pages import go
from ui.web.plain import escape, label, number, shorten, source

OPEN = "chat.cited"
"""Session key: turn, number of the citation that is open, and whether somebody opened it; the passage of a new answer
is open by itself. Numbers below 0 are closest passages."""
USER, REPRISE = ":material/person:", ":material/menu_book:"

Asks = Callable[[str, scope.Place], None]
"""Asks a question at a place."""


def question(turn: dict[str, Any], ask: Asks) -> None:
    """Draw what was asked, how it was understood, where it looked, and how to look elsewhere."""
    shown = turn.get("shown", {})
    with st.chat_message("user", avatar=USER):
        look.words(turn["question"])
        understood = f"Understood as: {shown['question']}" if shown.get("rewritten") else ""
        if turn["narrowed"] or understood:
            look.small(understood, turn["narrowed"])
        where = shown.get("scope")
        if where:
            with st.container(horizontal=True, vertical_alignment="center", key=f"sources-scope-{shown['turn']}"):
                _scope(turn, shown, where, ask)


def answer(i: int, turn: dict[str, Any]) -> None:
    """Draw what was answered, or the refusal. `i` counts the turns."""
    shown = turn["shown"]
    if shown["abstained"]:
        _refused(i, shown)
    else:
        _answered(shown)
    _small_print(shown)


def _scope(turn: dict[str, Any], shown: dict[str, Any], where: dict[str, Any], ask: Asks) -> None:
    """Where it looked and why, and a click to ask the same elsewhere."""
    if scope.looked(where):
        st.html(f'<div class="rp-small">{escape(scope.looked(where))}</div>', width="content")
    place = _place(turn)
    if where["inferred"] and not where["widened"]:
        words, place = "Search everywhere", scope.everywhere(place)
    elif where["suggested"]:
        meant = where["suggested"]["documents"]
        words, place = f"Did you mean only {label(scope.named(meant))}?", scope.only(place, meant)
    else:
        return
    st.button(
        words,
        icon=":material/manage_search:",
        key=f"retry-{shown['turn']}",
        type="tertiary",
        on_click=ask,
        args=(shown["question"], place),
        help="Ask again, and look there.",
    )


def _place(turn: dict[str, Any]) -> scope.Place:
    """Where a turn looked: as it was asked here, or as its answer tells it."""
    where = turn.get("where")
    return dict(where) if where is not None else scope.of(turn["shown"])


def _answered(shown: dict[str, Any]) -> None:
    key = shown["turn"]
    at = st.session_state.get(OPEN)
    opened = at[1] if at and at[0] == key else None

    def cite(n: int) -> None:
        st.session_state[OPEN] = (key, n, True)

    marks.cited_answer(shown, key=f"answer-{key}", opened=opened, on_cite=cite)
    with st.container(gap=None, key=f"sources-{key}"):
        for citation in shown["citations"]:
            st.button(
                f"{citation['n']} · {label(source(citation), 90)}",
                key=f"source-{key}-{citation['n']}",
                type="tertiary",
                on_click=cite,
                args=(citation["n"],),
                help="Open the passage.",
            )


def _refused(i: int, shown: dict[str, Any]) -> None:
    st.html(look.tag("No answer in the documents", "warn"))
    look.words(shown["answer"])
    if not shown["closest"]:
        return
    with st.expander("The closest passages"), st.container(gap="xsmall", key=f"sources-closest-{i}"):
        for n, closest in enumerate(shown["closest"]):
            st.button(
                label(source(closest), 90),
                key=f"closest-{i}-{n}",
                type="tertiary",
                icon=":material/article:",
                on_click=lambda n=n: st.session_state.update({OPEN: (shown["turn"], -1 - n, True)}),
                help="Open the passage.",
            )
            look.small(shorten(closest["quote"], 260))


def _small_print(shown: dict[str, Any]) -> None:
    adapter = shown["adapters"].get("retriever") or "base model"
    look.small(
        f"workspace {shown['workspace']}",
        f"epoch {shown['epoch']}",
        f"adapter: {adapter}",
        f"support {number(shown['support'], 2)}",
        f"{shown['ms']['total']:.0f} ms",
    )


def found(turn: dict[str, Any]) -> None:
    """The way from an answer to Search, with its question and its place."""
    shown = turn["shown"]
    if st.button(
        "How was this found?",
        icon=":material/travel_explore:",
        key=f"found-{shown['turn']}",
        type="tertiary",
        help="Open Search with this question: all passages, how they came to their ranks, and why each sentence is "
        "quoted or not.",
    ):
        go("search", question=shown["question"], place=_place(turn))
