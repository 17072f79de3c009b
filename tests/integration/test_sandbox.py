"""Whatever a file does to its parser, the node goes on: real children, and files made to harm them."""

from __future__ import annotations

import ast
import io
import mmap
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from ingest.chunk import Chunker
from ingest.parse import parse, worker
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.sandbox import ChunkerSpec, Sandbox
from kernel.embedder import SentenceTransformerEmbedder, model_path
from kernel.errors import Failed, FileRefused
from kernel.settings import DEFAULT_EMBEDDER
from tests.bombs import BOMBS

pytestmark = pytest.mark.integration

HOSTILE = "tests.hostile:reader"
TIGHT = Limits(parse_seconds=20, parse_memory_mb=300, max_text_mb=2)
MAX_TOKENS = 200


@pytest.fixture(scope="module")
def hostile() -> Iterator[Sandbox]:
    with Sandbox(TIGHT, reader=HOSTILE) as made:
        yield made


@pytest.fixture(scope="module")
def real() -> Iterator[Sandbox]:
    """With our own parsers, and no more than they may take in a test."""
    limits = replace(TIGHT, parse_memory_mb=700, max_text_mb=16)
    spec = ChunkerSpec(tokenizer=str(Path(model_path(DEFAULT_EMBEDDER)) / "tokenizer.json"), max_tokens=MAX_TOKENS)
    with Sandbox(limits, chunker=spec) as made:
        yield made


def refusal(sandbox: Sandbox, content: bytes, name: str = "a.txt") -> FileRefused:
    with pytest.raises(FileRefused) as caught:
        sandbox.parse(content, name)
    assert caught.value.hint
    assert repr(name)[1:-1] in caught.value.message
    return caught.value


def child_of(sandbox: Sandbox) -> int:
    """The process that reads; proof that the sandbox still works."""
    found = re.match(r"read by (\d+): ", sandbox.parse(b"good", "good.txt").text)
    assert found is not None
    return int(found[1])


def gone(*pids: int) -> bool:
    """True once none of the processes runs; one that nobody waits for is as good as gone."""
    for pid in pids:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    break
            except OSError:
                break
            time.sleep(0.01)
        else:
            return False
    return True


# --- what comes out is what our parsers make of it -------------------------------------------------


FILES: dict[str, bytes] = {
    "a.md": (
        "---\ntitle: x\n---\n# Wal\n\n" + "Der Bär 🐻 isst. " * 90 + "\n\n## Tafel\n\n| a | b |\n|--|--|\n| 1 | 2 |\n"
    ).encode(),
    "a.html": b"<title>Sea</title><h1>Walrus</h1><p>It eats <b>clams</b>.</p><h2>Skin</h2><p>Grey.</p>",
    "a.txt": "Plain wörds.\r\n\r\nMore of them.".encode("latin-1"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_child_reads_and_cuts_as_the_parent_would(name: str, real: Sandbox) -> None:
    parsed, drafts = real.read(FILES[name], name)
    here = parse(FILES[name], name)
    assert parsed == here
    embedder = SentenceTransformerEmbedder()
    assert drafts == tuple(Chunker(embedder.count_tokens, MAX_TOKENS).chunk(here))
    assert real.parse(FILES[name], name) == here


def test_a_refusal_comes_back_as_it_was(real: Sandbox) -> None:
    for content, name in ((b"", "empty.md"), (b"\x7fELF" + bytes(100), "run"), (b"%PDF-1.7\n1 0 obj\n<<", "cut.pdf")):
        with pytest.raises(FileRefused) as caught:
            parse(content, name)
        found = refusal(real, content, name)
        assert found.as_json() == caught.value.as_json()


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")
def test_a_child_reads_pictures_with_the_languages_it_was_told() -> None:
    image, out = Image.new("L", (1000, 300), "white"), io.BytesIO()
    ImageDraw.Draw(image).text((40, 80), "The walrus eats clams", fill="black", font=ImageFont.load_default(70))
    image.save(out, "PNG")
    with Sandbox(DEFAULT) as sandbox:
        assert sandbox.parse(out.getvalue(), "a.png").text.strip() == "The walrus eats clams"
    with Sandbox(replace(DEFAULT, ocr_languages="xyz")) as sandbox:
        assert refusal(sandbox, out.getvalue(), "a.png").code == "ocr_missing"
    with Sandbox(replace(DEFAULT, ocr="off")) as sandbox:
        assert refusal(sandbox, out.getvalue(), "a.png").code == "ocr_missing"


def test_a_sandbox_without_a_chunker_says_so(hostile: Sandbox) -> None:
    with pytest.raises(ValueError, match="without a chunker"):
        hostile.read(b"good", "a.txt")


# --- a child that fails -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deed", "code", "word"),
    [
        ("kill", "parser_crashed", "SIGKILL"),
        ("segfault", "parser_crashed", "SIGSEGV"),
        ("leave", "parser_crashed", "exit code 3"),
        ("hog", "limit_parse_memory_mb", "300 MiB"),
        ("hog_in_c", "limit_parse_memory_mb", "300 MiB"),
        ("deep", "nested_too_deeply", "nested"),
        ("deep_data", "nested_too_deeply", "nested"),
        ("flood", "limit_max_text_mb", "3 million"),
        *((f"garbage {kind}", "parser_crashed", "crash") for kind in ("noise", "json", "list", "deep", "endless")),
        *((f"garbage {kind}", "parser_crashed", "crash") for kind in ("other", "half")),
        *((f"wrong {kind}", "parser_crashed", "crash") for kind in ("outside", "backwards", "disorder", "negative")),
        *((f"wrong {kind}", "parser_crashed", "crash") for kind in ("number", "words", "nul", "true", "none")),
    ],
)
def test_a_file_that_ends_its_child_is_refused_and_the_next_one_is_read(
    deed: str, code: str, word: str, hostile: Sandbox
) -> None:
    child_of(hostile)
    found = refusal(hostile, deed.encode(), "bad file.txt")
    assert (found.code, word in found.message) == (code, True), found.message
    child_of(hostile)


def test_a_fault_of_ours_is_not_blamed_on_the_file(hostile: Sandbox) -> None:
    with pytest.raises(Failed, match="enough") as caught:
        hostile.parse(b"exit", "a.txt")
    assert caught.value.code == "internal"
    child_of(hostile)


@pytest.mark.parametrize("deed", ["hang", "spin"])
def test_a_parser_that_does_not_come_to_an_end_is_ended_with_all_it_started(deed: str, tmp_path: Path) -> None:
    place = tmp_path / "pids"
    seconds = 10 if deed == "hang" else 3  # time to start what would outlive it
    with Sandbox(replace(TIGHT, parse_seconds=seconds), reader=HOSTILE) as sandbox:
        found = refusal(sandbox, f"{deed} {place}".encode())
        assert (found.code, "REPRISE_PARSE_SECONDS" in found.hint) == ("limit_parse_seconds", True)
        if deed == "hang":
            assert gone(*map(int, place.read_text().split()))
        child_of(sandbox)


def test_a_good_file_is_not_refused_for_what_an_earlier_one_did() -> None:
    """Files share a child. One that crashes in a child that has read others is tried again in a fresh one."""
    with Sandbox(TIGHT, reader=HOSTILE) as sandbox:
        first = child_of(sandbox)
        os.kill(first, signal.SIGKILL)
        second = child_of(sandbox)
        assert first != second
        sandbox.parse(b"twice", "a.txt")
        child_of(sandbox)


def test_a_child_is_kept_until_it_has_kept_too_much_itself() -> None:
    with Sandbox(replace(TIGHT, parse_memory_mb=600), reader=HOSTILE) as sandbox:
        first = child_of(sandbox)
        assert child_of(sandbox) == first
        sandbox.parse(b"leak", "a.txt")
        assert gone(first)
        assert child_of(sandbox) != first


def test_what_a_library_prints_spoils_nothing(hostile: Sandbox) -> None:
    for _ in range(3):
        assert hostile.parse(b"print", "a.txt").text.startswith("read by")


def test_a_child_sees_little_of_the_machine(hostile: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REPRISE_API_KEY", "HTTPS_PROXY", "https_proxy", "AWS_SECRET_ACCESS_KEY", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "x")
    with socket.create_server(("127.0.0.1", 0)) as server, Sandbox(TIGHT, reader=HOSTILE) as sandbox:
        seen = ast.literal_eval(sandbox.parse(f"look {server.getsockname()[1]}".encode(), "a.txt").text)
        place = Path(seen["place"])
        assert place.is_dir()
    assert not {"REPRISE_API_KEY", "HTTPS_PROXY", "https_proxy", "AWS_SECRET_ACCESS_KEY"} & set(seen["environment"])
    assert (seen["core"], seen["group"], seen["torch"]) == (0, True, False)
    assert seen["files"] < 12  # nothing of the parent's
    assert not place.exists()
    if sys.platform == "linux" and os.getuid() == 0:
        assert not seen["reached"]


def test_a_child_that_does_not_start_is_said_so() -> None:
    for wrong in ("tests.hostile:nothing", "no_such_module:reader"):
        with Sandbox(TIGHT, reader=wrong) as sandbox, pytest.raises(Failed) as caught:
            sandbox.parse(b"good", "a.txt")
        assert caught.value.code == "parser_did_not_start"
        assert "nothing" in caught.value.message or "no_such_module" in caught.value.message
    spec = ChunkerSpec(tokenizer="/no/such/tokenizer.json", max_tokens=MAX_TOKENS)
    with Sandbox(TIGHT, chunker=spec) as sandbox, pytest.raises(Failed, match="did not start"):
        sandbox.read(b"good", "a.txt")


# --- threads, and ends ------------------------------------------------------------------------------


def test_threads_share_the_children_and_none_waits_for_a_crash() -> None:
    deeds = [b"good", b"kill", b"good", b"leave", b"deep", b"good", b"print", b"good"] * 3

    def outcome(deed: bytes) -> str:
        try:
            return sandbox.parse(deed, "a.txt").text.partition(":")[0].split()[0]
        except FileRefused as error:
            return error.code

    with Sandbox(TIGHT, workers=2, reader=HOSTILE) as sandbox, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(outcome, deeds))
        assert len({child_of(sandbox) for _ in range(3)}) == 1
    expected = {b"kill": "parser_crashed", b"leave": "parser_crashed", b"deep": "nested_too_deeply"}
    assert found == [expected.get(deed, "read") for deed in deeds]


@contextmanager
def hanging(sandbox: Sandbox, place: Path) -> Iterator[tuple[threading.Thread, list[BaseException], list[int]]]:
    """A thread that waits for a file which never ends, and the processes behind it."""
    errors: list[BaseException] = []
    os.mkfifo(place)

    def ask() -> None:
        try:
            sandbox.parse(f"hang {place}".encode(), "a.txt")
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        with place.open() as told:  # opens when the child does
            yield thread, errors, [int(pid) for pid in told.read().split()]
    finally:
        thread.join(20)


def test_closing_ends_every_child_at_once_and_tells_who_waits(tmp_path: Path) -> None:
    sandbox = Sandbox(TIGHT, reader=HOSTILE)
    with hanging(sandbox, tmp_path / "pids") as (thread, errors, pids), ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(sandbox.parse, b"good", "b.txt") for _ in range(2)]
        sandbox.close()
        thread.join(60)
        assert gone(*pids)
        for one in waiting:
            with pytest.raises(Failed) as caught:
                one.result(60)
            assert caught.value.code == "closing"
    assert [getattr(error, "code", error) for error in errors] == ["closing"]
    with pytest.raises(Failed):
        sandbox.parse(b"good", "a.txt")
    sandbox.close()


PARENT = """
import sys, threading
from ingest.parse.limits import Limits
from ingest.parse.sandbox import Sandbox
sandbox = Sandbox(Limits(parse_seconds=100), workers=2, reader="tests.hostile:reader")
def start(deed):
    thread = threading.Thread(target=sandbox.parse, args=(deed, "a.txt"), daemon=True)
    thread.start()
    return thread
start(("hang " + sys.argv[1]).encode())
sys.stdin.readline()
start(b"good").join()
print(sandbox.parse(b"good", "a.txt").text, flush=True)
threading.Event().wait()
"""


def test_no_child_and_no_folder_outlives_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that waits nor one that hangs; and a child outlives the thread that started it."""
    place = tmp_path / "pids"
    os.mkfifo(place)
    command, scratch = [sys.executable, "-c", PARENT, str(place)], tmp_path / "scratch"
    scratch.mkdir()
    given: dict[str, Any] = {"cwd": Path(__file__).parents[2], "env": {**os.environ, "TMPDIR": str(scratch)}}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, **given) as parent:
        try:
            assert parent.stdin is not None
            assert parent.stdout is not None
            with place.open() as told:
                busy = [int(pid) for pid in told.read().split()]
            parent.stdin.write("go on\n")
            parent.stdin.flush()
            idle = int(re.findall(r"\d+", parent.stdout.readline())[0])
            monkeypatch.setattr("tempfile.tempdir", str(scratch))
            worker.sweep()
            assert len(list(scratch.iterdir())) == 2  # what is in use stays
        finally:
            parent.kill()
    assert gone(idle, *busy)
    worker.sweep()
    assert not list(scratch.iterdir())


# --- bombs of our own making ------------------------------------------------------------------------


def bounded(sandbox: Sandbox, content: bytes, name: str) -> str:
    """The code of the refusal, or `read` for a text that is no larger than it may be. Nothing else may happen."""
    try:
        parsed = sandbox.parse(content, name)
    except FileRefused as error:
        return error.code if error.hint else "no hint"
    return "read" if len(parsed.text) <= 16_000_000 else "too much"


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_name_or_read_within_bounds(name: str, real: Sandbox) -> None:
    code, make = BOMBS[name]
    found = bounded(real, make(), name)
    assert found == code or (not code and found not in ("no hint", "too much"))
    assert real.parse(b"# Good", "good.md").text == "# Good"
    if name == "outside.xml":
        assert found != "read" or "root:" not in real.parse(make(), name).text


def test_half_a_gigabyte_is_refused_by_its_size_before_anyone_reads_it() -> None:
    with mmap.mmap(-1, 500 * 2**20) as sparse, Sandbox(DEFAULT) as sandbox:  # no page of it is ever touched
        with pytest.raises(FileRefused) as caught:
            sandbox.parse(sparse, "line.txt")  # type: ignore[arg-type]
        assert caught.value.code == "too_large"


def test_a_line_of_many_megabytes_is_cut_within_its_time(real: Sandbox) -> None:
    parsed, drafts = real.read(b"word " * 100_000, "line.txt")
    assert drafts[-1].end <= len(parsed.text)
    assert {draft.text for draft in drafts} >= {parsed.text[d.start : d.end] for d in drafts[:5]}
