"""Uploads that resume: tus 1.0 as its clients speak it, over dropped connections and killed nodes."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from ingest.tables import Upload
from tests.house import incoming, page
from tests.workers import Node, worded
from ui.api.app import make_app
from ui.over_http import sending
from ui.platform import Platform, wait_for
from ui.remote import Remote

pytestmark = pytest.mark.integration

TUS = {"Tus-Resumable": "1.0.0"}
OFFSET = {"Content-Type": "application/offset+octet-stream"}
TEXT = page("Walrus", {"Food": "The walrus eats clams from the floor of the sea."}).encode()


def metadata(**told: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())


def large(mib: int, title: str = "Large") -> bytes:
    """Text of few words and many bytes: it must travel, not be understood."""
    return (f"# {title}\n\nWords of {title}.\n" + " " * 1023 + "\n").encode() + b" \n" * (mib * 2**19)


@pytest.fixture
def platform(quick_folder: Path) -> Iterator[Platform]:
    with worded(quick_folder / "home", max_upload_mb=20) as platform:
        yield platform


@pytest.fixture
def http(platform: Platform) -> Iterator[TestClient]:
    with TestClient(make_app(platform), base_url="http://127.0.0.1", headers=TUS) as client:
        yield client


Create = Callable[..., str]


@pytest.fixture
def create(http: TestClient) -> Create:
    def begin(size: int = len(TEXT), **told: str) -> str:
        told = {"filename": "walrus.md", **told}
        answer = http.post("/v1/uploads", headers={"Upload-Length": str(size), "Upload-Metadata": metadata(**told)})
        assert answer.status_code == 201, answer.text
        return str(answer.headers["location"])

    return begin


def patch(http: TestClient, where: str, offset: int, content: bytes, **headers: str) -> httpx.Response:
    return http.patch(where, content=content, headers={**OFFSET, "Upload-Offset": str(offset), **headers})


def offset(http: TestClient, where: str) -> int:
    return int(http.head(where).headers["upload-offset"])


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["tus-resumable"] == "1.0.0"
    return answer.status_code, answer.json()["error"]["code"]


# --- the protocol ---------------------------------------------------------------------------------


def test_a_server_says_what_it_can(http: TestClient) -> None:
    told = http.options("/v1/uploads").headers
    assert (told["tus-version"], told["tus-max-size"]) == ("1.0.0", str(20 * 2**20))
    assert set(told["tus-extension"].split(",")) >= {
        "creation", "creation-with-upload", "expiration", "checksum", "termination",
    }  # fmt: skip
    assert set(told["tus-checksum-algorithm"].split(",")) == {"sha1", "sha256"}


def test_bytes_in_pieces_become_a_document(http: TestClient, platform: Platform, create: Create) -> None:
    where = create(workspace="sea", at="2026-01-01", source="/files/walrus.md")
    half = len(TEXT) // 2
    first = patch(http, where, 0, TEXT[:half])
    assert (first.status_code, first.headers["upload-offset"]) == (204, str(half))
    assert "upload-job" not in first.headers
    head = http.head(where)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == (str(half), str(len(TEXT)))
    assert head.headers["cache-control"] == "no-store"
    job = patch(http, where, half, TEXT[half:]).headers["upload-job"]
    told = http.get(where).json()
    assert (told["job"], told["offset"], told["size"]) == (job, len(TEXT), len(TEXT))
    platform.w.ledger.run(job)
    (row,) = platform.job(job)["result"]["documents"]
    assert (row["name"], row["status"]) == ("walrus.md", "published")
    (document,) = platform.documents("sea")
    assert document["source"] == "/files/walrus.md"
    assert platform.history(row["document"])[0]["at"] == "2026-01-01T00:00:00.000Z"
    assert platform.original(row["document"])[2] == TEXT
    assert not list((platform.w.home / "uploads").iterdir())


def test_an_upload_may_come_whole_with_its_creation(http: TestClient, platform: Platform) -> None:
    told = {"Upload-Length": str(len(TEXT)), "Upload-Metadata": metadata(filename="a b/ü.md"), **OFFSET}
    answer = http.post("/v1/uploads", content=TEXT, headers=told)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(TEXT)))
    platform.w.ledger.run(answer.headers["upload-job"])
    assert [d["name"] for d in platform.documents()] == ["a b/ü.md"]


def test_a_name_of_its_own_continues_a_document(http: TestClient, platform: Platform, create: Create) -> None:
    platform.ingest([incoming("plan.md", TEXT)])
    where = create(filename="download.md", **{"as": "plan.md"})
    job = patch(http, where, 0, TEXT[:-1] + b"!").headers["upload-job"]
    platform.w.ledger.run(job)
    assert platform.job(job)["result"]["documents"][0]["version"] == 2


def test_what_is_not_tus_is_refused_in_its_own_words(http: TestClient, create: Create) -> None:
    where = create()
    assert code(http.post("/v1/uploads", headers={"Tus-Resumable": "0.2.2"})) == (412, "tus_version")
    assert http.post("/v1/uploads", headers={"Tus-Resumable": "0.2.2"}).headers["tus-version"] == "1.0.0"
    assert code(http.post("/v1/uploads", headers={"Upload-Metadata": metadata(filename="a.md")})) == (400, "no_length")
    assert code(http.patch(where, content=b"x", headers={"Upload-Offset": "0"})) == (415, "bad_request")
    assert code(patch(http, where, 5, TEXT)) == (409, "offset_mismatch")
    assert code(patch(http, where, 0, TEXT + b"more")) == (413, "too_long")
    assert code(patch(http, "/v1/uploads/upload-nobody", 0, TEXT)) == (404, "not_found")
    assert http.head("/v1/uploads/..%2fnode.lock").status_code == 404
    assert offset(http, where) == 0


def test_what_is_too_large_or_badly_called_is_refused_before_a_byte_is_sent(http: TestClient) -> None:
    told = {"Upload-Length": str(21 * 2**20), "Upload-Metadata": metadata(filename="a.md")}
    assert code(http.post("/v1/uploads", headers=told)) == (413, "too_large")
    for name in ("../etc/passwd", "/etc/passwd", "a\\b", "", "a/../b"):
        told = {"Upload-Length": "5", "Upload-Metadata": metadata(filename=name)}
        assert code(http.post("/v1/uploads", headers=told)) == (400, "bad_name")
    told = {"Upload-Length": "5", "Upload-Metadata": "filename %%%"}
    assert code(http.post("/v1/uploads", headers=told)) == (400, "bad_request")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_damaged_piece_is_not_taken(http: TestClient, create: Create, algorithm: str) -> None:
    where, piece = create(), TEXT[:20]
    right = base64.b64encode(hashlib.new(algorithm, piece).digest()).decode()
    damaged = patch(http, where, 0, b"x" + piece[1:], **{"Upload-Checksum": f"{algorithm} {right}"})
    assert code(damaged) == (460, "checksum_mismatch")
    assert offset(http, where) == 0
    assert patch(http, where, 0, piece, **{"Upload-Checksum": f"{algorithm} {right}"}).status_code == 204
    assert offset(http, where) == len(piece)
    unknown = patch(http, where, len(piece), piece, **{"Upload-Checksum": f"md5 {right}"})
    assert code(unknown) == (400, "no_such_checksum")


def test_an_upload_can_be_called_off(http: TestClient, platform: Platform, create: Create) -> None:
    where = create()
    patch(http, where, 0, TEXT[:5])
    assert http.delete(where).status_code == 204
    assert code(patch(http, where, 5, TEXT[5:])) == (404, "not_found")
    assert not list((platform.w.home / "uploads").iterdir())


def test_an_upload_that_nobody_goes_on_with_expires(http: TestClient, platform: Platform, create: Create) -> None:
    where, other = create(), create()
    patch(http, where, 0, TEXT[:5])
    assert "GMT" in http.head(where).headers["upload-expires"]
    with platform.w.db.write() as session:
        session.execute(update(Upload).where(Upload.id == where.rpartition("/")[2]).values(expires=1))
    assert http.head(where).status_code == 404
    assert platform.tick()["uploads_expired"] == 1
    assert offset(http, other) == 0
    assert not list((platform.w.home / "uploads").glob(where.rpartition("/")[2]))


def test_an_empty_file_is_a_job_at_once_and_is_refused_there(http: TestClient, platform: Platform) -> None:
    told = {"Upload-Length": "0", "Upload-Metadata": metadata(filename="empty.md")}
    job = http.post("/v1/uploads", headers=told).headers["upload-job"]
    platform.w.ledger.run(job)
    assert platform.job(job)["result"]["documents"][0]["error"]["code"] == "empty_file"


def test_a_client_that_can_only_post_says_what_it_means(http: TestClient, create: Create) -> None:
    where = create()
    told = {**OFFSET, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert http.post(where, content=TEXT[:5], headers=told).status_code == 204
    assert offset(http, where) == 5


def test_of_two_requests_at_once_one_wins(platform: Platform, create: Create, http: TestClient) -> None:
    where = create()
    upload = where.rpartition("/")[2]
    with platform.w.uploads.writing(upload, 0) as writer:
        writer.write(TEXT[:5])
        assert code(patch(http, where, 0, TEXT)) == (423, "upload_locked")
        writer.keep()
    assert code(patch(http, where, 0, TEXT)) == (409, "offset_mismatch")
    assert "upload-job" in patch(http, where, 5, TEXT[5:]).headers


def test_what_was_complete_when_the_node_died_becomes_a_job_all_the_same(platform: Platform, create: Create) -> None:
    upload = create().rpartition("/")[2]
    with platform.w.uploads.writing(upload, 0) as writer:
        writer.write(TEXT)
        writer.keep()  # and here it dies, before the job
    platform.w.recover()
    platform.tick()
    job = platform.w.uploads.find(upload).job
    assert job is not None
    platform.w.ledger.run(job)
    assert [d["name"] for d in platform.documents()] == ["walrus.md"]
    assert platform.w.uploads.finish(upload).job == job  # once


def test_bytes_that_got_lost_are_asked_for_again(http: TestClient, platform: Platform, create: Create) -> None:
    """A backup holds the rows of uploads and not their bytes."""
    where, whole = create(), create()
    patch(http, where, 0, TEXT[:20])
    with platform.w.uploads.writing(whole.rpartition("/")[2], 0) as writer:
        writer.write(TEXT)
        writer.keep()
    for path in (platform.w.home / "uploads").iterdir():
        path.unlink()
    assert code(patch(http, where, 20, TEXT[20:])) == (409, "offset_mismatch")
    assert offset(http, where) == offset(http, whole) == 0
    job = patch(http, where, 0, TEXT).headers["upload-job"]
    platform.w.ledger.run(job)
    assert platform.original("walrus.md")[2] == TEXT


# --- over real connections ------------------------------------------------------------------------


@pytest.fixture
def node(quick_folder: Path) -> Iterator[Node]:
    node = Node(quick_folder / "home")
    yield node
    node.stop()


def request(node: Node, where: str, content: bytes, size: int) -> socket.socket:
    """Begin a PATCH that promises `size` bytes and has sent `content`."""
    connection = socket.create_connection(("127.0.0.1", node.port))
    head = f"PATCH {where} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\nUpload-Offset: 0\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in {**TUS, **OFFSET}.items())
    connection.sendall(head.encode() + b"\r\n" + content)
    return connection


def test_an_interrupted_request_goes_on_where_it_broke_off_also_on_another_life_of_the_node(node: Node) -> None:
    content = large(40)
    with httpx.Client(base_url=node.url, headers=TUS, trust_env=False, timeout=30) as http:
        told = {"Upload-Length": str(len(content)), "Upload-Metadata": metadata(filename="large.txt")}
        where = http.post("/v1/uploads", headers=told).headers["location"]

        def reached() -> int:
            return int(http.head(where).headers["upload-offset"])

        with request(node, where, content[: 20 * 2**20], len(content)):
            assert wait_for(lambda: reached() >= 16 * 2**20, 60)  # some of it is safe while it still comes
            node.kill()
        node.start()
        before = reached()
        assert 16 * 2**20 <= before <= 20 * 2**20
        rest = {**OFFSET, "Upload-Offset": str(before)}
        with socket.create_connection(("127.0.0.1", node.port)) as dropped:  # a connection that drops keeps what came
            head = f"PATCH {where} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content) - before}\r\n"
            head += "".join(f"{k}: {v}\r\n" for k, v in {**TUS, **rest}.items())
            dropped.sendall(head.replace("Host: x", "Host: 127.0.0.1").encode() + b"\r\n" + content[before:][: 2**20])
        assert wait_for(lambda: reached() == before + 2**20, 60)
        done = http.patch(where, content=content[before + 2**20 :], headers=OFFSET | {"Upload-Offset": str(reached())})
        assert done.status_code == 204
        remote = Remote(node.url)
        assert remote.wait_job(done.headers["upload-job"])["result"]["documents"][0]["status"] == "published"
        assert remote.original("large.txt") == content
        remote.close()


def test_the_command_lines_client_sends_large_files_in_pieces_and_survives_the_node(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = large(12)
    remote, killed, before = Remote(node.url), threading.Event(), sending.Sending._next

    def next_piece(self: Any, where: str, content: bytes, offset: int | None) -> httpx.Response:
        if offset and not killed.is_set():
            killed.set()
            node.kill()
            threading.Thread(target=node.start).start()
        return before(self, where, content, offset)

    monkeypatch.setattr(sending.Sending, "_next", next_piece)
    files = [incoming("small.md", TEXT), incoming("sea/large.txt", content), incoming("last.md", TEXT + b"!")]
    rows = remote.ingest(files)["documents"]
    assert killed.is_set()
    assert [(row["path"], row["status"]) for row in rows] == [
        ("small.md", "published"), ("sea/large.txt", "published"), ("last.md", "published"),
    ]  # fmt: skip
    assert remote.original("sea/large.txt") == content
    remote.close()


# --- plain uploads --------------------------------------------------------------------------------


def test_the_memory_of_a_plain_upload_does_not_grow_with_the_number_of_its_files(
    platform: Platform, http: TestClient
) -> None:
    """Complaint 15: memory blow-up on many or large files. What is read at once is one file."""
    from ingest.incoming import Incoming

    content = os.urandom(2**20)

    def many() -> Iterator[Incoming]:
        for number in range(40):
            yield incoming(f"{number}.txt", content + bytes([number]))

    tracemalloc.start()
    platform.enqueue_ingest(many())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20
    files = [("files", (f"{n}.md", TEXT)) for n in range(5)]
    job = http.post("/v1/documents", files=files).json()
    assert len(job["args"]["files"]) == 5
