"""What a run's folder says was practised: rows until it is trained, losses from then on, and a reason for the rest."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from finetune.files import drop_lines, read_lines
from finetune.practised import leave_out, left_out, practised, strike


def written(file: Path, examples: Sequence[str]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps({"example": e, "loss": 0.5, "said": "a\u2028b"}) + "\n" for e in examples))


def test_rows_count_until_the_adapter_is_complete_and_losses_from_then_on(tmp_path: Path) -> None:
    assert practised(tmp_path) == set()  # of a merge
    written(tmp_path / "train.jsonl", ["a", "a", "b"])
    written(tmp_path / "losses.jsonl", ["a"])  # of a training that died before its manifest
    assert practised(tmp_path) == {"a", "b"}
    strike(tmp_path)
    assert len(read_lines(tmp_path / "train.jsonl")) == 3
    written(tmp_path / "adapter" / "manifest.json", [])
    assert practised(tmp_path) == {"a"}
    strike(tmp_path)
    assert [row["example"] for row in read_lines(tmp_path / "train.jsonl")] == ["a", "a"]


def test_each_example_that_was_left_out_has_a_reason(tmp_path: Path) -> None:
    written(tmp_path / "train.jsonl", ["a"])
    leave_out(tmp_path, {"b": "it is no pair", "a": "it was too long once"})
    leave_out(tmp_path, {"c": "too long"})
    leave_out(tmp_path, {})
    told = left_out(tmp_path, ["a", "b", "c", "d"])
    assert told == {"b": "it is no pair", "c": "too long", "d": "training went on without it"}


def test_what_one_takes_out_of_a_file_no_other_brings_back(tmp_path: Path) -> None:
    file, names = tmp_path / "train.jsonl", [str(n) for n in range(64)]
    written(file, [*names, "stays"])
    threads = [
        threading.Thread(target=drop_lines, args=(file, lambda row, mine=names[n::8]: row["example"] in mine))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["example"] for row in read_lines(file)] == ["stays"]
    assert drop_lines(tmp_path / "none.jsonl", lambda _row: True) == 0
