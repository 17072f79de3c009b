"""Schedules fire once whatever the number of beats, make up for a downtime once, and say what came of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select, update

from finetune.observed import Observed
from finetune.registry import Registry
from finetune.runs import Runs
from finetune.schedule import Due, Schedules
from finetune.tables import Firing, Run, Schedule
from finetune.triggers import parse
from kernel.database import Database
from kernel.errors import TryAgain, UserError
from kernel.ids import fresh, now_ms
from kernel.jobs import Ledger
from kernel.tables import Job
from kernel.types import OPEN
from rehearsal.tables import Example, MixRow
from retrieval.choosing import Choosing
from retrieval.lending import Lending
from retrieval.live import RETRIEVER, LiveRetriever
from retrieval.tables import Feedback, Turn
from tests.house import WordEmbedder

pytestmark = pytest.mark.integration
BEATS = 6


def schedules(db: Database, owner: str, home: Path) -> Schedules:
    return Schedules(db, owner, Observed(db, registry(db, home)))


def registry(db: Database, home: Path) -> Registry:
    live = LiveRetriever(db, WordEmbedder(), home)
    return Registry(db, Lending(Choosing(db), {RETRIEVER: live}), home)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.cluster)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        made: str = request.getfixturevalue("fresh_postgres")()
        return made
    return f"sqlite:///{tmp_path / 'reprise.db'}"


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture
def one(db: Database, tmp_path: Path) -> Schedules:
    return schedules(db, "one", tmp_path)


def job(db: Database, due: Due) -> str:
    """A job as the ledger enters one, for a run of the due schedule."""
    run, name = fresh("run"), fresh("job")
    with db.write() as session:
        session.add(_run(run, kind=due.kind, workspace=due.workspace, state="requested"))
        values: dict[str, Any] = {"id": name, "serial": 1, "kind": "retrain", "queue": "train", "state": "queued"}
        values |= {"args": {"run": run, "firing": due.firing}, "attempt": 0, "attempts": 3, "cancel": 0, "progress": {}}
        session.add(Job(**values, enqueued_by="beat", created=now_ms()))
    return name


def _run(run: str, **given: Any) -> Run:
    values: dict[str, Any] = {"kind": "retriever", "workspace": None, "options": {"rho": 0.2}, "metrics": {}}
    return Run(**values | {"id": run, "state": "accepted", "created": now_ms(), "finished": now_ms()} | given)


def make_due(db: Database, next_: int = 1) -> None:
    with db.write() as session:
        session.execute(update(Schedule).values(next=next_))


def end_jobs(db: Database, **run: Any) -> None:
    with db.write() as session:
        session.execute(update(Job).values(state="done"))
        if run:
            session.execute(update(Run).where(Run.state == "requested").values(**run))


def test_a_due_time_is_taken_by_one_of_many_beats(db: Database, url: str, tmp_path: Path) -> None:
    beats = [Database(url) for _ in range(BEATS)]
    schedules(db, "editor", tmp_path).add("0 3 1 1 *")
    schedules(db, "editor", tmp_path).add("0 3 1 1 *", workspace="other")
    make_due(db)
    ready = Barrier(BEATS)

    def beat(number: int) -> list[str]:
        mine = schedules(beats[number], f"beat-{number}", tmp_path)
        ready.wait()
        return mine.fire(lambda due: job(beats[number], due)) + mine.fire(lambda due: job(beats[number], due))

    with ThreadPoolExecutor(BEATS) as pool:
        started = [name for names in pool.map(beat, range(BEATS)) for name in names]
    with db.read() as session:
        assert sorted(session.scalars(select(Job.id))) == sorted(started)
        assert len(started) == 2  # one for each schedule
        assert {f.result for f in session.scalars(select(Firing))} == {"started"}
    for opened in beats:
        opened.close()


BEAT = """
import sys
from finetune.observed import Observed
from finetune.schedule import Schedules
from kernel.database import Database
db, started = Database(sys.argv[1]), []
mine = Schedules(db, sys.argv[2], Observed(db, None))
print("ready", flush=True)
sys.stdin.readline()
mine.fire(lambda due: started.append(due) or "")
print(len(started), flush=True)
"""


def test_a_due_time_is_taken_by_one_of_several_processes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'reprise.db'}"
    db = Database(url)
    schedules(db, "editor", tmp_path).add("0 3 1 1 *")
    make_due(db)
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    beats: list[Any] = [
        subprocess.Popen([sys.executable, "-c", BEAT, url, f"beat-{n}"], **pipe)  # type: ignore[call-overload]
        for n in range(3)
    ]
    assert [beat.stdout.readline() for beat in beats] == ["ready\n"] * 3
    for beat in beats:
        beat.stdin.write("go\n")
        beat.stdin.flush()
    assert sum(int(beat.communicate()[0]) for beat in beats) == 1
    db.close()


def test_times_missed_in_a_downtime_fire_once_together(db: Database, one: Schedules) -> None:
    (added,) = one.add("0 * * * *")
    make_due(db, now_ms() - 5 * 3_600_000)
    assert len(one.fire(lambda due: job(db, due))) == 1
    assert one.fire(lambda due: job(db, due)) == []
    (told,) = one.history(added["schedule"])
    assert told["missed"] in (4, 5)
    assert told["result"] == "started"
    (row,) = one.listing()
    assert row["next"] > row["last"]


def test_a_beat_that_dies_before_it_has_recorded_leaves_a_firing_that_starts_one_job(
    db: Database, one: Schedules, tmp_path: Path
) -> None:
    (added,) = one.add("0 3 * * 1")
    make_due(db)

    def die(due: Due) -> str:
        job(db, due)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.fire(die)
    two = schedules(db, "two", tmp_path)
    assert two.fire(lambda due: job(db, due)) == []  # its lease stands
    with db.write() as session:
        session.execute(update(Firing).values(lease_until=0))
    assert len(two.fire(lambda due: job(db, due))) == 1
    with db.read() as session:
        assert len(session.scalars(select(Job)).all()) == 1
    assert two.history(added["schedule"])[0]["result"] == "started"


def expire(db: Database, *but: str) -> None:
    with db.write() as session:
        session.execute(update(Firing).where(Firing.id.not_in(but)).values(lease_until=0))


def test_a_schedule_that_waits_behind_a_slow_start_is_left_to_another_beat(
    db: Database, one: Schedules, tmp_path: Path
) -> None:
    """What is claimed has its lease for itself, and not for all that is started before it."""
    two = schedules(db, "two", tmp_path)
    for workspace in ("a", "b", "c"):
        one.add("0 3 * * 1", workspace=workspace)
    make_due(db)
    elsewhere: list[str] = []

    def slow(due: Due) -> str:
        expire(db, due.firing)
        elsewhere.extend(two.fire(lambda due: job(db, due)))
        return job(db, due)

    here = one.fire(slow)
    assert (len(here), len(elsewhere)) == (1, 2)
    with db.read() as session:
        assert sorted(session.scalars(select(Run.workspace))) == ["a", "b", "c"]


@pytest.fixture
def ledger(db: Database) -> Ledger:
    ledger = Ledger(db, "one", 30, 3)
    ledger.register("retrain", lambda _running: {}, "train")
    return ledger


def test_a_mix_that_is_drawn_for_longer_than_a_lease_starts_one_job(
    db: Database, one: Schedules, tmp_path: Path, ledger: Ledger
) -> None:
    two = schedules(db, "two", tmp_path)
    (added,) = one.add("0 3 * * 1")
    make_due(db)
    elsewhere: list[str] = []

    def start(due: Due) -> str:
        return ledger.enqueue("retrain", {"firing": due.firing}, also=partial(one.begun, due))

    def slow(due: Due) -> str:
        expire(db)
        elsewhere.extend(two.fire(start))
        return start(due)

    assert one.fire(slow) == []
    assert [row["job"] for row in ledger.listing()] == elsewhere
    (told,) = one.history(added["schedule"])
    assert (told["result"], told["job"]) == ("started", elsewhere[0])


def test_what_another_beat_has_started_is_not_told_as_refused(
    db: Database, one: Schedules, tmp_path: Path, ledger: Ledger
) -> None:
    """The slower one enqueues first here, and the other one breaks."""
    two = schedules(db, "two", tmp_path)
    (added,) = one.add("0 3 * * 1")
    make_due(db)

    def slow(due: Due) -> str:
        def breaks(_: Due) -> str:
            made.append(ledger.enqueue("retrain", {"firing": due.firing}, also=partial(one.begun, due)))
            raise ZeroDivisionError("oops")

        made: list[str] = []
        expire(db)
        assert two.fire(breaks) == []
        return made[0]

    (name,) = one.fire(slow)
    (told,) = one.history(added["schedule"])
    assert (told["result"], told["message"], told["job"]) == ("started", "", name)


def test_what_was_taken_up_by_another_beat_is_not_started(db: Database, one: Schedules, tmp_path: Path) -> None:
    """This process slept between its claim and the start."""
    one.add("0 3 * * 1")
    make_due(db)
    claim = one._claim

    def asleep(schedule: Schedule) -> Due | None:
        due = claim(schedule)
        expire(db)
        schedules(db, "two", tmp_path)._take_up(str(due and due.firing))
        return due

    one._claim = asleep  # type: ignore[method-assign]
    assert one.fire(lambda due: job(db, due)) == []


def test_a_start_that_may_succeed_later_is_tried_again(db: Database, one: Schedules) -> None:
    one.add("0 3 * * 1")
    make_due(db)

    def busy(due: Due) -> str:
        raise TryAgain("the database is busy")

    assert one.fire(busy) == []
    with db.write() as session:
        session.execute(update(Firing).values(lease_until=0))
    assert len(one.fire(lambda due: job(db, due))) == 1


def test_a_schedule_that_cannot_be_looked_at_keeps_no_other_from_its_turn(db: Database, one: Schedules) -> None:
    (broken,) = one.add("0 3 * * 1")
    make_due(db)
    one.fire(lambda due: job(db, due))
    with db.write() as session:  # as one that was stored before cooldowns had an end
        session.execute(update(Schedule).values(cooldown=10**17))
    one.add("0 3 * * 1", workspace="other")
    end_jobs(db)
    make_due(db, 2)
    assert len(one.fire(lambda due: job(db, due))) == 1
    told = one.history(broken["schedule"])[0]
    assert (told["result"], told["job"]) == ("failed", None)
    assert "year" in told["message"]
    assert one.fire(lambda due: job(db, due)) == []  # it is looked at again later, not at every tick


def test_a_schedule_without_another_time_fails_once_and_is_paused(db: Database, one: Schedules) -> None:
    (added,) = one.add("0 3 * * 1")
    name = added["schedule"]
    with db.write() as session:  # as an earlier release stored it
        session.execute(update(Schedule).values(cron="0 3 1 1 * 0 2020"))
    for due in (1, 2):
        make_due(db, due)
        assert one.fire(lambda due: job(db, due)) == []
    (told,) = one.history(name)
    assert told["result"] == "failed"
    assert told["message"] == "'0 3 1 1 * 0 2020' names a date that never comes: it is paused; give it other times"
    assert one.listing()[0]["paused"]
    with pytest.raises(UserError, match="not a cron expression"):
        one.pause(name)
    with db.write() as session:
        session.execute(update(Schedule).values(paused=0))
    assert one.pause(name)[0]["paused"]  # one can always be stopped
    assert not one.edit(name, cron="0 3 * * 1", paused=False)[0]["paused"]


def test_a_start_that_breaks_keeps_no_other_from_its_turn(db: Database, one: Schedules) -> None:
    (first,) = one.add("0 3 * * 1")
    one.add("0 3 * * 1", workspace="other")
    make_due(db)

    def start(due: Due) -> str:
        if due.id == first["schedule"]:
            raise ZeroDivisionError("oops")
        return job(db, due)

    assert len(one.fire(start)) == 1
    (told,) = one.history(first["schedule"])
    assert (told["result"], told["message"]) == ("refused", "ZeroDivisionError: oops")


def test_a_schedule_that_finds_nothing_new_says_so(db: Database, one: Schedules) -> None:
    (added,) = one.add("0 3 * * 1")

    def nothing(due: Due) -> str:
        raise UserError("there is nothing new to train on", code="nothing_new")

    make_due(db)
    assert one.fire(nothing) == []
    assert one.listing()[0]["last_result"] == "nothing new"
    # And one that finds out only when its run is drawn.
    make_due(db, 2)
    one.fire(lambda due: job(db, due))
    error = {"code": "nothing_new", "message": "there is nothing new", "hint": ""}
    end_jobs(db, state="failed", error=error)
    assert [row["result"] for row in one.history(added["schedule"])] == ["nothing new", "nothing new"]
    make_due(db, 3)
    one.fire(lambda due: job(db, due))
    end_jobs(db, state="rejected", verdict={"reasons": ["refused: why"]})
    newest = one.history(added["schedule"])[0]
    assert (newest["result"], newest["message"]) == ("rejected", "refused: why")
    assert one.listing()[0]["last_result"] == "rejected"


def test_a_mix_that_waits_for_a_person_is_told_until_it_is_decided(db: Database, one: Schedules) -> None:
    from ui.web.times import RESULTS

    (added,) = one.add("0 3 * * 1")
    make_due(db)
    one.fire(lambda due: job(db, due))
    end_jobs(db, state="proposed", finished=None)
    assert one.listing()[0]["last_result"] == "proposed"
    with db.write() as session:
        error = {"code": "declined", "message": "too much of one topic", "hint": ""}
        session.execute(update(Run).where(Run.state == "proposed").values(state="declined", error=error))
    newest = one.history(added["schedule"])[0]
    assert (newest["result"], newest["message"]) == ("declined", "too much of one topic")
    assert {"proposed", "declined"} <= set(RESULTS)


def examples(db: Database, count: int, **given: Any) -> list[str]:
    ids = [fresh("ex") for _ in range(count)]
    values: dict[str, Any] = {"workspace": "default", "question_key": "k", "slice": "s", "origin": "import"}
    values |= {"split": "train", "pinned": 0, "status": "approved", "reason": "", "born": 1, "died": OPEN}
    values |= {"created": now_ms()} | given
    with db.write() as session:
        session.add_all(Example(id=i, point=i, question=i, **values) for i in ids)
    return ids


def test_enough_new_examples_start_a_retrain_and_the_same_ones_no_second(db: Database, one: Schedules) -> None:
    one.add(None, triggers=parse(["examples>=5"]), cooldown=0)
    examples(db, 4)
    examples(db, 3, split="held-out")
    examples(db, 3, status="quarantined")
    assert one.fire(lambda due: job(db, due)) == []
    assert one.listing()[0]["seen"] == {"examples": 4}
    assert one.listing()[0]["next"] is None
    more = examples(db, 1, workspace="other")
    make_due(db)
    assert len(one.fire(lambda due: job(db, due))) == 1
    make_due(db)
    assert one.fire(lambda due: job(db, due)) == []  # that one is still under way
    with db.write() as session:
        run = session.scalars(select(Run)).one()
        run.state = "accepted"
        session.add_all(MixRow(run=run.id, example=e, part="new") for e in session.scalars(select(Example.id)))
    end_jobs(db)
    make_due(db)
    assert one.fire(lambda due: job(db, due)) == []  # a candidate has learnt them, though nobody has promoted it yet
    assert one.listing()[0]["seen"] == {"examples": 0}
    assert more


def test_what_a_run_could_not_be_trained_on_is_new_to_another_method_alone(db: Database, tmp_path: Path) -> None:
    pair, plain = (examples(db, 1), examples(db, 2))
    with db.write() as session:
        session.add(_run("run_pairs", kind="generator", options={"rho": 0.2, "method": "dpo"}))
        session.add_all(MixRow(run="run_pairs", example=e, part="new") for e in pair)
    observed = Observed(db, registry(db, tmp_path), left_out={"run_pairs": plain}.__getitem__)
    found = {method: observed.new_examples("generator", None, method) for method in ("dpo", "kto", "sft", None)}
    assert found == {"dpo": 0, "kto": 2, "sft": 2, None: 2}


def test_a_retrain_never_comes_more_often_than_the_cooldown(db: Database, one: Schedules) -> None:
    one.add(None, triggers=parse(["examples>=1"]), cooldown=3_600_000)
    examples(db, 1)
    assert len(one.fire(lambda due: job(db, due))) == 1
    end_jobs(db, state="failed", error={"code": "disk_full", "message": "no room", "hint": ""})
    make_due(db)
    assert one.fire(lambda due: job(db, due)) == []
    with db.write() as session:
        session.execute(update(Firing).values(created=now_ms() - 3_600_001))
    make_due(db)
    assert len(one.fire(lambda due: job(db, due))) == 1


def test_a_time_with_a_condition_waits_for_both_and_says_so(db: Database, one: Schedules) -> None:
    (added,) = one.add("0 3 * * *", triggers=parse(["examples>=2"]), cooldown=0)
    examples(db, 1)
    make_due(db)
    assert one.fire(lambda due: job(db, due)) == []
    assert one.history(added["schedule"])[0]["result"] == "waiting"
    examples(db, 1)
    assert one.fire(lambda due: job(db, due)) == []  # it is not three o'clock
    make_due(db, 2)
    assert len(one.fire(lambda due: job(db, due))) == 1
    assert one.history(added["schedule"])[0]["cause"] == "examples"


def test_the_gates_order_is_carried_out_once_and_reaches_the_run(db: Database, one: Schedules) -> None:
    one.add(None, triggers=parse(["gate"]), cooldown=0, policy="near")
    with db.write() as session:
        session.add(_run("run-1", state="rejected", verdict={"reasons": ["refused: old slice 'law': -0.1"]}))
        session.add(_run("run-2", state="rejected", options={"rho": 0.2, "control": "shuffled"}, verdict={}))
    asked: list[Due] = []

    def start(due: Due) -> str:
        asked.append(due)
        return job(db, due)

    one.fire(start)
    end_jobs(db, state="failed", error={"code": "x", "message": "", "hint": ""})
    make_due(db)
    one.fire(start)
    assert [due.options for due in asked] == [{"policy": "near", "rho": 0.3}]


def test_an_order_that_could_not_be_carried_out_is_given_again(db: Database, one: Schedules) -> None:
    (added,) = one.add(None, triggers=parse(["gate"]), cooldown=0)
    with db.write() as session:
        session.add(_run("run-1", state="rejected", verdict={"reasons": ["refused: old slice 'law': -0.1"]}))
    asked: list[Due] = []

    def start(due: Due) -> str:
        asked.append(due)
        if len(asked) == 1:
            raise UserError("run-0 waits for approval", hint="approve or reject it", code="proposal_waits")
        return job(db, due)

    for _ in range(3):
        one.fire(start)
        end_jobs(db, state="failed", error={"code": "x", "message": "", "hint": ""})
        make_due(db)
    assert [due.options["rho"] for due in asked] == [0.3, 0.3]
    assert [row["result"] for row in one.history(added["schedule"])] == ["failed", "refused"]


def waited(db: Database, schedule: str, times: int) -> None:
    """As beats leave it that found nothing to start, after whatever there is by now."""
    with db.write() as session:
        session.execute(update(Firing).values(created=now_ms() - 60_000))
        values: dict[str, Any] = {"schedule": schedule, "cause": "time", "missed": 0, "options": {}, "evidence": {}}
        values |= {"owner": "one", "lease_until": 0, "result": "waiting", "message": "", "job": None, "run": None}
        begun = now_ms() - 50_000
        session.add_all(Firing(id=fresh("fire"), due=-n, created=begun + n, **values) for n in range(times))


@pytest.mark.parametrize(("when", "cooldown"), [(["examples>=1"], 3_600_000), (["gate"], 0)])
def test_however_often_it_waited_a_schedule_knows_its_last_start_and_what_it_answered(
    db: Database, one: Schedules, when: list[str], cooldown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.schedule._KEPT", 5)
    (added,) = one.add("0 3 * * *", triggers=parse(when), cooldown=cooldown)
    examples(db, 1)
    with db.write() as session:
        session.add(_run("run-1", state="rejected", verdict={"reasons": ["refused: old slice 'law': -0.1"]}))
    make_due(db, 1)
    assert len(one.fire(lambda due: job(db, due))) == 1
    end_jobs(db, state="failed", error={"code": "x", "message": "", "hint": ""})
    waited(db, added["schedule"], 8)
    for next_ in (2, 3):
        make_due(db, next_)
        assert one.fire(lambda due: job(db, due)) == []
    assert [row["result"] for row in one.history(added["schedule"])] == [*("waiting" for _ in range(5)), "failed"]


def turn(
    session: Any, at: int, abstained: bool = False, support: float = 0.8, vote: str | None = None, **chosen: str
) -> None:
    name = fresh("turn")
    shown = {"abstained": abstained, "support": support, "answer": "a"} | ({"chosen": chosen} if chosen else {})
    values: dict[str, Any] = {"workspace": "default", "question": "q", "epoch": 1, "asked_at": at, "created": at}
    session.add(Turn(id=name, shown=shown, personal=0, **values))
    session.flush()
    for number, word in enumerate(vote.split() if vote else ()):
        session.add(Feedback(id=fresh("fb"), turn=name, vote=word, created=at + number))


def test_more_refusals_and_votes_down_than_before_are_drift(db: Database, one: Schedules) -> None:
    one.add(None, triggers=parse(["drift"], days=1, turns=30), cooldown=0, workspace="default")
    now, day = now_ms(), 86_400_000
    with db.write() as session:
        for n in range(60):
            turn(session, now - day - 1000 - n, abstained=n < 6)
            turn(session, now - 1000 - n, abstained=n < 18, vote="down" if n >= 50 else "down up", retriever="champion")
            turn(session, now - 1000 - n, abstained=True, vote="down", retriever="base", generator="canary")
            turn(session, now - 1000 - n, abstained=True, vote="down", retriever="named", generator="base")
    (due,) = one.fire(lambda due: job(db, due))
    assert due
    told = one.history(one.listing()[0]["schedule"])[0]
    assert told["cause"] == "drift"
    seen = told["evidence"]["drift"]
    assert (seen["before"]["refused"], seen["recent"]["refused"], seen["recent"]["voted_down"]) == (6, 18, 10)
    assert seen["recent"]["turns"] == 60, "what was tried or named is not what serves"
    assert "rose" in seen["worse"]


def test_a_schedule_is_edited_and_a_bad_edit_changes_nothing(db: Database, one: Schedules) -> None:
    (added,) = one.add("0 3 * * *")
    name = added["schedule"]
    (row,) = one.edit(name, timezone="Europe/Berlin", rho=0.4, workspace="law", triggers=parse(["gate"]), paused=True)
    assert (row["timezone"], row["rho"], row["workspace"], row["when"]) == ("Europe/Berlin", 0.4, "law", ["gate>=2"])
    assert (row["paused"], row["next"], row["cooldown"]) == (True, None, 21_600.0)
    (row,) = one.edit(name, cron=None, paused=False, rho=None)
    assert (row["cron"], row["rho"], row["paused"]) == (None, None, False)
    wrong_ones: list[dict[str, Any]] = [{"triggers": parse([])}, {"cron": "often"}, {"timezone": "Mars"}]
    for wrong in (*wrong_ones, {"cooldown": -1}, {"cooldown": 10**17}):
        with pytest.raises(UserError):
            one.edit(name, **wrong)
    assert one.listing() == [row]
    with pytest.raises(UserError, match="needs a time or a condition"):
        one.add(None)
    assert one.remove(name) == []


def test_a_run_that_no_job_was_made_for_in_a_day_is_not_open_for_ever(db: Database, tmp_path: Path) -> None:
    day = 86_400_000
    known: dict[str, Any] = {"state": "requested", "finished": None}
    with db.write() as session:
        session.add(_run("run_left", created=now_ms() - day - 60_000, **known))
        session.add(_run("run_fresh", created=now_ms() - day + 60_000, **known))
        session.add(_run("run_begun", created=now_ms() - 2 * day, **known | {"state": "drawn"}))
        session.add(_run("run_held", created=now_ms() - 2 * day, **known | {"state": "proposed"}))
    queued = job(db, Due(id="sch", firing="fir", kind="retriever", workspace=None, options={}))
    with db.write() as session:  # one that is old, and waits behind others
        session.execute(update(Run).where(Run.state == "requested", Run.id.startswith("run-")).values(created=1))
        assert session.get_one(Job, queued).state == "queued"
    runs = Runs(db, tmp_path)
    assert runs.settle(orphaned=False) == ["run_left"]
    assert (runs.get("run_left").state, (runs.get("run_left").error or {})["code"]) == ("failed", "abandoned")
    assert runs.get("run_fresh").state == "requested"
    assert runs.settle(orphaned=False) == []
