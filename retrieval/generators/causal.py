"""A causal language model in this process, with LoRA adapters beside each other: tokens in, tokens out, in batches.

One lock guards the weights: a batch, a load and an unload exclude each other. A batch may mix adapters, row by row,
as PEFT multiplies each row with its own; where all rows have the same one, the plain path is taken, which is quicker.
Decoding is greedy and nothing else, whatever the model's own generation settings say (a repetition penalty would
count the padding of a batch). Weights are read from safetensors only, and no code that comes with a model is run.

It knows nothing of prompts and passages.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel.errors import NotFound, Refused, UserError
from retrieval.encoder import attach
from retrieval.generators import chat
from retrieval.generators.batch import Row
from retrieval.generators.likelihood import mean_logprob

if TYPE_CHECKING:
    import torch

_BASE_ROW = "__base__"
"""PEFT's name for a row without adapter."""


class CausalModel:
    """Loads on first use. `run` writes a batch of rows, one token each at a time."""

    def __init__(self, source: str, device: str) -> None:
        self.source, self._device = source, device
        self._lock = threading.RLock()
        self._words = threading.Lock()
        self._model: Any = None  # transformers' own; PEFT lays its layers into it
        self._laid: Any = None  # PEFT's hand on these layers, once there are any
        self._active: str | None = None
        self._unmixed: set[str] = set()
        self.tokenizer: Any = None

    @property
    def ready(self) -> bool:
        return self._model is not None

    def load(self) -> None:
        """Have the weights in memory.

        Raises:
            UserError: there is no such model, or it is not one that can be read.
        """
        with self._lock:
            if self._model is None:
                self.tokenizer, self._model = _load_model(self.source, self._device)

    def let_go(self) -> None:
        """Forget the weights; the next use loads them again."""
        with self._lock:
            self._model = self._laid = self._active = None

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together."""
        config = self._model.config
        limits = (getattr(config, "max_position_embeddings", None), getattr(self.tokenizer, "model_max_length", None))
        return min([n for n in limits if isinstance(n, int) and 0 < n < 10**7], default=2048)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        with self._words:
            return list(self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])

    # --- adapters -----------------------------------------------------------------------------------------------------

    def add(self, name: str, path: str) -> None:
        """Load the adapter in the folder `path`.

        Raises:
            NotFound: there is none.
            Refused: it is not LoRA, was made for another model, or its weights are not safetensors.
        """
        folder = Path(path)
        if not (folder / "adapter_config.json").exists():
            raise NotFound(f"no adapter in {path!r}", hint="a folder with adapter_config.json, as PEFT saves it")
        if not (folder / "adapter_model.safetensors").exists():
            raise Refused(
                f"the adapter in {path!r} has no adapter_model.safetensors",
                hint="other formats can run code when read; save it again with safe_serialization=True",
            )
        config = json.loads((folder / "adapter_config.json").read_text())
        if config.get("peft_type") != "LORA":
            raise Refused(
                f"the adapter in {path!r} is of the kind {config.get('peft_type')!r}",
                hint="only LoRA adapters are served",
            )
        with self._lock:
            self.load()
            active = self._active
            try:
                self._laid = attach(self._laid or self._model, folder, _key(name))
            except Exception:
                if self._laid is not None:
                    self._switch(active)
                raise
            if config.get("use_dora"):
                self._unmixed.add(name)
            self._switch(active)  # loading makes the newcomer active

    def remove(self, name: str) -> None:
        """Free the adapter's weights."""
        with self._lock:
            others = [key for key in self._laid.peft_config if key != _key(name)]
            if others:
                active = None if self._active == name else self._active
                self._laid.set_adapter(others[0])  # PEFT warns when what is active goes
                self._laid.delete_adapter(_key(name))
                self._switch(active)
            else:
                self._model, self._laid, self._active = self._laid.unload(), None, None

    def apart(self, name: str | None) -> str:
        """What a row of this adapter must not be mixed with: PEFT cannot mix DoRA."""
        return name if name is not None and name in self._unmixed else ""

    # --- writing ------------------------------------------------------------------------------------------------------

    def run(self, rows: Sequence[Row]) -> None:
        """Write the rows until each has ended, and close them."""
        import torch
        from transformers import StoppingCriteriaList

        with self._lock, torch.inference_mode():
            self.load()
            model, more = self._writer([row.adapter for row in rows])
            filler = self._filler()
            longest = max(len(row.prompt) for row in rows)
            ids = [[filler] * (longest - len(row.prompt)) + list(row.prompt) for row in rows]
            mask = [[0] * (longest - len(row.prompt)) + [1] * len(row.prompt) for row in rows]
            device = self._model.device
            model.generate(
                input_ids=torch.tensor(ids, device=device),
                attention_mask=torch.tensor(mask, device=device),
                max_new_tokens=max(row.limit for row in rows),
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=1.0,
                no_repeat_ngram_size=0,
                pad_token_id=filler,
                stopping_criteria=StoppingCriteriaList(
                    [_writing(self.tokenizer, rows, chat.ends(self._model, self.tokenizer))]
                ),
                **more,
            )
            for row in rows:
                row.close()

    def likelihood(self, turns: Sequence[dict[str, str]], tokens: list[int], answer: str, adapter: str | None) -> float:
        """The mean log-probability of the tokens of `answer` behind the turns, whose tokens are `tokens`."""
        with self._lock:
            with self._words:
                stops = chat.ends(self._model, self.tokenizer)
                _, wanted = chat.target(self.tokenizer, turns, answer, stops)
            self._switch(adapter)
            return mean_logprob(self._laid or self._model, tokens, wanted)

    def _writer(self, adapters: list[str | None]) -> tuple[Any, dict[str, Any]]:
        """What generates for these rows, and what it has to be told."""
        if self._laid is None:
            return self._model, {}
        if len(set(adapters)) == 1:
            self._switch(adapters[0])
            return self._laid, {}
        if self._active is None:  # layers that are switched off would switch off every row
            self._switch(next(name for name in adapters if name is not None))
        return self._laid, {"adapter_names": [_BASE_ROW if name is None else _key(name) for name in adapters]}

    def _switch(self, name: str | None) -> None:
        if self._laid is None:
            return
        if name is None:
            self._laid.base_model.disable_adapter_layers()
        else:
            self._laid.base_model.enable_adapter_layers()
            self._laid.set_adapter(_key(name))
        self._laid.requires_grad_(False)
        self._laid.eval()
        self._active = name

    def _filler(self) -> int:
        known = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return next((n for n in known if n is not None), 0)


def _writing(tokenizer: Any, rows: Sequence[Row], ends: set[int]) -> Any:
    """What is called after each step with the tokens so far: hands each row its piece, and says which rows end."""
    import torch
    from transformers import StoppingCriteria

    spelling = [_Spelling(tokenizer) for _ in rows]
    over = [False] * len(rows)

    def ended(n: int, token: int) -> bool:
        row = rows[n]
        if row.left:
            return True
        if token not in ends:
            row.written += 1
            piece = spelling[n].add(token)
            if piece:
                row.put(piece)
            return (bool(piece) and row.ends(piece)) or row.written >= row.limit
        return True

    class Writing(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
            for n, token in enumerate(input_ids[:, -1].tolist()):
                if not over[n] and ended(n, token):
                    over[n] = True
                    if rest := spelling[n].rest():
                        rows[n].put(rest)
                    rows[n].close()
            return torch.tensor(over, device=input_ids.device, dtype=torch.bool)

    return Writing()


class _Spelling:
    """Tokens to text, token by token: a token's text may depend on the one before, and a character on several tokens.

    The last piece is spelled again together with each new token, and what is new in it is handed out, unless it ends
    in the middle of a character.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._before = self._said = 0

    def add(self, token: int) -> str:
        self._tokens.append(token)
        return self._new(unfinished=False)

    def rest(self) -> str:
        return self._new(unfinished=True)

    def _new(self, *, unfinished: bool) -> str:
        before = self._spell(self._tokens[self._before : self._said])
        now = self._spell(self._tokens[self._before :])
        if len(now) <= len(before) or (now.endswith("\ufffd") and not unfinished):
            return ""
        self._before, self._said = self._said, len(self._tokens)
        return now[len(before) :]

    def _spell(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _load_model(source: str, device: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            source, trust_remote_code=False, use_safetensors=True, dtype="auto" if device != "cpu" else torch.float32
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"the model {source!r} cannot be loaded: {str(error).strip().splitlines()[0] if str(error) else error!r}",
            hint="name a folder with config.json, a tokenizer and model.safetensors, or a name that your hub has",
            code="bad_model",
        ) from error
    return tokenizer, model.to(device).eval()


def _key(name: str) -> str:
    """The name as PEFT can take it: it becomes a module's attribute, where dots mean descent."""
    return "".join(c if c.isalnum() or c in "_-" else f"_{ord(c):x}_" for c in name)
