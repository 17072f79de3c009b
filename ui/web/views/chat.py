"""Chat: a question, a cited answer, the cited passage beside it, and what you think of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import streamlit as st

from kernel.errors import RepriseError
from ui.web import look, marks, passage
from ui.web.client import GUIDE, node, problem, who, workspaces
from ui.web.pages import go
from ui.web.plain import label, number, shorten, source
from ui.web.views import conversations, preferences
from ui.web.watch import published, publishing, watch

EVERYTHING = "All documents"
MINE = "from my preferences"
FIRST_QUESTIONS = (
    "Does an old citation still open the text it cited?",
    "When does Reprise refuse to answer?",
    "Which file formats can I upload?",
    "What does a rejected run mean?",
)
_USER, _REPRISE = ":material/person:", ":material/menu_book:"
_TURNS, _OPEN, _ASK = "chat.turns", "chat.cited", "chat.ask"


def show() -> None:
    """Draw the page."""
    documents = node().documents()
    mine = node().me(user=who())
    conversations.show(_open_conversation)
    turns: list[dict[str, Any]] = st.session_state.setdefault(_TURNS, [])
    title, choices = st.columns([5, 4], vertical_alignment="bottom")
    with title:
        look.head("Chat", "Every answer cites the passages it comes from.")
    with choices:
        where = _where(documents, mine)
    typed = st.chat_input("Ask a question", key="chat.box")
    waiting: list[tuple[str, dict[str, Any]]] = st.session_state.setdefault(_ASK, [])
    if typed:
        waiting.append((typed, where))
    opened = _opened(turns)
    if opened and not waiting:
        left, right = st.columns([3, 2], gap="medium")
        with right, st.container(key="cited"):
            _cited(opened)
    else:
        left = st.container()
    with left:
        if not turns and not waiting:
            _first(where, documents, mine)
        for i, turn in enumerate(turns):
            _turn(i, turn)
        if waiting:
            _ask(waiting, turns)


def _open_conversation(conversation: dict[str, Any] | None) -> None:
    """Show a conversation in place of the one that is open, or none. Runs before the page is drawn."""
    st.session_state[_ASK], st.session_state[_OPEN] = [], None
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


def _where(documents: list[dict[str, Any]], mine: dict[str, Any]) -> dict[str, Any]:
    """The choice of workspace, and the options: where and when a question looks."""
    names = workspaces(documents)
    if mine["workspace"] or mine["documents"] or mine["tags"]:
        names = [MINE, *names]
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="right"):
        workspace = st.selectbox(
            "Workspace",
            names,
            key=f"chat.workspace.{names[0]}",  # a new first choice, after a first upload, is taken
            width=190,
            format_func=lambda w: f"{w} (about Reprise)" if w == GUIDE else w,
            help="The shelf that is searched.",
        )
        if st.button("", icon=":material/person:", key="chat.me", help="My preferences"):
            preferences.show(documents)
        with st.popover("Options", icon=":material/tune:"):
            ours = {d["document"]: d["name"] for d in _on(workspace, documents, mine)}
            chosen = st.selectbox(
                "Search in",
                [EVERYTHING, *ours],
                format_func=lambda d: ours.get(d, d),
                key=f"chat.document.{workspace}",
            )
            document = chosen if chosen in ours else None
            at = st.datetime_input(
                "As of (UTC)",
                value=None,
                key="chat.at",
                help="Answer from what counted at that time. Empty: now.",
            )
    as_of = at.replace(tzinfo=UTC).isoformat() if isinstance(at, datetime) else None
    kept = [f"as of {at:%Y-%m-%d %H:%M} UTC" if as_of else "", f"in {ours[document]}" if document else ""]
    narrowed = ", ".join(k for k in kept if k)
    told = None if workspace == MINE else workspace
    return {"workspace": told, "document": document, "as_of": as_of, "narrowed": narrowed}


def _on(workspace: str | None, documents: list[dict[str, Any]], mine: dict[str, Any]) -> list[dict[str, Any]]:
    """The documents of a workspace, or those of a person's standing scope."""
    if workspace not in (None, MINE):
        return [d for d in documents if d["workspace"] == workspace]
    only = {d["document"] for d in mine["documents"]}
    return [
        d for d in documents if d["document"] in only or (not only and d["workspace"] in (mine["workspace"], "default"))
    ]


def _first(where: dict[str, Any], documents: list[dict[str, Any]], mine: dict[str, Any]) -> None:
    """What to do while nothing was asked."""
    workspace = where["workspace"]
    here = _on(workspace, documents, mine)
    if not here and publishing():
        look.words("Documents are being published. You can ask about them as soon as that is done.")
        watch(publishing(), published)
        return
    if not here:
        look.empty(
            f"There is nothing in workspace “{workspace}” yet.",
            "Upload a few documents in the Library; you can ask about them seconds later.",
        )
        if st.button("Upload documents", type="primary", icon=":material/upload:"):
            go("library")
        return
    if workspace == GUIDE:
        look.words("You can try it on Reprise's own guide:")
        with st.container(gap=None, key="sources-first"):
            for question in FIRST_QUESTIONS:
                if st.button(question, icon=":material/arrow_forward:", type="tertiary"):
                    st.session_state[_ASK].append((question, where))
                    st.rerun()
        look.small("Upload documents of your own in the Library, and the chat begins with those.")
        return
    titles = ", ".join(f"“{d['title'] or d['name']}”" for d in here[:4]) + (" …" if len(here) > 4 else "")
    look.empty(
        f"Ask about {len(here)} document{'s' if len(here) > 1 else ''}: {titles}",
        "A plain question in your own words is best. What the documents do not say is refused, not invented.",
    )


def _ask(waiting: list[tuple[str, dict[str, Any]]], turns: list[dict[str, Any]]) -> None:
    """Ask the node the first question that waits, and keep the turn.

    Another question, or a click, may interrupt this at any call of Streamlit's; so the lists change between two of
    them, and what was not answered is asked again by the next run.
    """
    question, where = waiting[0]
    with st.chat_message("user", avatar=_USER):
        look.words(question)
    with st.chat_message("assistant", avatar=_REPRISE), st.spinner("Reading …"):
        try:
            shown = node().ask(
                question,
                conversation=st.session_state.get(conversations.CURRENT, "new"),
                user=who(),
                **{k: v for k, v in where.items() if k != "narrowed" and v is not None},
            )
        except RepriseError as error:
            waiting.pop(0)
            if error.code == "no_conversation":
                st.session_state.pop(conversations.CURRENT, None)
            said = problem(error.code, error.message, error.hint)
            turns.append({"question": question, "narrowed": where["narrowed"], "error": said})
        else:
            waiting.pop(0)
            turns.append({"question": question, "narrowed": where["narrowed"], "shown": shown, "said": None})
            st.session_state[conversations.CURRENT] = shown["conversation"]
    st.session_state[_OPEN] = (shown["turn"], 1) if "shown" in turns[-1] and shown["citations"] else None
    st.rerun()


def _turn(i: int, turn: dict[str, Any]) -> None:
    with st.chat_message("user", avatar=_USER):
        look.words(turn["question"])
        shown = turn.get("shown", {})
        understood = f"Understood as: {shown['question']}" if shown.get("rewritten") else ""
        if turn["narrowed"] or understood or _standing(shown):
            look.small(understood, turn["narrowed"], _standing(shown))
    with st.chat_message("assistant", avatar=_REPRISE), st.container(gap="xsmall"):
        if "error" in turn:
            st.error(turn["error"])
            return
        shown = turn["shown"]
        if shown["abstained"]:
            _refused(i, shown)
        else:
            _answered(shown)
        _small_print(shown)
        _feedback(turn)


def _standing(shown: dict[str, Any]) -> str:
    """Where was looked, if a person's preferences said so."""
    scope = shown.get("scope") or {}
    if scope.get("from") != "preferences":
        return ""
    documents = scope["documents"] or [] if not scope["tags"] else []  # tags say it shorter
    named = ", ".join([*(d["name"] for d in documents), *scope["tags"]]) or f"workspace {scope['workspace']}"
    return f"in {named}, from your preferences"


def _answered(shown: dict[str, Any]) -> None:
    key = shown["turn"]
    at = st.session_state.get(_OPEN)
    opened = at[1] if at and at[0] == key else None

    def cite(n: int) -> None:
        st.session_state[_OPEN] = (key, n)

    marks.cited_answer(shown["answer"], shown["citations"], key=f"answer-{key}", opened=opened, on_cite=cite)
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
                on_click=lambda n=n: st.session_state.update({_OPEN: (shown["turn"], -1 - n)}),
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


# --- what you think of it -----------------------------------------------------------------------


def _feedback(turn: dict[str, Any]) -> None:
    key = turn["shown"]["turn"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.feedback(
            "thumbs",
            key=f"thumb-{key}",
            on_change=_thumb,
            args=(turn,),
            disabled=turn.get("corrected", False),
        )
        with (
            st.popover(
                "Correct it",
                icon=":material/edit:",
                type="tertiary",
                key=f"correct-it-{key}-{turn.get('sent', 0)}",  # a new key closes it
            ),
            st.form(f"correct-{key}", border=False),
        ):
            better = st.text_area("What should it have said?", key=f"better-{key}", height=120, width=420)
            sent = st.form_submit_button("Send correction", type="primary")
    if sent and not better.strip():
        st.warning("Write what it should have said, then send it.")
    elif sent:
        _send(turn, "down", better.strip())
        turn["sent"] = turn.get("sent", 0) + 1
        st.rerun()
    if turn["said"]:
        tone, said = turn["said"]
        getattr(st, tone)(said)


def _thumb(turn: dict[str, Any]) -> None:
    value = st.session_state[f"thumb-{turn['shown']['turn']}"]
    if value is not None:
        _send(turn, "up" if value == 1 else "down", None)


def _send(turn: dict[str, Any], vote: str, correction: str | None) -> None:
    """Send a vote, and keep what to say of it: this runs before the page is drawn."""
    try:
        kept = node().feedback(turn["shown"]["turn"], vote, correction)
        turn["corrected"] = turn.get("corrected", False) or correction is not None
        turn["said"] = _outcome(vote, correction, kept["example"], kept["needs_consent"])
    except RepriseError as error:
        turn["said"] = ("error", problem(error.code, error.message, error.hint))


def _outcome(vote: str, correction: str | None, example: str | None, needs_consent: bool) -> tuple[str, str]:
    if needs_consent and (correction or vote == "up"):
        return "info", (
            "Thank you, noted. This answer drew on earlier questions or on your preferences, so it becomes an example "
            "only with your consent; you give it in My preferences."
        )
    if example and _quarantined(example):
        return "warning", (
            f"Thank you. Your correction is held back as example `{example}`: no passage says it, so it "
            "is not trained on. Upload a document that says so, then send it again."
        )
    if example and correction:
        return "success", (
            f"Thank you. Your correction became example `{example}`, tied to the passage that supports it. "
            "The next retrain can learn it."
        )
    if example:
        return (
            "success",
            f"Thank you. Question and passage are kept as example `{example}` for the next retrain.",
        )
    if vote == "up":
        return "info", "Thank you, noted. It made no example: there is no cited passage that still stands."
    return (
        "info",
        "Thank you, noted. To teach something, use “Correct it” and write what it should have said.",
    )


def _quarantined(example: str) -> bool:
    return any(e["example"] == example for e in node().examples(status="quarantined"))


# --- the passage beside it ----------------------------------------------------------------------


def _opened(turns: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The citation, or closest passage (numbers below 0), that is open."""
    at = st.session_state.get(_OPEN)
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
        st.session_state[_OPEN] = None

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
