"""What SQLite and PostgreSQL both promise behind `Database`, asked of each of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, delete, event, select, text, update

import finetune.tables
import ingest.tables
import rehearsal.tables
import retrieval.tables
from kernel import audit, leases
from kernel.database import HEAD, MIGRATIONS, Database, listed
from kernel.epochs import Epochs
from kernel.errors import DiskFull, Failed
from kernel.index.edge import EdgeIndex
from kernel.jobs import Ledger
from kernel.tables import AuditEntry, Base, Clock, Fact, Job, Lease
from rehearsal.tables import Example, ExampleEvent, ExampleMemory, Mention

PACKAGES = (ingest.tables, retrieval.tables, rehearsal.tables, finetune.tables)
WORKERS = 8


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.cluster)])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    if request.param == "postgres":
        return request.getfixturevalue("fresh_postgres")
    return lambda: f"sqlite:///{tmp_path / 'reprise.db'}"


@pytest.fixture
def db(fresh_url: Callable[[], str]) -> Iterator[Database]:
    opened = Database(fresh_url())
    yield opened
    opened.close()


def at_once(work: Callable[[int], object]) -> list[object]:
    """Run `work` in eight threads that start together."""
    ready = Barrier(WORKERS)

    def start(number: int) -> object:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(start, range(WORKERS)))


def test_the_migrations_make_exactly_the_tables_of_all_packages(db: Database) -> None:
    assert all(module.Base is Base for module in PACKAGES)
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == HEAD


def test_opening_again_changes_nothing(db: Database) -> None:
    with db.write() as session:
        session.add(Fact(key="a", value={"n": 1}))
    again = Database(db.url)
    with again.read() as session:
        assert session.get_one(Fact, "a").value == {"n": 1}
    again.close()


def test_a_write_is_kept_whole_or_not_at_all(db: Database) -> None:
    def fail() -> None:
        with db.write() as session:
            session.add(Fact(key="a", value={}))
            session.flush()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    with db.read() as session:
        assert session.get(Fact, "a") is None
    with db.write() as session:
        session.add_all([Fact(key="a", value={}), Fact(key="b", value={})])
    with db.read() as session:
        assert sorted(session.scalars(select(Fact.key))) == ["a", "b"]


def test_nothing_done_in_a_read_is_kept(db: Database) -> None:
    with db.read() as session:
        session.add(Fact(key="a", value={}))
        session.flush()
    with db.read() as session:
        assert session.get(Fact, "a") is None


def test_rows_read_can_be_used_after_the_session(db: Database) -> None:
    with db.write() as session:
        session.add(Fact(key="a", value={"n": [1, {"x": None}]}))
    with db.read() as session:
        fact = session.get_one(Fact, "a")
    assert fact.value == {"n": [1, {"x": None}]}


def test_writers_at_the_same_time_queue_and_none_is_lost(db: Database) -> None:
    with db.write() as session:
        session.add(Clock(id=1, epoch=0))

    def bump(_: int) -> None:
        for _ in range(5):
            with db.write() as session:
                session.execute(update(Clock).values(epoch=Clock.epoch + 1))

    at_once(bump)
    with db.read() as session:
        assert session.execute(select(Clock.epoch)).scalar_one() == 5 * WORKERS


def test_numbers_up_to_the_open_end_and_beyond_are_exact(db: Database) -> None:
    with db.write() as session:
        session.add_all([Clock(id=1, epoch=2**53), Lease(name="x", owner="o", until=2**53 + 1)])
    with db.read() as session:
        assert session.get_one(Clock, 1).epoch == 2**53
        assert session.get_one(Lease, "x").until == 2**53 + 1


def test_a_statement_names_more_values_than_it_has_room_for_parameters(db: Database) -> None:
    odd = ["it's", 'a "quote"', "über", "日本", "back\\slash", "[1, null]", "{}", "%s :x ?", ""]
    with db.write() as session:
        session.add_all(Fact(key=key, value={}) for key in [*odd, "k1", "another"])
    many = [*odd, *(f"k{n}" for n in range(70_000))]
    named = select(Fact.key).where(Fact.key.in_(listed(many)))
    with db.read() as session:
        assert set(session.scalars(named)) == {*odd, "k1"}
        assert set(session.scalars(named.where(Fact.key.in_(listed({"k1", "another"}))))) == {"k1"}
        assert list(session.scalars(select(Fact.key).where(Fact.key.in_(listed([]))))) == []
        others = select(Fact.key).where(Fact.key.not_in(listed(many)))
        assert list(session.scalars(others)) == ["another"]
    with db.write() as session:
        session.execute(update(Fact).where(Fact.key.in_(listed(many))).values(value={"named": True}))
        session.execute(delete(Fact).where(Fact.key.in_(listed(many[1:]))))
        session.execute(delete(Fact).where(Fact.key.in_(listed([]))))
    with db.read() as session:
        left = {fact.key: fact.value for fact in session.scalars(select(Fact))}
    assert left == {"it's": {"named": True}, "another": {}}


def test_processes_that_start_together_make_one_schema_and_one_clock(
    fresh_url: Callable[[], str], quick_folder: Path
) -> None:
    url = fresh_url()
    index = EdgeIndex(quick_folder / "index", 4)

    def start(number: int) -> int:
        db = Database(url)
        epoch = Epochs(db, index, str(number)).committed()
        db.close()
        return epoch

    assert at_once(start) == [0] * WORKERS
    index.close()


def test_a_schema_from_a_newer_release_is_refused_and_left_alone(db: Database) -> None:
    with db.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Failed) as refusal:
        Database(db.url)
    assert refusal.value.code == "newer_database"
    with db.read() as session:
        assert session.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"


def left_by(url: str, revision: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    """A database of an earlier release, with these rows by table; a column that none names is 0 or empty."""
    config, engine = Config(), create_engine(url)
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        (tables := MetaData()).reflect(connection)
        for name, some in rows.items():
            columns = [c for c in tables.tables[name].c if not c.nullable and c.server_default is None]
            blank = {c.name: {} if "JSON" in str(c.type) else 0 if "INT" in str(c.type) else "" for c in columns}
            connection.execute(tables.tables[name].insert(), [blank | row for row in some])
    engine.dispose()


def test_a_home_of_before_remembers_by_kind_what_its_history_tells(fresh_url: Callable[[], str]) -> None:
    url = fresh_url()
    mixed = {"rehearsed": 4, "last_loss": 0.3, "last_rehearsed": 4, "strength": 1.0, "forgotten": 1}
    old = {"rehearsed": 3, "last_loss": 0.5, "last_rehearsed": None, "strength": 2.0, "forgotten": 0}
    practised = [("r1", 0.1), ("g1", 2.0), ("r2", 0.12), ("r3", 0.3)]  # of one kind, it was r3 that found it forgotten
    events = [("mixed", run, loss, "rehearsed") for run, loss in practised]
    events += [("mixed", "g1", 2.0, "forgotten"), ("mixed", "r3", 0.3, "forgotten"), ("young", "g1", 2.0, "rehearsed")]
    rows = {
        "runs": [{"id": run, "kind": {"r": "retriever", "g": "generator"}[run[0]]} for run in ("r1", "r2", "r3", "g1")],
        "examples": [
            {"id": name, "question_key": "" if name == "deleted" else name, "pinned": 0, "slice": "general", **figures}
            for name, figures in {
                "mixed": mixed, "old": old, "young": old, "deleted": old, "never": old | {"rehearsed": 0},
            }.items()
        ],
        "example_events": [
            {"id": at + 1, "example": example, "at": at + 1, "what": what, "detail": {"run": run, "loss": loss}}
            for at, (example, run, loss, what) in enumerate(events)
        ],
    }  # fmt: skip
    left_by(url, "0009", rows)
    db = Database(url)
    with db.read() as session:
        kept = {(m.example, m.kind): m for m in session.scalars(select(ExampleMemory))}
        told = {key: (m.rehearsed, m.last_loss, m.last_rehearsed, m.strength, m.forgotten) for key, m in kept.items()}
        said = session.execute(select(ExampleEvent.detail).where(ExampleEvent.what == "forgotten")).scalars()
        assert [detail["run"] for detail in said] == ["r3"]
    db.close()
    assert told == {
        ("mixed", "generator"): (1, 2.0, 2, 1.0, 0),
        ("mixed", "retriever"): (3, 0.3, 4, 0.0, 1),
        ("old", "retriever"): (3, 0.5, None, 2.0, 0),  # from before there was a history
        ("young", "generator"): (3, 0.5, None, 2.0, 0),
    }


def test_feedback_of_before_is_left_to_topics_and_a_slice_that_a_person_named_stays(
    fresh_url: Callable[[], str],
) -> None:
    url = fresh_url()
    slices = [("correction", "feedback"), ("thumbs", "feedback"), ("import", "feedback"), ("correction", "returns")]
    named = [{"id": f"{o} {s}", "origin": o, "slice": s, "cluster": "gifts", "rehearsed": 0} for o, s in slices]
    left_by(url, "0009", {"examples": named})
    db = Database(url)
    with db.read() as session:
        counted = {e.id: e.stratum for e in session.scalars(select(Example))}
    db.close()
    assert counted == {
        "correction feedback": "gifts",
        "thumbs feedback": "gifts",
        "import feedback": "feedback",
        "correction returns": "returns",
    }


def test_feedback_of_before_knows_what_its_turn_cited(fresh_url: Callable[[], str]) -> None:
    url = fresh_url()
    shown = {"citations": [{"document": "wrong", "chunk": "w1"}, {"document": "right", "chunk": "r1"}]}
    examples = [
        {"id": "corrected", "origin": "correction", "rejected": "said before"},
        {"id": "edited", "origin": "correction", "rejected": "said before"},
        {"id": "unshown", "origin": "correction", "rejected": None},
        {"id": "praised", "origin": "thumbs", "rejected": None},
    ]
    grounds = [{"id": f"g {e['id']}", "example": e["id"], "document": "right", "point": "r1"} for e in examples]
    made = [{"id": f"f {name}", "turn": "t", "example": name} for name in ("corrected", "unshown", "praised")]
    edit = {"id": 1, "example": "edited", "what": "edited", "detail": {"from": "corrected"}}
    rows = {"examples": examples, "grounds": grounds, "example_events": [edit]}
    left_by(url, "0010", rows | {"turns": [{"id": "t", "shown": shown}], "feedback": made})
    db = Database(url)
    with db.read() as session:
        found = {(m.example, m.document, m.point) for m in session.scalars(select(Mention))}
    db.close()
    assert found == {(name, "wrong", "w1") for name in ("corrected", "edited", "praised")}


def test_edits_of_before_know_what_they_are_made_of(fresh_url: Callable[[], str]) -> None:
    url = fresh_url()
    words = {"question": "Q?", "answer": "of a", "origin": "import", "rejected": None}
    examples = [
        words | {"id": "first"},
        words | {"id": "moved"},
        words | {"id": "again", "question": "Q, again?"},
        {"id": "other", "question": "Another?", "answer": "of b", "origin": "import", "rejected": None},
        words | {"id": "corrected", "origin": "correction", "question": "C?", "rejected": "of a"},
        words | {"id": "praised", "origin": "thumbs", "question": "P?"},
    ]
    places = {"first": "a1", "moved": "b1", "again": "b1", "other": "b1", "corrected": "a1", "praised": "b1"}
    grounds = [{"id": f"g {e}", "example": e, "document": p[0], "point": p} for e, p in places.items()]
    edits = [
        {"id": n, "example": after, "what": "edited", "detail": {"from": before}}
        for n, (before, after) in enumerate([("first", "moved"), ("moved", "again"), ("again", "other")], 1)
    ]
    cited = [{"document": p[0], "chunk": p} for p in ("a1", "a2")]
    turn = {"turns": [{"id": "t", "shown": {"citations": cited}}]}
    made = [{"id": "f", "turn": "t", "example": "corrected"}]
    mentions = [{"example": "praised", "document": "a", "point": "a1"}]
    rows = {"examples": examples, "grounds": grounds, "example_events": edits, "example_mentions": mentions}
    left_by(url, "0011", rows | turn | {"feedback": made})
    db = Database(url)
    with db.read() as session:
        found = {(m.example, m.point, m.whole) for m in session.scalars(select(Mention))}
    db.close()
    assert found == {("praised", "a1", 1), ("moved", "a1", 1), ("again", "a1", 1), ("corrected", "a2", 0)}


# --- what stands on it --------------------------------------------------------------------------------


def test_the_audit_chain_holds_with_many_writers(db: Database) -> None:
    def write(number: int) -> None:
        for _ in range(3):
            with db.write() as session:
                audit.record(session, "promote", f"adapter-{number}")

    at_once(write)
    with db.read() as session:
        assert audit.intact(session)
        assert session.query(AuditEntry).count() == 3 * WORKERS


def test_a_lease_has_one_owner_however_many_ask(db: Database) -> None:
    won = at_once(lambda number: leases.acquire(db, "beat", f"owner-{number}", 60))
    assert won.count(True) == 1


def test_the_order_of_acceptance_has_no_ties(db: Database) -> None:
    ledger = Ledger(db, "me", 30, 3)
    ledger.register("work", lambda _running: {})
    at_once(lambda _: [ledger.enqueue("work", {}, keys=["k"]) for _ in range(3)])
    with db.read() as session:
        serials = sorted(session.scalars(select(Job.serial)))
    assert serials == list(range(1, 3 * WORKERS + 1))


def test_a_job_delivered_to_eight_workers_at_once_runs_once(db: Database) -> None:
    runs: list[str] = []
    ledgers = [Ledger(db, f"worker-{n}", 30, 3) for n in range(WORKERS)]
    for ledger in ledgers:
        ledger.register("work", lambda running: runs.append(running.id) or {})
    job = ledgers[0].enqueue("work", {})
    at_once(lambda number: ledgers[number].run(job))
    assert runs == [job]
    assert ledgers[0].get(job)["state"] == "done"


# --- SQLite alone -------------------------------------------------------------------------------------


def test_a_full_disk_is_called_by_its_name_and_nothing_is_kept(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'reprise.db'}")
    with db.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one() + 2

    @event.listens_for(db.engine, "checkout")
    def _fill(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    with db.write() as session:
        session.add(Fact(key="small", value={}))
    with pytest.raises(DiskFull), db.write() as session:
        session.add(Fact(key="large", value={"text": "x" * 5_000_000}))
    with db.read() as session:
        assert list(session.scalars(select(Fact.key))) == ["small"]
    db.close()


def test_what_was_deleted_is_not_in_the_files_any_more(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'reprise.db'}")
    secret = "the-secret-of-the-walrus"
    with db.write() as session:
        session.add_all(Fact(key=f"{secret}-{i}", value={"text": secret * 300}) for i in range(20))
    assert secret.encode() in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    with db.write() as session:
        session.execute(text("DELETE FROM facts"))
    db.erase_traces()
    assert secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    db.close()
