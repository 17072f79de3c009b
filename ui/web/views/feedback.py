"""What you think of an answer: a thumb, a correction, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from kernel.errors import RepriseError
from ui.web.client import node, problem


def show(turn: dict[str, Any], beside: Callable[[], None]) -> None:
    """Draw the buttons and what became of a click. `beside` draws what stands in the same row."""
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
        beside()
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
