"""What a training child says of its end, alone and as one of several that train together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetune.duty import report
from kernel.errors import Conflict, DiskFull, UserError

PEER = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:16052")
WRONG = UserError("row 3 is no row", hint="look at train.jsonl", code="bad_run")


def said(run: Path) -> list[str]:
    return [json.loads(file.read_text())["message"] for file in run.iterdir()]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (WRONG, 2, "row 3 is no row"),
        (DiskFull("no room", hint=""), 4, "no room"),
        (OSError(28, "No space left on device"), 4, "the disk was full"),
        (OSError("76800 requested and 24968 written"), 4, "the disk was full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0"), 4, "the disk was full"),
        (ValueError("odd"), 1, "ValueError: odd"),
        (PEER, 1, f"RuntimeError: {PEER}"),
    ],
)
def test_a_child_that_trains_alone_says_why_it_ended(tmp_path: Path, error: Exception, code: int, message: str) -> None:
    assert report(tmp_path, error) == code
    assert said(tmp_path) == [message], "one file, and none aside"


def test_nothing_is_said_in_the_folder_of_another(tmp_path: Path) -> None:
    assert report(tmp_path, Conflict("taken", hint="")) == 5
    assert said(tmp_path) == []


def test_of_several_the_first_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, error, code in (("1", WRONG, 2), ("0", ValueError("what came of it"), 1)):
        monkeypatch.setenv("RANK", rank)
        assert report(tmp_path, error) == code
    assert said(tmp_path) == ["row 3 is no row"]


def test_one_that_has_lost_another_does_not_speak_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert report(tmp_path, PEER) == 5
    assert said(tmp_path) == [], "the parent starts them again"
