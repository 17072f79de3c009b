"""Rules about where a run stands: was it trained on what serves, on what is still so, and did it train at all?

    rule        the challenger is refused when
    base        it was trained on another base model than the one that serves
    champion    it was compared with a champion that is not the champion any more
    epoch       too much of its mix is not so any more: superseded, or deleted
    training    its loss did not end as a number, or rose

None of them needs a figure, so they hold where nothing could be measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from finetune.policy import GatePolicy
from finetune.verdict import Finding, Standing

_BASE = "the base model"


def findings(standing: Standing, policy: GatePolicy) -> Iterator[Finding]:
    """What these rules say, in the order of the table above. A rule whose facts are not known stays silent."""
    yield from _base(standing)
    yield from _champion(standing)
    yield from _epoch(standing, policy)
    yield from _training(standing, policy)


def _base(standing: Standing) -> Iterator[Finding]:
    if standing.base is None or standing.serves is None or standing.base == standing.serves:
        return
    yield Finding(
        rule="base",
        refused=True,
        said=f"it was trained on the base model {standing.base[:12]}…, and {standing.serves[:12]}… serves: "
        "its vectors and those of the documents do not belong together",
    )


def _champion(standing: Standing) -> Iterator[Finding]:
    if standing.parent != standing.champion:
        was, now = (repr(name) if name else _BASE for name in (standing.parent, standing.champion))
        yield Finding(
            rule="champion",
            refused=True,
            said=f"it was drawn for and is compared with {was}, and {now} serves by now: its verdict would say nothing "
            "about what it would replace",
        )


def _epoch(standing: Standing, policy: GatePolicy) -> Iterator[Finding]:
    if not standing.rows:
        return
    if standing.deleted:
        yield Finding(
            rule="epoch",
            refused=True,
            said=f"{standing.deleted} of the {standing.rows} examples it was trained on were deleted or withdrawn "
            f"since epoch {standing.epoch}: what was deleted must not live on in an adapter",
        )
    share = standing.superseded / standing.rows
    if standing.superseded:
        yield Finding(
            rule="epoch",
            refused=share > policy.stale,
            said=f"{standing.superseded} of the {standing.rows} examples it was trained on ({share:.0%}) were "
            f"superseded since epoch {standing.epoch}, allowed are {policy.stale:.0%}",
        )


def _training(standing: Standing, policy: GatePolicy) -> Iterator[Finding]:
    first, last = standing.first_loss, standing.last_loss
    if first is None or last is None:
        return
    if not (math.isfinite(first) and math.isfinite(last)):
        yield Finding(rule="training", refused=True, said=f"training diverged: its loss ended at {last}")
    elif last > policy.rise * max(first, 1e-9):
        yield Finding(
            rule="training",
            refused=True,
            said=f"training diverged: the loss rose from {first:.3f} to {last:.3f}, allowed is {policy.rise:g} times "
            "as much; the learning rate is too high, or the data contradicts itself",
        )
