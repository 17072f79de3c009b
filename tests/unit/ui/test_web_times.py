"""When a schedule starts something, in words; and figures that are read at a glance."""

from __future__ import annotations

import pytest

from ui.web.figures import heat, interval, scale_of, signed
from ui.web.times import pause, told, when


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 3 * * 0", "on Sundays at 03:00"),
        ("30 1 * * *", "every day at 01:30"),
        ("0 2 1 * *", "on the 1st of each month at 02:00"),
        ("0 4 * * 1-5", "on working days at 04:00"),
        ("*/10 * * * *", "every 10 minutes"),
        ("5 */6 * * *", "every 6 hours at :05"),
        ("0 3,15 * * mon,fri", "on Mondays and Fridays at 03:00 and 15:00"),
        ("0 0 2,22 1 *", "on the 2nd and 22nd of January at 00:00"),
        ("0 0 1 * 1", None),
        ("0 3 * * 1#2", None),
        ("0 3 * * * 5", None),
        ("@daily", None),
    ],
)
def test_a_cron_expression_is_said_in_words_or_not_at_all(cron: str, words: str | None) -> None:
    assert when(cron) == words


def test_a_schedule_of_times_and_conditions_is_one_sentence() -> None:
    both = {"cron": "0 3 * * 0", "timezone": "Europe/Berlin", "when": ["examples>=50", "gate>=2"], "days": None}
    assert told(both) == (
        "On Sundays at 03:00 (Europe/Berlin), if 50 new examples are there or the gate refused the last run"
    )
    alone = {"cron": None, "timezone": "UTC", "when": ["drift>=0.05"], "days": 7.0}
    assert told(alone) == "As soon as answers became worse by 5 points from one window of 7 days to the next"
    odd = {"cron": "0 3 * * 1#2", "timezone": "UTC", "when": []}
    assert told(odd) == "At the times of 0 3 * * 1#2 (UTC)"


def test_a_cooldown_is_said_in_its_largest_unit() -> None:
    assert [pause(s) for s in (0, 60, 5400, 21_600, 86_400)] == ["none", "1 minute", "1.5 hours", "6 hours", "1 day"]


def test_a_difference_has_a_sign_unless_it_is_nothing() -> None:
    assert [signed(v) for v in (0.0314, -0.0314, -0.0001, None)] == ["+0.031", "−0.031", "0.000", "–"]


def test_an_interval_is_for_or_against_only_where_it_is_surely_so() -> None:
    scale = scale_of([(-0.1, 0.3)])
    assert "rp-good" in interval(0.01, 0.3, 0.2, scale)
    assert "rp-plain" in interval(-0.1, 0.3, 0.1, scale)
    assert "rp-bad" in interval(-0.3, -0.01, -0.2, scale)
    assert "rp-plain" in interval(-0.03, -0.01, -0.02, scale, allowed=0.05)
    assert "rp-bad" in interval(-0.1, 0.05, -0.06, scale, allowed=0.05)
    assert interval(None, None, 0.0, scale) == ""


def test_a_heat_table_holds_every_figure_and_no_markup_from_outside() -> None:
    shown = heat(["base", "<b>a</b>"], ["x"], [[None], [0.5]], [1], [("forgotten", ["0.1"])])
    assert "0.500" in shown
    assert shown.count("rp-learnt") == 1
    assert "<b>" not in shown
