"""Several processes that train one generator adapter: how they are started, and that they learn what one learns."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from finetune import child
from finetune.files import read_lines
from finetune.generator import trainer
from finetune.generator.kind import GeneratorKind
from finetune.generator.rows import TRAINER
from kernel.types import silent
from tests.facts import colours, save_model, write_run

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
ROWS = colours(16, 1)
READ = ("config.json", "train.jsonl", "passages.jsonl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose recipe asks for two processes."""
    place = tmp_path_factory.mktemp("processes")
    return write_run(place / "run", save_model(place / "model"), ROWS, epochs=1, micro_batch=4, processes=2)


def started(folder: Path) -> Sequence[str]:
    """What the platform would start on a folder, as arguments of Python."""
    given: list[Sequence[str]] = []
    kind: Any = object.__new__(GeneratorKind)  # what is started depends on the folder alone
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("finetune.generator.kind.train", lambda _folder, _progress, command: given.append(command))
        kind.train(folder, silent)
    (command,) = given
    return command


def together(folder: Path, *trainer: str) -> Sequence[str]:
    """The same on a machine without graphics cards: accelerate would start one process, whatever the number."""
    if pytest.importorskip("torch").cuda.is_available():
        pytest.skip("it would need two graphics cards")
    module, launch, *rest = started(folder)
    rest = rest[: -len(TRAINER)] + list(trainer or TRAINER)
    return (module, launch, "--multi_gpu", "--main_process_port", "0", *rest)  # 0 is any free port


def test_several_processes_are_started_through_accelerate_and_one_is_not(folder: Path, tmp_path: Path) -> None:
    assert started(folder) == ("-m", "accelerate.commands.launch", "--num_processes", "2", *TRAINER)
    assert started(write_run(tmp_path / "one", "somewhere", ROWS)) == TRAINER


def test_two_processes_learn_what_one_learns_and_one_of_them_writes(folder: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    for name in READ:
        shutil.copy(folder / name, one)
    trainer.train(one)
    told: list[int] = []
    child.train(folder, lambda _stage, step, _of: told.append(step), together(folder))
    assert told == [1, 2], "one of them tells"
    both, alone = (read_lines(run / "metrics.jsonl") for run in (folder, one))
    assert [line["step"] for line in both] == [1, 2]
    assert [line["loss"] for line in both] == pytest.approx([line["loss"] for line in alone], abs=0.01)
    found, wanted = (
        {line["example"]: line["loss"] for line in read_lines(run / "losses.jsonl")} for run in (folder, one)
    )
    assert found == pytest.approx(wanted, abs=0.02)
    assert (folder / "adapter" / "manifest.json").exists()


DYING = """
import os, sys
from pathlib import Path
from finetune.generator.trainer import main
from tests.dying_runs import train_until

died = Path(sys.argv[1], "died")
ends = train_until if os.environ["RANK"] == "0" and not died.exists() else lambda _step, run, *_: sys.exit(main([run]))
if ends is train_until:
    died.touch()
ends(5, sys.argv[1], "finetune.generator.trainer", "finetune.generator.checks")
"""


def test_where_one_of_two_processes_is_killed_both_go_on_from_the_last_checkpoint(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", save_model(tmp_path / "model"), ROWS, epochs=4, micro_batch=4, processes=2)
    (tmp_path / "dying.py").write_text(DYING)
    told: list[int] = []
    command = together(folder, str(tmp_path / "dying.py"))
    child.train(folder, lambda _stage, step, _of: told.append(step), command)
    assert told[:5] == [1, 2, 3, 4, 5], "and there the first process was killed"
    assert 1 < told[5] <= 5, "not from the beginning"
    assert told[5:] == list(range(told[5], 9))
    assert [line["step"] for line in read_lines(folder / "metrics.jsonl")] == list(range(1, 9))
    assert (folder / "adapter" / "manifest.json").exists()
    assert not (folder / "error.json").exists()
