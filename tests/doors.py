"""The doors as tests open them: the command line in this process, on a home folder, the model loaded once.

Nothing is stood in for: each command wires the whole platform on its home and lets go of it again. Only loading the
model's weights is shared, which would otherwise be most of what a test does.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import ui.wiring
from ingest.tables import Chunk, Document, Version
from kernel.settings import load
from kernel.tables import Change
from rehearsal.tables import Example
from tests.house import minilm, page
from ui.cli import app
from ui.platform import Platform
from ui.wiring import Wired

RETURNS = page(
    "Returns",
    {
        "Deadline": "A parcel can be sent back within 30 days of delivery. The day of delivery does not count.",
        "Costs": "Sending a parcel back is free within the country. From abroad the customer pays the postage.",
        "Gifts": "A gift is refunded with a voucher, and the voucher never expires.",
    },
)
BOILER = page(
    "Boiler pump",
    {
        "Noise": "A humming pump has air in it. Open the bleed screw until water comes, then close it again.",
        "Pressure": "The pressure gauge should show 1.5 bar when the heating is cold.",
    },
)
CAMP = page(
    "Summer camp", {"Arrival": "The camp gate opens at nine o'clock on Saturday morning. Bring a sleeping bag."}
)
LIBRARY = {"returns.md": RETURNS, "manuals/boiler pump.md": BOILER, "summer camp.md": CAMP}
"""Three short documents: one in a folder, two with a space in their names."""


class Terminal:
    """Somebody at a terminal with one home folder."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def type(self, *words: str, env: dict[str, str] | None = None, stdin: str | None = None) -> Result:
        """Run a command as it is."""
        return CliRunner().invoke(app, [*words], input=stdin, env={"REPRISE_HOME": str(self.home), **(env or {})})

    def json(self, *words: str, code: int = 0, env: dict[str, str] | None = None) -> Any:
        """Run a command with `--json`; its one value. Asserts the exit code, and that nothing else was printed."""
        done = self.type(*words, "--json", env=env)
        assert done.exit_code == code, (words, done.exit_code, done.stdout, done.stderr)
        assert done.stdout.count("\n") == 1, done.stdout
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    def error(self, *words: str, code: int = 2, env: dict[str, str] | None = None) -> dict[str, str]:
        """Run a command that fails, both ways: as JSON it is the error's three fields, for people it is one line."""
        told = self.json(*words, code=code, env=env)
        assert list(told) == ["error"]
        error: dict[str, str] = told["error"]
        assert list(error) == ["code", "message", "hint"]
        assert all(error.values()), error
        said = self.type(*words, env=env)
        assert said.exit_code == code
        assert said.stdout == ""
        assert said.stderr == f"reprise: {error['message']} — {error['hint']}\n"
        return error

    @contextmanager
    def inside(self) -> Iterator[Platform]:
        """The platform on this home, for a look behind the door."""
        with opened(self.home) as platform:
            yield platform


@contextmanager
def opened(home: Path, **settings: Any) -> Iterator[Platform]:
    """A wired platform on a home folder."""
    wired = Wired(load(home=home, **{"min_free_mb": 0, "precision": "float32", **settings}))
    try:
        yield Platform(wired)
    finally:
        wired.close()


@contextmanager
def served(platform: Platform) -> Iterator[str]:
    """The address of a running server on the platform."""
    import uvicorn

    from ui.api.app import make_app

    server = uvicorn.Server(uvicorn.Config(make_app(platform), port=0, log_level="warning", lifespan="off"))
    started = threading.Event()
    startup = server.startup

    async def announced(**given: Any) -> None:
        await startup(**given)
        started.set()

    server.startup = announced  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def doors() -> Iterator[None]:
    """Tests between these two lines share the model, and see no settings of the person who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("REPRISE_") and name != "REPRISE_EVAL_DATA":
                patch.delenv(name)
        patch.setattr(ui.wiring, "SentenceTransformerEmbedder", lambda *_given: minilm())
        yield


@contextmanager
def memory_folder(otherwise: Path) -> Iterator[Path]:
    """As the fixture `quick_folder`, for a module: a folder in memory where the machine has one."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < 2 * 2**30:
        yield otherwise
        return
    folder = Path(tempfile.mkdtemp(prefix="reprise-test-", dir=memory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def written(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Write files into a folder; the folder."""
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def nothing_left_behind(platform: Platform) -> None:
    """Assert that everything stored belongs to a published version or an example: no half of anything is about."""
    w = platform.w
    with w.db.read() as session:
        versions = session.query(Version).all()
        assert {v.state for v in versions} <= {"live", "superseded"}
        assert {d.id for d in session.query(Document).filter_by(state="live")} == {v.document for v in versions}
        assert not session.query(Change).filter(Change.state != "done").count()
        chunks = {point for (point,) in session.query(Chunk.point)}
        examples = {point for (point,) in session.query(Example.point)}
    assert set(w.blobs.keys()) == {key for v in versions for key in (v.sha256, v.text_key)}
    points = {str(point.id) for point in w.index.scroll(None)}
    assert chunks <= points <= chunks | examples
    assert not [file for file in w.home.rglob("*") if file.name.startswith(".") or file.suffix in (".tmp", ".part")]
