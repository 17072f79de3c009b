"""What a person does with an adapter that has its verdict: promote or try it; with a reason, if it was refused."""

from __future__ import annotations

from typing import Any

import streamlit as st

from kernel.errors import UserError
from ui.web import look
from ui.web.client import node, told
from ui.web.pages import go
from ui.web.plain import label, sentence

_SAID = "adapters.said"
FIRST_STEPS: dict[str, dict[str, Any]] = {
    "Unseen first, then 5 %, 25 %, everybody": {"shadow": True},
    "5 %, 25 %, everybody": {},
    "Half of those who ask, then everybody": {"steps": [0.5, 1.0]},
}
"""Ways of a trial, by what they are called."""
_OWN = "Steps of my own"


def show(adapter: dict[str, Any]) -> None:
    """Draw what can be done with an adapter in its state."""
    name, state = adapter["adapter"], adapter["state"]
    if state == "champion":
        look.small(f"{name} is what serves now.")
        return
    if state in ("shadow", "canary"):
        with st.container(horizontal=True, vertical_alignment="center"):
            look.small(f"{name} is on trial.")
            if st.button("See the trial", icon=":material/science:", key=f"adapters.trial.{name}"):
                go("adapters", tab="Rollout")
        return
    stale, reason = adapter["accepted"] and adapter["stale"], ""
    harm = adapter["accepted"] and adapter["harm"]
    accepted = adapter["accepted"] and not stale and not harm
    if stale:
        _judge_again(adapter)
    if harm:
        look.small(f"A trial took it back: {sentence(harm)}")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if not accepted:
            reason = st.text_input(
                "Why let it serve all the same?",
                key=f"adapters.why.{name}",
                placeholder="this reason is kept in the audit log",
                width=400,
            ).strip()
        promote = st.button(
            "Promote" if accepted else "Promote all the same" if stale or harm else "Promote in spite of the gate",
            type="primary" if accepted else "secondary",
            disabled=not accepted and not reason,
            icon=":material/arrow_upward:",
            key=f"adapters.promote.{name}",
            help="It serves every question from then on. You can roll back at any time.",
        )
        with st.popover(
            "Try it first", icon=":material/science:", key=f"adapters.try.{name}", disabled=not accepted and not reason
        ):
            look.small("Its figures decide the next step by themselves; you can advance or stop it at any time.")
            way = st.radio("Shares of those who ask", [*FIRST_STEPS, _OWN], key=f"adapters.way.{name}")
            written, unseen = "", False
            if way == _OWN:
                written = st.text_input(
                    "Shares in percent, in order",
                    key=f"adapters.steps.{name}",
                    placeholder="10, 50",
                    help="After the last of them it serves everybody.",
                )
                unseen = st.checkbox("Unseen first", key=f"adapters.unseen.{name}")
            again = accepted and state in ("previous", "retired")  # it may serve as it is, and is tried for a reason
            if again:
                reason = st.text_input(
                    "Why try it again?",
                    key=f"adapters.again.{name}",
                    placeholder="this reason is kept in the audit log",
                ).strip()
            begin = st.button(
                "Begin the trial", type="primary", key=f"adapters.begin.{name}", disabled=again and not reason
            )
    if promote:
        with told():
            done = node().promote(name, reason or None)
            st.session_state[_SAID] = f"{label(done['champion'])} serves now, after {done['ms']:.0f} ms."
            st.rerun()
    if begin:
        with told():
            steps = {"steps": shares(written), "shadow": unseen} if way == _OWN else FIRST_STEPS[way]
            node().start_rollout(name, override=reason or None, **steps)
            st.session_state[_SAID] = f"{label(name)} is on trial now."
            go("adapters", tab="Rollout")


def shares(written: str) -> list[float]:
    """Shares that somebody wrote in percent: `10, 50 %`.

    Raises:
        UserError: one is no number, or there is none.
    """
    parts = [part.strip().removesuffix("%").strip() for part in written.split(",")]
    try:
        return [float(part) / 100 for part in parts]
    except ValueError:
        raise UserError(
            f"{written!r} is no list of shares", hint="give them in percent with commas between, as in 10, 50"
        ) from None


def _judge_again(adapter: dict[str, Any]) -> None:
    """What was accepted against another champion than serves now has to show that it is better than this one."""
    against = label(adapter["against"] or "the base model")
    with st.container(horizontal=True, vertical_alignment="center"):
        look.small(f"It was accepted against {against}, which has been replaced since.")
        if st.button("Judge it again", icon=":material/gavel:", key=f"adapters.rejudge.{adapter['adapter']}"):
            with told():
                node().enqueue_rejudge(adapter["run"])
                st.session_state[_SAID] = f"{label(adapter['adapter'])} is being judged against what serves now."
                go("adapters", run=adapter["run"])
