"""The whole loop through the real processes: start, ingest over HTTP, ask, correct, retrain, promote, roll back, stop.

What it proves it reads from the ledger, the run's folder and the audit log, not from what anybody says.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest import sources
from ui.remote import Remote
from ui.wiring import demo_folder, guide_folder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
REPRISE = [sys.executable, "-m", "ui.cli"]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Remote, subprocess.Popen[str], Path]]:
    home = tmp_path_factory.mktemp("e2e") / "home"
    process = start(home)
    remote = Remote(json.loads(process.stdout.readline())["api"])  # type: ignore[union-attr]
    yield remote, process, home
    remote.close()
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    process.stdout.close()  # type: ignore[union-attr]


def start(home: Path, *options: str) -> subprocess.Popen[str]:
    environment = os.environ | {"REPRISE_TICK_SECONDS": "1"}
    command = [*REPRISE, "up", "--no-web", "--no-guide", "--port", "0", "--home", str(home), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def wait(ask: Any, seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.2)
    raise AssertionError("it did not happen in time")


def test_the_loop(node: tuple[Remote, subprocess.Popen[str], Path]) -> None:
    remote, _process, home = node

    # Documents in, over HTTP, by a job that a worker took.
    files = list(sources.read([str(guide_folder())], workspace="default"))
    ingested = remote.ingest(files)
    assert {row["status"] for row in ingested["documents"]} == {"published"}
    job = next(j for j in remote.jobs() if j["kind"] == "ingest")
    assert job["state"] == "done"
    assert job["worker"]
    assert job["enqueued_by"] == "person"

    # A cited answer, whose citations resolve to exact words.
    question = "How do I go back to the adapter that served before?"
    shown = remote.ask(question)
    assert not shown["abstained"], shown
    for citation in shown["citations"]:
        text = remote.text(citation["document"], citation["version"])["text"]
        assert text[citation["start"] : citation["end"]] == citation["quote"]

    # A correction becomes an example, grounded in a passage that holds it.
    kept = remote.feedback(shown["turn"], "down", "Rollback puts the previous adapter back in its place.")
    example = next(e for e in remote.examples() if e["example"] == kept["example"])
    assert (example["origin"], example["status"]) == ("correction", "approved")
    assert example["documents"] == ["adapters-and-rollback.md"]

    # Beat enqueues a scheduled retrain, a worker takes it, a child process trains, the gate judges.
    rows = [json.loads(line) for line in (demo_folder() / "examples.jsonl").read_text().splitlines()]
    some = [row for row in rows if row["slice"] == "documents"]
    taken = remote.import_examples("".join(json.dumps(row) + "\n" for row in some))
    assert taken["imported"] == len(some)
    schedule = remote.add_schedule("* * * * * */2")[0]["schedule"]
    scheduled = wait(lambda: next((j for j in remote.jobs() if j["enqueued_by"] == "beat"), None), 60)
    remote.remove_schedule(schedule)
    for other in remote.jobs():
        if other["enqueued_by"] == "beat" and other["job"] != scheduled["job"] and other["state"] == "queued":
            remote.cancel_job(other["job"])
    ended = remote.wait_job(scheduled["job"])
    assert ended["state"] == "done", ended
    assert ended["worker"]
    run = remote.run(ended["args"]["run"])
    assert run["state"] in ("accepted", "rejected")
    manifest = json.loads((home / "runs" / run["run"] / "manifest.json").read_text())
    assert manifest["new"] == len([r for r in manifest["rows"] if r["part"] == "new"]) > 50
    assert all(row["reason"] for row in manifest["rows"])
    assert manifest["excluded"]["held out"] > 5  # the index was asked for the training split alone
    assert (home / "runs" / run["run"] / "adapter" / "manifest.json").exists()
    assert remote.gate(run["run"]) == run["verdict"]

    # Promote (by name, whatever the verdict), see that rankings change, roll back, see that they are as before.
    probe = [row["question"] for row in rows[:40]]
    before = [[h["chunk"] for h in remote.search(q, 5)["hits"]] for q in probe]
    override = None if run["verdict"]["accepted"] else "end-to-end test"
    assert remote.promote(run["adapter"], override)["champion"] == run["adapter"]
    promoted = [remote.search(q, 5) for q in probe]
    assert {p["adapter"] for p in promoted} == {run["adapter"]}
    assert [[h["chunk"] for h in p["hits"]] for p in promoted] != before
    assert remote.rollback()["champion"] is None
    assert [[h["chunk"] for h in remote.search(q, 5)["hits"]] for q in probe] == before
    log = remote.audit()
    assert log["intact"]
    assert [e["action"] for e in log["entries"]][:2] == ["rollback", "promote"]


def test_a_killed_node_starts_again_with_everything(node: tuple[Remote, subprocess.Popen[str], Path]) -> None:
    remote, process, home = node
    documents, status = remote.documents(), remote.status()
    process.kill()
    process.wait(60)
    again = start(home)
    try:
        revived = Remote(json.loads(again.stdout.readline())["api"])  # type: ignore[union-attr]
        assert revived.documents() == documents
        now = revived.status()
        assert [now[k] for k in ("epoch", "chunks", "points")] == [status[k] for k in ("epoch", "chunks", "points")]
        revived.close()
        # A second node on the same home is told so, and harms nothing.
        second = subprocess.run(
            [*REPRISE, "up", "--no-web", "--port", "0", "--home", str(home)],
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert second.returncode == 2
        assert "another Reprise process holds the home folder" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        again.send_signal(signal.SIGINT)
        assert again.wait(60) == 0
        again.stdout.close()  # type: ignore[union-attr]
