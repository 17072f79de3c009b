"""The seven pages, and the way from one to another."""

from __future__ import annotations

from typing import Any

import streamlit as st

_OPEN = "open"


def all_pages() -> dict[str, Any]:
    """Streamlit's pages by name, in the order of the menu. The first is the start page."""
    from ui.web.views import adapters, chat, library, rehearsal, schedule, search, system

    views = {
        "chat": (chat.show, "Chat", ":material/forum:"),
        "library": (library.show, "Library", ":material/library_books:"),
        "search": (search.show, "Search", ":material/travel_explore:"),
        "rehearsal": (rehearsal.show, "Rehearsal", ":material/school:"),
        "adapters": (adapters.show, "Adapters", ":material/tune:"),
        "schedule": (schedule.show, "Schedule", ":material/schedule:"),
        "system": (system.show, "System", ":material/monitor_heart:"),
    }
    return {
        name: st.Page(show, title=title, icon=icon, url_path=name, default=name == "chat")
        for name, (show, title, icon) in views.items()
    }


def go(name: str, **what: Any) -> None:
    """Go to a page; it finds `what` with `asked`."""
    st.session_state[f"{name}.{_OPEN}"] = what
    st.switch_page(all_pages()[name])


def asked(name: str) -> dict[str, Any]:
    """What another page asked this one to open, once."""
    what: dict[str, Any] = st.session_state.pop(f"{name}.{_OPEN}", {})
    return what
