"""What tests of every kind share."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import fresh_postgres, postgres_server, redis_url

__all__ = ["fresh_postgres", "postgres_server", "quick_folder", "redis_url"]
# Properties are tried on the same examples in every run, however busy the machine is. To look further, at random:
# pytest --hypothesis-profile=default
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")
_MEMORY, _ENOUGH = Path("/dev/shm"), 2 * 2**30


@pytest.fixture(autouse=True)
def _main() -> Iterator[None]:
    """Streamlit's AppTest puts a script in the place of `__main__`; a child process of a later test would run it."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the machine has one: an index is made fifty times faster there than on a disk.

    A killed process loses nothing that it wrote, wherever that is: the system's caches live on. Only a power cut would
    tell memory and disk apart.
    """
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _ENOUGH:
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="reprise-test-", dir=_MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
