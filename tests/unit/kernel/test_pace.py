"""What a progress report is made into: a count that does not fall, a rate, and a time that is left."""

from __future__ import annotations

from kernel.pace import Pace, people


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_measured_over_a_sliding_window() -> None:
    clock = Clock()
    pace = Pace(clock)
    told = pace.tell("embedding", 0, 1000)
    assert (told["rate"], told["eta_seconds"]) == (None, None)
    for done in range(10, 210, 10):  # one a second, for longer than the window
        clock.now += 10
        told = pace.tell("embedding", done, 1000)
    assert told["rate"] == 1.0
    assert told["eta_seconds"] == 800.0
    for done in range(300, 1000, 100):  # then ten a second
        clock.now += 10
        told = pace.tell("embedding", done, 1000)
    assert told["rate"] == 10.0
    assert told["eta_seconds"] == 10.0


def test_a_rate_sinks_while_nothing_gets_done() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.tell("embedding", 0, 100)
    clock.now += 10
    assert pace.tell("embedding", 50, 100)["rate"] == 5.0
    clock.now += 40
    assert pace.tell("embedding", 50, 100)["rate"] == 1.0


def test_the_count_of_one_thing_never_falls() -> None:
    pace = Pace(Clock())
    shown = [
        pace.tell(stage, done, 100)["done"] for stage, done in (("parsing", 64), ("embedding", 0), ("parsing", 70))
    ]
    assert shown == [64, 64, 70]


def test_a_new_stage_that_counts_another_thing_begins_at_its_beginning() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.tell("training", 0, 200)
    clock.now += 100
    pace.tell("training", 200, 200)
    told = pace.tell("evaluating", 0, 5)
    assert (told["done"], told["rate"]) == (0, None)
    clock.now += 2
    assert pace.tell("evaluating", 1, 5)["eta_seconds"] == 8.0


def test_a_total_that_becomes_known_later_gives_a_time() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.tell("reading", 0, 0)
    clock.now += 5
    assert pace.tell("reading", 10, 0)["eta_seconds"] is None
    assert pace.tell("reading", 10, 30)["eta_seconds"] == 10.0


def test_people_read_it_in_a_line() -> None:
    told = {"stage": "embedding", "done": 12, "total": 80, "rate": 3.14, "eta_seconds": 21.6, "item": "a.pdf"}
    assert people(told) == "embedding 12/80 · 3.1/s · 22 s left · a.pdf"
    assert (
        people(told | {"rate": 0.05, "eta_seconds": 4000, "item": None})
        == "embedding 12/80 · 3.0/min · 1 h 06 min left"
    )
    assert people({"stage": "queued", "done": 0, "total": 0}) == "queued"
    assert people({"stage": "reading", "done": 7, "total": 7}) == "reading 7"  # the total is not known
