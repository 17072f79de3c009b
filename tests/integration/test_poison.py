"""A file that kills its worker costs itself only: real processes die, and the job comes to its end all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.house import incoming, page
from tests.workers import DEADLY, Workers, worded

pytestmark = pytest.mark.integration

POISON = page("Raven", {"Word": f"Quoth the raven, {DEADLY}."})


def good(number: int) -> str:
    return page(f"Walrus {number}", {"Food": f"Walrus number {number} eats clams from the floor of the sea."})


def accepted(home: Path, texts: dict[str, str], **given: Any) -> str:
    """A job with these files, accepted by a platform that does not work on it; the job."""
    with worded(home) as platform:
        return str(platform.enqueue_ingest([incoming(name, text, **given) for name, text in texts.items()])["job"])


def ended(home: Path, job: str) -> dict[str, Any]:
    with worded(home) as platform:
        found: dict[str, Any] = platform.job(job)
        return found


def statuses(job: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["status"] for row in job["result"]["documents"]}


def test_a_file_that_kills_its_worker_is_set_aside_and_the_others_are_published(quick_folder: Path) -> None:
    texts = {f"{n:02}.md": good(n) for n in range(40)}
    texts["17.md"] = POISON
    job = accepted(quick_folder, texts)
    assert Workers(quick_folder).until_done() == 2  # among others, then alone
    done = ended(quick_folder, job)
    assert (done["state"], done["error"]) == ("done", None)
    assert [row["name"] for row in done["result"]["documents"]] == sorted(texts)  # in the order they were sent
    assert statuses(done) == {name: "failed" if name == "17.md" else "published" for name in texts}
    (row,) = [row for row in done["result"]["documents"] if row["status"] == "failed"]
    assert (row["error"]["code"], row["path"]) == ("poison", "17.md")
    assert "died 2 times" in row["error"]["message"]
    with worded(quick_folder) as platform:
        assert len(platform.documents()) == 39
        assert {version["version"] for doc in platform.documents() for version in platform.history(doc["name"])} == {1}


def test_several_poisonous_files_are_each_set_aside(quick_folder: Path) -> None:
    texts = {f"{n:02}.md": good(n) for n in range(30)} | {"03.md": POISON, "04.md": POISON + "x", "25.md": POISON + "y"}
    job = accepted(quick_folder, texts)
    Workers(quick_folder).until_done()
    done = ended(quick_folder, job)
    assert done["state"] == "done"
    assert {name for name, status in statuses(done).items() if status == "failed"} == {"03.md", "04.md", "25.md"}
    assert done["attempt"] > 3  # more than a job has that learns nothing from its deaths


def test_versions_of_one_document_keep_their_order_around_a_suspect(quick_folder: Path) -> None:
    with worded(quick_folder) as platform:
        texts = [good(1), POISON, good(2)]
        files = [incoming("same.md", text) for text in texts]
        job = platform.enqueue_ingest([*files, incoming("other.md", good(3))])["job"]
    Workers(quick_folder).until_done()
    with worded(quick_folder) as platform:
        rows = platform.job(job)["result"]["documents"]
        assert [(row["name"], row["status"]) for row in rows] == [
            ("same.md", "published"), ("same.md", "failed"), ("same.md", "published"), ("other.md", "published"),
        ]  # fmt: skip
        assert "number 2" in platform.text("same.md")["text"]
        assert len(platform.history("same.md")) == 2


def test_a_single_file_is_tried_again_before_it_is_to_blame(quick_folder: Path) -> None:
    """One death may be a power cut."""
    job = accepted(quick_folder, {"raven.md": POISON})
    assert Workers(quick_folder).until_done() == 2
    done = ended(quick_folder, job)
    assert done["state"] == "done"
    assert statuses(done) == {"raven.md": "failed"}


def test_a_job_beside_a_poisonous_one_is_not_to_blame(quick_folder: Path) -> None:
    """A worker that dies takes all its jobs along; only the one that killed it loses a file."""
    poisonous = accepted(quick_folder, {"raven.md": POISON})
    innocent = [accepted(quick_folder, {f"{n}.md": good(n)}) for n in range(3)]
    Workers(quick_folder, threads=4).until_done()
    assert statuses(ended(quick_folder, poisonous)) == {"raven.md": "failed"}
    for number, job in enumerate(innocent):
        assert statuses(ended(quick_folder, job)) == {f"{number}.md": "published"}


def test_row_07_a_failed_document_can_be_retried_and_removed(quick_folder: Path) -> None:
    """Its bytes are kept until one or the other, over restarts; R2R#1159, LightRAG#1380."""
    job = accepted(quick_folder, {"good.md": good(1), "raven.md": POISON})
    Workers(quick_folder).until_done()
    with worded(quick_folder) as platform:
        platform.w.recover()  # a start sweeps what nobody needs
        before = set(platform.w.blobs.keys())
        assert platform.retry_job(job)["state"] == "queued"
    Workers(quick_folder).until_done()
    with worded(quick_folder) as platform:
        platform.w.recover()
        again = platform.job(job)
        assert statuses(again) == {"good.md": "published", "raven.md": "failed"}
        assert len(platform.history("good.md")) == 1  # what was published stays, once
        assert set(platform.w.blobs.keys()) == before
        platform.remove_job(job)
        assert len(set(platform.w.blobs.keys())) == len(before) - 1
        assert not any(found["job"] == job for found in platform.jobs())
        assert platform.ingest([incoming("raven.md", good(2))])["documents"][0]["status"] == "published"
