"""The way from a page to the node: one shared HTTP client, and errors as people want to read them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

import streamlit as st

from kernel.errors import RepriseError
from ui.remote import Remote
from ui.web.plain import label

DEFAULT_API = "http://127.0.0.1:8321"
GUIDE = "guide"
ALL = "all"
"""The choice of every workspace, where a page offers one."""

_ON_A_PAGE = {
    "node_unreachable": "Start the node with `reprise up`, or set REPRISE_API to where it answers. "
    "Then reload this page.",
    "unauthorized": "Start the web app with REPRISE_API_KEY set to the node's key.",
    "name_taken": "To make it that document's next version, turn on “Continue documents of the same name” "
    "and upload it again. To keep both, upload it under another name.",
    "watched_already": "It is in the list of sources. To change it, remove it there first; its documents stay.",
    "missing_path": "Give a folder on the machine where the node runs. Files on your own machine are uploaded instead.",
    "bad_location": "Give a folder's path from / on, or an address that begins with http:// or https://.",
    "poison": "It was left out, and the rest was published. Its bytes are kept: try again, or remove the job.",
    "job_active": "Cancel it first.",
    "no_conversation": "It was deleted meanwhile. Begin a new conversation.",
    "needs_approval": "Approve it at the top of the Adapters page first.",
    "rollout_running": "Stop the trial under way in the tab Rollout, or wait for its end.",
    "not_a_candidate": "Roll back takes the previous one back. One that is retired is tried with a reason.",
    "not_proposed": "Somebody decided about it meanwhile. Reload this page.",
    "bad_schedule": "Give a cron expression, or a condition such as so many new examples.",
    "did_harm": "Judge it again, or give a reason for letting it serve all the same; it is kept in the audit log.",
    "gate_refused": "Retrain, or give a reason for promoting it all the same; it is kept in the audit log.",
}
"""What to do, where the node's own hint speaks of the command line."""
_BROKEN = "Nothing acknowledged is lost. The node's log has the details; System shows whether all is in order."


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file on its way to the node: the fields of `ingest.incoming.Incoming`, without what that imports."""

    path: str
    name: str
    workspace: str
    content: bytes
    at: int | None = None
    explicit: bool = False
    source: str = "upload"
    root: str | None = None
    tags: tuple[str, ...] = ()


@st.cache_resource(show_spinner=False)
def _remote(url: str, key: str | None) -> Remote:
    return Remote(url, key)


def node() -> Remote:
    """The node this web app belongs to."""
    return _remote(os.environ.get("REPRISE_API") or DEFAULT_API, os.environ.get("REPRISE_API_KEY") or None)


def who() -> str:
    """The name of whoever sits at the browser: what a proxy says, else the web app's own setting. Not a login."""
    said = st.context.headers.get("X-Reprise-User")
    return (unquote(said) if said else os.environ.get("REPRISE_USER")) or "local"


@contextmanager
def told() -> Iterator[None]:
    """Show an error of the node instead of raising it. The rest of the block is skipped."""
    try:
        yield
    except RepriseError as error:
        tell(error)


def tell(error: RepriseError) -> None:
    st.error(problem(error.code, error.message, error.hint), icon=":material/error:")


def problem(code: str, message: str, hint: str) -> str:
    """Markdown for an error: message, then what to do."""
    todo = _ON_A_PAGE.get(code) or _sentence(label(hint or _BROKEN, 600))
    return f"**{_sentence(label(message, 600))}**  \n{todo}"


def remedy(error: dict[str, str]) -> str:
    """What to do about an error, as plain text."""
    return _ON_A_PAGE.get(error["code"]) or _sentence(error.get("hint") or _BROKEN)


def trouble(error: dict[str, str]) -> str:
    """What was wrong and what to do about it, as plain text in one line."""
    message = _sentence(error["message"])
    return f"{message.rstrip('.')}. {remedy(error)}"


def workspaces(documents: list[dict[str, object]]) -> list[str]:
    """Workspaces, the one to begin with first: `default` if it has documents, else the guide if that has."""
    used = {str(d["workspace"]) for d in documents}
    first = GUIDE if GUIDE in used and "default" not in used else "default"
    return [first, *sorted((used | {"default"}) - {first})]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
