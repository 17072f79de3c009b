"""When a schedule starts a retrain, in words: its cron expression, its conditions, its cooldown, what it came to.

An expression that no sentence fits is shown as it is. It knows nothing of time zones but their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ui.web.plain import count

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SHORT = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_MONTHS = ("", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
RESULTS = {
    "starting": ("is starting", ""),
    "started": ("run started", ""),
    "accepted": ("run accepted", "good"),
    "rejected": ("run refused by the gate", "warn"),
    "failed": ("run failed", "bad"),
    "proposed": ("its mix waits for approval", "warn"),
    "declined": ("its mix was rejected by a person", ""),
    "nothing new": ("nothing new to train on", ""),
    "waiting": ("nothing started", ""),
    "under way": ("another run was under way", ""),
    "refused": ("could not start", "bad"),
}
"""What became of a firing, in words, and its tone."""
CAUSES = {
    "time": "the clock",
    "examples": "enough new examples",
    "drift": "answers became worse",
    "gate": "an order of the gate",
}


def when(cron: str) -> str | None:
    """`every day at 01:30`, `on Sundays at 03:00`; None where no sentence fits."""
    fields = cron.split()
    if len(fields) != 5:
        return None
    minute, hour, day, month, weekday = fields
    at, on = _at(minute, hour), _on(day, month, weekday)
    if at is None or on is None:
        return None
    if not at.startswith("at "):
        return at if on == "every day" else f"{at} {on}"
    return f"{on} {at}"


def told(schedule: Mapping[str, Any]) -> str:
    """When a schedule starts something, as one sentence without a full stop."""
    conditions = [condition(text, schedule) for text in schedule["when"]]
    clock = ""
    if schedule["cron"]:
        words = when(schedule["cron"])
        clock = (words or f"at the times of {schedule['cron']}") + f" ({schedule['timezone']})"
    if clock and conditions:
        said = f"{clock}, if {_listed(conditions, 'or')}"
    else:
        said = clock or f"as soon as {_listed(conditions, 'or')}"
    return said[:1].upper() + said[1:]


def condition(text: str, schedule: Mapping[str, Any]) -> str:
    """A condition as a clause: `50 new examples are there`."""
    name, _, least = text.partition(">=")
    if name == "examples":
        return f"{count(int(float(least)), 'new example')} {'is' if least == '1' else 'are'} there"
    if name == "drift":
        days = f"{schedule.get('days') or 7:g} days"
        return f"answers became worse by {float(least or 0.05) * 100:g} points from one window of {days} to the next"
    if name == "gate":
        return "the gate refused the last run"
    return text


def pause(seconds: float) -> str:
    """A cooldown: `6 hours`, or `none`."""
    if not seconds:
        return "none"
    for length, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            amount = seconds / length
            return count(int(amount), unit) if amount == int(amount) else f"{amount:.1f} {unit}s"
    return f"{seconds:g} seconds"


# --- parts ----------------------------------------------------------------------------------------


def _at(minute: str, hour: str) -> str | None:
    """`at 03:00`, `at 03:00 and 15:00`, `every 10 minutes`, `every hour at :30`."""
    step = re.fullmatch(r"\*/(\d+)", minute)
    if step and hour == "*":
        return f"every {count(int(step[1]), 'minute')}"
    if not minute.isdigit():
        return None
    if hour == "*":
        return f"every hour at :{int(minute):02}"
    step = re.fullmatch(r"\*/(\d+)", hour)
    if step:
        return f"every {count(int(step[1]), 'hour')} at :{int(minute):02}"
    hours = hour.split(",")
    if not all(h.isdigit() for h in hours):
        return None
    return "at " + _listed([f"{int(h):02}:{int(minute):02}" for h in hours], "and")


def _on(day: str, month: str, weekday: str) -> str | None:
    if day != "*" and weekday != "*":
        return None  # cron takes either, which no short sentence says
    months = [_MONTHS[int(m)] for m in month.split(",") if m.isdigit() and 1 <= int(m) <= 12]
    if month != "*" and len(months) != len(month.split(",")):
        return None
    within = f" of {_listed(months, 'and')}" if months else ""
    if day != "*":
        days = day.split(",")
        if not all(d.isdigit() for d in days):
            return None
        return f"on the {_listed([_nth(int(d)) for d in days], 'and')}{within or ' of each month'}"
    if weekday == "*":
        return f"every day{within}"
    if weekday in ("1-5", "mon-fri", "MON-FRI"):
        return f"on working days{within}"
    numbers = [_weekday(part) for part in weekday.split(",")]
    if None in numbers:
        return None
    return "on " + _listed([f"{_DAYS[n]}s" for n in numbers if n is not None], "and") + within


def _weekday(part: str) -> int | None:
    if part.isdigit() and int(part) <= 7:
        return int(part)
    return _SHORT.get(part.casefold()[:3]) if part.isalpha() else None


def _nth(n: int) -> str:
    return f"{n}{'th' if 10 <= n % 100 <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"


def _listed(parts: Sequence[str], word: str) -> str:
    return f" {word} ".join(p for p in (", ".join(parts[:-1]), parts[-1]) if p)
