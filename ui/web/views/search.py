"""Search: which passages a question finds, how each came to its rank, and what an answer would make of them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.web import look, passage, scope
from ui.web.client import node, told, who
from ui.web.pages import asked, go
from ui.web.plain import count, escape, number, shorten, source
from ui.web.views import place

MOST = 50
_QUESTION, _OPEN, _LAST = "search.question", "search.opened", "search.last"
_DROPPED = {
    "rank": "others rank higher",
    "diversity": "says much the same as one that is shown",
    "gone": "deleted meanwhile",
}
"""Why a candidate is not shown."""
_WHY = {
    "quoted": ("quoted", "good"),
    "heading": ("a heading, not a sentence", ""),
    "question": ("asks something itself", ""),
    "repeats": ("says the same as a quoted one", ""),
    "weaker": ("too far behind the best", ""),
    "enough": ("good, but enough is quoted", ""),
    "older": ("a newer source says otherwise", ""),
}
"""What becomes of a sentence that was read, and the tone in which that is said."""
_NOT_ENOUGH = {
    "quoted": ("among the best, but not enough", "warn"),
    "weaker": ("not enough", ""),
    "enough": ("not enough", ""),
    "older": ("not enough", ""),
}
"""The same where the answer would be refused."""


def show() -> None:
    """Draw the page."""
    documents = node().documents()
    mine = node().me(user=who())
    wanted = asked("search")
    if wanted:
        place.preset(wanted["place"], documents, mine, page="search")
        st.session_state[_LAST] = wanted["question"]
        st.session_state.pop(_QUESTION, None)
        st.session_state[_OPEN] = None
    look.head("Search", "Which passages a question finds, why in this order, and what an answer would make of them.")
    question, k, diversity, where = _asked_for(documents, mine)
    if not question:
        look.empty(
            "Try a question.",
            "You see every passage that is found, how near it is in meaning and in words, and which of its sentences "
            "an answer would quote. Nothing is kept of it.",
        )
        return
    with told():
        found = node().search(question, k, explain=True, diversity=diversity, **where)
        _how(found)
        passages, answer, candidates = st.tabs(["Passages", "What an answer would make of it", "All candidates"])
        with passages:
            _hits(found)
        with answer:
            _answer(found)
        with candidates:
            _candidates(found["explain"])


def _asked_for(documents: list[dict[str, Any]], mine: dict[str, Any]) -> tuple[str, int, float | None, dict[str, Any]]:
    """The question, how many passages, how far they are to differ, and where to look."""
    if _QUESTION not in st.session_state:
        st.session_state[_QUESTION] = st.session_state.get(_LAST, "")
    with st.container(horizontal=True, vertical_alignment="bottom", key="search-where"):
        question = st.text_input(
            "Question", key=_QUESTION, placeholder="What do you want to find?", width="stretch"
        ).strip()
        st.button("Search", type="primary", icon=":material/search:", key="search.go")
    st.session_state[_LAST] = question
    with st.container(horizontal=True, vertical_alignment="bottom", key="search-how"):
        where = place.choose(documents, mine, node().routes(), page="search")
        k = st.number_input("Passages", 1, MOST, 10, key="search.k", width=120, help="How many are shown.")
        diversity = st.slider(
            "Variety",
            0.0,
            1.0,
            0.0,
            0.1,
            key="search.diversity",
            width=190,
            help="How far passages that say much the same stand back for others. 0: the best come first, whatever "
            "they repeat.",
        )
    return question, int(k), diversity or None, where


# --- how it was searched ------------------------------------------------------------------------


def _how(found: dict[str, Any]) -> None:
    explain, where = found["explain"], found["scope"]
    words = round(100 * explain["weight"])
    look.facts(
        [
            ("Searched", scope.searched(where)),
            ("Meaning : words", f"{100 - words} : {words}" + (" (measured here)" if explain["tuned"] else "")),
            ("Second look", explain["reranker"] or "none"),
            ("Adapter", found["adapter"] or "base model"),
            ("Epoch", found["epoch"]),
            ("Time", f"{found['ms']['total']:.0f} ms"),
        ]
    )
    if scope.looked(where):
        with st.container(horizontal=True, vertical_alignment="center", key="sources-search-scope"):
            st.html(f'<div class="rp-said">{escape(scope.looked(where))}</div>', width="content")
            if where["inferred"] and not where["widened"]:
                st.button(
                    "Search everywhere",
                    icon=":material/manage_search:",
                    type="tertiary",
                    key="search.everywhere",
                    on_click=place.look_everywhere,
                    args=("search",),
                )
    elif where["suggested"]:
        meant = scope.named(where["suggested"]["documents"])
        look.small(f"“{where['suggested']['phrase']}” may mean {meant}. Choose it under Options to look only there.")


# --- passages -----------------------------------------------------------------------------------


def _hits(found: dict[str, Any]) -> None:
    if not found["hits"]:
        look.empty("Nothing was found.", "Nothing that you chose to look in counted at that time.")
        return
    traces = {c["chunk"]: c for c in found["explain"]["candidates"]}
    for hit in found["hits"]:
        with st.container(border=True, gap="xsmall", key=f"sources-hit-{hit['rank']}"):
            _hit(hit, traces.get(hit["chunk"], {}))


def _hit(hit: dict[str, Any], trace: dict[str, Any]) -> None:
    head = f"{look.tag(str(hit['rank']))} <b>{escape(shorten(source(hit), 160))}</b>"
    st.html(f'<div class="rp-hit">{head}</div>')
    st.html(
        f'<div class="rp-arms">{arm("meaning", trace.get("dense"))}{arm("words", trace.get("words"))}'
        f'<div class="rp-arm"><span>score</span><b>{number(hit["score"])}</b></div></div>'
    )
    here = (hit["document"], hit["version"], hit["start"])
    opened = st.session_state.get(_OPEN) == here

    def turn() -> None:
        st.session_state[_OPEN] = None if opened else here

    if not opened:
        st.html(f'<div class="rp-found rp-words">{escape(hit["text"])}</div>')
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Close" if opened else "Open passage",
            icon=":material/close:" if opened else ":material/article:",
            key=f"search.open.{hit['rank']}",
            type="tertiary",
            on_click=turn,
        )
        if opened and st.button("Open in the Library", icon=":material/library_books:", type="tertiary"):
            go("library", document=hit["document"], version=hit["version"])
    if opened:
        passage.show(hit, key=f"search-{hit['document']}-{hit['version']}-{hit['start']}")


def arm(name: str, standing: dict[str, Any] | None) -> str:
    """HTML of how near a passage is by one of the two measures: a bar, the rank, the raw score."""
    if standing is None:
        return f'<div class="rp-arm"><span>{escape(name)}</span><i></i><em>not among the best</em></div>'
    width = round(100 * min(1.0, max(0.0, standing["normal"])))
    title = f"{name}: score {standing['score']:.3f}, {standing['normal']:.2f} on the common scale"
    return (
        f'<div class="rp-arm" title="{escape(title)}"><span>{escape(name)}</span>'
        f'<i><s style="width:{width}%"></s></i><em>no. {standing["rank"]} · {standing["normal"]:.2f}</em></div>'
    )


# --- what an answer would make of it ------------------------------------------------------------


def _answer(found: dict[str, Any]) -> None:
    explain = found["explain"]
    enough = explain["support"] >= explain["threshold"]
    verdict = look.tag("would be answered", "good") if enough else look.tag("would be refused", "warn")
    needed = f"The passages support an answer with {explain['support']:.2f}; {explain['threshold']:.2f} is needed."
    st.html(
        f'<div class="rp-verdict">{verdict}<span>{escape(needed)}</span>'
        f'<div class="rp-scale"><s style="width:{round(100 * explain["support"])}%"></s>'
        f'<u style="left:{round(100 * explain["threshold"])}%"></u></div></div>'
    )
    if not enough and found["scope"]["inferred"] and not found["scope"]["widened"]:
        look.small("An answer would not stop here: it would look in everything next, and say so.")
    if not explain["sentences"]:
        look.empty("No sentence was read.", "There is no passage to read.")
        return
    read = max(s["rank"] for s in explain["sentences"])
    look.small(
        f"{count(len(explain['sentences']), 'sentence')} of the first {count(read, 'passage')} were read. "
        "A generator that writes its own sentences reads the same passages."
    )
    look.grid(
        ["Sentence", "Passage", "Score", "Support", "What becomes of it"],
        [sentence(s, enough=enough) for s in explain["sentences"]],
        numbers=(1, 2, 3),
    )


def sentence(read: dict[str, Any], *, enough: bool) -> list[str]:
    """A sentence that was read as HTML cells. `enough`: the passages support an answer."""
    words, tone = _WHY.get(read["why"], (read["why"], ""))
    if not enough:
        words, tone = _NOT_ENOUGH.get(read["why"], (words, tone))
    return [
        f'<div class="rp-wide">{escape(shorten(read["text"], 600))}</div>',
        escape(read["rank"]),
        number(read["score"], 1),
        number(read["support"], 2),
        look.tag(words, tone) if tone else f'<span class="rp-dim">{escape(words)}</span>',
    ]


# --- all candidates -----------------------------------------------------------------------------


def _candidates(explain: dict[str, Any]) -> None:
    look.small(
        f"{count(len(explain['candidates']), 'passage')} came into question: the nearest in meaning and the nearest "
        "in words. Each row tells how it stood, and why it is shown or not."
    )
    look.table(
        [row(c, reranked=bool(explain["reranker"])) for c in explain["candidates"]],
        height=min(38 + 35 * max(1, len(explain["candidates"])), 620),
        column_config={
            "Text": st.column_config.TextColumn(width="large"),
            **{
                name: st.column_config.NumberColumn(format="%.3f", width="small")
                for name in ("Meaning", "Words", "Fused", "Second look")
            },
        },
        key="search.candidates",
    )


def row(candidate: dict[str, Any], *, reranked: bool) -> dict[str, Any]:
    """A candidate as a row of the table of all."""
    dense, words = candidate["dense"] or {}, candidate["words"] or {}
    return {
        "Rank": candidate["rank"],
        "Shown": "yes" if candidate["rank"] else _DROPPED.get(candidate["dropped"], candidate["dropped"]),
        "Document": candidate["name"],
        "Meaning": dense.get("score"),
        "Meaning no.": dense.get("rank"),
        "Words": words.get("score"),
        "Words no.": words.get("rank"),
        "Fused": candidate["fused"],
        "Fused no.": candidate["fused_rank"],
        **({"Second look": candidate["rerank"]} if reranked else {}),
        "Heading": candidate["heading"],
        "Text": shorten(candidate["text"] or "", 300),
    }
