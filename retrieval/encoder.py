"""The query encoder: one float32 base model, and any number of LoRA adapters beside it under unique names.

It knows how a sentence-transformers folder turns text into a vector, and how an adapter is laid over it; the
trainer uses the same reading and the same pooling, so what is trained is what serves. It does not know which
adapter is live, nor where adapters come from. Document vectors are none of its business: they stay the
base's.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kernel.batching import Batching
from kernel.errors import Conflict, NotFound, Refused
from kernel.prompts import prompts_of

if TYPE_CHECKING:
    import numpy as np
    import torch

WEIGHTS, CONFIG, MANIFEST = "adapter_model.safetensors", "adapter_config.json", "manifest.json"
"""The files of an adapter's folder. The manifest is written last: a folder without one is not complete."""

_BATCH = 32
_OLD_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceModel:
    """How a sentence-transformers folder makes a vector out of token states."""

    folder: Path
    pooling: Literal["mean", "cls"]
    max_length: int
    """Tokens that the model reads of a text, special tokens counted."""
    lower_case: bool
    prompt: str = ""
    """What it reads before a question."""


class QueryEncoder:
    """Questions to unit vectors, with or without an adapter. Safe from several threads; loads on first use.

    A name means the same weights for the life of the process: a cache keyed by it can never serve another adapter.
    """

    def __init__(self, base_path: str | Path) -> None:
        self._base_path = base_path
        # One lock around choosing an adapter and running the model: the choice is a state of the model.
        self._lock = threading.RLock()
        self._calls = Batching(self._run, self._lock)
        self._model: Any = None
        self._tokenizer: Any = None
        self._spec: SentenceModel | None = None
        self._base: str | None = None  # hash of its weights
        self._inner: dict[str, str] = {}  # our name to PEFT's: module names cannot hold dots, ours may
        self._weights: dict[str, str] = {}  # of every name that was ever loaded
        self._counter = itertools.count(1)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters that are loaded, in order of loading."""
        with self._lock:
            return tuple(self._inner)

    def load(self, name: str, path: str | Path) -> None:
        """Lay the adapter in folder `path` beside the base under `name`. Encoding waits meanwhile.

        Raises:
            NotFound: there is no complete adapter in that folder.
            Conflict: the name is taken, or was once for other weights.
            Refused: the adapter was trained on another base, or some of its weights do not fit.
        """
        folder = Path(path)
        manifest = _complete(folder)
        with self._lock:
            weights = weights_sha256(folder)
            if name in self._inner or self._weights.get(name, weights) != weights:
                raise Conflict(
                    f"the adapter name {name!r} is in use in this process, or was for other weights",
                    hint="names are unique per version: load the adapter under a new one",
                )
            self._start()
            assert self._spec is not None
            if self._base is None:  # once: the weights are in memory, and 100 MB take longer than the adapter
                self._base = weights_sha256(self._spec.folder)
            _same_base(manifest, self._base, name)
            inner = f"a{next(self._counter)}"
            self._model = attach(self._model, folder, inner)
            self._model.eval()
            self._inner[name], self._weights[name] = inner, weights

    def unload(self, name: str) -> None:
        """Let go of an adapter; its name stays with its weights.

        Raises:
            NotFound: no adapter of that name is loaded.
        """
        with self._lock:
            inner = self._known(name)
            if len(self._inner) == 1:
                self._model = self._model.unload()
            else:
                self._model.set_adapter(next(i for n, i in self._inner.items() if n != name), inference_mode=True)
                self._model.delete_adapter(inner)
            del self._inner[name]

    def encode(self, texts: Sequence[str], adapter: str | None = None) -> np.ndarray:
        """float32 of shape (len(texts), dimension), rows of length 1; `adapter` None is the base model alone.

        Raises:
            NotFound: no adapter of that name is loaded.
        """
        return self._calls.of(texts, adapter)

    def _run(self, adapter: Hashable, texts: Sequence[str]) -> np.ndarray:
        """What `encode` promises, with the lock held."""
        import numpy as np
        import torch

        self._start()
        assert self._spec is not None
        out = np.empty((len(texts), int(self._model.config.hidden_size)), dtype=np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # like lengths waste no padding
        with torch.inference_mode(), self._wearing(None if adapter is None else str(adapter)):
            for start in range(0, len(texts), _BATCH):
                some = by_length[start : start + _BATCH]
                tokens = tokenize(self._tokenizer, [texts[i] for i in some], self._spec, self._spec.max_length)
                out[some] = embed(self._model, tokens, self._spec.pooling).numpy()
        return out

    @contextmanager
    def _wearing(self, adapter: str | None) -> Iterator[None]:
        if adapter is not None:
            self._model.set_adapter(self._known(adapter), inference_mode=True)
            yield
        elif self._inner:
            with self._model.disable_adapter():
                yield
        else:
            yield

    def _known(self, name: str) -> str:
        if name not in self._inner:
            raise NotFound(
                f"no adapter {name!r} is loaded",
                hint=f"loaded are: {', '.join(map(repr, self._inner)) or 'none'}; load it first",
            )
        return self._inner[name]

    def _start(self) -> None:
        if self._model is None:
            self._spec = read_model(self._base_path)
            self._model, self._tokenizer = load_base(self._spec)
            self._model.eval()


# --- a sentence-transformers folder, read without sentence-transformers, which takes seconds to import ------


def read_model(base: str | Path) -> SentenceModel:
    """What the folder says about pooling and length. A name that is no folder is asked of the hub.

    Raises:
        NotFound: there is no such folder, and the hub knows no such name.
        Refused: the model pools in a way that cannot be trained here.
    """
    folder = _folder(base)
    modules = [(m["type"].rsplit(".", 1)[-1], m["path"]) for m in _json(folder / "modules.json", [])]
    strange = {kind for kind, _ in modules} - {"Transformer", "Pooling", "Normalize"}
    if strange:
        raise Refused(
            f"the model {str(base)!r} has modules that an adapter cannot be laid over: {sorted(strange)}",
            hint="use a model made of Transformer, Pooling and Normalize alone",
        )
    pools = [path for kind, path in modules if kind == "Pooling"]
    pooling = _json(folder / pools[0] / "config.json", {}) if pools else {}
    about = _json(folder / "sentence_bert_config.json", {})
    said = _json(folder / "config_sentence_transformers.json", {})
    longest = _json(folder / "config.json", {}).get("max_position_embeddings", 512)
    return SentenceModel(
        folder=folder,
        pooling=_pooling(pooling, base),
        max_length=int(about.get("max_seq_length") or min(longest, 512)),
        lower_case=bool(about.get("do_lower_case", False)),
        prompt=prompts_of(str(base), said.get("prompts"), said.get("default_prompt_name")).query,
    )


def load_base(spec: SentenceModel, **overrides: Any) -> tuple[Any, Any]:
    """(transformer, tokenizer) of the folder, float32 unless `overrides` for the model say otherwise."""
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    options = {"dtype": torch.float32, "local_files_only": True, **overrides}
    model = AutoModel.from_pretrained(str(spec.folder), **options)
    return model, AutoTokenizer.from_pretrained(str(spec.folder), local_files_only=True)


def tokenize(tokenizer: Any, texts: Sequence[str], spec: SentenceModel, max_length: int) -> Any:
    """Tokens of questions as tensors (batch, length), padded to the longest, cut at `max_length`."""
    asked = [spec.prompt + text for text in texts]
    cleaned = [t.strip().lower() if spec.lower_case else t.strip() for t in asked]
    return tokenizer(cleaned, padding=True, truncation=True, max_length=max_length, return_tensors="pt")


def embed(model: Any, tokens: Any, pooling: Literal["mean", "cls"]) -> torch.Tensor:
    """Unit vectors, float32 of shape (batch, dimension), differentiable through `model`."""
    from torch.nn.functional import normalize

    states = model(**tokens).last_hidden_state.float()
    if pooling == "cls":
        return normalize(states[:, 0], dim=1)
    mask = tokens["attention_mask"].unsqueeze(-1).float()
    return normalize((states * mask).sum(1) / mask.sum(1).clamp(min=1e-9), dim=1)


def weights_sha256(folder: Path) -> str:
    """SHA-256 over the safetensors files in order of name; of a model in one file, that file's own.

    Read once in the life of a process, unless the files change.
    """
    files = sorted(folder.glob("*.safetensors"))
    return _read_once(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=64)
def _read_once(files: tuple[tuple[Path, int, int], ...]) -> str:
    return sha256_of([file for file, _, _ in files])


def sha256_of(files: Sequence[Path]) -> str:
    """SHA-256 over the bytes of files, one after another."""
    seen = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                seen.update(block)
    return seen.hexdigest()


# --- adapters -----------------------------------------------------------------------------------


def attach(model: Any, folder: Path, inner: str) -> Any:
    """The PEFT model: `model` with the adapter of `folder` beside it as `inner`, every weight accounted for.

    Raises:
        Refused: a weight is missing, left over, or of another shape.
    """
    from peft import LoraConfig, PeftModel
    from safetensors.torch import load_file

    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = True
    if isinstance(model, PeftModel):
        model.add_adapter(inner, config)
    else:
        with quiet_peft():
            model = PeftModel(model, config, adapter_name=inner)
    try:
        fill(model, load_file(str(folder / WEIGHTS)), inner)
    except Refused:
        if len(model.peft_config) > 1:
            model.delete_adapter(inner)
        else:
            model.unload()
        raise
    return model


def fill(model: Any, state: dict[str, torch.Tensor], inner: str) -> None:
    """Copy `state` into the adapter `inner`, and check that each of its weights is now exactly that.

    PEFT alone only warns when names do not match, and then serves an adapter that does nothing.

    Raises:
        Refused: a weight is missing, left over, or of another shape.
    """
    import torch
    from peft import set_peft_model_state_dict

    there = weights_of(model, inner)
    wrong = sorted(set(there) ^ set(state)) or [k for k in there if there[k].shape != state[k].shape]
    if wrong:
        raise Refused(
            f"the adapter does not fit: {len(wrong)} weights differ in name or shape, first {wrong[0]!r}",
            hint="it was made for another base model, rank or set of target modules; train a fresh one",
        )
    set_peft_model_state_dict(model, state, adapter_name=inner)
    now = weights_of(model, inner)
    if not all(torch.equal(now[k].nan_to_num(), state[k].to(now[k].dtype).nan_to_num()) for k in state):
        raise Refused("the adapter's weights did not arrive in the model", hint="this is a fault of the installed peft")


def weights_of(model: Any, inner: str) -> dict[str, torch.Tensor]:
    """The weights of the adapter `inner`, by the names they have in a file; no copies."""
    from peft import get_peft_model_state_dict

    # Left to itself PEFT asks the hub whether the base model's vocabulary has changed, over the network.
    found: dict[str, torch.Tensor] = get_peft_model_state_dict(model, adapter_name=inner, save_embedding_layers=False)
    return found


@contextmanager
def quiet_peft() -> Iterator[None]:
    """PEFT 0.21 reads an attribute that transformers 5.23 renamed; a user can do nothing about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


def _complete(folder: Path) -> dict[str, Any]:
    missing = [name for name in (MANIFEST, CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise NotFound(
            f"there is no complete adapter in {str(folder)!r}: {', '.join(missing)} missing",
            hint="a training run writes the manifest last; wait for it to finish, or look at its error.json",
        )
    manifest: dict[str, Any] = _json(folder / MANIFEST, {})
    return manifest


def _same_base(manifest: dict[str, Any], base: str, name: str) -> None:
    wanted = manifest.get("base", {}).get("sha256")
    if wanted is not None and wanted != base:
        raise Refused(
            f"the adapter {name!r} was trained on another base model ({wanted[:12]}…)",
            hint="adapters are bound to the embedder they were trained on; retrain on this one",
        )


def _folder(base: str | Path) -> Path:
    if Path(base).is_dir():
        return Path(base)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(base)))
    except Exception as error:
        raise NotFound(
            f"there is no model {str(base)!r}", hint="give a folder, or a name that is in the local cache"
        ) from error


def _pooling(config: dict[str, Any], base: str | Path) -> Literal["mean", "cls"]:
    modes = [key for key in _OLD_POOLING_KEYS if config.get(key)]
    mode = config.get("pooling_mode") or (_OLD_POOLING_KEYS[modes[0]] if modes else "mean")
    if len(modes) > 1 or mode not in ("mean", "cls"):
        raise Refused(
            f"the model {str(base)!r} pools by {modes or mode!r}", hint="use a model with mean or cls pooling"
        )
    return "cls" if mode == "cls" else "mean"


def _json(file: Path, default: Any) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else default
