"""What is wrong is said, with what to do about it; nothing is lost, and nothing of it is left behind."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from ingest import fetch, sources
from kernel.errors import Conflict, FileRefused
from kernel.ids import digest
from tests.doors import LIBRARY, RETURNS, Terminal, doors, memory_folder, nothing_left_behind, opened, written
from tests.house import incoming, page
from tests.internet import Internet
from ui.api.app import make_app
from ui.door import Door
from ui.home import HomeLock
from ui.platform import Platform

pytestmark = pytest.mark.integration

GOOD = page("Good", {"One": "This page is as good as any other."})
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
HUGE = {"REPRISE_MIN_FREE_MB": "999999999"}


@pytest.fixture(scope="module", autouse=True)
def _doors() -> Iterator[None]:
    with doors():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with memory_folder(tmp_path_factory.mktemp("bad")) as place:
        yield place


@pytest.fixture(scope="module")
def terminal(folder: Path) -> Terminal:
    terminal = Terminal(folder / "home")
    terminal.json("ingest", str(written(folder / "library", dict(LIBRARY))))
    return terminal


@pytest.fixture
def unharmed(terminal: Terminal) -> Iterator[None]:
    """The test leaves the home as it was."""
    before = state(terminal)
    yield
    assert state(terminal) == before


def state(terminal: Terminal) -> tuple[Any, ...]:
    with terminal.inside() as platform:
        nothing_left_behind(platform)
        documents = platform.documents()
        return (
            documents,
            [platform.history(d["document"]) for d in documents],
            platform.schedules(),
            platform.examples(),
        )


# --- files ---------------------------------------------------------------------------------------


def encrypted_pdf() -> bytes:
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    out = io.BytesIO()
    canvas = Canvas(out, encrypt=StandardEncryption("the reader's password", ownerPassword="the owner's"))
    canvas.drawString(72, 700, "Nobody reads this.")
    canvas.save()
    return out.getvalue()


BAD_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.md": (lambda: b"", "empty_file"),
    "blank.txt": (lambda: b" \n\t\n", "empty_file"),
    "locked.pdf": (encrypted_pdf, "encrypted_pdf"),
    "cut.pdf": (lambda: b"%PDF-1.7\n1 0 obj\n<<", "broken_pdf"),
    "broken.docx": (lambda: b"PK\x03\x04" + b"what is left of a letter" * 20, "broken_docx"),
    "old.doc": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "unsupported_type"),
    "picture.md": (lambda: PNG, "broken_image"),
    "noise.txt": (lambda: bytes(range(256)) * 8, "binary_content"),
    "huge.txt": (lambda: b"word " * 300_000, "too_large"),
}


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_document_is_refused_by_name(name: str, terminal: Terminal, folder: Path) -> None:
    make, code = BAD_FILES[name]
    file = written(folder / "files", {name: make()}) / name
    done = terminal.json("ingest", str(file), code=1, env={"REPRISE_MAX_UPLOAD_MB": "1"})
    (row,) = done["documents"]
    assert (row["path"], row["status"], row["document"], row["version"]) == (str(file), "refused", None, None)
    assert row["error"]["code"] == code
    assert name in row["error"]["message"]
    assert row["error"]["hint"]
    said = terminal.type("ingest", str(file), env={"REPRISE_MAX_UPLOAD_MB": "1"})
    assert (said.exit_code, said.stderr) == (1, "")
    assert row["error"]["hint"] in said.stdout


def test_one_bad_file_never_takes_the_others_with_it(terminal: Terminal, folder: Path) -> None:
    files: dict[str, str | bytes] = {name: make() for name, (make, _) in BAD_FILES.items()}
    place = written(folder / "mixed", {**files, "good.md": GOOD, "a\\b.md": GOOD, "a\nb.md": GOOD, "z.md": GOOD + "z"})
    (Path(os.fsdecode(os.fsencode(place) + b"/caf\xe9.md"))).write_text(GOOD)
    done = terminal.json("ingest", str(place), "-w", "mixed", code=1, env={"REPRISE_MAX_UPLOAD_MB": "1"})
    assert {row["name"] for row in done["documents"] if row["status"] == "published"} == {"good.md", "z.md"}
    codes = [row["error"]["code"] for row in done["documents"] if row["error"]]
    assert sorted(codes) == sorted([code for _, code in BAD_FILES.values()] + ["bad_name"] * 3)
    for document in terminal.json("documents", "--workspace", "mixed"):
        terminal.json("delete", document["document"])


@pytest.mark.usefixtures("unharmed")
def test_what_is_no_file_at_all_is_refused_without_waiting_for_it(terminal: Terminal, folder: Path) -> None:
    os.mkfifo(folder / "pipe.md")
    for path in (str(folder / "pipe.md"), "/dev/zero"):
        (row,) = terminal.json("ingest", path, code=1)["documents"]
        assert row["status"] == "refused"
        assert "a device or a pipe" in row["error"]["message"]


@pytest.mark.usefixtures("unharmed")
def test_a_path_that_is_not_there_stops_before_anything_is_read(terminal: Terminal, folder: Path) -> None:
    good = written(folder / "there", {"good.md": GOOD}) / "good.md"
    for missing in ("no such file.md", "", "x" * 5000, "nul\0byte.md"):
        error = terminal.error("ingest", str(good), missing)
        assert error["code"] == "missing_path"
        assert "nothing was changed" in error["hint"]


@pytest.mark.usefixtures("unharmed")
def test_a_name_taken_by_another_source_is_refused_and_the_way_out_is_said(terminal: Terminal, folder: Path) -> None:
    other = written(folder / "elsewhere", {"returns.md": GOOD}) / "returns.md"
    (row,) = terminal.json("ingest", str(other), code=1)["documents"]
    assert (row["status"], row["error"]["code"]) == ("refused", "name_taken")
    assert "--as 'returns.md'" in row["error"]["hint"]


@pytest.mark.usefixtures("unharmed")
def test_versions_arrive_in_order_of_their_dates(terminal: Terminal, folder: Path) -> None:
    file = written(folder / "early", {"early.md": GOOD}) / "early.md"
    done = terminal.json("ingest", str(file), "--as", "returns.md", "--at", "2001-01-01", code=1)
    assert done["documents"][0]["error"]["code"] == "out_of_order"
    assert "later --at" in done["documents"][0]["error"]["hint"]


@pytest.mark.usefixtures("unharmed")
def test_a_disk_without_room_changes_nothing(terminal: Terminal, folder: Path) -> None:
    file = written(folder / "room", {"room.md": GOOD}) / "room.md"
    (row,) = terminal.json("ingest", str(file), code=1, env=HUGE)["documents"]
    assert (row["status"], row["error"]["code"]) == ("failed", "disk_full")
    assert "REPRISE_MIN_FREE_MB" in row["error"]["hint"]
    text = file.read_text()
    terminal.json("ingest", str(file))
    file.write_text(text.replace("G", "g") + "\nOne more line.\n")
    terminal.json("ingest", str(file))
    restored = terminal.json("restore", "room.md", "1", env=HUGE, code=1)
    assert restored["error"]["code"] == "disk_full"
    terminal.json("delete", "room.md")


# --- archives ------------------------------------------------------------------------------------


def zipped(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def tarred(file: Path, members: dict[str, bytes | tuple[bytes, str]]) -> Path:
    """A TAR; a pair is (type of the member, where it links to)."""
    with tarfile.open(file, "w:gz" if file.name.endswith("gz") else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return file


def ingested(terminal: Terminal, file: Path, code: int = 1, **env: str) -> dict[str, dict[str, Any]]:
    """Rows by name or path of an archive in a workspace of its own, which is emptied again."""
    rows = terminal.json("ingest", str(file), "--workspace", "archive", code=code, env=env)["documents"]
    for document in terminal.json("documents", "--workspace", "archive"):
        terminal.json("delete", document["document"])
    return {row["path"].removeprefix(f"{file.resolve()}!"): row for row in rows}


def codes(rows: dict[str, dict[str, Any]]) -> dict[str, str | None]:
    return {name: row["error"] and row["error"]["code"] for name, row in rows.items()}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_member_that_would_leave_the_archive_is_refused_and_the_others_are_read(
    kind: str, terminal: Terminal, folder: Path
) -> None:
    good = GOOD.encode()
    members = {"good.md": good, "../up.md": good, "a/../../up.md": good, "/etc/passwd.md": good, "a\\b.md": good}
    members |= {".git/config": good, "__MACOSX/._good.md": good}  # what a folder would not show either
    make: Any = zipped if kind == "zip" else tarred
    rows = ingested(terminal, make(folder / f"odd.{kind}", members))
    bad = dict.fromkeys(["../up.md", "a/../../up.md", "/etc/passwd.md", "a\\b.md"], "bad_name")
    assert codes(rows) == {"good.md": None, **bad}
    assert not list(folder.rglob("up.md"))


def test_links_and_devices_in_an_archive_are_refused(terminal: Terminal, folder: Path) -> None:
    members: dict[str, bytes | tuple[bytes, str]] = {
        "good.md": GOOD.encode(),
        "soft.md": (tarfile.SYMTYPE, "/etc/passwd"),
        "hard.md": (tarfile.LNKTYPE, "good.md"),
        "device.md": (tarfile.CHRTYPE, ""),
    }
    rows = ingested(terminal, tarred(folder / "links.tar.gz", members))
    assert codes(rows) == {"good.md": None, "soft.md": "not_a_file", "hard.md": "not_a_file", "device.md": "not_a_file"}

    with zipfile.ZipFile(folder / "links.zip", "w") as archive:
        link = zipfile.ZipInfo("soft.md")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("good.md", GOOD)
    assert codes(ingested(terminal, folder / "links.zip")) == {"good.md": None, "soft.md": "not_a_file"}


def test_a_member_that_is_too_large_is_refused_not_left_out(terminal: Terminal, folder: Path) -> None:
    members = {"big.txt": os.urandom(800_000).hex().encode(), "good.md": GOOD.encode()}
    for file in (zipped(folder / "big.zip", members), tarred(folder / "big.tar", dict(members))):
        assert codes(ingested(terminal, file, REPRISE_MAX_UPLOAD_MB="1")) == {"good.md": None, "big.txt": "too_large"}


@pytest.mark.usefixtures("unharmed")
def test_an_archive_that_would_fill_the_machine_is_refused_before_it_is_unpacked(
    terminal: Terminal, folder: Path
) -> None:
    zeros = {"zeros.txt": bytes(60 * 2**20)}
    many = {f"{i}.md": b"x" for i in range(10_001)}
    for members, what, code in (
        (zeros, "times its size", "limit_max_ratio"),
        (many, "10,001 files", "limit_max_members"),
    ):
        for file in (zipped(folder / "bomb.zip", members), tarred(folder / "bomb.tar.gz", dict(members))):
            (row,) = terminal.json("ingest", str(file), code=1)["documents"]
            assert row["error"]["code"] == code
            assert what in row["error"]["message"]
            assert code.removeprefix("limit_").upper() in row["error"]["hint"]


def patched(content: bytes, where: bytes, offset: int, value: bytes) -> bytes:
    """`content` with bytes changed behind every occurrence of a signature."""
    out, at = bytearray(content), content.find(where)
    while at >= 0:
        out[at + offset : at + offset + len(value)] = value
        at = content.find(where, at + 1)
    return bytes(out)


@pytest.mark.usefixtures("unharmed")
def test_a_damaged_archive_is_refused_whatever_is_damaged(terminal: Terminal, folder: Path) -> None:
    whole = zipped(folder / "whole.zip", {"a.md": os.urandom(3000).hex().encode()}).read_bytes()
    packed = tarred(folder / "whole.tar.gz", {"a.md": os.urandom(3000).hex().encode()}).read_bytes()
    with_password = patched(patched(whole, b"PK\x01\x02", 8, b"\x01\x00"), b"PK\x03\x04", 6, b"\x01\x00")
    lying = patched(whole, b"PK\x01\x02", 24, (10).to_bytes(4, "little"))  # it says 10 bytes, and holds 6,000
    damaged = {
        "no archive.zip": b"not a zip at all",
        "cut.zip": whole[:-40],
        "scrambled.zip": whole[:200] + bytes(500) + whole[700:],
        "password.zip": with_password,
        "lying.zip": lying,
        "no archive.tar": b"not a tar at all" * 100,
        "cut.tar.gz": packed[:-1500],
        "scrambled.tar.gz": packed[:300] + bytes(900) + packed[1200:],
        "empty.tgz": b"",
    }
    for name, content in damaged.items():
        (row,) = terminal.json("ingest", str(written(folder / "damaged", {name: content}) / name), code=1)["documents"]
        assert (name, row["error"]["code"]) == (name, "broken_archive")
        assert name in row["path"]


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("unharmed")
def test_a_private_address_is_refused_without_a_connection(terminal: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        urls = [f"http://{host}:{port}/" for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]")]
        urls += [
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "https://192.168.0.1/",
            "http://[::1]/",
        ]
        done = terminal.json("ingest", *urls, code=1)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert [row["path"] for row in done["documents"]] == urls
    for row in done["documents"]:
        assert (row["status"], row["error"]["code"]) == ("refused", "private_address")
        assert "not a public address" in row["error"]["message"]
        assert "download the page yourself" in row["error"]["hint"]


@pytest.mark.usefixtures("unharmed")
def test_what_is_no_address_is_refused(terminal: Terminal) -> None:
    urls = ["http://", "http://[::1", "https://host:99999/", f"http://{'a' * 300}.example/", "http:///path"]
    done = terminal.json("ingest", *urls, code=1)
    assert {row["error"]["code"] for row in done["documents"]} == {"url_refused"}


PUBLIC = {"public.example": ["93.184.216.34"], "inside.example": ["10.0.0.7"], "both.example": ["93.184.216.34", "::1"]}


def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = {"public.example/": httpx.Response(302, headers={"location": "http://inside.example/admin"})}
    internet = Internet(monkeypatch, PUBLIC, moved)
    with pytest.raises(FileRefused) as caught:
        fetch.fetch("http://public.example/", 1000)
    assert caught.value.code == "private_address"
    assert len(internet.asked) == 1  # the second address was never asked


def test_a_name_with_one_private_address_among_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    internet = Internet(monkeypatch, PUBLIC, {})
    with pytest.raises(FileRefused) as caught:
        fetch.fetch("https://both.example/x", 1000)
    assert caught.value.code == "private_address"
    assert internet.asked == []


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    page_ = httpx.Response(200, content=b"# Terms\n", headers={"content-type": "text/markdown; charset=utf-8"})
    internet = Internet(monkeypatch, PUBLIC, {"public.example:8443/a//terms?v=2": page_})
    found = fetch.fetch("https://public.example:8443/a//terms?v=2#top", 1000)
    assert (found.name, found.url, found.content) == (
        "public.example/a/terms.md",
        "https://public.example:8443/a//terms?v=2#top",
        b"# Terms\n",
    )
    assert internet.resolved == ["public.example"]  # once: what it would say next does not matter
    (request,) = internet.asked
    assert (request.url.host, request.url.port) == ("93.184.216.34", 8443)
    assert request.headers["host"] == "public.example:8443"
    assert request.extensions["sni_hostname"] == "public.example"


def test_a_page_is_read_as_what_its_server_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {
        "public.example/terms": httpx.Response(200, content=b"# T\n", headers={"content-type": "text/markdown"}),
        "public.example/a.html": httpx.Response(200, content=b"<p>T", headers={"content-type": "text/html"}),
    }
    Internet(monkeypatch, PUBLIC, pages)
    urls = ["http://public.example/terms", "http://public.example/a.html"]
    files = list(sources.read(urls, workspace="w"))
    assert [(f.path, f.name, f.source) for f in files] == [
        ("public.example/terms.md", "public.example/terms.md", urls[0]),
        (urls[1], "public.example/a.html", urls[1]),
    ]


@pytest.mark.parametrize(
    ("response", "code", "said"),
    [
        (lambda: httpx.Response(404), "url_refused", "the server answered 404"),
        (lambda: httpx.Response(304), "url_refused", "the server answered 304"),
        (lambda: httpx.Response(200, content=b"x" * 2 * 2**20), "too_large", "larger than 1 MiB"),
        (lambda: httpx.Response(302, headers={"location": "/"}), "url_refused", "more than 5 times"),
        (lambda: httpx.Response(302, headers={"location": "http://[oops/"}), "url_refused", "redirects to"),
        (lambda: httpx.Response(302, headers={"location": "file:///etc/passwd"}), "url_refused", "not an http"),
    ],
)
def test_what_a_server_must_not_do_is_refused(
    monkeypatch: pytest.MonkeyPatch, response: Callable[[], httpx.Response], code: str, said: str
) -> None:
    class Always(dict[str, httpx.Response]):
        def __missing__(self, _: str) -> httpx.Response:
            return response()

    Internet(monkeypatch, PUBLIC, Always())
    with pytest.raises(FileRefused) as caught:
        fetch.fetch("http://public.example/", 2**20)
    assert caught.value.code == code
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::", "::1", "fe80::1", "fd00::1", "fec0::1", "ff02::1", "::ffff:10.0.0.1", "::127.0.0.1",
     "64:ff9b::7f00:1", "2002:7f00:1::", "fe80::1%eth0"],
)  # fmt: skip
def test_no_special_address_passes_however_it_is_wrapped(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    Internet(monkeypatch, {"x.example": [address]}, {})
    with pytest.raises(FileRefused) as caught:
        fetch.fetch("http://x.example/", 1000)
    assert caught.value.code == "private_address"


# --- words and numbers ---------------------------------------------------------------------------

MISTAKES: dict[str, tuple[list[str], str]] = {
    "history of nothing": (["history", "no such.md"], "not_found"),
    "text of nothing": (["text", "no such.md"], "not_found"),
    "text of version 0": (["text", "returns.md", "--version", "0"], "not_found"),
    "text of version 99": (["text", "returns.md", "--version", "99"], "not_found"),
    "text of a version beyond all": (["text", "returns.md", "--version", "9" * 30], "not_found"),
    "diff of nothing": (["diff", "no such.md", "1", "2"], "not_found"),
    "diff with version 0": (["diff", "returns.md", "0", "1"], "not_found"),
    "restore of version 0": (["restore", "returns.md", "0"], "not_found"),
    "restore of version 7": (["restore", "returns.md", "7"], "not_found"),
    "delete of nothing": (["delete", "no such.md"], "not_found"),
    "changes since a time beyond all": (["changes", "--since", "9" * 30], "bad_request"),
    "search in no document": (["search", "x", "--document", "no such.md"], "not_found"),
    "search for nothing": (["search", " "], "bad_request"),
    "search with k 0": (["search", "x", "--k", "0"], "bad_request"),
    "search with k -1": (["search", "x", "--k", "-1"], "bad_request"),
    "search with k 1001": (["search", "x", "--k", "1001"], "bad_request"),
    "search at an epoch to come": (["search", "x", "--epoch", "999"], "bad_request"),
    "search at no time": (["search", "x", "--as-of", "tomorrow"], "bad_time"),
    "search at a time and an epoch": (["search", "x", "--as-of", "2026-01-01", "--epoch", "1"], "bad_request"),
    "ask with k 0": (["ask", "x", "--k", "0"], "bad_request"),
    "ask with k 51": (["ask", "x", "--k", "51"], "bad_request"),
    "ask no generator": (["ask", "x", "--generator", "oracle"], "not_found"),
    "feedback on nothing": (["feedback", "turn-1", "up"], "not_found"),
    "retire nothing": (["examples", "retire", "ex-1"], "not_found"),
    "a status there is none of": (["examples", "list", "--status", "asleep"], "bad_request"),
    "examples from nowhere": (["examples", "import", "no such.jsonl"], "missing_path"),
    "examples to nowhere": (["examples", "export", "/no/such/folder/out.jsonl"], "unwritable_file"),
    "a policy there is none of": (["rehearsal", "preview", "--policy", "astrology"], "bad_request"),
    "rho above .9": (["rehearsal", "preview", "--rho", "1.5"], "bad_request"),
    "rho below 0": (["rehearsal", "preview", "--rho", "-0.1"], "bad_request"),
    "rho that is no number": (["rehearsal", "preview", "--rho", "nan"], "bad_request"),
    "a kind there is none of": (["rehearsal", "preview", "--kind", "rewriter"], "bad_request"),
    "a run there is none of": (["gate", "run-1"], "not_found"),
    "an adapter there is none of": (["promote", "retriever-1"], "not_found"),
    "roll back a kind there is none of": (["rollback", "--kind", "rewriter"], "bad_request"),
    "a cron in words": (["schedule", "add", "every day"], "bad_cron"),
    "a cron out of range": (["schedule", "add", "61 * * * *"], "bad_cron"),
    "a schedule for a kind there is none of": (["schedule", "add", "0 3 * * *", "--kind", "rewriter"], "bad_request"),
    "a cron of a day that never comes": (["schedule", "add", "0 0 30 2 *"], "bad_cron"),
    "a cooldown without an end": (["schedule", "add", "0 3 * * *", "--cooldown", "366d"], "bad_schedule"),
    "a retrain with a seed below 0": (["retrain", "--seed", "-1"], "bad_request"),
    "a preview with a seed below 0": (["rehearsal", "preview", "--seed", "-1"], "bad_request"),
    "a merge with a seed below 0": (["merge", "retriever-1", "retriever-2", "--seed", "-1"], "bad_request"),
    "a matrix with a seed below 0": (["forgetting", "--seed", "-1"], "bad_request"),
    "a matrix of a thousand adapters": (["forgetting", "--last", "1000"], "bad_request"),
    "rho of a kind there is none of": (["rehearsal", "rho", "--kind", "rewriter"], "bad_request"),
    "examples of a split there is none of": (["examples", "list", "--split", "test"], "bad_request"),
    "examples made of nothing": (["examples", "generate", "no such.md"], "not_found"),
    "a preview from no adapter": (["rehearsal", "preview", "--start", "retriever-1"], "not_found"),
    "a retrain from no adapter": (["retrain", "--start", "retriever-1"], "not_found"),
    "remove no schedule": (["schedule", "remove", "sch-1"], "not_found"),
    "pause no schedule": (["schedule", "pause", "sch-1"], "not_found"),
    "a suite from nowhere": (["eval", "no such.jsonl"], "missing_path"),
    "a backup to nowhere": (["backup", "/no/such/folder/all.backup"], "unwritable_file"),
    "a backup from nowhere": (["restore-backup", "no such.backup"], "missing_path"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_and_what_to_do(mistake: str, terminal: Terminal) -> None:
    words, code = MISTAKES[mistake]
    assert terminal.error(*words)["code"] == code


@pytest.mark.usefixtures("unharmed")
def test_a_mistake_with_a_file_is_told_the_same_way(terminal: Terminal, folder: Path) -> None:
    files = written(
        folder / "given", {"good.md": GOOD, "more.md": GOOD, "binary": b"\xff\xfe\x00\x80" * 9, "one": "{}\n"}
    )
    good, more, binary = (str(files / name) for name in ("good.md", "more.md", "binary"))
    assert terminal.error("ingest", good, "--at", "last week")["code"] == "bad_time"
    assert "one document" in terminal.error("ingest", good, more, "--as", "x.md")["message"]
    assert "one document" in terminal.error("ingest", str(files), "--as", "x.md")["message"]
    for name in ("../x.md", "/etc/x.md", "a\\b.md", "", "x" * 501, "a//b.md", "./x.md", "C:x.md"):
        (row,) = terminal.json("ingest", good, f"--as={name}", code=1)["documents"]
        assert (name, row["error"]["code"]) == (name, "bad_name")
    assert terminal.error("examples", "import", binary)["code"] == "unreadable_file"
    assert terminal.error("eval", binary)["code"] == "unreadable_file"
    assert "is not a backup" in Terminal(folder / "fresh").error("restore-backup", binary)["message"]
    assert not (folder / "fresh").exists()
    turn = terminal.json("ask", "When does the camp gate open?")["turn"]
    assert terminal.error("feedback", turn, "sideways")["hint"] == "give up or down"
    taken = terminal.json("examples", "import", str(files / "one"), code=1)
    assert taken == {**taken, "imported": 0, "quarantined": 0}
    assert [e["line"] for e in taken["errors"]] == [1]


def test_an_export_that_fails_leaves_what_stood_there(terminal: Terminal, folder: Path) -> None:
    file = written(folder / "kept", {"out.jsonl": "precious\n"}) / "out.jsonl"
    broken = {"REPRISE_API": "http://127.0.0.1:9"}
    assert terminal.error("examples", "export", str(file), code=1, env=broken)["code"] == "node_unreachable"
    assert file.read_text() == "precious\n"
    assert [f.name for f in file.parent.iterdir()] == ["out.jsonl"]


def test_settings_that_do_not_fit_are_all_named(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home")
    error = terminal.error("documents", env={"REPRISE_RHO": "2", "REPRISE_THREADS": "many"})
    assert error["code"] == "bad_settings"
    assert "REPRISE_RHO='2'" in error["message"]
    assert "REPRISE_THREADS='many'" in error["message"]
    assert terminal.error("up", "--port", "99999")["code"] == "bad_settings"
    (tmp_path / "file").write_text("not a folder")
    assert Terminal(tmp_path / "file").error("documents")["code"] == "bad_home"


# --- one process to a home -----------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from ui.home import HomeLock
lock = HomeLock(Path(sys.argv[1]))
print("held", flush=True)
for line in sys.stdin:
    lock.announce(api=line.strip())
    print("announced", flush=True)
"""


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the home `folder/held`; a line to it is the address where it answers."""
    command = [sys.executable, "-c", HOLDER, str(folder / "held")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_node_on_a_home_is_told_who_has_it(folder: Path, holder: subprocess.Popen[str]) -> None:
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("http://127.0.0.1:9\n")
    holder.stdin.flush()
    holder.stdout.readline()
    terminal = Terminal(folder / "held")
    error = terminal.json("up", "--no-web", "--port", "0", code=2)["error"]
    assert error["code"] == "home_in_use"
    assert f"(process {holder.pid}, http://127.0.0.1:9)" in error["message"]
    assert "another --home" in error["hint"]
    gone = terminal.error("documents", code=1)  # the command line went to the node, which does not answer
    assert gone["code"] == "node_unreachable"
    assert "reprise up" in gone["hint"]

    holder.kill()
    holder.wait()
    assert terminal.json("documents") == []  # a killed holder lets go, whatever note it left
    with HomeLock(folder / "held")._file or io.StringIO():
        assert not (folder / "held" / "node.json").exists()


def test_a_node_that_is_still_starting_is_waited_for(folder: Path, holder: subprocess.Popen[str]) -> None:
    door = Door(folder / "held", as_json=True)
    with pytest.raises(Conflict) as caught:
        door._hold(patience=0.1)
    assert caught.value.code == "home_in_use"
    found: list[str | None] = []
    waiting = threading.Thread(target=lambda: found.append(door._hold(patience=30)))
    waiting.start()
    assert holder.stdin is not None
    holder.stdin.write("http://127.0.0.1:9\n")
    holder.stdin.flush()
    waiting.join(30)
    assert found == ["http://127.0.0.1:9"]


# --- over HTTP -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def platform(folder: Path) -> Iterator[Platform]:
    with opened(folder / "served", max_upload_mb=1) as platform:
        platform.ingest([incoming("returns.md", RETURNS)])
        yield platform


@pytest.fixture(scope="module")
def http(platform: Platform) -> Iterator[TestClient]:
    with TestClient(make_app(platform), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def sent(http: TestClient, name: bytes, content: bytes, **fields: str) -> httpx.Response:
    """Upload with a file name exactly as given: a client library would tidy it up."""
    parts = [f'--B\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
    head = (
        b'--B\r\nContent-Disposition: form-data; name="files"; filename="' + name.replace(b"\\", b"\\\\") + b'"\r\n\r\n'
    )
    body = b"".join([*parts, head, content, b"\r\n--B--\r\n"])
    return http.post("/v1/documents", content=body, headers={"content-type": "multipart/form-data; boundary=B"})


def error_of(response: httpx.Response, status: int) -> dict[str, str]:
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    error: dict[str, str] = response.json()["error"]
    assert list(error)[:3] == ["code", "message", "hint"]
    assert set(error) - {"code", "message", "hint"} <= {"type", "param"}  # OpenAI's, under its routes
    assert all(error[name] for name in ("code", "message", "hint"))
    assert "Traceback" not in response.text
    return error


def counted(platform: Platform) -> tuple[Any, ...]:
    return platform.documents(), set(platform.w.blobs.keys()), platform.w.index.count(), len(platform.jobs(1000))


BAD_NAMES = [
    b"../x.md", b"../../etc/passwd", b"a/../../x.md", b"/etc/x.md", b"//x.md", b"..\\x.md", b"a\\b.md", b"C:x.md",
    b"a\0b.md", b"a\tb.md", b"./x.md", b"..", b".", b"a/", "é".encode() * 501, b"x" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name[:16]))
def test_an_upload_under_a_name_that_leaves_its_place_is_refused(
    name: bytes, http: TestClient, platform: Platform
) -> None:
    before = counted(platform)
    response = sent(http, name, GOOD.encode())
    error = error_of(response, 400)
    if b"\0" not in name and len(name) < 10_000:  # what no multipart parser lets through is told in its words
        assert error["code"] == "bad_name"
    assert counted(platform) == before
    assert error_of(sent(http, b"fine.md", GOOD.encode(), **{"as": "../x.md"}), 400)["code"] == "bad_name"
    assert counted(platform) == before


def test_an_empty_upload_is_refused_in_its_job_and_leaves_nothing(http: TestClient, platform: Platform) -> None:
    documents = platform.documents()
    for name, content, code in ((b"empty.md", b"", "empty_file"), (b"picture.md", PNG, "broken_image")):
        job = sent(http, name, content)
        assert job.status_code == 202
        platform.w.ledger.run(job.json()["job"])
        ended = http.get(f"/v1/jobs/{job.json()['job']}").json()
        assert ended["state"] == "done"
        (row,) = ended["result"]["documents"]
        assert (row["status"], row["error"]["code"]) == ("refused", code)
    assert platform.documents() == documents
    platform.w.recover()  # as the next start does
    nothing_left_behind(platform)


def test_an_upload_beyond_the_limit_is_refused_before_it_is_kept(http: TestClient, platform: Platform) -> None:
    before = counted(platform)
    error = error_of(sent(http, b"huge.txt", b"word " * 300_000), 422)
    assert error["code"] == "too_large"
    assert "1 MiB" in error["message"]
    assert "REPRISE_MAX_UPLOAD_MB" in error["hint"]
    assert counted(platform) == before


def test_an_upload_that_does_not_fit_is_refused(http: TestClient, platform: Platform) -> None:
    before = counted(platform)
    assert error_of(sent(http, b"fine.md", GOOD.encode(), at="last week"), 400)["code"] == "bad_time"
    two = [("files", (f"{i}.md", GOOD.encode())) for i in range(2)]
    assert "one document" in error_of(http.post("/v1/documents", files=two, data={"as": "x.md"}), 400)["message"]
    assert error_of(http.post("/v1/documents"), 422)["code"] == "bad_request"
    assert error_of(http.post("/v1/documents", data={"files": "no file"}), 422)["code"] == "bad_request"
    broken = http.post("/v1/documents", content=b"x", headers={"content-type": "multipart/form-data"})
    error_of(broken, 400)
    good_and_bad = [("files", ("good.md", GOOD.encode())), ("files", ("../bad.md", GOOD.encode()))]
    assert error_of(http.post("/v1/documents", files=good_and_bad), 400)["code"] == "bad_name"
    assert counted(platform) == before
    assert digest(GOOD) not in set(platform.w.blobs.keys())


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/v1/documents/no such.md/history", None, 404, "not_found"),
        ("GET", "/v1/documents/returns.md/text?version=99", None, 404, "not_found"),
        ("GET", "/v1/documents/returns.md/text?version=0", None, 422, "bad_request"),
        ("GET", f"/v1/documents/returns.md/original?version={'9' * 30}", None, 422, "bad_request"),
        ("GET", "/v1/documents/returns.md/diff?a=1&b=x", None, 422, "bad_request"),
        ("POST", "/v1/documents/returns.md/restore", {"version": 0}, 422, "bad_request"),
        ("POST", "/v1/documents/returns.md/restore", {"version": 9}, 404, "not_found"),
        ("DELETE", "/v1/documents/no/such.md", None, 404, "not_found"),
        ("GET", f"/v1/changes?since={'9' * 30}", None, 422, "bad_request"),
        ("POST", "/v1/search", {"query": "x", "k": 0}, 422, "bad_request"),
        ("POST", "/v1/search", {"query": "x", "k": 1001}, 422, "bad_request"),
        ("POST", "/v1/search", {"query": " "}, 400, "bad_request"),
        ("POST", "/v1/search", {"query": "x", "as_of": "tomorrow"}, 400, "bad_time"),
        ("POST", "/v1/search", {"query": "x", "epoch": 999}, 400, "bad_request"),
        ("POST", "/v1/search", {"query": "x", "epoch": 10**30}, 422, "bad_request"),
        ("POST", "/v1/search", {}, 422, "bad_request"),
        ("POST", "/v1/search", b"{not json", 422, "bad_request"),
        ("POST", "/v1/ask", {"question": "x", "generator": "oracle"}, 404, "not_found"),
        ("POST", "/v1/feedback", {"turn": "turn-1", "vote": "up"}, 404, "not_found"),
        ("POST", "/v1/chat/completions", {"messages": []}, 400, "bad_request"),
        ("POST", "/v1/chat/completions", {"messages": [{"role": "system", "content": "x"}]}, 400, "bad_request"),
        ("POST", "/v1/chat/completions", {"model": "gpt-5", "messages": [{"role": "user", "content": "x"}]}, 404,
         "model_not_found"),
        ("GET", "/v1/examples?status=asleep", None, 400, "bad_request"),
        ("DELETE", "/v1/examples/ex-1", None, 404, "not_found"),
        ("GET", "/v1/rehearsal/preview?rho=1.5", None, 400, "bad_request"),
        ("GET", "/v1/rehearsal/preview?rho=nan", None, 400, "bad_request"),
        ("GET", "/v1/rehearsal/preview?policy=astrology", None, 400, "bad_request"),
        ("GET", "/v1/rehearsal/preview?seed=-1", None, 400, "bad_request"),
        ("GET", "/v1/rehearsal/preview?start=retriever-1", None, 404, "not_found"),
        ("GET", "/v1/rehearsal/rho?kind=rewriter", None, 422, "bad_request"),
        ("GET", "/v1/examples?split=test", None, 422, "bad_request"),
        ("GET", "/v1/forgetting?last=1000", None, 422, "bad_request"),
        ("GET", "/v1/forgetting?seed=-1", None, 400, "bad_request"),
        ("POST", "/v1/examples/generate", {"documents": ["no such.md"]}, 404, "not_found"),
        ("POST", "/v1/adapters/merge", {"adapters": ["a", "b"], "seed": -1}, 400, "bad_request"),
        ("POST", "/v1/retrains", {"seed": 2**31}, 400, "bad_request"),
        ("POST", "/v1/retrains", {"start": "retriever-1"}, 404, "not_found"),
        ("POST", "/v1/retrains", {"kind": "rewriter"}, 422, "bad_request"),
        ("POST", "/v1/retrains", {"policy": "astrology"}, 400, "bad_request"),
        ("GET", "/v1/retrains/run-1", None, 404, "not_found"),
        ("GET", "/v1/retrains/run-1/verdict", None, 404, "not_found"),
        ("POST", "/v1/rollouts", b'{"adapter": "none", "test": {"min_votes": 1e999}}', 400, "bad_request"),
        ("POST", "/v1/adapters/retriever-1/promote", {}, 404, "not_found"),
        ("POST", "/v1/adapters/rollback", {}, 400, "bad_request"),
        ("POST", "/v1/schedules", {"cron": "every day"}, 400, "bad_cron"),
        ("POST", "/v1/schedules", {"cron": "0 0 30 2 *"}, 400, "bad_cron"),
        *(
            ("POST", "/v1/schedules", b'{"cron": "0 3 * * *", "cooldown": %b}' % wrong, 400, "bad_schedule")
            for wrong in (b"NaN", b"1e999", b"-1", b"1e14")
        ),
        ("DELETE", "/v1/schedules/sch-1", None, 404, "not_found"),
        ("GET", "/v1/jobs/job-1", None, 404, "not_found"),
        ("POST", "/v1/jobs/job-1/cancel", None, 404, "not_found"),
        ("POST", "/v1/jobs/job-1/retry", None, 404, "not_found"),
        ("GET", "/v1/jobs?limit=-1", None, 422, "bad_request"),
        ("GET", f"/v1/turns?limit={'9' * 30}", None, 422, "bad_request"),
        ("POST", "/v1/eval", {"suite": "{not json"}, 400, "bad_suite"),
        ("POST", "/v1/backup", {"file": "/no/such/folder/all.backup"}, 400, "unwritable_file"),
        ("GET", "/v1/nothing", None, 404, "not_found"),
        ("PUT", "/v1/search", {}, 405, "http_error"),
    ],
)  # fmt: skip
def test_a_request_that_does_not_fit_is_answered_in_one_shape(
    http: TestClient, method: str, path: str, body: Any, status: int, code: str
) -> None:
    given = {"json": body} if body is not None else {}
    if isinstance(body, bytes):
        given = {"content": body, "headers": {"content-type": "application/json"}}
    assert error_of(http.request(method, path, **given), status)["code"] == code


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"question": 5}', "question must be text"),
        ('{"question": "x", "slice": [1], "answer": true}', "slice, answer must be text"),
        ('{"question": "x", "answer": ["a", {}]}', "answer must be text"),
        ('{"question": "\\ud800"}', "surrogate"),
        ('{"question": " "}', "no question"),
        ('{"question": "x", "relevant": 5}', "relevant must be a list"),
        ('{"question": "x", "relevant": [{"document": 5}]}', "the document of a relevant item is 5"),
        ('{"question": "x", "relevant": [{"document": "returns.md", "start": 1e999, "end": 9}]}', "inf is no place"),
        ('{"question": "x", "relevant": [{"document": "returns.md", "start": 1.5, "end": 9}]}', "1.5 is no place"),
        ('{"question": "x", "relevant": [{"document": "returns.md", "start": 9, "end": 9}]}', "nothing stands"),
        ("[" * 100_000, "nested too deep"),
    ],
    ids=lambda text: text[:80],
)
def test_a_row_of_a_suite_that_does_not_fit_is_told_by_line_at_every_door(
    http: TestClient, row: str, says: str
) -> None:
    suite = f'{{"question": "How long?", "relevant": [{{"document": "returns.md"}}]}}\n{row}'
    for path, body in (("/v1/eval", {"suite": suite}), ("/v1/suites", {"name": "bad", "suite": suite})):
        error = error_of(http.post(path, json=body), 400)
        assert error["code"] == "bad_suite"
        assert f"line 2: {says}" in error["message"].replace("it holds half of a ", "").replace("it is ", "")
    assert http.get("/v1/suites").json() == []


def test_a_line_that_is_nested_too_deep_takes_no_other_with_it(http: TestClient) -> None:
    content = '{"question": "How long may I return it?", "answer": "30 days."}\n' + "[" * 100_000
    done = http.post("/v1/examples/import", json={"content": content, "workspace": "deep"}).json()
    assert [error["line"] for error in done["errors"]] == [2]
    assert "nested too deep" in str(done["errors"])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/retrains", b'{"workspace": "\\ud800"}'),
        ("POST", "/v1/retrains", b'{"workspace": "\xed\xa0\x80"}'),
        ("POST", "/v1/retrains", '{"workspace": "\\uDC00"}'.encode("utf-16")),
        ("POST", "/v1/examples/import", b'{"content": "", "slice": "\\udfff"}'),
        ("POST", "/v1/rollouts", b'{"adapter": "x", "override": "\\ud83d"}'),
        ("POST", "/v1/routes", b'{"adapter": "x", "workspace": "w", "slice": "\\ud83d", "more": 1}'),
        ("PUT", "/v1/gate-policy", b'{"changes": {"\\ud83d": 1}}'),
        ("POST", "/v1/watches", b'{"\\ud83d": 1}'),
    ],
)
def test_half_of_a_character_is_refused_wherever_it_stands(
    http: TestClient, method: str, path: str, body: bytes
) -> None:
    response = http.request(method, path, content=body, headers={"content-type": "application/json"})
    assert "half of a surrogate pair" in error_of(response, 400)["message"]
    whole = b'{"adapter": "none", "override": "\\ud83d\\ude00"}'
    response = http.post("/v1/rollouts", content=whole, headers={"content-type": "application/json"})
    assert error_of(response, 404)["code"] == "not_found"


def test_a_fault_of_ours_is_told_in_the_same_shape(
    http: TestClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(platform, "status", broken)
    error = error_of(http.get("/v1/status"), 500)
    assert (error["code"], error["message"]) == ("internal", "ZeroDivisionError: oops")
