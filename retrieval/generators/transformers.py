"""A local causal language model, with LoRA adapters that are loaded beside each other and switched per request.

Loads on first use. One lock guards the model: requests run one after another, each with the adapter that was in use
when it took the lock. An adapter's name is used once and never again (a second load under the same name would serve
stale layers), so going back to an earlier adapter is a switch and no loading. Weights are read from safetensors only,
and no code that comes with a model is run.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel.errors import Conflict, NotFound, Refused, UserError
from kernel.types import Ask, Exchange, Passage, Sentences
from retrieval.encoder import quiet_peft
from retrieval.generators import prompt
from retrieval.generators.marks import parse_marks

if TYPE_CHECKING:
    import torch

FIRST = "first"
"""Name of the adapter that is given at construction."""

_LEAST_PASSAGE = 80
"""Characters of a passage that are worth showing when nothing else fits."""


class TransformersGenerator:
    """The `Generator` port over `transformers` and `peft`. Greedy, so equal questions give equal answers."""

    def __init__(
        self,
        model_name_or_path: str,
        adapter_path: str | None = None,
        max_new_tokens: int = 256,
        device: str = "auto",
    ) -> None:
        if max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {max_new_tokens!r}", hint="it is a number of tokens, 256 by default")
        self._source, self._first, self._new_tokens, self._device = (
            model_name_or_path,
            adapter_path,
            max_new_tokens,
            device,
        )
        self._lock = threading.RLock()
        self._model: Any = None  # transformers' own; PEFT lays its layers into it
        self._laid: Any = None  # PEFT's hand on these layers, once there are any
        self._tokenizer: Any = None
        self._adapters: set[str] = set()
        self._spent: set[str] = set()
        self._active: str | None = None

    @property
    def name(self) -> str:
        return f"transformers:{self._source}"

    @property
    def adapter(self) -> str | None:
        """The adapter in use; None is the base model."""
        return self._active

    @property
    def adapters(self) -> set[str]:
        """Names of the adapters that are loaded."""
        return set(self._adapters)

    def load(self) -> None:
        """Load the model and its first adapter now, so that the first question does not wait.

        Raises:
            UserError: there is no such model, or it is not one that can be read.
        """
        with self._lock:
            if self._model is not None:
                return
            self._tokenizer, self._model = _load_model(self._source, self._device)
            if self._first is not None:
                try:
                    self.load_adapter(FIRST, self._first)
                except Exception:
                    self._model = None  # or the next question would be answered by the base model, unasked
                    raise
                self.use(FIRST)

    def load_adapter(self, name: str, path: str) -> None:
        """Have an adapter ready under `name`; it is used after `use(name)`.

        Raises:
            Conflict: the name was used before, for whichever adapter.
            NotFound: there is no adapter in `path`.
            Refused: it is not LoRA, or its weights are not safetensors.
        """
        folder = Path(path)
        if not (folder / "adapter_config.json").exists():
            raise NotFound(f"no adapter in {path!r}", hint="a folder with adapter_config.json, as PEFT saves it")
        if not (folder / "adapter_model.safetensors").exists():
            raise Refused(
                f"the adapter in {path!r} has no adapter_model.safetensors",
                hint="other formats can run code when read; save it again with safe_serialization=True",
            )
        kind = json.loads((folder / "adapter_config.json").read_text()).get("peft_type")
        if kind != "LORA":
            raise Refused(f"the adapter in {path!r} is of the kind {kind!r}", hint="only LoRA adapters are served")
        with self._lock:
            if name in self._spent:
                raise Conflict(f"the adapter name {name!r} was used before", hint="give every version its own name")
            self.load()
            from peft import PeftModel

            with quiet_peft():
                if self._laid is None:
                    self._laid = PeftModel.from_pretrained(
                        self._model, path, adapter_name=_key(name), is_trainable=False
                    )
                else:
                    self._laid.load_adapter(path, adapter_name=_key(name), is_trainable=False)
            self._adapters.add(name)
            self._spent.add(name)
            self._switch(self._active)  # loading makes the newcomer active

    def use(self, name: str | None) -> None:
        """Answer with this adapter from the next request on; None is the base model.

        Raises:
            NotFound: no adapter is loaded under that name.
        """
        with self._lock:
            self.load()
            if name is not None and name not in self._adapters:
                raise NotFound(f"no adapter {name!r} is loaded", hint=f"loaded are: {sorted(self._adapters) or 'none'}")
            self._switch(name)
            self._active = name

    def unload(self, name: str) -> None:
        """Free an adapter that is not in use. Its name stays taken.

        Raises:
            Conflict: it is in use.
        """
        with self._lock:
            if name == self._active:
                raise Conflict(f"the adapter {name!r} is in use", hint="use another one first, then unload this one")
            if name in self._adapters:
                self._adapters.discard(name)
                if self._adapters:
                    self._laid.delete_adapter(_key(name))
                    self._switch(self._active)
                else:
                    self._model, self._laid = self._laid.unload(), None

    def stream(self, ask: Ask, passages: Sequence[Passage]) -> Sentences:
        """Answer from the passages that fit the model's context; the last ones are left out first.

        Raises:
            UserError: the question alone does not fit, or the model cannot be loaded.
        """
        with self._lock:
            self.load()
            tokens, shown = self._fit(ask.question, passages)
            text, written = self._generate(tokens)
        yield from parse_marks(text, len(shown))
        return {"prompt_tokens": len(tokens), "completion_tokens": written, "passages": len(shown)}

    def rewrite(self, question: str, history: Sequence[Exchange]) -> str | None:
        return None

    # --- prompt -------------------------------------------------------------------------------------------------------

    def _fit(self, question: str, passages: Sequence[Passage]) -> tuple[list[int], list[Passage]]:
        """The prompt's tokens and the passages in it; where not even one fits, the beginning of the first."""
        budget = self._context() - self._reserve()
        shown = list(passages)
        while True:
            tokens = self._encode(question, shown)
            if len(tokens) <= budget:
                return tokens, shown
            if len(shown) > 1:
                shown.pop()
            elif shown and len(shown[0].text) > _LEAST_PASSAGE:
                # Tokens per character of this very prompt say how much is too long; a little more goes for safety.
                over = (len(tokens) - budget) / len(tokens) * sum(len(t) for t in (shown[0].text, prompt.SYSTEM))
                keep = max(_LEAST_PASSAGE, int(len(shown[0].text) - max(16.0, over)))
                shown = [_shortened(shown[0], keep)]
            elif shown:
                shown = []
            else:
                raise UserError(
                    f"a prompt of {len(tokens)} tokens does not fit {self._source!r}, which reads {budget} at most",
                    hint="ask a shorter question, or use a model with a longer context",
                )

    def _encode(self, question: str, passages: Sequence[Passage]) -> list[int]:
        if getattr(self._tokenizer, "chat_template", None):
            turns = prompt.messages(Ask(question=question), passages)
            try:
                text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            except Exception:  # templates of some models refuse a system turn, each with an error of its own
                both = [{"role": "user", "content": "\n\n".join(turn["content"] for turn in turns)}]
                text = self._tokenizer.apply_chat_template(both, tokenize=False, add_generation_prompt=True)
            return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        return list(self._tokenizer(prompt.completion(Ask(question=question), passages), verbose=False)["input_ids"])

    def _context(self) -> int:
        config = self._model.config
        limits = (getattr(config, "max_position_embeddings", None), getattr(self._tokenizer, "model_max_length", None))
        return min([n for n in limits if isinstance(n, int) and 0 < n < 10**7], default=2048)

    def _reserve(self) -> int:
        """Tokens kept free for the answer: what was asked for, but at most half of a small context."""
        return min(self._new_tokens, self._context() // 2)

    # --- model --------------------------------------------------------------------------------------------------------

    def _generate(self, tokens: list[int]) -> tuple[str, int]:
        import torch
        from transformers import StoppingCriteria, StoppingCriteriaList

        tokenizer, start = self._tokenizer, len(tokens)

        class Stop(StoppingCriteria):
            """Ends when the model begins to write the next question or passage itself."""

            def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
                tail = tokenizer.decode(input_ids[0, max(start, input_ids.shape[1] - 24) :].tolist())
                stopped = any(stop in tail for stop in prompt.STOPS)
                return torch.full((input_ids.shape[0],), stopped, device=input_ids.device, dtype=torch.bool)

        ids = torch.tensor([tokens], device=self._model.device)
        with torch.inference_mode():
            out = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self._reserve(),
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
                stopping_criteria=StoppingCriteriaList([Stop()]),
            )
        new = out[0, start:].tolist()
        return tokenizer.decode(new, skip_special_tokens=True), len(new)

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


def _shortened(passage: Passage, characters: int) -> Passage:
    from dataclasses import replace

    return replace(passage, text=passage.text[:characters], end=passage.start + characters)
