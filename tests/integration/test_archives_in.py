"""Archives and releases as they come in by a job: an archive is a folder, a release is one epoch."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import incoming, page
from tests.workers import worded
from ui.platform import Platform

pytestmark = pytest.mark.integration

WALRUS = page("Walrus", {"Food": "The walrus eats clams from the floor of the sea."}).encode()
OTTER = page("Otter", {"Food": "The otter eats crabs and opens shells with a stone."}).encode()


def packed(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


@pytest.fixture
def platform(quick_folder: Path) -> Iterator[Platform]:
    with worded(quick_folder / "home") as platform:
        yield platform


def rows(platform: Platform, job: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    """What became of each file of a job: name to status and error code."""
    platform.w.ledger.run(job["job"])
    done = platform.job(job["job"])
    assert done["state"] == "done", done["error"]
    return {row["name"]: (row["status"], row["error"] and row["error"]["code"]) for row in done["result"]["documents"]}


def test_an_uploaded_archive_is_a_folder(platform: Platform) -> None:
    content = packed(
        {
            "sea/walrus.md": WALRUS,
            "river/otter.md": OTTER,
            "empty.md": b"",
            "more.zip": packed({"a.md": WALRUS, "plain.txt": b"No title here."}),
        }
    )
    became = rows(platform, platform.enqueue_ingest([incoming("animals.zip", content), incoming("b.md", OTTER)]))
    assert became["sea/walrus.md"] == ("published", None)
    assert became["river/otter.md"] == ("published", None)
    assert became["more.zip/a.md"] == ("published", None)
    assert became["empty.md"] == ("refused", "empty_file")
    assert "animals" not in " ".join(d["title"] for d in platform.documents())
    assert became["b.md"] == ("published", None)
    assert {d["name"] for d in platform.documents()} == {
        "sea/walrus.md",
        "river/otter.md",
        "more.zip/a.md",
        "more.zip/plain.txt",
        "b.md",
    }


def test_the_same_archive_again_changes_nothing(platform: Platform) -> None:
    content = packed({"walrus.md": WALRUS, "otter.md": OTTER})
    rows(platform, platform.enqueue_ingest([incoming("animals.zip", content)]))
    epoch = platform.status()["epoch"]
    again = rows(platform, platform.enqueue_ingest([incoming("animals.zip", content)]))
    assert set(again.values()) == {("unchanged", None)}
    assert platform.status()["epoch"] == epoch


def test_a_broken_archive_costs_only_itself(platform: Platform) -> None:
    content = packed({"walrus.md": WALRUS})[:60]
    became = rows(platform, platform.enqueue_ingest([incoming("broken.zip", content), incoming("otter.md", OTTER)]))
    assert became.pop("otter.md") == ("published", None)
    ((status, code),) = became.values()
    assert status == "refused"
    assert code


def test_a_release_that_comes_by_a_job_has_one_epoch(platform: Platform) -> None:
    files = [incoming(f"{n}.md", page(f"Page {n}", {"Rule": f"Rule number {n} holds."})) for n in range(100)]
    before = platform.status()["epoch"]
    became = rows(platform, platform.enqueue_ingest(files, together=True))
    assert len(became) == 100
    assert set(became.values()) == {("published", None)}
    assert platform.status()["epoch"] == before + 1
