"""The model that learns: a frozen base, in 4 bits where a GPU allows it, with one LoRA adapter that is trained.

The seed is set before the adapter is made, or its first weights would not be reproducible. An adapter that training
goes on from is loaded weight by weight: PEFT alone only warns when names do not match, and training would begin from
nothing. Only the training child imports this module; it needs torch at once.
"""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from finetune.generator.recipe import SMALL, GeneratorRecipe
from finetune.model import read_weights
from kernel.errors import NotFound, UserError
from retrieval.encoder import CONFIG, WEIGHTS, fill, quiet_peft, weights_of
from retrieval.generators import chat
from retrieval.generators.identity import folder_of

ADAPTER, REFERENCE = "default", "ref"
"""Names that TRL gives to what is trained and to what it is compared with."""


@dataclass(frozen=True, slots=True)
class Learner:
    """A PEFT model under training with its tokenizer."""

    model: Any
    tokenizer: Any
    stops: frozenset[int]
    """Tokens that end an answer."""
    parameters: int
    """Of the base."""
    precision: str
    quantized: bool

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together."""
        limits = (
            getattr(self.model.config, "max_position_embeddings", None),
            getattr(self.tokenizer, "model_max_length", None),
        )
        return min([n for n in limits if isinstance(n, int) and 0 < n < 10**7], default=2048)


def build(base: str, recipe: GeneratorRecipe, champion: Path | None, rows: int) -> Learner:
    """A learner ready for its first step: from the champion's adapter, or from one that does nothing yet.

    Raises:
        NotFound: there is no such model or adapter.
        Refused: the champion does not fit.
        UserError: 4 bits were asked for and cannot be had.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = folder_of(base)
    precision, four_bits = _precision(recipe), _quantized(recipe, folder)
    options: dict[str, Any] = {"dtype": getattr(torch, precision), "use_safetensors": True, "trust_remote_code": False}
    if four_bits:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(str(folder), **options)
    parameters = sum(p.numel() for p in model.parameters()) * (2 if four_bits else 1)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if four_bits:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=torch.cuda.is_available())
    set_seed(recipe.seed)
    with quiet_peft():
        laid = get_peft_model(model, _lora(LoraConfig, recipe, champion, rows), adapter_name=ADAPTER)
    if champion is not None:
        fill(laid, read_weights(champion), ADAPTER)
    return Learner(laid, tokenizer, frozenset(chat.ends(model, tokenizer)), parameters, precision, four_bits)


def write_adapter(learner: Learner, folder: Path, base: str) -> None:
    """Weights and config in PEFT's format: no pickle, no path of this machine; `base` names the base model."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    found = weights_of(learner.model, ADAPTER)
    weights = {name: value.detach().to("cpu").clone().contiguous() for name, value in found.items()}
    save_file(weights, str(folder / WEIGHTS), metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # the library writes for the owner alone; another worker may serve it
    config = copy.copy(learner.model.peft_config[ADAPTER])
    config.inference_mode, config.base_model_name_or_path = True, base
    config.target_modules = sorted(config.target_modules)  # PEFT keeps a set, whose order changes by process
    config.save_pretrained(str(folder))


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Names of the weights that are not the same in both, or stand in one alone."""
    unlike = set(one) ^ set(other)
    return sorted(unlike | {k for k in set(one) & set(other) if not _same(one[k], other[k])})


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.detach().float().cpu(), other.detach().float().cpu())


def _lora(config: Any, recipe: GeneratorRecipe, champion: Path | None, rows: int) -> Any:
    if champion is not None:
        if not (champion / CONFIG).is_file():
            raise NotFound(f"there is no adapter in {str(champion)!r}", hint=f"its folder holds {CONFIG}")
        of = config.from_pretrained(str(champion))
        of.inference_mode, of.base_model_name_or_path = False, None
        return of
    rank = recipe.rank_for(rows)
    return config(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.target_modules) or "all-linear",
        bias="none",
    )


def _precision(recipe: GeneratorRecipe) -> str:
    if recipe.precision != "auto":
        return recipe.precision
    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def _quantized(recipe: GeneratorRecipe, folder: Path) -> bool:
    can = torch.cuda.is_available() and importlib.util.find_spec("bitsandbytes") is not None
    if recipe.quantize == "nf4" and not can:
        raise UserError(
            "the recipe asks for 4 bits, and there is no CUDA device or no bitsandbytes here",
            hint="install bitsandbytes on a machine with an NVIDIA GPU, or set quantize to auto",
            code="no_quantization",
        )
    large = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 2 > SMALL
    return can and (recipe.quantize == "nf4" or (recipe.quantize == "auto" and large))
