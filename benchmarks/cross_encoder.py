"""A cross-encoder by LoRA on the embedder's own backbone, for `benchmarks.reranker_adapters` alone.

It reads `question [SEP] passage` and has LoRA on all linear layers and a score head, one of two:

    linear      a weight for each dimension of the mean of all tokens
    segments    that, from zero, beside the cosine of the question's tokens and the passage's, so that it begins
                where the embedder is instead of at nothing
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.domains import Asked
from finetune.training import rate_at
from retrieval.encoder import load_base, quiet_peft, read_model

NEGATIVES, QUESTIONS, AT_ONCE = 5, 4, 8
"""Against each positive; questions of a step; pairs that go through the model together, of like length."""
NEAR = 30
"""Of how many of a question's hard negatives they are drawn: those that it will have to tell apart."""
MAX_TOKENS, TEMPERATURE = 144, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    head: str
    rate: float
    epochs: int

    @classmethod
    def of(cls, text: str) -> Recipe:
        head, rate, epochs = text.split(":")
        return cls(head=head, rate=float(rate), epochs=int(epochs))

    def __str__(self) -> str:
        return f"{self.head}:{self.rate:g}:{self.epochs}"


class CrossEncoder(nn.Module):
    """Scores pairs. The base is frozen; LoRA and the head are what is trained."""

    def __init__(self, base: str, recipe: Recipe, seed: int, precision: str) -> None:
        from peft import LoraConfig, get_peft_model
        from transformers import set_seed

        super().__init__()
        model, self._tokenizer = load_base(
            read_model(base),
            dtype=getattr(torch, precision),
            attn_implementation="eager",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        set_seed(seed)
        lora = LoraConfig(
            r=16,
            lora_alpha=32,
            lora_dropout=0.05,
            target_modules=["query", "key", "value", "dense"],
            exclude_modules=r"(.*\.)?pooler\..*",
        )
        with quiet_peft():
            self.model = get_peft_model(model, lora)
        self.head = nn.Linear(model.config.hidden_size, 1)
        if recipe.head == "segments":
            nn.init.zeros_(self.head.weight)
        self._segments, self._half = recipe.head == "segments", precision == "bfloat16"

    def forward(self, pairs: Sequence[tuple[str, str]]) -> torch.Tensor:
        """Scores, float32 (pairs,), differentiable while training."""
        by_length = sorted(range(len(pairs)), key=lambda n: len(pairs[n][1]))
        parts = [by_length[n : n + AT_ONCE] for n in range(0, len(pairs), AT_ONCE)]
        scores = torch.cat([self._part([pairs[n] for n in part]) for part in parts])
        return scores[torch.argsort(torch.tensor(by_length))]

    def _part(self, pairs: Sequence[tuple[str, str]]) -> torch.Tensor:
        tokens = self._tokenizer(
            [question for question, _ in pairs],
            [passage for _, passage in pairs],
            padding=True,
            truncation="only_second",
            max_length=MAX_TOKENS,
            return_tensors="pt",
            return_token_type_ids=True,
        )
        second = tokens.pop("token_type_ids")  # the embedder never saw a second kind of token
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            states = self.model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"]
        scores: torch.Tensor = self.head(_mean(states, mask)).squeeze(1)
        if self._segments:
            near = nn.functional.cosine_similarity(_mean(states, mask - second), _mean(states, second))
            scores = scores + near / TEMPERATURE
        return scores


def _mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def train(model: CrossEncoder, asked: Sequence[Asked], texts: Sequence[str], recipe: Recipe, seed: int) -> None:
    """Softmax cross-entropy over one positive and its negatives, both drawn anew each epoch."""
    rng = np.random.default_rng(seed)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=0.0)
    each = math.ceil(len(asked) / QUESTIONS)
    model.train()
    for step in range(each * recipe.epochs):
        if step % each == 0:
            order = rng.permutation(len(asked))
        loss: Any = 0.0
        some = [asked[n] for n in order[step % each * QUESTIONS :][:QUESTIONS]]
        for group in _in_parts(some):
            pairs = []
            for a in group:
                near = a.negatives[:NEAR]
                against = rng.choice(near, min(NEGATIVES, len(near)), replace=False)
                pairs += [(a.question, texts[n]) for n in (rng.choice(a.relevant), *against)]
            loss = loss - model(pairs).view(len(group), -1).log_softmax(1)[:, 0].sum() / len(some)
        for options in optimiser.param_groups:
            options["lr"] = rate_at(step + 1, each * recipe.epochs, recipe.rate, 0.06)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        if step % 15 == 0:
            print(f"  step {step + 1}/{each * recipe.epochs}, loss {float(loss):.3f}", flush=True)


def save(model: CrossEncoder, file: Path, train_cpu: float) -> None:
    """What was trained, and the seconds it took."""
    from safetensors.torch import save_file

    trained = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    save_file(trained, str(file), metadata={"train_cpu": f"{train_cpu:.1f}"})


def load(model: CrossEncoder, file: Path) -> None:
    from safetensors.torch import load_file

    trained = load_file(str(file))
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.data.copy_(trained[name])
    model.eval()


def train_cpu(file: Path) -> float:
    from safetensors import safe_open

    with safe_open(str(file), "pt") as opened:
        return float(opened.metadata()["train_cpu"])


def _in_parts(asked: Sequence[Asked]) -> list[list[Asked]]:
    """Questions with as many negatives as each other; with fewer than are asked for, there are several groups."""
    groups: dict[int, list[Asked]] = defaultdict(list)
    for a in asked:
        groups[min(NEGATIVES, len(a.negatives))].append(a)
    return [group for many, group in groups.items() if many]
