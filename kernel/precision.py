"""How documents are embedded on the CPU at hand: which engine and precision, measured once and remembered.

    float32   PyTorch, the weights as they are
    bfloat16  PyTorch, on processors that have it
    openvino  OpenVINO in bfloat16 (float32 where there is none); needs the extra `openvino`

All three give the same vectors to the third decimal, so an index may hold rows of each. This module knows
sentence-transformers models and how long they take, and nothing of what is embedded.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kernel.errors import UserError

if TYPE_CHECKING:
    import numpy as np

Precision = Literal["auto", "float32", "bfloat16", "openvino"]
Encode = Callable[[Sequence[str]], "np.ndarray"]
"""Texts of one batch to float32 rows of length 1, shape (len(texts), dimension)."""

BATCH_TOKENS = 4000
"""Tokens of a batch, padding included: larger ones fall out of the processor's cache, smaller ones leave it idle."""

_ROUNDS = 4


def torch_encoder(model: Any) -> Encode:
    """A sentence-transformers model in its own precision."""

    def encode(texts: Sequence[str]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            vectors = model.encode(
                list(texts),
                batch_size=max(1, len(texts)),
                convert_to_tensor=True,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            # bfloat16 rows are only nearly unit
            return torch.nn.functional.normalize(vectors.float(), dim=-1).numpy()

    return encode


def openvino_encoder(model: Any) -> Encode:
    """The same model compiled by OpenVINO. Takes a few seconds.

    Raises:
        UserError: OpenVINO is not installed.
    """
    if not has_openvino():
        raise UserError(
            "REPRISE_PRECISION is 'openvino', and OpenVINO is not installed",
            hint="pip install 'reprise[openvino]', or set REPRISE_PRECISION=auto",
            code="no_openvino",
        )
    import logging
    import warnings

    import openvino
    import torch

    class Sentence(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features = self.model({"input_ids": input_ids, "attention_mask": attention_mask})
            return torch.nn.functional.normalize(features["sentence_embedding"], dim=-1)

    # The example has padding: without it the tracer would take the mask for a constant.
    ids = torch.ones(2, 8, dtype=torch.long)
    mask = torch.tensor([[1] * 8, [1] * 5 + [0] * 3])
    logging.getLogger("openvino").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of the tracer, about shapes it sees once
        converted = openvino.convert_model(Sentence().eval(), example_input={"input_ids": ids, "attention_mask": mask})
    half = "bf16" if has_bfloat16() else "f32"
    compiled = openvino.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": half})

    def encode(texts: Sequence[str]) -> np.ndarray:
        import numpy as np

        features = model.preprocess(list(texts))
        out = compiled([features["input_ids"].numpy(), features["attention_mask"].numpy()])[0]
        rows = np.asarray(out, dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return encode


def fastest(candidates: dict[str, Encode], memory: Path | None, what: str) -> str:
    """The name of the fastest encoder on this machine.

    Alternating passes over a typical batch, so that a busy moment hits all alike; the first candidate wins unless
    another is a tenth faster. The answer is remembered in `memory` for `what` on this processor with these libraries.
    """
    key = f"{what} on {_processor()} with {', '.join(sorted(candidates))}; {_libraries()}"
    remembered: dict[str, str] = {}
    if memory is not None:
        with suppress(OSError, ValueError):
            remembered = dict(json.loads(memory.read_text()))
        if remembered.get(key) in candidates:
            return remembered[key]
    texts = ["a policy applies to all employees who travel for work and ask for their costs back " * 8] * 16
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(_ROUNDS):
        for name, encode in candidates.items():
            started = time.perf_counter()
            encode(texts)
            best[name] = min(best[name], time.perf_counter() - started)
    first = next(iter(candidates))
    quickest = min(best, key=best.__getitem__)
    chosen = quickest if best[quickest] < 0.9 * best[first] else first
    if memory is not None:
        with suppress(OSError):  # a probe that is not remembered is made again
            aside = memory.with_suffix(".new")
            aside.write_text(json.dumps(remembered | {key: chosen}, indent=1))
            aside.replace(memory)
    return chosen


def has_openvino() -> bool:
    return find_spec("openvino") is not None


def has_bfloat16() -> bool:
    import torch

    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def has_matrix_tiles() -> bool:
    """Whether the processor multiplies bfloat16 in hardware tiles (AMX)."""
    import torch

    return bool(torch.cpu.get_capabilities().get("amx_tile"))


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _libraries() -> str:
    found = []
    for name in ("torch", "openvino"):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)
