"""Times of cron expressions in a named time zone, also where its clocks are put forward or back.

    the clock skips a time      what is due in the gap happens at its end, once
    the clock repeats an hour   what is due at a fixed hour happens the first time alone; what recurs through the day
                                (an hour field that begins with `*`) goes on in both

So vixie-cron has done since 1993. croniter knows the gap, and would let a fixed time happen twice.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterError

from kernel.errors import UserError
from kernel.ids import now_ms

BAD_CRON = "bad_cron"
"""The code of what no time can be told of."""
_NAMES = ("@hourly", "@midnight", "@daily", "@weekly", "@monthly", "@yearly", "@annually")
_MOST = 1000
"""Missed times that are counted; more are as many."""


def check(cron: str) -> str:
    """The expression, of five fields, of six with seconds last, or one of the names such as `@daily`.

    croniter knows more: a seventh field, which is a year that passes, and R for a time by chance, another one whenever
    it is looked at.

    Raises:
        UserError: it is none, or names a date that never comes.
    """
    fields = cron.lower().split()
    by_chance = any(part.startswith("r") for field in fields for part in field.split(","))
    usual = fields[0] in _NAMES if len(fields) == 1 else len(fields) in (5, 6) and not by_chance
    if not usual or not croniter.is_valid(cron):
        raise UserError(
            f"{cron!r} is not a cron expression",
            hint='give minute, hour, day, month, weekday, e.g. "0 3 * * 1" for Mondays at 03:00',
            code=BAD_CRON,
        )
    following(cron, now_ms())
    return cron


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        UserError: there is none of that name here.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(
            f"no time zone {name!r}", hint='give an IANA name such as "Europe/Berlin", or UTC', code="bad_timezone"
        ) from None


def following(cron: str, after: int, timezone: str = "UTC") -> int:
    """The next time (UTC ms) of a cron expression after `after`.

    Raises:
        UserError: there is none.
    """
    try:
        times = croniter(cron, datetime.fromtimestamp(after / 1000, UTC).astimezone(zone(timezone)))
        while True:
            moment: datetime = times.get_next(datetime)
            if not (moment.fold and _at_fixed_hours(cron)):
                return int(moment.timestamp() * 1000)
    except CroniterError:
        raise UserError(
            f"{cron!r} names a date that never comes",
            hint="give a day that its month has; the fields are minute, hour, day, month, weekday",
            code=BAD_CRON,
        ) from None


def missed(cron: str, due: int, now: int, timezone: str = "UTC") -> int:
    """How many times after `due` have passed by `now`, up to a thousand."""
    count = 0
    while count < _MOST and (due := following(cron, due, timezone)) <= now:
        count += 1
    return count


def _at_fixed_hours(cron: str) -> bool:
    fields = cron.lower().split()
    return not fields[1].startswith("*") if len(fields) > 1 else fields != ["@hourly"]
