"""Which chunks of a large index are exported: those that any of the models would rank high for a question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune import export
from finetune.evaluate import Question
from finetune.export import RetrieverExport
from retrieval import encoder

AXES = {None: 0, "champion": 1, "challenger": 2}
"""Where a model looks for whatever it is asked."""


class Looking:
    """A query encoder whose models each look their own way, and know nothing that was not loaded."""

    def __init__(self, _folder: str) -> None:
        self._known: set[str | None] = {None}

    def load(self, name: str, _folder: Path) -> None:
        self._known.add(name)

    def encode(self, texts: Sequence[str], adapter: str | None = None) -> np.ndarray:
        assert adapter in self._known
        return np.eye(4, dtype=np.float32)[[AXES[adapter]] * len(texts)]


def question(workspace: str) -> Question:
    nothing: frozenset[str] = frozenset()
    return Question(example=workspace, question="where?", slice="s", pinned=False, workspace=workspace, points=nothing,
                    documents=nothing, sources=nothing)  # fmt: skip


@pytest.mark.parametrize("champion", [True, False])
def test_of_many_chunks_those_stay_that_a_model_finds_in_the_workspace_of_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, champion: bool
) -> None:
    monkeypatch.setattr(encoder, "QueryEncoder", Looking)
    monkeypatch.setattr(export, "_POOL", 2)
    for name in ("adapter", *(["champion"] if champion else [])):
        (tmp_path / name).mkdir()
    axes = np.eye(4, dtype=np.float32)
    candidates = [
        *((workspace, "doc", f"{workspace}-{axis}-{size}", size * axes[axis])
          for workspace, sizes in (("small", (1, 2, 3)), ("large", (7, 8, 9))) for axis in range(4) for size in sizes),
        ("tiny", "doc", "tiny", axes[3]),
    ]  # fmt: skip
    nobody: Any = None
    place: Any = type("Place", (), {"path": "model"})
    part = RetrieverExport(nobody, nobody, nobody, place, nobody)
    found = part._nearest([question("small"), question("tiny")], candidates, tmp_path)
    seen = (0, 1, 2) if champion else (0, 2)
    assert {chunk for _, _, chunk, _ in found} == {f"small-{axis}-{size}" for axis in seen for size in (2, 3)} | {
        "tiny"
    }
