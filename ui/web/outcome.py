"""What became of the files of a job: a row for each, with what is to be known about it. Names and notes are escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import remedy, trouble
from ui.web.plain import escape

TONES = {"published": "good", "unchanged": "", "refused": "warn", "failed": "bad"}
_WORST_FIRST = ("failed", "refused", "published", "unchanged")
_SHOWN = 300


def files(rows: Sequence[dict[str, Any]]) -> None:
    """Draw the rows of an upload; what needs a person stands first."""
    st.html(summary(rows))
    ordered = sorted(rows, key=lambda row: _WORST_FIRST.index(row["status"]))
    look.grid(
        ["File", "Result", "Version", "Passages", "New", "Kept", "Retired"],
        [cells(row) for row in ordered[:_SHOWN]],
        numbers=range(2, 7),
    )
    if len(rows) > _SHOWN:
        st.caption(f"The first {_SHOWN} of {len(rows):,}. `reprise job show` prints them all.")


def settled(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a job under way without what failed: that may be what it is trying again."""
    return [row for row in rows if row["status"] != "failed"]


def errors(found: Sequence[tuple[str, dict[str, str]]], what: str = "File") -> None:
    """Draw what was not taken, and why: (name, error)."""
    if found:
        why = '<div class="rp-wide">{}</div>'
        look.grid([what, "Why"], [[escape(name), why.format(escape(trouble(error)))] for name, error in found])


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """HTML of how many files became what."""
    counted = Counter(row["status"] for row in rows)
    tags = [look.tag(f"{counted[status]:,} {status}", tone) for status, tone in TONES.items() if counted[status]]
    return " ".join(tags)


def cells(row: dict[str, Any]) -> list[str]:
    """A row as HTML cells. What is said about the file stands under its name."""
    said = [f"<div>{escape(note)}</div>" for note in row.get("notes", [])]
    if row.get("same_as"):
        said.append(f"<div>same bytes as {escape(', '.join(row['same_as']))}</div>")
    if row["error"]:
        message = row["error"]["message"]
        said.append(f"<div><b>{escape(message[:1].upper() + message[1:])}</b></div>")
        said.append(f"<div>{escape(remedy(row['error']))}</div>")
    name = f"<div>{escape(row['name'] or row['path'])}</div>"
    about = f'<div class="rp-about">{"".join(said)}</div>' if said else ""
    counts: list[Any] = ["–"] * 5
    if row["status"] in ("published", "unchanged"):
        counts = [row["version"], *(row[f"chunks_{what}"] for what in ("total", "new", "kept", "retired"))]
    return [name + about, look.tag(row["status"], TONES[row["status"]]), *(escape(n) for n in counts)]
