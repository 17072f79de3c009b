"""Identities and instants."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import UserError
from kernel.ids import canonical, derived, digest, fresh, iso, now_ms, parse_time


def test_a_derived_id_depends_on_its_parts_alone() -> None:
    assert derived("chunk", "doc-1", 2, 0) == derived("chunk", "doc-1", 2, 0)
    assert str(uuid.UUID(derived("x"))) == derived("x")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x1f")), min_size=1, max_size=4), st.data())
def test_different_parts_give_different_ids(parts: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(parts) - 1))
    other = [*parts[:place], parts[place] + "x", *parts[place + 1 :]]
    assert derived(*parts) != derived(*other)
    assert derived(*parts) != derived(*parts, "")


def test_fresh_ids_say_what_they_name_and_differ() -> None:
    made = {fresh("run") for _ in range(1000)}
    assert len(made) == 1000
    assert all(name.startswith("run-") and len(name) == 16 for name in made)


def test_a_digest_is_of_the_utf8_bytes() -> None:
    assert digest("ä") == digest("ä".encode())
    assert len(digest(b"")) == 64


def test_equal_values_have_equal_canonical_forms() -> None:
    assert canonical({"b": [1, None], "a": "ü"}) == canonical({"a": "ü", "b": [1, None]}) == '{"a":"ü","b":[1,null]}'


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_times_survive_being_written_and_read(moment: datetime) -> None:
    ms = int(moment.timestamp()) * 1000 + moment.microsecond // 1000
    assert parse_time(str(iso(ms))) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-02", 86_400_000),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T01:00:01+01:00", 1000),
        (" 1970-01-01T00:00:01.250 ", 1250),
    ],
)
def test_a_time_without_a_zone_is_utc(text: str, ms: int) -> None:
    assert parse_time(text) == ms


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-02-30", "12:00"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError) as refusal:
        parse_time(text)
    assert refusal.value.code == "bad_time"
    assert repr(text) in refusal.value.message
    assert "2026-" in refusal.value.hint


def test_now_is_milliseconds() -> None:
    assert abs(now_ms() - datetime.now(UTC).timestamp() * 1000) < 60_000
    assert iso(None) is None
    assert iso(0) == "1970-01-01T00:00:00.000Z"
