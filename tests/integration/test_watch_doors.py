"""Watches through the doors: the command line with and without a node, HTTP, and a node that hears its folders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.doors import Terminal, doors, memory_folder, opened, written
from tests.house import page
from ui.api.app import make_app
from ui.api.server import Server
from ui.commands.watches import seconds
from ui.node import Workers
from ui.platform import Platform, wait_for

pytestmark = pytest.mark.integration

ROW = {
    "watch", "kind", "location", "workspace", "every_seconds", "paused", "last", "next", "documents", "outcome",
    "failing",
}  # fmt: skip
OUTCOME = {"created", "changed", "moved", "deleted", "unchanged", "failed", "waiting", "error"}


@pytest.fixture(scope="module", autouse=True)
def _doors() -> Iterator[None]:
    with doors():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with memory_folder(tmp_path) as place:
        yield place


def text(title: str) -> str:
    return page(title, {"Body": "Somebody wrote this down so that it would not be forgotten."})


def test_a_watch_goes_from_added_to_removed_at_the_terminal(folder: Path) -> None:
    terminal = Terminal(folder / "home")
    watched = written(folder / "watched", {"a.md": text("A"), "b.md": text("B"), "bad.pdf": b"%PDF-1.7 not really"})
    added = terminal.json("watch", "add", str(watched), "--every", "2h", "--workspace", "team")
    assert set(added) == ROW
    assert (added["kind"], added["every_seconds"], added["workspace"]) == ("folder", 7200, "team")
    assert added["outcome"] is None
    watch = added["watch"]
    first = terminal.json("watch", "look", watch, code=1)  # one file failed
    assert set(first) == OUTCOME
    assert (first["created"], first["failed"], first["error"]) == (2, 1, None)
    (watched / "bad.pdf").unlink()
    (watched / "b.md").rename(watched / "c.md")
    second = terminal.json("watch", "look", watch)
    assert (second["moved"], second["unchanged"], second["failed"]) == (1, 1, 0)
    assert {row["name"] for row in terminal.json("documents", "--workspace", "team")} == {"a.md", "c.md"}
    assert terminal.json("changes")[-1]["what"] == "moved"
    (row,) = terminal.json("watch", "list")
    assert (row["documents"], row["outcome"], row["failing"]) == (2, second, [])
    assert terminal.json("watch", "pause", watch)["paused"] is True
    assert terminal.json("watch", "pause", watch)["paused"] is False
    assert "1 moved" in terminal.type("watch", "list").stdout
    assert terminal.json("watch", "remove", watch)["watch"] == watch
    assert terminal.json("watch", "list") == []
    assert "Nothing is watched" in terminal.type("watch", "list").stdout
    assert len(terminal.json("documents", "--workspace", "team")) == 2
    audited = [entry["action"] for entry in terminal.json("audit")["entries"]]
    assert {"watch.add", "watch.remove", "watch.pause", "watch.resume", "move"} <= set(audited)


def test_a_folder_that_is_empty_all_at_once_is_an_error_in_words(folder: Path) -> None:
    terminal = Terminal(folder / "home")
    watched = written(folder / "watched", {"a.md": text("A")})
    watch = terminal.json("watch", "add", str(watched))["watch"]
    terminal.json("watch", "look", watch)
    (watched / "a.md").unlink()
    assert terminal.json("watch", "look", watch, code=1)["error"]["code"] == "source_empty"
    said = terminal.type("watch", "look", watch)
    assert said.exit_code == 1
    assert "none of them was deleted" in said.stdout
    assert len(terminal.json("documents")) == 1


def test_a_mistake_with_a_watch_is_one_line(folder: Path) -> None:
    terminal = Terminal(folder / "home")
    (folder / "watched").mkdir()
    assert terminal.error("watch", "add", str(folder / "no such"))["code"] == "missing_path"
    assert terminal.error("watch", "add", str(folder / "watched"), "--every", "often")["code"] == "bad_interval"
    assert terminal.error("watch", "add", str(folder / "watched"), "--every", "1s")["code"] == "bad_interval"
    for verb in ("look", "pause", "remove"):
        assert terminal.error("watch", verb, "watch-1")["code"] == "not_found"


@pytest.mark.parametrize(("told", "is_"), [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1 D", 86400)])
def test_how_often_is_said_in_words(told: str, is_: int) -> None:
    assert seconds(told) == is_


def test_http_has_the_same_watches_and_a_look_is_a_job(folder: Path) -> None:
    watched = written(folder / "watched", {"a.md": text("A")})
    with opened(folder / "home") as platform:
        client = TestClient(make_app(platform), base_url="http://127.0.0.1")
        row = client.post("/v1/watches", json={"location": str(watched), "every_seconds": 3600}).json()
        assert set(row) == ROW
        assert client.get("/v1/watches").json() == [row]
        taken = client.post(f"/v1/watches/{row['watch']}/look")
        assert (taken.status_code, taken.json()["state"], taken.json()["kind"]) == (202, "queued", "look")
        platform.w.ledger.run(taken.json()["job"])
        job = client.get(f"/v1/jobs/{taken.json()['job']}").json()
        assert (job["state"], job["result"]["created"]) == ("done", 1)
        assert client.post(f"/v1/watches/{row['watch']}/pause").json()["paused"] is True
        assert client.delete(f"/v1/watches/{row['watch']}").json()["documents"] == 1
        assert client.post("/v1/watches/watch-1/look").status_code == 404
        assert client.post("/v1/watches", json={"location": "no/full/path"}).json()["error"]["code"] == "bad_location"


def test_beat_starts_a_look_that_is_due(folder: Path) -> None:
    watched = written(folder / "watched", {"a.md": text("A")})
    with opened(folder / "home") as platform:
        watch = platform.add_watch(str(watched))["watch"]
        (job,) = platform.tick()["looks"]
        assert platform.tick()["looks"] == []
        assert platform.job(job)["enqueued_by"] == "beat"
        platform.w.ledger.run(job)
        assert platform.watches()[0]["outcome"]["created"] == 1
        assert platform.watches()[0]["watch"] == watch


def test_a_file_that_moved_is_recognised_through_a_node_too(folder: Path) -> None:
    given = written(folder / "given", {"old.md": text("A")})
    with opened(folder / "home") as platform, served(platform) as url:
        terminal = Terminal(folder / "home")
        node = {"REPRISE_API": url}
        before = {row["document"] for row in terminal.json("ingest", str(given / "old.md"), env=node)["documents"]}
        (given / "old.md").rename(given / "new.md")
        (row,) = terminal.json("ingest", str(given), env=node)["documents"]
        assert {row["document"]} == before
        assert (row["status"], [d["name"] for d in platform.documents()]) == ("unchanged", ["new.md"])


def test_a_live_node_follows_a_folder_at_once(folder: Path) -> None:
    """Nothing is due for an hour, and the tick is a minute away: only the file system can have told."""
    watched = written(folder / "watched", {"a.md": text("A")})
    with opened(folder / "home", tick_seconds=3600.0) as platform:
        watch = platform.add_watch(str(watched), every_seconds=3600)["watch"]
        workers = Workers(platform)
        workers.start()
        try:
            assert workers.events.listening.wait(60)
            written(watched, {"b.md": text("B")})
            assert _arrives(platform, {"a.md", "b.md"})
            (watched / "a.md").rename(watched / "z.md")
            assert _arrives(platform, {"b.md", "z.md"})
            assert wait_for(lambda: platform.watches()[0]["outcome"]["moved"] == 1, 60)
            (watched / "b.md").unlink()
            assert _arrives(platform, {"z.md"})
            assert wait_for(lambda: {job["state"] for job in looks(platform)} == {"done"}, 60)
            assert {job["enqueued_by"] for job in looks(platform)} == {"event"}
            assert platform.remove_watch(watch)["documents"] == 1
        finally:
            workers.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "folder-events"]


@contextmanager
def served(platform: Platform) -> Iterator[str]:
    """The address of a running server on the platform, with worker threads that take its jobs."""
    workers = Workers(platform)
    workers.start()
    server = Server(make_app(platform), port=0, lifespan="off")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert wait_for(lambda: server.started, 30)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        workers.stop()


def looks(platform: Platform) -> list[dict[str, Any]]:
    return [job for job in platform.jobs() if job["kind"] == "look"]


def _arrives(platform: Platform, names: set[str]) -> Any:
    return wait_for(lambda: {row["name"] for row in platform.documents()} == names, 60)
