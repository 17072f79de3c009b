"""The model that learns: a frozen base with one LoRA adapter, its loss, and its weights in and out of files.

The seed is set before the adapter is made, or the first weights would not be reproducible. Only the training
child imports this module; it needs torch at once.

Speed on a CPU, measured on two cores with batches of 32 short questions: drawing random numbers for dropout
took as long as the whole rest of the forward pass. So the base runs without dropout, and the adapter's own
dropout draws one mask per question instead of one per token (Gal and Ghahramani, A theoretically grounded
application of dropout in recurrent neural networks, NeurIPS 2016).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from finetune.data import Batch
from finetune.recipe import RetrieverRecipe
from kernel.precision import has_matrix_tiles
from retrieval.encoder import (
    CONFIG,
    WEIGHTS,
    SentenceModel,
    embed,
    fill,
    load_base,
    quiet_peft,
    read_model,
    tokenize,
    weights_of,
)

_NAME = "challenger"
_NEVER = -1e4
"""Stands for minus infinity in a masked sum: finite, or a row without negatives had NaN gradients."""


@dataclass(frozen=True, slots=True)
class Learner:
    """The model under training, with what is needed to feed it."""

    model: Any
    tokenizer: Any
    spec: SentenceModel
    recipe: RetrieverRecipe
    precision: Literal["float32", "bfloat16"]

    @property
    def weights(self) -> list[nn.Parameter]:
        """What is trained: the adapter's weights, float32, always in the same order."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def encode(self, questions: Sequence[str]) -> torch.Tensor:
        """Unit vectors, float32 (questions, dimension), differentiable while training."""
        tokens = tokenize(self.tokenizer, questions, self.spec, self.recipe.max_length)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            return embed(self.model, tokens, self.spec.pooling)


def build(base: str, recipe: RetrieverRecipe, champion: Path | None) -> Learner:
    """A learner ready for its first step: from the champion's adapter, or from one that does nothing yet.

    A recipe without a rank gets the champion's, or the smallest: who knows how much data there is sizes it before.

    Raises:
        NotFound: there is no such base model or adapter.
        Refused: the champion does not fit the recipe, or the base has no layer of the named ones.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    recipe = recipe.sized(0, rank_and_alpha(champion) if champion is not None else None)
    spec = read_model(base)
    precision = _precision(recipe)
    model, tokenizer = load_base(
        spec,
        dtype=getattr(torch, precision),
        attn_implementation="eager",  # on short questions twice as fast backwards as the fused kernel
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    set_seed(recipe.seed)
    assert recipe.rank is not None
    assert recipe.alpha is not None
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.target_modules),
        exclude_modules=r"(.*\.)?pooler\..*",
    )
    with quiet_peft():
        peft = get_peft_model(model, config, adapter_name=_NAME)
    for module in peft.modules():
        if _NAME in getattr(module, "lora_dropout", {}):
            module.lora_dropout[_NAME] = QuestionDropout(recipe.dropout)
    learner = Learner(peft, tokenizer, spec, recipe, precision)
    if champion is not None:
        put(learner, read_weights(champion))
    peft.train()
    return learner


def losses(learner: Learner, vectors: torch.Tensor, questions: Sequence[str], batch: Batch) -> tuple[Any, Any]:
    """(loss per row (b,), scores (b, c)) of a batch; scores are cosines over the temperature."""
    documents = vectors[torch.from_numpy(batch.candidates)]
    scores = learner.encode(questions) @ documents.T / learner.recipe.temperature
    return contrast(scores, torch.from_numpy(batch.positive), torch.from_numpy(batch.negative)), scores


def contrast(scores: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Loss per row (b,): each positive against the row's negatives, all of shape (b, c).

        loss_i = mean over positives p of -log( e^s_ip / (e^s_ip + sum over negatives n of e^s_in) )

    InfoNCE, with the other positives of the row left out of the sum. A row without negatives has a loss of 0.

    Papers: van den Oord et al., Representation learning with contrastive predictive coding, 2018; for several
    positives (the sum outside the logarithm), Khosla et al., Supervised contrastive learning, NeurIPS 2020.
    """
    against = scores.masked_fill(~negative, _NEVER).logsumexp(dim=1, keepdim=True)
    return (functional.softplus(against - scores) * positive).sum(1) / positive.sum(1)


def pull(scores: torch.Tensor, before: torch.Tensor, documents: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL divergence (b,) of the ranking by `scores` (b, c) from the one by the vectors `before` (b,
    dimension).

    Paper: Li and Hoiem, Learning without forgetting, ECCV 2016.
    """
    wanted = (before @ documents.T / temperature).log_softmax(dim=1)
    return functional.kl_div(scores.log_softmax(dim=1), wanted, log_target=True, reduction="none").sum(1)


def state(learner: Learner) -> dict[str, torch.Tensor]:
    """A copy of the adapter's weights by the names they have in a file."""
    found = weights_of(learner.model, _NAME)
    return {name: value.detach().clone().contiguous() for name, value in found.items()}


def put(learner: Learner, weights: dict[str, torch.Tensor]) -> None:
    """Set the adapter's weights; every one of them is accounted for.

    Raises:
        Refused: a weight is missing, left over, or of another shape.
    """
    fill(learner.model, weights, _NAME)


def rank_and_alpha(folder: Path) -> tuple[int, int]:
    """Of the adapter in a folder.

    Raises:
        NotFound: it holds none.
    """
    from peft import LoraConfig

    from kernel.errors import NotFound

    if not (folder / CONFIG).is_file():
        raise NotFound(f"there is no adapter in {str(folder)!r}", hint=f"its folder holds {CONFIG}")
    config = LoraConfig.from_pretrained(str(folder))
    return int(config.r), int(config.lora_alpha)


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights in an adapter's folder.

    Raises:
        NotFound: it holds none.
    """
    from safetensors.torch import load_file

    from kernel.errors import NotFound

    if not (folder / WEIGHTS).is_file():
        raise NotFound(f"there is no adapter in {str(folder)!r}", hint=f"its folder holds {WEIGHTS}")
    return load_file(str(folder / WEIGHTS))


def write_adapter(learner: Learner, weights: dict[str, torch.Tensor], folder: Path, base: str) -> None:
    """Weights and config in PEFT's format: no pickle, no path of this machine; `base` names the base model."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, str(folder / WEIGHTS), metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # the library writes for the owner alone; another worker may serve it
    config = copy.copy(learner.model.peft_config[_NAME])
    config.inference_mode, config.base_model_name_or_path = True, base
    config.target_modules = sorted(config.target_modules)  # PEFT keeps a set, whose order changes by process
    config.save_pretrained(str(folder))


class QuestionDropout(nn.Module):
    """Dropout with one mask per question: (batch, 1, features) for an input of (batch, tokens, features)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.share:
            return states
        keep = 1 - self.share
        shape = (states.shape[0], *[1] * (states.ndim - 2), states.shape[-1])
        return states * torch.empty(shape, dtype=states.dtype).bernoulli_(keep).div_(keep)


def as_tensor(vectors: np.ndarray) -> torch.Tensor:
    """The frozen document vectors, float32 (n, dimension)."""
    return torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))


def _precision(recipe: RetrieverRecipe) -> Literal["float32", "bfloat16"]:
    if recipe.precision != "auto":
        return recipe.precision
    return "bfloat16" if has_matrix_tiles() else "float32"
