"""What the job ledger promises, and that real workers on real brokers keep it."""

from __future__ import annotations

import ctypes
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from kernel.celery_app import QUEUES, RUN, beat_scheduler, deliver, make_app
from kernel.database import Database
from kernel.errors import Conflict, NotFound, Refused, TryAgain
from kernel.ids import now_ms
from kernel.jobs import Ledger, Running, Work
from kernel.settings import load
from kernel.tables import Fact, Job, JobItem, JobKey


class Died(BaseException):
    """What a worker's end looks like from inside: its code stops, and nobody writes anything down."""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.cluster)])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'reprise.db'}" if sqlite else request.getfixturevalue("fresh_postgres")()
    opened = Database(url)
    yield opened
    opened.close()


class Desk:
    """A ledger with one kind of work, which notes what was delivered and what ran."""

    def __init__(self, db: Database, owner: str = "me", lease_seconds: float = 30, attempts: int = 3) -> None:
        self.db, self.ledger = db, Ledger(db, owner, lease_seconds, attempts)
        self.delivered: list[str] = []
        self.ran: list[str] = []
        self.work: Callable[[Running], Any] = lambda _running: {}
        self.ledger.register("work", self._work, "ingest")
        self.ledger.deliver = lambda job, _queue: self.delivered.append(job)

    def enqueue(self, *keys: str, **args: Any) -> str:
        return self.ledger.enqueue("work", args, keys=keys)

    def run(self, job: str) -> dict[str, Any]:
        self.ledger.run(job)
        return self.ledger.get(job)

    def die(self, job: str) -> None:
        """Run a job on a worker that dies in it, and let its lease expire."""
        before, self.work = self.work, _die
        with pytest.raises(Died):
            self.ledger.run(job)
        self.work = before
        self.silence(job)

    def silence(self, job: str) -> None:
        with self.db.write() as session:
            session.execute(update(Job).where(Job.id == job).values(heartbeat=0, created=0, delivered=0))

    def _work(self, running: Running) -> dict[str, Any]:
        self.ran.append(running.id)
        return self.work(running) or {}


def _die(_running: Running) -> None:
    raise Died


@pytest.fixture
def desk(db: Database) -> Desk:
    return Desk(db)


# --- accepting and running ----------------------------------------------------------------------------


def test_an_accepted_job_is_in_the_ledger_whatever_the_broker_does(desk: Desk) -> None:
    def broken(_job: str, _queue: str) -> None:
        raise ConnectionError

    desk.ledger.deliver = broken
    with pytest.raises(ConnectionError):
        desk.enqueue(page=3)
    (job,) = desk.ledger.listing()
    assert (job["state"], job["args"]) == ("queued", {"page": 3})


def test_a_job_is_not_made_where_what_goes_with_it_cannot_be(desk: Desk) -> None:
    def taken(_session: Session, _job: str) -> None:
        raise TryAgain("taken")

    def noted(session: Session, job: str) -> None:
        session.add(Fact(key="made", value={"job": job}))

    with pytest.raises(TryAgain):
        desk.ledger.enqueue("work", {}, keys=["k"], also=taken)
    assert (desk.ledger.listing(), desk.delivered) == ([], [])
    job = desk.ledger.enqueue("work", {}, keys=["k"], also=noted)
    with desk.db.read() as session:
        assert session.get_one(Fact, "made").value == {"job": job}


def test_a_job_runs_to_its_result(desk: Desk) -> None:
    def work(running: Running) -> dict[str, Any]:
        running.progress("reading", 1, 2)
        progress = desk.ledger.get(running.id)["progress"]
        assert (progress["stage"], progress["done"], progress["total"]) == ("reading", 1, 2)
        return {"n": running.args["n"] + running.attempt}

    desk.work = work
    job = desk.run(desk.enqueue(n=1))
    assert (job["state"], job["result"], job["error"], job["attempt"]) == ("done", {"n": 2}, None, 1)
    assert job["created"] <= job["started"] <= job["finished"]


def test_a_job_that_is_delivered_twice_runs_once(desk: Desk) -> None:
    job = desk.enqueue()
    desk.work = lambda running: desk.ledger.run(running.id)  # and once more while it runs
    desk.run(job)
    desk.run(job)
    assert desk.ran == [job]


def test_jobs_of_one_key_run_in_order_of_acceptance(desk: Desk) -> None:
    first, second, third = (desk.enqueue("k") for _ in range(3))
    other = desk.enqueue("another")
    desk.delivered.clear()
    for job in (third, second, other, first):
        desk.run(job)
    assert desk.ran == [other, first]
    assert desk.delivered == [second]  # its turn has come
    desk.run(third)
    desk.run(second)
    desk.run(third)
    assert desk.ran == [other, first, second, third]


def test_a_job_is_not_overtaken_while_it_is_tried_again(desk: Desk) -> None:
    first, second = desk.enqueue("k"), desk.enqueue("k")
    desk.die(first)
    desk.run(second)
    assert desk.ran == [first]
    assert desk.ledger.sweep() == [first]
    desk.run(second)
    desk.run(first)
    desk.run(second)
    assert desk.ran == [first, first, second]


def test_a_job_that_is_retried_waits_for_one_of_its_key_that_runs(desk: Desk) -> None:
    failing, second = desk.enqueue("k"), desk.enqueue("k")

    def retry_the_other(_running: Running) -> None:
        desk.ledger.retry(failing)
        desk.run(failing)

    desk.work = _raising(Refused("no"))
    desk.run(failing)
    desk.work = retry_the_other
    desk.run(second)
    assert desk.ran == [failing, second]  # not inside the other's work
    desk.work = lambda _running: None
    assert desk.run(failing)["state"] == "done"


def test_an_unknown_job_is_not_found(desk: Desk) -> None:
    for ask in (desk.ledger.get, desk.ledger.cancel, desk.ledger.retry):
        with pytest.raises(NotFound):
            ask("job-nobody")
    desk.ledger.run("job-nobody")


# --- errors -------------------------------------------------------------------------------------------


def _raising(error: Exception) -> Work:
    def work(_running: Running) -> dict[str, Any]:
        raise error

    return work


def test_a_transient_error_is_tried_again_and_then_fails(desk: Desk) -> None:
    desk.work = _raising(TryAgain("the server is busy"))
    job = desk.enqueue()
    assert [desk.run(job)["state"] for _ in range(3)] == ["queued", "queued", "failed"]
    assert desk.delivered == [job] * 3
    assert desk.ledger.get(job)["error"]["code"] == "try_again"


def test_a_transient_error_that_passes_leaves_no_trace(desk: Desk) -> None:
    desk.work = _raising(TryAgain("the server is busy"))
    job = desk.enqueue()
    desk.run(job)
    desk.work = lambda _running: {"ok": 1}
    done = desk.run(job)
    assert (done["state"], done["error"], done["result"], done["attempt"]) == ("done", None, {"ok": 1}, 2)


def test_a_refusal_fails_at_once_and_says_why(desk: Desk) -> None:
    desk.work = _raising(Refused("not this file", hint="another one"))
    job = desk.run(desk.enqueue())
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert job["error"] == {"code": "refused", "message": "not this file", "hint": "another one"}


def test_a_fault_of_ours_is_called_so(desk: Desk) -> None:
    desk.work = _raising(ZeroDivisionError("division by zero"))
    job = desk.run(desk.enqueue())
    assert job["state"] == "failed"
    assert job["error"]["code"] == "internal"
    assert "division by zero" in job["error"]["message"]


def test_a_failed_job_can_be_retried_with_all_its_attempts(desk: Desk) -> None:
    desk.work = _raising(Refused("no"))
    job = desk.enqueue()
    desk.run(job)
    desk.work = lambda _running: {}
    assert desk.ledger.retry(job)["state"] == "queued"
    assert desk.delivered == [job, job]
    assert desk.run(job)["state"] == "done"
    assert desk.ledger.retry(job)["state"] == "done"  # what is done stays so
    desk.run(job)
    assert len(desk.ran) == 2


# --- death --------------------------------------------------------------------------------------------


def test_a_worker_that_went_silent_loses_its_job_to_another(db: Database) -> None:
    one, two = Desk(db, "one"), Desk(db, "two")
    job = one.enqueue()
    one.die(job)
    assert two.ledger.sweep() == [job]
    assert two.delivered == [job]
    done = two.run(job)
    assert (done["state"], done["attempt"], done["worker"]) == ("done", 2, "two")


def test_a_job_that_kills_its_workers_is_set_aside(desk: Desk) -> None:
    job = desk.enqueue()
    for _ in range(3):
        desk.die(job)
        desk.ledger.sweep()
    failed = desk.ledger.get(job)
    assert (failed["state"], failed["error"]["code"], failed["attempt"]) == ("failed", "worker_died", 3)
    assert desk.ledger.sweep() == []
    assert desk.ledger.retry(job)["state"] == "queued"


def test_a_worker_that_lives_keeps_its_job(desk: Desk) -> None:
    def work(running: Running) -> None:
        assert desk.ledger.sweep() == []
        assert desk.ledger.get(running.id)["state"] == "running"

    desk.work = work
    assert desk.run(desk.enqueue())["state"] == "done"


def test_a_heartbeat_never_goes_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that waited to be written has an older time than the pulse that was written meanwhile."""

    def work(running: Running) -> None:
        later = now_ms() + 5_000
        monkeypatch.setattr("kernel.jobs.now_ms", lambda: later)
        desk.ledger._beat(running.id, running.attempt)
        monkeypatch.setattr("kernel.jobs.now_ms", lambda: later - 1_000)
        desk.ledger._beat(running.id, running.attempt)
        with desk.db.read() as session:
            assert session.get_one(Job, running.id).heartbeat == later
        monkeypatch.undo()

    desk.work = work
    assert desk.run(desk.enqueue())["state"] == "done"


def test_after_a_crash_running_jobs_are_known_to_be_orphaned(desk: Desk) -> None:
    running, waiting = desk.enqueue(), desk.enqueue()
    desk.work = _die
    with pytest.raises(Died):
        desk.ledger.run(running)
    assert desk.ledger.sweep() == []
    assert desk.ledger.sweep(orphaned=True) == [running, waiting]


def test_a_long_job_without_reports_still_beats(db: Database) -> None:
    desk = Desk(db, lease_seconds=0.2)

    def heartbeat(job: str) -> int:
        with db.read() as session:
            return session.get_one(Job, job).heartbeat or 0

    def work(running: Running) -> None:
        first = heartbeat(running.id)
        while heartbeat(running.id) == first:  # until its pulse has come
            threading.Event().wait(0.01)

    desk.work = work
    assert desk.run(desk.enqueue())["state"] == "done"


def test_an_attempt_that_comes_to_life_late_changes_nothing(desk: Desk) -> None:
    """Its heart stopped (a long pause of the whole process), the job went on elsewhere, and then it woke up."""
    outcomes: list[str] = []

    def second(_running: Running) -> dict[str, Any]:
        return {"by": "second"}

    def first(running: Running) -> dict[str, Any]:
        desk.silence(running.id)
        desk.ledger.sweep()
        desk.work = second
        desk.run(running.id)
        outcomes.append(desk.ledger.get(running.id)["state"])
        return {"by": "first"}

    desk.work = first
    job = desk.run(desk.enqueue())
    assert outcomes == ["done"]
    assert (job["state"], job["result"], job["attempt"]) == ("done", {"by": "second"}, 2)


def test_an_attempt_that_comes_to_life_late_does_not_end_the_one_that_runs(desk: Desk) -> None:
    started, go = threading.Event(), threading.Event()
    successor = threading.Thread(target=lambda: desk.run(desk.ran[0]))

    def second(_running: Running) -> dict[str, Any]:
        started.set()
        go.wait(60)
        return {"by": "second"}

    def first(running: Running) -> dict[str, Any]:
        desk.silence(running.id)
        desk.ledger.sweep()
        desk.work = second
        successor.start()
        started.wait(60)
        return {"by": "first"}

    desk.work = first
    assert desk.run(desk.enqueue())["state"] == "running"
    go.set()
    successor.join(60)
    job = desk.ledger.get(desk.ran[0])
    assert (job["state"], job["result"], job["attempt"]) == ("done", {"by": "second"}, 2)


def test_a_lost_attempt_is_stopped_at_its_next_report(desk: Desk) -> None:
    reached: list[str] = []

    def first(running: Running) -> None:
        desk.silence(running.id)
        desk.ledger.sweep()
        desk.work = lambda second: second.progress("second") or reached.append("second")
        desk.run(running.id)
        running.progress("first")
        reached.append("first")

    desk.work = first
    assert desk.run(desk.enqueue())["state"] == "done"
    assert reached == ["second"]


def test_what_the_broker_lost_is_delivered_again_in_time(desk: Desk) -> None:
    job = desk.enqueue()
    desk.delivered.clear()
    assert desk.ledger.sweep() == []  # just accepted: it is on its way
    desk.silence(job)
    assert desk.ledger.sweep() == [job]
    assert desk.delivered == [job]


def test_only_those_whose_turn_has_come_are_delivered_again(desk: Desk) -> None:
    """A long queue must not fill the broker with every sweep."""
    first, second, *_ = jobs = [desk.enqueue("k") for _ in range(5)]
    alone = desk.enqueue()
    for job in (*jobs, alone):
        desk.silence(job)
    assert desk.ledger.sweep() == [first, alone]
    assert desk.ledger.sweep() == []  # they are on their way

    def work(_running: Running) -> None:
        desk.silence(alone)
        assert desk.ledger.sweep() == [alone]

    desk.work = work
    assert desk.run(first)["state"] == "done"
    desk.silence(alone)
    assert desk.ledger.sweep() == [second, alone]


# --- cancelling ---------------------------------------------------------------------------------------


def test_a_queued_job_is_cancelled_at_once_and_what_waited_behind_it_goes_on(desk: Desk) -> None:
    first, second = desk.enqueue("k"), desk.enqueue("k")
    desk.delivered.clear()
    assert desk.ledger.cancel(first)["state"] == "cancelled"
    assert desk.delivered == [second]
    desk.run(first)
    desk.run(second)
    assert desk.ran == [second]


def test_a_running_job_is_cancelled_at_its_next_report(desk: Desk) -> None:
    reached: list[str] = []

    def work(running: Running) -> None:
        running.progress("one")
        reached.append("one")
        desk.ledger.cancel(running.id)
        running.progress("two")
        reached.append("two")

    desk.work = work
    assert desk.run(desk.enqueue())["state"] == "cancelled"
    assert reached == ["one"]


def test_a_cancelled_job_whose_worker_died_is_not_run_again(desk: Desk) -> None:
    job = desk.enqueue()
    desk.die(job)
    desk.ledger.cancel(job)
    desk.ledger.sweep()
    assert desk.ledger.get(job)["state"] == "cancelled"


def test_a_job_that_ended_stays_as_it_is(desk: Desk) -> None:
    job = desk.enqueue()
    desk.run(job)
    assert desk.ledger.cancel(job)["state"] == "done"


def test_a_cancelled_job_can_be_retried(desk: Desk) -> None:
    job = desk.enqueue()
    desk.ledger.cancel(job)
    desk.ledger.retry(job)
    assert desk.run(job)["state"] == "done"


# --- real workers -------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.cluster)])
def app(request: pytest.FixtureRequest, desk: Desk, tmp_path: Path) -> Iterator[Celery]:
    broker = None if request.param == "memory" else request.getfixturevalue("redis_url")
    made = make_app(load(home=tmp_path, broker_url=broker), desk.ledger.run, lambda: None)
    made.control.purge()
    desk.ledger.deliver = deliver(made)
    yield made
    made.close()


@pytest.fixture
def worker(app: Celery) -> Iterator[None]:
    """A worker on a pool of threads, as the node and the cluster run it."""
    ready = threading.Event()
    controller = app.WorkController(
        pool_cls="threads",
        concurrency=3,
        queues=list(QUEUES),
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
        ready_callback=lambda _consumer: ready.set(),
        loglevel="ERROR",
    )
    thread = threading.Thread(target=controller.start)
    thread.start()
    assert ready.wait(60)
    yield
    controller.stop()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.integration
@pytest.mark.usefixtures("worker")
def test_a_real_worker_runs_each_job_once_and_keeps_the_order_of_its_key(desk: Desk, app: Celery) -> None:
    over, running = threading.Event(), Counter[str]()
    together: list[int] = []

    def work(job: Running) -> None:
        key = job.args["k"]
        running[key] += 1
        together.append(running[key])
        if len(desk.ran) == 12:
            over.set()
        running[key] -= 1

    desk.work = work
    jobs = [desk.ledger.enqueue("work", {"k": str(i % 2)}, keys=[str(i % 2)]) for i in range(12)]
    for job in jobs:
        app.send_task(RUN, args=[job], queue="train")  # the broker delivers twice
    assert over.wait(60)
    assert Counter(desk.ran) == Counter(jobs)
    assert set(together) == {1}
    for key in (0, 1):
        mine = [job for job in desk.ran if job in jobs[key::2]]
        assert mine == jobs[key::2]


def test_a_broker_that_is_away_only_delays(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []  # not caplog: a worker of an earlier test may have set logging up its own way
    monkeypatch.setattr("kernel.celery_app.log.warning", lambda text, *args: told.append(text % args))
    away = make_app(load(home=tmp_path, broker_url="amqp://127.0.0.1:1//"), desk.ledger.run, lambda: None)
    desk.ledger.deliver = deliver(away)
    job = desk.enqueue()
    assert [line for line in told if "waits in the ledger" in line]
    assert desk.ledger.get(job)["state"] == "queued"
    desk.ledger.deliver = lambda job, _queue: desk.ledger.run(job)
    desk.ledger.sweep(orphaned=True)
    assert desk.ledger.get(job)["state"] == "done"
    away.close()


def test_only_the_beat_that_may_ticks(tmp_path: Path) -> None:
    app = make_app(load(home=tmp_path), lambda _job: None, lambda: None)
    sent: list[str] = []
    for may in (False, True):
        scheduler = beat_scheduler(lambda may=may: may)(app=app, max_interval=7)
        scheduler.apply_async = lambda entry, **_: sent.append(entry.task)
        assert 0 <= scheduler.tick() <= 7
        assert len(sent) == 0
        for entry in scheduler.schedule.values():
            entry.last_run_at = entry.last_run_at.replace(year=2000)  # due long since
        scheduler.old_schedulers = None
        scheduler._heap = None
        scheduler.tick()
        assert len(sent) == int(may)
    app.close()


# --- keys ---------------------------------------------------------------------------------------------


def test_a_job_waits_for_each_of_its_keys(desk: Desk) -> None:
    a, b, both, c = desk.enqueue("a"), desk.enqueue("b"), desk.enqueue("a", "b"), desk.enqueue("c")
    for job in (both, c):
        desk.run(job)
    assert desk.ran == [c]
    desk.delivered.clear()
    desk.run(a)
    desk.run(both)
    assert (desk.ran, desk.delivered) == ([c, a], [])  # its other turn has not come
    desk.run(b)
    assert desk.delivered == [both]
    assert desk.run(both)["state"] == "done"


def test_one_end_lets_several_go_on_at_once(desk: Desk) -> None:
    large = desk.enqueue(*(f"document {n}" for n in range(40)))
    small = [desk.enqueue(f"document {n}") for n in range(40)]
    second = desk.enqueue("document 3")
    desk.delivered.clear()
    desk.run(large)
    assert desk.delivered == small
    desk.run(second)
    assert desk.ran == [large]


def test_a_small_job_does_not_wait_behind_a_large_one_of_other_documents(desk: Desk) -> None:
    def while_it_runs(_running: Running) -> None:
        desk.work = lambda _running: None
        assert desk.run(small)["state"] == "done"
        assert desk.run(same)["state"] == "queued"

    large = desk.enqueue(*(f"document {n}" for n in range(1000)))
    small, same = desk.enqueue("another document"), desk.enqueue("document 500")
    desk.work = while_it_runs
    desk.run(large)
    assert desk.run(same)["state"] == "done"


@pytest.mark.parametrize("seed", range(2))
def test_with_any_keys_every_job_runs_and_those_that_share_one_run_apart_in_order(db: Database, seed: int) -> None:
    """No set of keys makes two jobs wait for each other, and none is overtaken by a younger one of its keys."""
    dice = random.Random(seed)
    ledger = Ledger(db, "me", 30, 3)
    names = [f"k{n}" for n in range(7)]
    keys: dict[str, set[str]] = {}
    queue: Queue[str | None] = Queue()
    busy, guard, over = Counter[str](), threading.Lock(), threading.Event()
    ran: list[str] = []
    failed: list[str] = []

    def work(running: Running) -> dict[str, Any]:
        mine = keys[running.id]
        with guard:
            if any(busy[key] for key in mine):
                failed.append(running.id)
            busy.update(mine)
        running.progress("working")
        with guard:
            busy.subtract(mine)
            ran.append(running.id)
            if len(ran) == len(keys):
                over.set()
        return {}

    def worker() -> None:
        while (job := queue.get()) is not None:
            ledger.run(job)

    ledger.register("work", work)
    accepted = [ledger.enqueue("work", {}, keys=dice.sample(names, dice.choice([0, 1, 1, 2, 3, 7]))) for _ in range(40)]
    with db.read() as session:
        keys |= {row.id: set(row.keys) for row in session.execute(select(Job.id, Job.keys))}
    ledger.deliver = lambda job, _queue: queue.put(job)
    for job in dice.sample(accepted, len(accepted)):  # a broker keeps no order
        queue.put(job)
    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert over.wait(60)
    for _ in threads:
        queue.put(None)
    for thread in threads:
        thread.join(60)
    assert not failed
    assert Counter(ran) == Counter(accepted)
    for key in names:
        line = [job for job in accepted if key in keys[job]]
        assert [job for job in ran if key in keys[job]] == line
    with db.read() as session:
        assert session.query(JobKey).count() == 0  # ended jobs stand in no line


def test_claims_stay_quick_behind_a_long_queue(db: Database) -> None:
    desk = Desk(db)
    with db.write() as session:
        of = session.execute(select(func.max(Job.serial))).scalar() or 0
        rows = [{"id": f"job-{n}", "serial": of + n, "keys": ["hot", f"d{n}"]} for n in range(1, 4001)]
        blank = {"kind": "work", "queue": "ingest", "args": {}, "progress": {}, "enqueued_by": "person", "delivered": 0}
        blank |= {"state": "queued", "attempt": 0, "attempts": 3, "excused": 0, "cancel": 0, "created": 0}
        session.execute(insert(Job), [blank | row for row in rows])
        lines = [{"job": r["id"], "key": key, "serial": r["serial"]} for r in rows for key in r["keys"]]
        session.execute(insert(JobKey), lines)
    started = time.perf_counter()
    for _ in range(5):
        other = desk.enqueue("another")
        assert desk.run(other)["state"] == "done"
        assert desk.run("job-4000")["state"] == "queued"
    assert time.perf_counter() - started < 5  # a claim that looked at each would take minutes
    started = time.perf_counter()
    assert desk.ledger.sweep() == ["job-1"]
    assert time.perf_counter() - started < 5


# --- progress -----------------------------------------------------------------------------------------


def test_progress_says_how_fast_and_until_when(desk: Desk) -> None:
    def work(running: Running) -> None:
        running.progress("embedding", 0, 4)
        threading.Event().wait(0.6)  # a rate needs time to pass
        running.mark(["2"], "handbook.pdf")
        running.progress("embedding", 2, 4)
        told = desk.ledger.get(running.id)["progress"]
        assert told["item"] == "handbook.pdf"
        assert 0 < told["rate"] < 4
        assert told["eta_seconds"] == pytest.approx(2 / told["rate"], abs=0.2)
        assert told["started"].endswith("Z")

    desk.work = work
    done = desk.run(desk.enqueue())["progress"]
    assert (done["done"], done["total"], done["eta_seconds"], done["item"]) == (4, 4, 0.0, None)


def test_a_job_is_never_at_its_end_before_it_is(desk: Desk) -> None:
    def work(running: Running) -> None:
        running.progress("publishing", 4, 4)
        told = desk.ledger.get(running.id)["progress"]
        assert told["done"] < told["total"]

    desk.work = work
    assert desk.run(desk.enqueue())["progress"]["done"] == 4


def test_a_look_at_what_runs_is_small_and_tells_what_changed(desk: Desk) -> None:
    job = desk.enqueue(text="x" * 100_000)
    before = desk.ledger.glance(job)
    assert desk.ledger.glance() == before
    assert len(str(before)) < 1000
    desk.work = lambda running: running.progress("reading", 1, 2)
    desk.run(job)
    assert desk.ledger.glance(job) != before
    assert desk.ledger.glance() == {}


# --- what a worker dies on ----------------------------------------------------------------------------


class Files:
    """Work that goes through items as an ingest does: the innocent together, suspects one at a time."""

    def __init__(self, desk: Desk, deadly: set[str], number: int = 6) -> None:
        self.deadly, self.items = deadly, [str(n) for n in range(number)]
        desk.work = self.work
        desk.ledger.register("work", desk._work, "ingest", lambda outcomes: {"did": sorted(outcomes)})

    def work(self, running: Running) -> dict[str, Any]:
        became = dict(running.outcomes)
        blamed = {s.item for s in running.suspects if s.to_blame}
        running.settle({item: {"ok": False} for item in blamed}, again=blamed)
        left = [item for item in self.items if item not in became and item not in blamed]
        suspects = [s.item for s in running.suspects if s.item in left]
        calm = [item for item in left if item not in suspects]
        for batch in (calm, *([item] for item in suspects)):
            if batch:
                running.mark(batch)
                if self.deadly & set(batch):
                    raise Died
                running.settle({item: {"ok": True} for item in batch})
        blamed |= {item for item, row in became.items() if not row["ok"]}
        return {"ok": sorted(set(self.items) - blamed), "blamed": sorted(blamed)}


def until_ended(desk: Desk, job: str) -> dict[str, Any]:
    for _ in range(50):
        try:
            state = desk.run(job)["state"]
        except Died:
            desk.silence(job)
            desk.ledger.sweep()
            state = desk.ledger.get(job)["state"]
        if state not in ("queued", "running"):
            break
    return desk.ledger.get(job)


def test_what_kills_its_worker_is_found_and_the_rest_gets_done(desk: Desk) -> None:
    Files(desk, {"3"})
    job = until_ended(desk, desk.enqueue())
    assert (job["state"], job["attempt"]) == ("done", 3)
    assert job["result"] | {"did": []} == {"ok": ["0", "1", "2", "4", "5"], "blamed": ["3"], "did": []}


def test_attempts_that_find_something_out_do_not_count(desk: Desk) -> None:
    Files(desk, {"1", "2", "4", "5"})
    job = until_ended(desk, desk.enqueue())
    assert (job["state"], job["result"]["blamed"]) == ("done", ["1", "2", "4", "5"])
    assert job["attempt"] == 6  # more than three


def test_deaths_are_bounded_whatever_they_tell(desk: Desk) -> None:
    Files(desk, {str(n) for n in range(40)}, number=40)
    job = until_ended(desk, desk.enqueue())
    assert (job["state"], job["error"]["code"], job["attempt"]) == ("failed", "worker_died", 30)


def test_a_job_that_is_not_through_says_what_it_did(desk: Desk) -> None:
    def work(running: Running) -> None:
        running.settle({"a": {}, "b": {}})
        assert desk.ledger.get(running.id)["result"] == {"did": ["a", "b"]}  # as it goes
        desk.ledger.cancel(running.id)
        running.progress("next")

    Files(desk, set())
    desk.work = work
    job = desk.run(desk.enqueue())
    assert (job["state"], job["result"]) == ("cancelled", {"did": ["a", "b"]})


def test_a_retry_takes_up_only_what_did_not_get_done(desk: Desk) -> None:
    files = Files(desk, {"3"})
    job = desk.enqueue()
    until_ended(desk, job)
    files.deadly.clear()
    seen: list[tuple[str, ...]] = []

    def work(running: Running) -> dict[str, Any]:
        seen.append(tuple(sorted(running.outcomes)))
        assert [s.item for s in running.suspects] == ["3"]  # goes alone, and is not to blame before it is tried
        assert not running.suspects[0].to_blame
        return files.work(running)

    desk.work = work
    assert desk.ledger.retry(job)["state"] == "queued"
    assert until_ended(desk, job)["result"]["blamed"] == []
    assert seen == [("0", "1", "2", "4", "5")]
    with desk.db.read() as session:
        assert session.query(JobItem).count() == 0
    assert desk.ledger.retry(job)["state"] == "done"  # nothing is left to do


def test_deaths_of_a_worker_with_several_jobs_in_hand_blame_none_of_them_alone(desk: Desk) -> None:
    Files(desk, set())
    innocent, guilty = desk.enqueue(), desk.enqueue()

    def both(running: Running) -> None:
        running.mark([f"of {running.id}"])
        if running.id == innocent:
            with pytest.raises(Died):
                desk.ledger.run(guilty)
        raise Died

    for _ in range(2):
        desk.work = both
        with pytest.raises(Died):
            desk.ledger.run(innocent)
        for job in (innocent, guilty):
            desk.silence(job)
        desk.ledger.sweep()
    seen: dict[str, bool] = {}
    desk.work = lambda running: seen.update({s.item: s.to_blame for s in running.suspects})
    desk.run(innocent)
    desk.run(guilty)
    assert seen == {f"of {innocent}": False, f"of {guilty}": False}


def test_a_stop_in_order_hands_jobs_back_and_blames_nothing(db: Database) -> None:
    desk, other = Desk(db), Desk(db, "other")
    Files(desk, set())
    Files(other, set())

    def work(running: Running) -> None:
        running.mark(["a"])
        desk.ledger.hand_back()
        assert desk.ledger.get(running.id)["state"] == "queued"
        running.progress("too late")

    desk.work = work
    job = desk.enqueue()
    desk.run(job)
    desk.run(job)
    assert desk.ran == [job]  # it claims nothing any more
    seen: list[int] = []
    other.work = lambda running: seen.append(len(running.suspects))
    assert other.run(job)["state"] == "done"
    assert seen == [0]


def test_an_ended_job_can_be_removed_with_what_was_kept_of_it(desk: Desk) -> None:
    Files(desk, {"3"})
    job = desk.enqueue("k")
    with pytest.raises(Conflict):
        desk.ledger.remove(job)
    until_ended(desk, job)
    assert desk.ledger.remove(job)["job"] == job
    with pytest.raises(NotFound):
        desk.ledger.get(job)
    with desk.db.read() as session:
        assert session.query(JobItem).count() == session.query(JobKey).count() == 0


# --- starved is not dead ------------------------------------------------------------------------------


def test_a_step_that_lets_no_other_thread_run_does_not_lose_the_job(db: Database) -> None:
    """As a native library that holds the interpreter's lock for longer than the lease; onyx#12507."""
    desk = Desk(db, lease_seconds=0.3)
    stop, swept = threading.Event(), threading.Event()
    usleep = ctypes.PyDLL(None).usleep  # the lock is held while it sleeps

    def sweeper() -> None:
        while not stop.is_set():
            desk.ledger.sweep()
            swept.set()

    def work(running: Running) -> dict[str, Any]:
        swept.wait(30)
        usleep(1_000_000)
        for _ in range(20):
            swept.clear()
            swept.wait(30)
        running.progress("alive")
        return {"attempt": running.attempt}

    desk.work = work
    thread = threading.Thread(target=sweeper)
    thread.start()
    job = desk.run(desk.enqueue())
    stop.set()
    thread.join(30)
    assert (job["state"], job["result"]) == ("done", {"attempt": 1})


def test_a_beat_that_is_old_when_it_is_written_does_not_lose_the_job(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited long for the lock, and a sweep comes in the moment behind it."""
    clock, write = [1_000_000], desk.db.write
    monkeypatch.setattr("kernel.jobs.now_ms", lambda: clock[0])

    @contextmanager
    def late() -> Iterator[Session]:
        monkeypatch.setattr(desk.db, "write", write)
        clock[0] += 60_000
        with write() as session:
            yield session
        assert desk.ledger.sweep() == []

    def work(running: Running) -> None:
        clock[0] += 60_000
        monkeypatch.setattr(desk.db, "write", late)
        running.progress("alive")

    desk.work = work
    done = desk.run(desk.enqueue())
    assert (done["state"], done["attempt"]) == ("done", 1)


def test_a_busy_step_keeps_its_lease_in_the_eyes_of_others(db: Database) -> None:
    """The heart beats in a thread of its own: work that reports nothing and computes all the time lives."""
    desk, other = Desk(db, lease_seconds=1), Desk(db, "other", lease_seconds=3)

    def work(running: Running) -> dict[str, Any]:
        until = time.monotonic() + 3.5  # longer than the others wait for a beat
        while time.monotonic() < until:
            sum(range(10_000))
            if int(time.monotonic() * 10) % 5 == 0:
                assert other.ledger.sweep() == []
        return {"attempt": running.attempt}

    desk.work = work
    assert desk.run(desk.enqueue())["result"] == {"attempt": 1}
