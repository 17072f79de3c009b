"""The card of an adapter: what it was made of and how, where it comes from, what it cost, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from finetune.cost import told as told_cost
from ui.web import look
from ui.web.client import node, told
from ui.web.pages import go
from ui.web.plain import count, escape, moment, numbers, sentence, shorten
from ui.web.views import promotion

OPEN = "adapters.card"
_DOCUMENTS = 50
_ORIGINS = {
    "import": "imported",
    "correction": "corrections",
    "thumbs": "thumbs up",
    "document": "made from documents",
}


def show(adapter: dict[str, Any], serves: str, tone: str) -> None:
    """Draw the card of an adapter; `serves` says in words what it does now."""
    with told(), st.container(border=True):
        card = node().card(adapter["adapter"])
        gate = look.tag("accepted", "good") if card["accepted"] else look.tag("refused by the gate", "warn")
        st.html(
            f'<div class="rp-line"><b>{escape(card["adapter"])}</b>{look.tag(adapter["state"], tone)}{gate}'
            f"<span>{escape(serves)}</span></div>"
        )
        _facts(card)
        if card["beside"]:
            look.words(sentence(card["beside"]))
        _made_of(card)
        if adapter["state"] != "champion":
            promotion.show(adapter)
        _parents(card)
        _documents(card)
        with st.expander("How it was trained"):
            _recipe(card)
        _buttons(card)


def _facts(card: dict[str, Any]) -> None:
    data, energy = card["data"], card["energy"]
    pairs: list[tuple[str, object]] = [
        ("Trained (UTC)", moment(card["created"])),
        ("New examples", f"{data['parts'].get('new', 0):,}"),
        ("Rehearsed", f"{data['parts'].get('recalled', 0):,}"),
        ("Documents", f"{len(data['documents']):,}"),
    ]
    look.facts(pairs)
    if spent := told_cost(card["cost"] or {"train_seconds": card["seconds"]["training"]}):
        look.facts(spent)
    if energy:
        look.small(f"Energy {energy['how']}.")


def _made_of(card: dict[str, Any]) -> None:
    data = card["data"]
    lines = [
        ("Where its examples come from", _counted({_ORIGINS.get(k, k): n for k, n in data["origins"].items()})),
        ("Slices", _counted(data["slices"])),
        ("Licences", _counted(data["licences"])),
        ("Base model", (card["base"] or {}).get("name") or "not told"),
        ("Workspace", card["workspace"] or "all"),
    ]
    look.pairs([(name, said) for name, said in lines if said])


def _parents(card: dict[str, Any]) -> None:
    if not card["parents"]:
        look.small("It was trained from the base model.")
        return
    look.small("It goes on from " + ", which goes on from ".join(p["adapter"] for p in card["parents"]) + ".")


def _documents(card: dict[str, Any]) -> None:
    own, through = card["data"]["documents"], card["data"]["documents_through_parents"]
    if not own and not through:
        return
    title = f"The {count(len(own), 'document')} it was trained on"
    if through:
        title += f", and {count(len(through), 'document')} that its parents saw"
    with st.expander(title):
        _seen(own)
        if through:
            look.section("Through its parents")
            _seen(through)


def _seen(documents: Sequence[dict[str, Any]]) -> None:
    look.grid(
        ["Document", "Versions", "Examples", "As contrast", "Source"],
        [
            [
                escape(d["name"] or f"{d['document']} (deleted)"),
                escape(numbers(d["versions"])),
                escape(d["examples"]),
                escape(d["contrasts"]),
                f'<div class="rp-wide">{escape(shorten(d["source"] or "", 80))}</div>',
            ]
            for d in documents[:_DOCUMENTS]
        ],
        numbers=(2, 3),
    )
    if len(documents) > _DOCUMENTS:
        look.small(f"and {len(documents) - _DOCUMENTS} more")
    look.small("As contrast: passages that its questions were pushed away from.")


def _recipe(card: dict[str, Any]) -> None:
    options = card["options"]
    lines: list[tuple[str, object]] = [
        ("Policy", options.get("policy")),
        ("Replay ratio", options.get("rho")),
        ("Seed", card["seed"]),
        ("Method", options.get("method")),
        ("Drawn at epoch", card["data"]["epoch"]),
        ("Run", card["run"]),
        ("SHA-256", card["sha256"]),
    ]
    lines += [(name.replace("_", " "), value) for name, value in (card["recipe"] or {}).items()]
    lines += [(f"version of {name}", version) for name, version in (card["versions"] or {}).items()]
    look.pairs([(name, value) for name, value in lines if value not in (None, "", [], {})])


def _buttons(card: dict[str, Any]) -> None:
    with st.container(horizontal=True):
        if st.button("See its verdict", icon=":material/gavel:", key="card.verdict"):
            go("adapters", run=card["run"])
        st.download_button(
            "Download the card",
            data=card["markdown"],
            file_name=f"{card['adapter']}.md",
            mime="text/markdown",
            icon=":material/download:",
            key="card.download",
            on_click="ignore",
        )


def _counted(counts: Mapping[str, int]) -> str:
    """`imported 140, corrections 3`; the largest first."""
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items(), key=lambda one: -one[1]))
