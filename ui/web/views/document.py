"""One document of the library: its versions, their texts, what changed between two, restore and delete."""

from __future__ import annotations

from typing import Any

import streamlit as st

from finetune.cost import size
from kernel.errors import RepriseError
from ui.web import look
from ui.web.client import node, tell, told
from ui.web.languages import called
from ui.web.plain import count, escape, label, moment
from ui.web.views import sight

VERSION = "document.version"
"""Session key: (document, version) that another page wants to see."""
_SAID = "document.said"
_CAUSES = {"ingest": "published", "restore": "restored", "rechunk": "chunked again"}
_TONES = {"live": "good", "to come": "warn"}
_PAGE = 12_000


def show(document: dict[str, Any]) -> None:
    """Draw a row of `documents` in detail."""
    doc = document["document"]
    title = escape(document["title"] or document["name"])
    st.html(f'<div style="font-size:1.15rem;font-weight:650">{title}</div>')
    look.small(document["name"], f"workspace {document['workspace']}", size(document["bytes"]), doc)
    _said(doc)
    _sorted_by(document)
    with told():
        history = node().history(doc)
        tabs = st.tabs(
            ["Text", "Versions", "Compare", "Adapters", "Delete"], key=f"document.tab.{doc}", on_change="rerun"
        )
        for tab, draw in zip(tabs, (_text, _versions, _compare, sight.show, _delete), strict=True):
            if tab.open:
                with tab:
                    draw(document, history)


def _said(doc: str) -> None:
    said = st.session_state.get(_SAID)
    if said and said[0] == doc:
        st.success(said[1])
        st.session_state[_SAID] = None


def _sorted_by(document: dict[str, Any]) -> None:
    """Its language, and its tags, which can be changed here."""
    doc, has = document["document"], document["tags"]
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    chosen = left.multiselect(
        "Tags",
        has,
        default=has,
        accept_new_options=True,
        placeholder="no tags yet: type one",
        key=f"document.tags.{doc}.{has}",  # other tags are another choice
    )
    right.markdown(f"Language: {label(called(document['language']) if document['language'] else 'not told yet')}")
    if set(chosen) != set(has):
        with told():
            node().tag(doc, sorted(set(chosen) - set(has)), sorted(set(has) - set(chosen)))
            st.rerun()


# --- text ---------------------------------------------------------------------------------------


def _text(document: dict[str, Any], history: list[dict[str, Any]]) -> None:
    doc = document["document"]
    numbers = [v["version"] for v in history if v["state"] != "expired"]
    if not numbers:
        look.empty("No version is kept.", "All of them have expired.")
        return
    wanted = st.session_state.pop(VERSION, None)
    if wanted and wanted[0] == doc and wanted[1] in numbers:
        st.session_state[_number(document)] = wanted[1]
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    number = left.selectbox(
        "Version",
        numbers,
        key=_number(document),
        format_func=lambda n: f"{n} (live)" if n == document["live_version"] else str(n),
    )
    found = node().text(doc, number)
    right.download_button(
        "Download original",
        data=lambda: node().original(doc, number),
        file_name=document["name"].rsplit("/", 1)[-1],
        icon=":material/download:",
        key=f"document.original.{doc}",
    )
    whole = found["text"]
    last = max(1, -(-len(whole) // _PAGE))
    part = 1
    if last > 1:
        part = st.number_input(f"Part (of {last})", 1, last, key=f"document.part.{doc}.{number}")
    first = (part - 1) * _PAGE
    st.html(f'<div class="rp-text rp-words">{escape(whole[first : first + _PAGE]) or "(no text)"}</div>')
    pages = count(len(found["pages"]), "page") if found["pages"] else ""
    look.small(count(len(whole), "character"), pages)


def _number(document: dict[str, Any]) -> str:
    """Key of the choice of version. A new live version makes it a new choice, as the labels change with it."""
    return f"document.number.{document['document']}.{document['live_version']}"


# --- versions -----------------------------------------------------------------------------------


def _versions(document: dict[str, Any], history: list[dict[str, Any]]) -> None:
    doc = document["document"]
    look.grid(
        ["Version", "State", "Counts (UTC)", "How it came", "New", "Kept", "Retired", "Epoch", "SHA-256"],
        [_row(v) for v in history],
        numbers=(0, 4, 5, 6, 7),
    )
    older = [v["version"] for v in history if v["state"] == "superseded"]
    if not older:
        look.small("There is one version. Upload a file of the same name to make the next.")
        return
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    number = left.selectbox("Restore version", older, key=f"document.restore.{doc}")
    if right.button("Restore", icon=":material/restore:", key=f"document.restore.go.{doc}"):
        with told(), st.spinner("Publishing …"):
            row = node().restore(doc, number)
            if row["error"]:
                raise RepriseError(
                    row["error"]["message"], hint=row["error"].get("hint", ""), code=row["error"]["code"]
                )
            st.session_state[_SAID] = (doc, _restored(number, node().history(doc)[0]))
            st.rerun()
    look.small("Restoring publishes the older text again as a new version. Nothing is lost by it.")


def _restored(number: int, newest: dict[str, Any]) -> str:
    """What a restore came to: where a version is still to come, the restored one counts after that."""
    if newest["pending"]:
        return (
            f"The text of version {number} is published again, as version {newest['version']}. It counts from "
            f"{moment(newest['from'])}, after what is still to come."
        )
    return f"The text of version {number} is live again, as version {newest['version']}."


def _row(v: dict[str, Any]) -> list[str]:
    """A version as HTML cells; what its parsing noted stands beside it."""
    state = "to come" if v["pending"] else v["state"]
    until = f"until {moment(v['until'])}" if v["until"] else ""
    gone = f"expired {moment(v['expired'])}" if v["expired"] else ""
    about = "".join(f'<div class="rp-about">{escape(words)}</div>' for words in (until, gone) if words)
    notes = "".join(f'<div class="rp-about">{escape(note)}</div>' for note in v["notes"])
    cause = escape(_CAUSES.get(v["cause"], v["cause"]))
    counts = (v["chunks_new"], v["chunks_kept"], v["chunks_retired"], v["epoch"])
    return [
        escape(v["version"]),
        look.tag(state, _TONES.get(state, "")),
        f"<div>{escape(moment(v['from']))}</div>{about}",
        f'<div class="rp-wide">{cause}{notes}</div>',
        *map(escape, counts),
        f"<code>{escape(v['sha256'][:12])}</code>",
    ]


# --- compare ------------------------------------------------------------------------------------


def _compare(document: dict[str, Any], history: list[dict[str, Any]]) -> None:
    doc = document["document"]
    numbers = [v["version"] for v in history if v["state"] != "expired"]
    if len(numbers) < 2:
        look.empty(
            "There is nothing to compare yet.",
            "Upload the document again after an edit; then both versions are here.",
        )
        return
    left, right, _ = st.columns([1, 1, 2])
    a = left.selectbox("From version", numbers, index=1, key=f"document.a.{doc}")
    b = right.selectbox("To version", numbers, index=0, key=f"document.b.{doc}")
    if a == b:
        look.small("Choose two different versions.")
        return
    found = node().diff(doc, a, b)
    if not any(found.values()):
        look.empty("No passage differs.", "The two versions say the same.")
        return
    look.small(*(f"{len(passages)} {what}" for what, passages in found.items() if passages))
    for pair in found["changed"]:
        before, after = _marked(pair["words"])
        old, new = (f" · {escape(heading)}" if heading else "" for heading in pair["headings"])
        st.html(_pair(before, after, f"version {a}{old}", f"version {b}{new}"))
    for text in found["removed"]:
        st.html(_pair(escape(text), "", f"version {a}", ""))
    for text in found["added"]:
        st.html(_pair("", escape(text), "", f"version {b}"))


def _pair(before: str, after: str, left: str, right: str) -> str:
    """HTML of two passages side by side, each with where it stands; all of it is escaped already."""
    cells = []
    for kind, note, text in (("gone", left, before), ("come", right, after)):
        if not text:
            cells.append("<div></div>")
            continue
        words = f'<div class="rp-words">{text}</div>'
        cells.append(f'<div class="rp-{kind}"><div class="rp-note">{note}</div>{words}</div>')
    return f'<div class="rp-pair">{"".join(cells)}</div>'


def _marked(words: list[list[str]]) -> tuple[str, str]:
    """Both passages of a changed pair as escaped HTML, with the words that differ marked."""
    old = {"=": "{}", "-": "<del>{}</del>", "+": ""}
    new = {"=": "{}", "-": "", "+": "<ins>{}</ins>"}
    before, after = ("".join(side[op].format(escape(text)) for op, text in words) for side in (old, new))
    return before, after


# --- delete -------------------------------------------------------------------------------------


def _delete(document: dict[str, Any], history: list[dict[str, Any]]) -> None:
    versions = "its only version" if len(history) == 1 else f"all {len(history)} versions"
    look.words(
        f"Deleting takes the document with {versions}: texts, passages, the examples that rest on it, and "
        "its words in answers that were given. It cannot be undone. To replace it, upload the new text under "
        "the same name instead."
    )
    if st.button("Delete …", icon=":material/delete:", key=f"document.delete.{document['document']}"):
        _confirm(document)


_RECEIPT = (
    {"points": "Passages", "blobs": "Texts and files", "examples": "Examples", "remaining": "Remaining"},
    {"turns_redacted": "Answers redacted", "training_rows_redacted": "Training rows redacted"},
    {"cache_entries": "Cached", "sketches": "Sketches", "watch_items": "In watched sources", "tags": "Tags"},
)
"""What the receipt counts, by what it is called, in rows."""


@st.dialog("Delete this document?", icon=":material/delete:", on_dismiss="rerun")
def _confirm(document: dict[str, Any]) -> None:
    """Asks for the name, deletes, and shows the receipt."""
    key = f"document.receipt.{document['document']}"
    receipt = st.session_state.get(key)
    if receipt is None:
        look.words(f"Type its name to delete it for good:\n{document['name']}")
        typed = st.text_input("Name of the document", key=f"document.confirm.{document['document']}")
        right = typed.strip() == document["name"]
        if st.button("Delete for good", type="primary", disabled=not right, key="document.delete.yes"):
            try:
                with st.spinner("Deleting …"):
                    st.session_state[key] = node().delete(document["document"])
            except RepriseError as error:
                tell(error)
                return
            st.rerun(scope="fragment")
        return
    _receipt(receipt)
    if st.button("Done", type="primary"):
        st.session_state.pop(key)
        st.rerun()


def _receipt(receipt: dict[str, Any]) -> None:
    st.success("Deleted. This is the receipt.")
    for names in _RECEIPT:
        look.facts([(name, f"{receipt.get(key, 0):,}") for key, name in names.items()])
    trained = receipt["adapters_trained_on_it"]
    look.words(f"Adapters that were trained on it: {', '.join(trained) if trained else 'none'}.")
    if receipt.get("unreachable"):
        look.small("What a delete cannot reach: " + "; ".join(receipt["unreachable"]) + ".")
    st.caption(label(f"Document {receipt['document']}, epoch {receipt.get('epoch')}"))
