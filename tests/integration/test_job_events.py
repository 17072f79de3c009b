"""Jobs people can watch: events as they happen, a bar that tells the truth, and nothing that is stuck for ever."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.doors import Terminal
from tests.house import incoming, page
from tests.workers import Node, worded, words_for_a_model
from ui.platform import Platform, wait_for
from ui.remote import Remote

pytestmark = pytest.mark.integration

Event = dict[str, Any]


def text(number: int) -> str:
    return page(f"Walrus {number}", {"Food": f"Walrus number {number} eats clams from the floor of the sea."})


@pytest.fixture
def node(quick_folder: Path) -> Iterator[Node]:
    node = Node(quick_folder / "home")
    yield node
    node.stop()


@pytest.fixture
def remote(node: Node) -> Iterator[Remote]:
    remote = Remote(node.url)
    yield remote
    remote.close()


def events(response: httpx.Response) -> Iterator[Event]:
    """Server-sent events as a browser reads them, without comments."""
    told: Event = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line and name:
            told[name] = json.loads(value) if name == "data" else value
        elif told:
            yield told
            told = {}


def watched(node: Node, path: str, **headers: str) -> list[Event]:
    """All events of a stream that ends."""
    with httpx.stream("GET", node.url + path, headers=headers, timeout=60, trust_env=False) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(events(response))


# --- events ---------------------------------------------------------------------------------------


def test_a_job_can_be_watched_to_its_end(node: Node, remote: Remote) -> None:
    job = remote.enqueue_ingest([incoming(f"{n}.md", text(n)) for n in range(40)])["job"]
    seen = watched(node, f"/v1/jobs/{job}/events", **{"Last-Event-ID": "17"})
    assert [event["event"] for event in seen] == ["progress"] * (len(seen) - 1) + ["end"]
    assert seen[-1]["data"] == remote.job(job)
    assert seen[-1]["data"]["state"] == "done"
    ids = [int(event["id"]) for event in seen]
    assert ids == sorted(ids)
    again = watched(node, f"/v1/jobs/{job}/events")  # a job that has ended says so at once
    assert [event["event"] for event in again] == ["end"]


def test_a_stream_of_no_job_is_not_found(node: Node) -> None:
    answer = httpx.get(f"{node.url}/v1/jobs/job-nobody/events", trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_all_jobs_can_be_watched_at_once(node: Node, remote: Remote) -> None:
    ended: dict[str, str] = {}
    with httpx.stream("GET", f"{node.url}/v1/jobs/events", timeout=60, trust_env=False) as response:
        jobs = {remote.enqueue_ingest([incoming(f"{n}.md", text(n)) for n in range(s, s + 20)])["job"] for s in (0, 20)}
        for event in events(response):
            assert event["data"]["job"] in jobs
            if event["event"] == "end":
                ended[event["data"]["job"]] = event["data"]["state"]
            if ended.keys() == jobs:
                break
    assert set(ended.values()) == {"done"}


def test_a_node_that_stops_ends_its_streams(node: Node) -> None:
    with httpx.stream("GET", f"{node.url}/v1/jobs/events", timeout=60, trust_env=False) as response:
        assert response.status_code == 200
        stopped = threading.Thread(target=node.stop)
        stopped.start()
        assert list(events(response)) == []  # it ends whole, as no broken connection does
        stopped.join(60)
    assert node.stop() == 0


# --- what people complained of elsewhere ----------------------------------------------------------


def test_row_01_nothing_is_stuck_or_queued_for_ever(node: Node, remote: Remote) -> None:
    """ragflow#7741, dify#23832, onyx#3853: the worker dies in the middle, and the job goes on by itself."""
    files = [incoming(f"{n}.md", text(n) * 40) for n in range(150)]
    job = remote.enqueue_ingest(files)["job"]
    waiting = remote.enqueue_ingest([incoming("later.md", text(1))])["job"]
    assert wait_for(lambda: remote.job(job)["progress"]["done"] > 0, 60, 0.02)
    node.kill()
    node.start()
    for ended in (remote.wait_job(job), remote.wait_job(waiting)):
        assert (ended["state"], ended["error"]) == ("done", None)
        assert {row["status"] for row in ended["result"]["documents"]} == {"published"}  # also those before the kill
    assert {d["versions"] for d in remote.documents()} == {1}


def test_row_08_the_bar_is_right_while_the_job_runs(node: Node, remote: Remote) -> None:
    """ragflow#13460, R2R#2222: progress is shown, never falls, is never full before the end, and names the file."""
    files = [incoming(f"{n}.md", text(n) * 20) for n in range(200)]
    job = remote.enqueue_ingest(files)["job"]
    shown = [event["data"] for event in watched(node, f"/v1/jobs/{job}/events")]
    counts = [at["progress"]["done"] for at in shown if at["state"] == "running"]
    assert counts == sorted(counts)
    assert all(at["progress"]["done"] < 200 for at in shown[:-1])
    assert {at["progress"]["total"] for at in shown if at["progress"]["done"]} == {200}
    last = shown[-1]["progress"]
    assert (last["done"], last["total"], last["eta_seconds"], last["item"]) == (200, 200, 0.0, None)
    named = {at["progress"]["item"] for at in shown} - {None}
    assert named <= {file.name for file in files}


# --- stopping in between --------------------------------------------------------------------------


@pytest.fixture
def platform(quick_folder: Path) -> Iterator[Platform]:
    with worded(quick_folder / "here") as platform:
        yield platform


def test_a_cancel_stops_between_files_and_tells_what_is_published(platform: Platform) -> None:
    job = platform.enqueue_ingest([incoming(f"{n}.md", text(n)) for n in range(100)])["job"]
    flip, flips = platform.w.epochs.flip, [0]

    def counted(*given: Any, **more: Any) -> Any:
        done = flip(*given, **more)
        flips[0] += 1
        if flips[0] == 2:
            platform.cancel_job(job)
        return done

    platform.w.epochs.flip = counted  # type: ignore[method-assign]
    platform.w.ledger.run(job)
    platform.w.epochs.flip = flip  # type: ignore[method-assign]
    ended = platform.job(job)
    rows = ended["result"]["documents"]
    assert ended["state"] == "cancelled"
    assert {row["status"] for row in rows} == {"published"}
    assert {row["name"] for row in rows} == {d["name"] for d in platform.documents()}
    assert 0 < len(rows) < 100
    platform.retry_job(job)
    platform.w.ledger.run(job)
    assert len(platform.job(job)["result"]["documents"]) == len(platform.documents()) == 100
    assert {d["versions"] for d in platform.documents()} == {1}


def test_a_small_upload_passes_a_large_one_unless_it_is_about_the_same_document(platform: Platform) -> None:
    large = platform.enqueue_ingest([incoming(f"{n}.md", text(n)) for n in range(50)])["job"]
    small = platform.enqueue_ingest([incoming("small.md", text(1))])["job"]
    same = platform.enqueue_ingest([incoming("7.md", text(99))])["job"]
    for job in (same, small):
        platform.w.ledger.run(job)
    assert [platform.job(job)["state"] for job in (large, small, same)] == ["queued", "done", "queued"]
    platform.w.ledger.run(large)
    platform.w.ledger.run(same)
    assert len(platform.history("7.md")) == 2
    assert "number 99" in platform.text("7.md")["text"]


def test_the_command_line_follows_and_handles_a_job(node: Node, remote: Remote, tmp_path: Path) -> None:
    terminal, there = Terminal(tmp_path / "no home"), {"REPRISE_API": node.url}
    job = remote.enqueue_ingest([incoming("walrus.md", text(1)), incoming("empty.md", "")])["job"]
    followed = terminal.json("jobs", "--follow", job, env=there)
    assert followed == remote.job(job) == terminal.json("job", "show", job, env=there)
    said = terminal.type("job", "show", job, env=there).stdout
    assert f"{job} (ingest): done, attempt 1." in said
    assert "refused    empty.md" in said
    assert terminal.json("job", "cancel", job, env=there)["state"] == "done"
    assert terminal.json("job", "retry", job, env=there)["state"] == "done"
    assert terminal.json("job", "remove", job, env=there)["job"] == job
    assert terminal.error("job", "show", job, env=there)["code"] == "not_found"


def test_the_command_line_does_not_wait_where_nobody_works(platform: Platform, quick_folder: Path) -> None:
    job = platform.enqueue_ingest([incoming("walrus.md", text(1))])["job"]
    platform.w.close()
    with words_for_a_model():
        error = Terminal(quick_folder / "here").error("jobs", "--follow", job)
    assert (error["code"], "no node runs" in error["message"]) == ("conflict", True)
