"""Chat: a question, a cited answer as it is written, the cited passage beside it, and what you think of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from kernel.errors import RepriseError
from ui.web import look, marks, passage, scope
from ui.web.client import GUIDE, node, problem, who
from ui.web.pages import go
from ui.web.plain import count
from ui.web.reply import Reply
from ui.web.views import answer, conversations, feedback, place, preferences
from ui.web.views.answer import OPEN
from ui.web.watch import published, publishing, watch

FIRST_QUESTIONS = (
    "Does an old citation still open the text it cited?",
    "What file formats does Reprise read?",
    "Can I undo a delete?",
    "What does a rejected run mean?",
)
_TURNS, _ASK = "chat.turns", "chat.ask"


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """A question that is not answered yet, with what has come of its answer."""

    question: str
    where: scope.Place
    narrowed: str = ""
    """Where that is, in words."""
    reply: Reply | None = None


def show() -> None:
    """Draw the page."""
    documents = node().documents()
    mine = node().me(user=who())
    conversations.show(_open_conversation)
    turns: list[dict[str, Any]] = st.session_state.setdefault(_TURNS, [])
    title, choices = st.columns([5, 4], vertical_alignment="bottom")
    with title:
        look.head("Chat", "Every answer cites the passages it comes from.")
    with (
        choices,
        st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="right", key="chat-where"),
    ):
        where = place.choose(documents, mine, node().routes(), page="chat")
        if st.button("", icon=":material/person:", key="chat.me", help="My preferences"):
            preferences.show(documents)
        if erased := st.session_state.pop(preferences.ERASED, None):
            st.toast(erased, duration="infinite")  # it names the key in the audit log
    typed = st.chat_input("Ask a question", key="chat.box")
    waiting: list[_Waiting] = st.session_state.setdefault(_ASK, [])
    names = {d["document"]: d["name"] for d in documents}
    ask = partial(_later, waiting, names)
    if typed:
        ask(typed, where)
    opened = _opened(turns)
    if opened and not waiting:
        left, right = st.columns([3, 2], gap="medium")
        by_hand = st.session_state[OPEN][2]
        # Where a passage has no room beside the answer, one that nobody asked for would only push the answer away.
        with right, st.container(key="cited" if by_hand else "cited-unasked"):
            _cited(opened)
    else:
        left = st.container()
    with left:
        if not turns and not waiting:
            _first(where, documents, mine, ask)
        for i, turn in enumerate(turns):
            answer.question(turn, ask)
            with st.chat_message("assistant", avatar=answer.REPRISE), st.container(gap="xsmall"):
                if "error" in turn:
                    st.error(turn["error"])
                else:
                    answer.answer(i, turn)
                    feedback.show(turn, beside=partial(answer.found, turn))
        if waiting:
            _ask(waiting, turns)


def _later(waiting: list[_Waiting], names: dict[str, str], question: str, where: scope.Place) -> None:
    """Put a question among those that wait."""
    waiting.append(_Waiting(question=question, where=where, narrowed=scope.given(where, names)))


def _open_conversation(conversation: dict[str, Any] | None) -> None:
    """Show a conversation in place of the one that is open, or none. Runs before the page is drawn."""
    st.session_state[_ASK], st.session_state[OPEN] = [], None
    if conversation is None:
        st.session_state[_TURNS] = []
        st.session_state.pop(conversations.CURRENT, None)
        return
    st.session_state[conversations.CURRENT] = conversation["conversation"]
    st.session_state[_TURNS] = [
        {"question": t["question"], "narrowed": "", "shown": t["shown"], "said": None} for t in conversation["turns"]
    ]
    for turn in conversation["turns"]:
        if turn["votes"]:
            st.session_state[f"thumb-{turn['turn']}"] = int(turn["votes"][-1] == "up")


def _first(where: scope.Place, documents: list[dict[str, Any]], mine: dict[str, Any], ask: answer.Asks) -> None:
    """What to do while nothing was asked."""
    workspace = where.get("workspace")
    here = place.on(workspace, documents, mine)
    if not here and publishing():
        look.words("Documents are being published. You can ask about them as soon as that is done.")
        watch(publishing(), published)
        return
    if not here:
        look.empty(
            f"There is nothing in workspace “{workspace or mine['workspace'] or 'default'}” yet.",
            "Upload a few documents in the Library; you can ask about them seconds later.",
        )
        if st.button("Upload documents", type="primary", icon=":material/upload:"):
            go("library")
        return
    if workspace == GUIDE:
        look.words("You can try it on Reprise's own guide:")
        with st.container(gap=None, key="sources-first"):
            for question in FIRST_QUESTIONS:
                st.button(
                    question, icon=":material/arrow_forward:", type="tertiary", on_click=ask, args=(question, where)
                )
        look.small("Upload documents of your own in the Library, and the chat begins with those.")
        return
    titles = ", ".join(f"“{d['title'] or d['name']}”" for d in here[:4]) + (" …" if len(here) > 4 else "")
    look.empty(
        f"Ask about {count(len(here), 'document')}: {titles}",
        "A plain question in your own words is best. What the documents do not say is refused, not invented.",
    )


def _ask(waiting: list[_Waiting], turns: list[dict[str, Any]]) -> None:
    """Ask the node the first question that waits, show its answer as it comes, and keep the turn.

    Another question, or a click, may break this off at any call of Streamlit's and at any change of its session. The
    reply goes on by itself, so the next run takes it up where this one left it; and from where the session is changed
    to the end nothing harms that is done twice.
    """
    first = waiting[0]
    with st.chat_message("user", avatar=answer.USER):
        look.words(first.question)
        if first.narrowed:
            look.small(first.narrowed)
    turn: dict[str, Any] = {"question": first.question, "narrowed": first.narrowed, "where": first.where}
    with st.chat_message("assistant", avatar=answer.REPRISE), st.container(gap="xsmall"):
        try:
            if first.reply is None:
                conversation = st.session_state.get(conversations.CURRENT, "new")
                first.reply = Reply(
                    partial(node().ask_stream, first.question, conversation=conversation, user=who(), **first.where)
                )
            shown = _coming(first.reply)
        except RepriseError as error:
            if error.code == "no_conversation":
                st.session_state.pop(conversations.CURRENT, None)
            turn["error"] = problem(error.code, error.message, error.hint)
        except Exception:
            waiting.pop(0)  # or it would fail again at every click
            raise
        else:
            turn |= {"shown": shown, "said": None}
            st.session_state[conversations.CURRENT] = shown["conversation"]
            st.session_state[OPEN] = (shown["turn"], 1, False) if shown["citations"] else None
    waiting.pop(0)
    turns.append(turn)
    st.rerun()


def _coming(reply: Reply) -> dict[str, Any]:
    """Show an answer as it comes, and give it when it is whole."""
    text, state = st.empty(), st.empty()
    state.html(_busy("Searching …"))
    sentences: list[dict[str, Any]] = []
    for event in reply:
        if event["type"] == "searched":
            state.html(_busy(f"Reading {count(event['passages'], 'passage')} …"))
        elif event["type"] == "sentence":
            sentences.append(event)
            text.html(marks.coming(sentences))
            state.html(_busy("Writing …"))
        else:
            return event
    raise RuntimeError("an answer ended without its end")


def _busy(words: str) -> str:
    return f'<div class="rp-busy" role="status">{words}</div>'


# --- the passage beside it ----------------------------------------------------------------------


def _opened(turns: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The citation, or closest passage (numbers below 0), that is open."""
    at = st.session_state.get(OPEN)
    if not at:
        return None
    for turn in turns:
        shown = turn.get("shown")
        if shown and shown["turn"] == at[0]:
            if at[1] < 0:
                return dict(shown["closest"][-1 - at[1]])
            return next((c for c in shown["citations"] if c["n"] == at[1]), None)
    return None


def _cited(citation: dict[str, Any]) -> None:
    def close() -> None:
        st.session_state[OPEN] = None

    with st.container(gap="xsmall"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.html('<div class="rp-note">Passage</div>', width="content")
            st.button("Close", icon=":material/close:", type="tertiary", on_click=close, key="cited-close")
        there = passage.show(citation, key=f"cited-{citation['document']}-{citation['version']}-{citation['start']}")
        if not there:
            return
        with st.container(horizontal=True):
            passage.download(citation, key="cited-original")
            if st.button("Open in the Library", icon=":material/library_books:", key="cited-library"):
                go("library", document=citation["document"], version=citation["version"])
