"""The choice of where and when a question looks: workspace, and the options that narrow it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import streamlit as st

from ui.web.client import GUIDE, workspaces
from ui.web.languages import called
from ui.web.scope import Place

MINE = "from my preferences"
_KEPT = "kept."


def choose(documents: list[dict[str, Any]], mine: dict[str, Any], routes: list[dict[str, Any]], *, page: str) -> Place:
    """Draw the workspace and the options of a page; what was chosen outlives a visit to another page.

    What a question is about can be said where an adapter is routed to a slice of the workspace, and nowhere else.
    """
    names = workspaces(documents)
    if mine["workspace"] or mine["documents"] or mine["tags"]:
        names = [MINE, *names]
    key = f"{page}.workspace.{names[0]}"  # a new first choice, after a first upload, is taken
    _again(key, names)
    workspace = st.selectbox(
        "Workspace",
        names,
        key=key,
        width=190,
        format_func=lambda w: f"{w} (about Reprise)" if w == GUIDE else w,
        help="The shelf that is searched.",
    )
    _keep(key)
    shelf = (mine["workspace"] or "default") if workspace == MINE else workspace
    slices = sorted({str(r["slice"]) for r in routes if r["slice"] and r["workspace"] == shelf})
    place = _options(on(workspace, documents, mine), page, workspace, slices)
    if workspace == MINE:
        return _with_mine(place, mine)
    return {"workspace": workspace, **place}


def on(workspace: str | None, documents: list[dict[str, Any]], mine: dict[str, Any]) -> list[dict[str, Any]]:
    """The documents of a workspace, or those of a person's standing scope."""
    if workspace not in (None, MINE):
        return [d for d in documents if d["workspace"] == workspace]
    only = {d["document"] for d in mine["documents"]}
    return [
        d for d in documents if d["document"] in only or (not only and d["workspace"] in (mine["workspace"], "default"))
    ]


def preset(place: Place, documents: list[dict[str, Any]], mine: dict[str, Any], *, page: str) -> None:
    """Choose on a page what another page looked at. Called before `choose` draws it."""
    names = workspaces(documents)
    first = MINE if mine["workspace"] or mine["documents"] or mine["tags"] else names[0]
    workspace = place.get("workspace") or first
    filters = place.get("filters") or {}
    at = place.get("as_of")
    values = {
        f"{page}.workspace.{first}": workspace,
        f"{page}.documents.{workspace}": list(filters.get("documents") or []),
        f"{page}.tags.{workspace}": list(filters.get("tags") or []),
        f"{page}.languages.{workspace}": list(filters.get("languages") or []),
        f"{page}.slice.{workspace}": place.get("slice"),
        f"{page}.since": date.fromisoformat(filters["since"]) if filters.get("since") else None,
        f"{page}.until": date.fromisoformat(filters["until"]) if filters.get("until") else None,
        f"{page}.at": datetime.fromisoformat(at).replace(tzinfo=None) if at else None,
        f"{page}.auto": place.get("scope") != "off",
    }
    for key, value in values.items():
        st.session_state.pop(key, None)
        st.session_state[_KEPT + key] = value


def look_everywhere(page: str) -> None:
    """Switch off, on a page, that the question may say which documents. Called before `choose` draws it."""
    st.session_state[f"{page}.auto"] = False


def _options(here: list[dict[str, Any]], page: str, workspace: str, slices: list[str]) -> Place:
    ours = {d["document"]: d["name"] for d in here}
    tags = sorted({tag for d in here for tag in d["tags"]})
    languages = sorted({str(d["language"]) for d in here if d["language"]})
    keys = {name: f"{page}.{name}.{workspace}" for name in ("documents", "tags", "languages")}
    keys |= {name: f"{page}.{name}" for name in ("since", "until", "at", "auto")}
    for name, choices in (("documents", list(ours)), ("tags", tags), ("languages", languages)):
        _again(keys[name], choices)
    if slices:
        keys["slice"] = f"{page}.slice.{workspace}"
        _again(keys["slice"], slices)
    st.session_state.setdefault(_KEPT + keys["auto"], True)
    for name in ("since", "until", "at", "auto"):
        _again(keys[name], None)
    used = _used(keys)
    with st.popover(f"Options ({used})" if used else "Options", icon=":material/tune:", key=f"{page}.options"):
        st.multiselect(
            "Only in",
            list(ours),
            format_func=lambda d: ours.get(d, d),
            key=keys["documents"],
            placeholder="all documents",
        )
        if tags:
            st.multiselect("With all of these tags", tags, key=keys["tags"], placeholder="any")
        if len(languages) > 1:
            st.multiselect(
                "In one of these languages",
                languages,
                format_func=called,
                key=keys["languages"],
                placeholder="any",
            )
        if slices:
            st.selectbox(
                "What it is about",
                slices,
                index=None,
                key=keys["slice"],
                placeholder="not said",
                help="An adapter of its own serves questions about this.",
            )
        a, b = st.columns(2)
        since = a.date_input("Versions from", value=None, key=keys["since"], help="By the day from which they count.")
        until = b.date_input("until", value=None, key=keys["until"], help="That day included.")
        at = st.datetime_input(
            "As of (UTC)", value=None, key=keys["at"], help="Answer from what counted at that time. Empty: now."
        )
        st.toggle(
            "Let the question say where to look",
            key=keys["auto"],
            help="“In the handbook, how …” looks in the handbook only. Off: always everywhere you chose.",
        )
    for key in keys.values():
        _keep(key)
    filters = {
        **{name: st.session_state.get(keys[name]) for name in ("documents", "tags", "languages")},
        "since": since.isoformat() if isinstance(since, date) else None,
        "until": until.isoformat() if isinstance(until, date) else None,
    }
    filters = {name: value for name, value in filters.items() if value}
    place: Place = {
        "as_of": at.replace(tzinfo=UTC).isoformat() if isinstance(at, datetime) else None,
        "filters": filters or None,
        "scope": None if st.session_state[keys["auto"]] else "off",
        "slice": st.session_state.get(keys["slice"]) if slices else None,
    }
    return {name: value for name, value in place.items() if value is not None}


def _used(keys: dict[str, str]) -> int:
    """How many of the options are chosen."""
    now = {name: st.session_state.get(key) for name, key in keys.items()}
    return sum(bool(now[name]) for name in now if name != "auto") + (not now["auto"])


def _with_mine(place: Place, mine: dict[str, Any]) -> Place:
    """A person's standing scope; spelled out where something narrows it, as that would stand in its stead."""
    if not place.get("filters"):
        return place
    standing = {"documents": [d["document"] for d in mine["documents"]], "tags": list(mine["tags"])}
    filters = {name: value for name, value in standing.items() if value}
    narrowed = place.get("filters") or {}
    tags = [*filters.get("tags", ()), *narrowed.get("tags", ())]
    filters |= narrowed | ({"tags": tags} if tags else {})
    place = {**place, "filters": filters or None, "workspace": mine["workspace"]}
    return {name: value for name, value in place.items() if value is not None}


def _again(key: str, choices: list[str] | None) -> None:
    """Take up what was chosen before another page was visited, as far as it can still be chosen."""
    value = st.session_state[key] if key in st.session_state else st.session_state.get(_KEPT + key)
    if value is None or (choices is not None and not isinstance(value, list) and value not in choices):
        st.session_state.pop(key, None)
        return
    if choices is not None and isinstance(value, list):
        value = [one for one in value if one in choices]
    st.session_state[key] = value  # even if it is the same: a popover that is opened first then knows it, too


def _keep(key: str) -> None:
    st.session_state[_KEPT + key] = st.session_state.get(key)
