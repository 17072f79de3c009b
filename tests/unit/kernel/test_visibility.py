"""The visibility rule against the sentence of the design, over every order of the four ends and both clocks."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from qdrant_client.local.payload_filters import check_filter

from kernel.index.schema import visible
from kernel.types import OPEN, When

epochs = st.integers(0, 4) | st.just(OPEN)
times = st.integers(0, 4) | st.just(OPEN)


def sees(when: When, born: int, starts: int, died: int, until: int) -> bool:
    """born <= E and from <= T and not (died <= E and until <= T)"""
    return born <= when.epoch and starts <= when.at and not (died <= when.epoch and until <= when.at)


@given(st.integers(0, 5), st.integers(0, 5), epochs, times, epochs, times)
@example(1, 0, 1, 0, OPEN, OPEN)
@example(0, 0, OPEN, 0, OPEN, OPEN)  # staged
@example(2, 3, 1, 0, 2, 3)  # superseded, after
@example(2, 2, 1, 0, 2, 3)  # superseded in the future
@example(2, 0, 1, 0, 2, 0)  # deleted, asked about the past
def test_the_filter_says_what_the_design_says(
    epoch: int, at: int, born: int, starts: int, died: int, until: int
) -> None:
    payload = {"born": born, "from": starts, "died": died, "until": until}
    when = When(epoch=epoch, at=at)
    assert check_filter(visible(when), payload, "id", {}) == sees(when, born, starts, died, until)


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=6),
    st.lists(st.integers(1, 5), min_size=6, max_size=6),
    st.integers(0, 8),
    st.integers(0, 100),
)
def test_of_versions_that_follow_each_other_one_at_most_is_visible(
    gaps: list[int], flips: list[int], epoch: int, at: int
) -> None:
    """Versions arrive in order of their dates, one flip each: whoever looks, whenever, sees one, or none before all."""
    when = When(epoch=epoch, at=at)
    starts = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    born = [sum(flips[: i + 1]) for i in range(len(gaps))]
    died = [*born[1:], OPEN]
    until = [*starts[1:], OPEN]
    shown = [i for i in range(len(gaps)) if sees(when, born[i], starts[i], died[i], until[i])]
    assert len(shown) <= 1
    assert bool(shown) == (born[0] <= epoch and starts[0] <= at)
