"""Real servers for tests: started when a test asks, stopped at the end, skipped where not installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

_ACCOUNT = "postgres"
"""PostgreSQL refuses to run as root; its package brings this account."""


def _postgres_bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a temporary PostgreSQL on a socket of its own, up to and without the database's name."""
    pytest.importorskip("psycopg")
    programs = _postgres_bin()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    as_account: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="reprise-pg-", dir="/tmp"))  # a socket's path must be short
    if os.geteuid() == 0:
        try:
            account = pwd.getpwnam(_ACCOUNT)
        except KeyError:
            pytest.skip(f"there is no account {_ACCOUNT!r} to run PostgreSQL as")
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_account = ["runuser", "-u", _ACCOUNT, "--"]
    data, options = folder / "data", f"-k {folder} -c listen_addresses='' -c fsync=off"

    def run(program: str, *words: str) -> None:
        command = [*as_account, str(programs / program), "-D", str(data), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=120)

    run("initdb", "-A", "trust", "-U", "reprise", "--no-sync", "-E", "UTF8", "--locale=C")
    run("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", options)
    try:
        yield f"postgresql+psycopg://reprise@/{{database}}?host={folder}"
    finally:
        run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)


def held_port() -> tuple[socket.socket, int]:
    """A free port for a server that a test starts, and the socket that keeps it from all others until it is closed.

    Who says SO_REUSEADDR may bind it and listen; nobody who asks for any free port is given it.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held, held.getsockname()[1]


_numbers = count(1)


@pytest.fixture
def fresh_postgres(postgres_server: str) -> Callable[[], str]:
    """Makes an empty database; its URL."""
    from sqlalchemy import create_engine

    def make() -> str:
        name = f"test{next(_numbers)}"
        admin = create_engine(postgres_server.format(database="postgres"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        admin.dispose()
        return postgres_server.format(database=name)

    return make


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a temporary Redis on a free port."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Redis is not installed")
    pytest.importorskip("redis")
    held, port = held_port()
    folder = tempfile.mkdtemp(prefix="reprise-redis-")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    with held, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if "Ready to accept connections" in line:
                break
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()
        server.communicate()
    shutil.rmtree(folder, ignore_errors=True)
