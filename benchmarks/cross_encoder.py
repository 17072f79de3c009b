"""A cross-encoder by LoRA on the embedder's own backbone, for `benchmarks.reranker_adapters` alone.

It reads `question [SEP] passage` and has LoRA on all linear layers and a score head, one of two:

    linear      a weight for each dimension of the mean of all tokens
    segments    that, from zero, beside the cosine of the question's tokens and the passage's, so that it begins
                where the embedder is instead of at nothing
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.domains import Asked
from finetune.training import rate_at
from retrieval.encoder import load_base, quiet_peft, read_model

NEGATIVES, QUESTIONS, AT_ONCE = 7, 4, 8
"""Against each positive; questions of a step; pairs that go through the model together, of like length."""
NEAR = 30
"""Of how many of a question's hard negatives they are drawn: those that it will have to tell apart."""
MAX_TOKENS, TEMPERATURE = 192, 0.05


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
        return f"{self.head}-{self.rate:g}-{self.epochs}"


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


def train(
    model: CrossEncoder, asked: Sequence[Asked], texts: Sequence[str], recipe: Recipe, seed: int, file: Path
) -> None:
    """Softmax cross-entropy over one positive and its negatives, both drawn anew each epoch.

    Writes the weights to `file`, and after each epoch beside it what it takes to go on.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=0.0)
    steps = math.ceil(len(asked) / QUESTIONS)
    half_way, begun, spent = file.with_suffix(".part"), 0, 0.0
    if half_way.exists():
        begun, spent, trained, moments = torch.load(half_way)
        _put(model, trained)
        optimiser.load_state_dict(moments)
    model.train()
    for epoch in range(begun, recipe.epochs):
        started, rng = time.process_time(), np.random.default_rng((seed, epoch))
        torch.manual_seed(seed + epoch)
        order = rng.permutation(len(asked))
        for step in range(steps):
            loss = _loss(model, [asked[n] for n in order[step * QUESTIONS :][:QUESTIONS]], texts, rng)
            for options in optimiser.param_groups:
                options["lr"] = rate_at(epoch * steps + step + 1, steps * recipe.epochs, recipe.rate, 0.06)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            if step % 15 == 0:
                print(f"  epoch {epoch + 1}, step {step + 1}/{steps}, loss {float(loss):.3f}", flush=True)
        spent += time.process_time() - started
        torch.save((epoch + 1, spent, _trained(model), optimiser.state_dict()), half_way)
    save_file(_trained(model), str(file), metadata={"train_cpu": f"{spent:.1f}"})
    half_way.unlink(missing_ok=True)


def load(model: CrossEncoder, file: Path) -> None:
    _put(model, load_file(str(file)))
    model.eval()


def train_cpu(file: Path) -> float:
    """Seconds of one thread that the weights in `file` took."""
    with safe_open(str(file), "pt") as opened:
        return float(opened.metadata()["train_cpu"])


def _trained(model: CrossEncoder) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def _put(model: CrossEncoder, weights: dict[str, torch.Tensor]) -> None:
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.data.copy_(weights[name])


def _loss(model: CrossEncoder, asked: Sequence[Asked], texts: Sequence[str], rng: np.random.Generator) -> torch.Tensor:
    total = torch.zeros(())
    for group in _in_parts(asked):
        pairs = []
        for a in group:
            near = a.negatives[:NEAR]
            against = rng.choice(near, min(NEGATIVES, len(near)), replace=False)
            pairs += [(a.question, texts[n]) for n in (rng.choice(a.relevant), *against)]
        total = total - model(pairs).view(len(group), -1).log_softmax(1)[:, 0].sum()
    return total / len(asked)


def _in_parts(asked: Sequence[Asked]) -> list[list[Asked]]:
    """Questions with as many negatives as each other; with fewer than are asked for, there are several groups."""
    groups: dict[int, list[Asked]] = defaultdict(list)
    for a in asked:
        groups[min(NEGATIVES, len(a.negatives))].append(a)
    return [group for many, group in groups.items() if many]
