"""Times of schedules, where clocks are put forward and back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from finetune.cron import check, following, missed, zone
from kernel.errors import UserError

BERLIN = "Europe/Berlin"
HOUR = 3_600_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def times(cron: str, after: str, count: int, timezone: str = BERLIN) -> list[str]:
    found, at = [], ms(after)
    for _ in range(count):
        at = following(cron, at, timezone)
        found.append(datetime.fromtimestamp(at / 1000, UTC).strftime("%d %H:%M"))
    return found


def test_a_time_keeps_its_hour_by_the_wall_when_the_clocks_change() -> None:
    assert times("0 3 * * *", "2026-03-27T12:00", 3) == ["28 02:00", "29 01:00", "30 01:00"]
    assert times("0 3 * * *", "2026-03-27T12:00", 3, "UTC") == ["28 03:00", "29 03:00", "30 03:00"]


def test_what_is_due_in_the_hour_that_is_skipped_happens_once_at_its_end() -> None:
    assert times("30 2 * * *", "2026-03-28T12:00", 2) == ["29 01:00", "30 00:30"]


def test_a_fixed_time_in_the_hour_that_is_repeated_happens_once() -> None:
    assert times("30 2 * * *", "2026-10-24T12:00", 3) == ["25 00:30", "26 01:30", "27 01:30"]


def test_what_recurs_through_the_day_goes_on_in_both_hours() -> None:
    assert times("0 * * * *", "2026-10-24T23:30", 4) == ["25 00:00", "25 01:00", "25 02:00", "25 03:00"]


def test_no_time_ever_comes_twice_or_goes_back() -> None:
    at, seen = ms("2026-10-24T20:00"), []
    for _ in range(40):
        at = following("*/15 1-3 * * *", at, BERLIN)
        seen.append(at)
    assert seen == sorted(set(seen))


def test_missed_times_are_counted_and_not_for_ever() -> None:
    assert missed("0 * * * *", 0, 5 * HOUR) == 5
    assert missed("0 * * * *", 0, HOUR - 1) == 0
    assert missed("* * * * *", 0, 10**12) == 1000


def test_a_mistake_in_the_time_is_told() -> None:
    with pytest.raises(UserError, match="not a cron expression"):
        check("61 * * * *")
    for never in ("0 0 30 2 *", "0 0 31 4,6 *"):
        with pytest.raises(UserError, match="never comes"):
            check(never)
    assert check("0 0 29 2 *")


@pytest.mark.parametrize("cron", ["0 3 * * *", "0 3 * mar,apr fri", "0 3 * * * 30", "@daily", "@HOURLY", " 0 3 * * 1 "])
def test_five_fields_or_six_or_a_name_are_an_expression(cron: str) -> None:
    assert check(cron) == cron


@pytest.mark.parametrize(
    "cron",
    ["", "@reboot", "0 3 * *", "0 3 * * * 0 2030", "0 3 * * * 0 *", "R 3 * * *", "0 3 * * r(1-5)", "0 1,R * * *"],
)
def test_neither_a_year_nor_a_time_by_chance_is_one(cron: str) -> None:
    with pytest.raises(UserError, match="not a cron expression"):
        check(cron)


def test_a_time_that_has_no_next_one_is_told_as_such() -> None:
    with pytest.raises(UserError, match="never comes"):
        following("0 3 1 1 * 0 2020", ms("2026-01-01T00:00"))


def test_an_hourly_time_goes_on_in_the_hour_that_is_repeated_however_it_is_written() -> None:
    for cron in ("@hourly", "@Hourly"):
        assert times(cron, "2026-10-24T23:30", 3) == ["25 00:00", "25 01:00", "25 02:00"]


def test_a_mistake_in_the_zone_is_told() -> None:
    for wrong in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(UserError, match="no time zone"):
            zone(wrong)
