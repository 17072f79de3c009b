"""The database: SQLite in WAL mode, or PostgreSQL, behind two context managers.

    read()   a snapshot for queries; nothing it does is kept
    write()  one transaction; commits on success, rolls back on any error

On SQLite a write transaction begins IMMEDIATE: two writers queue at the start instead of one failing in the middle.
`synchronous=FULL` because the index must never be ahead of a commit that a power cut took back; `secure_delete` because
a delete must be a delete.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    CursorResult,
    Delete,
    Engine,
    Select,
    String,
    Update,
    column,
    create_engine,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from kernel.errors import DiskFull, Failed

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0012"
"""The newest migration; compared before alembic is imported, so that an up-to-date start stays fast."""

_DISK_FULL = ("database or disk is full", "No space left on device")


class Database:
    """An open database, migrated to `HEAD`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self._write_engine = self.engine.execution_options(immediate=True)
        try:
            self._migrate()
        except BaseException:
            self.engine.dispose()
            raise

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Raises:
        DiskFull: the disk has no room; nothing of this transaction was kept.
        Failed: the disk failed (`disk_error`); nor was it then.
        """
        try:
            with Session(self._write_engine, expire_on_commit=False) as session, session.begin():
                yield session
        except OperationalError as error:
            if any(sign in str(error) for sign in _DISK_FULL):
                raise DiskFull(
                    "the disk is full, so the database could not be written",
                    hint="free some space and try again; nothing that was acknowledged is lost",
                ) from error
            if "disk I/O error" in str(error):
                raise Failed(
                    "the disk failed while the database was written",
                    hint="check the disk and try again; nothing that was acknowledged is lost",
                    code="disk_error",
                ) from error
            raise

    def close(self) -> None:
        self.engine.dispose()

    def erase_traces(self) -> None:
        """Overwrite what deleted rows left in the write-ahead log (SQLite); PostgreSQL leaves it to VACUUM."""
        if self.engine.dialect.name == "sqlite":
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _migrate(self) -> None:
        with self.engine.connect() as connection:
            known = inspect(connection).has_table("alembic_version")
            revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if known else None
        if revision == HEAD:
            return
        if revision is not None and revision > HEAD:
            raise Failed(
                f"the database was written by a newer Reprise (schema {revision}, this one knows {HEAD})",
                hint="install the newer release again, or restore a backup made by this one",
                code="newer_database",
            )
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._write_engine.begin() as connection:
            if connection.dialect.name == "postgresql":  # processes that start together migrate one after another
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('migrations'))"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def alone(session: Session, what: str) -> None:
    """Let one write transaction at a time go past here until its end. On SQLite every write transaction is alone."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": what})


def listed(values: Iterable[str]) -> Select[tuple[str]]:
    """Values as rows, for `column.in_(listed(ids))`: one parameter however many there are.

    A list takes a parameter for each, and a statement has room for 65,535 of them on PostgreSQL and 32,766 on SQLite.
    """
    each = _Each(json.dumps(list(values))).table_valued(column("value", String))
    return select(each.c.value)


class _Each(FunctionElement[Any]):
    """The rows of a JSON list."""

    name = "json_each"
    inherit_cache = True


@compiles(_Each)
def _each_of_sqlite(element: _Each, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_Each, "postgresql")
def _each_of_postgresql(element: _Each, compiler: SQLCompiler, **options: Any) -> str:
    return f"jsonb_array_elements_text(CAST({compiler.process(element.clauses, **options)} AS JSONB))"


def affected(session: Session, statement: Update | Delete) -> int:
    """Execute an update or delete; how many rows it changed."""
    result: CursorResult[Any] = session.execute(statement)  # type: ignore[assignment]
    return result.rowcount


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": 30}, pool_size=20, max_overflow=20)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        _use_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _use_wal(connection: sqlite3.Connection, seconds: float = 30) -> None:
    """The change to WAL needs the file alone for a moment, and SQLite does not wait for that by itself."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
