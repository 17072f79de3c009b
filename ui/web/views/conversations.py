"""Conversations beside the chat: open one, begin another, rename, delete; and the way to one's preferences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from kernel.errors import RepriseError
from ui.web import look
from ui.web.client import node, tell, told, who
from ui.web.plain import ago, label

CURRENT = "chat.conversation"
"""The id of the conversation that is open; missing while none is."""
_SHOWN, _LONGEST = 30, 30


def show(opening: Callable[[dict[str, Any] | None], None]) -> None:
    """Draw the list in the sidebar. `opening` takes the conversation that a person chose, or None for a new one."""
    with st.sidebar, told(), st.container(key="talks", gap="xsmall"):
        mine = node().conversations(user=who(), limit=_SHOWN)
        current = st.session_state.get(CURRENT)
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.html('<div class="rp-note">Conversations</div>', width="content")
            st.button(
                "New",
                icon=":material/add:",
                type="tertiary",
                key="talks.new",
                on_click=opening,
                args=(None,),
                disabled=current is None,
                help="Begin a new conversation.",
            )
        if not mine:
            look.small("What you ask is kept here, until you delete it.")
        with st.container(key="talks-list", gap=None, height=300 if len(mine) > 8 else "content"):
            for talk in mine:
                _entry(talk, talk["conversation"] == current, opening)


def _entry(talk: dict[str, Any], open_now: bool, opening: Callable[[dict[str, Any] | None], None]) -> None:
    key = talk["conversation"]
    turns = f"{talk['turns_count']} question{'s' if talk['turns_count'] != 1 else ''}"
    about = f"{label(talk['title'])} · {turns} · {ago(talk['updated'])}"

    def choose() -> None:
        with told():
            opening(node().conversation(key, user=who()))

    if not open_now:
        st.button(
            label(talk["title"], _LONGEST),
            key=f"talk-{key}",
            type="tertiary",
            on_click=choose,
            help=about,
            width="stretch",
        )
        return
    with st.container(horizontal=True, vertical_alignment="center", gap=None, key="talk-now"):
        st.button(label(talk["title"], _LONGEST - 4), key=f"talk-{key}", type="tertiary", help=about)
        with st.popover(
            "", icon=":material/more_horiz:", type="tertiary", help="Rename or delete.", key=f"talk-do-{key}"
        ):
            _rename(talk)
            _delete(talk, opening)


def _rename(talk: dict[str, Any]) -> None:
    key = talk["conversation"]
    with st.form(f"talk-rename-{key}", border=False):
        title = st.text_input("Title", talk["title"], key=f"talk-title-{key}", max_chars=80)
        if st.form_submit_button("Rename"):
            try:
                node().rename_conversation(key, title, user=who())
            except RepriseError as error:
                tell(error)
            else:
                st.rerun()


def _delete(talk: dict[str, Any], opening: Callable[[dict[str, Any] | None], None]) -> None:
    look.small(
        "Deleting takes its questions, answers and votes, and the examples that only your consent allowed. "
        "Others that your feedback made stay."
    )
    if st.button("Delete it", icon=":material/delete:", key=f"talk-delete-{talk['conversation']}"):
        try:
            receipt = node().delete_conversation(talk["conversation"], user=who())
        except RepriseError as error:
            tell(error)
            return
        opening(None)
        st.toast(f"Deleted with {receipt['turns']} question{'s' if receipt['turns'] != 1 else ''}.")
        st.rerun()
