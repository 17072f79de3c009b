"""TRL's trainers as they are used here: on rows that are tokens already, with nothing cut and nothing packed.

TRL would tokenize text itself, put the special tokens of a chat template twice, and cut what is too long at its end,
which is the answer. So it is given tokens: the prompt that is served, and the answer behind it. Only the training child
imports this module.

The reference of DPO and KTO is a frozen adapter with the weights that training starts from. TRL makes it when it is
given a PEFT model; with a plain model and a config it would take the base model, which no champion was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

from finetune.generator.model import Learner
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.tokens import Tokens

_CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")  # transformers renamed it in 5.24
    if name in {f.name for f in fields(SFTConfig)}
)


class _AsGiven:
    """Takes rows as they are, and writes no card for people beside each checkpoint."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def create_model_card(self, *_: Any, **__: Any) -> None:
        return None


class _Sft(_AsGiven, SFTTrainer):
    pass


class _Dpo(_AsGiven, DPOTrainer):
    pass


class _Kto(_AsGiven, KTOTrainer):
    pass


def trainer_of(
    learner: Learner, rows: Sequence[Tokens], recipe: GeneratorRecipe, folder: Path, *, warm: bool, processes: int
) -> Any:
    """TRL's trainer of the recipe's method over these rows; its checkpoints go into `folder`."""
    with _as_precise(learner.model):
        return _made(learner, rows, recipe, folder, warm=warm, processes=processes)


def steps_of(rows: int, recipe: GeneratorRecipe, processes: int) -> tuple[int, int]:
    """(steps in all, micro batches in a step)."""
    together = recipe.at_once(processes) * processes
    gathered, micro = recipe.batch // together, -(-rows // together)
    return max(1, -(-micro // gathered)) * recipe.epochs, gathered


@contextmanager
def _as_precise(model: Any) -> Iterator[None]:
    """What is trained keeps its precision: TRL rounds the adapter of a model in 4 bits to bfloat16, which loses small
    steps and starts beside the champion, and PEFT takes it up in float32 again when a run goes on."""
    before = [(p, p.data) for p in model.parameters() if p.requires_grad]
    yield
    for parameter, data in before:
        if parameter.dtype != data.dtype:
            parameter.data = data.to(parameter.device)


def _made(
    learner: Learner, rows: Sequence[Tokens], recipe: GeneratorRecipe, folder: Path, *, warm: bool, processes: int
) -> Any:
    common = _arguments(learner, len(rows), recipe, folder, warm=warm, processes=processes)
    given = {"model": learner.model, "processing_class": learner.tokenizer}
    if recipe.method == "sft":
        data = [{"input_ids": [*r.prompt, *r.chosen], "labels": [-100] * len(r.prompt) + list(r.chosen)} for r in rows]
        sft = SFTConfig(**common, packing=False)
        return _Sft(**given, args=_on_one_device(sft), train_dataset=Dataset.from_list(data))
    if recipe.method == "dpo":
        data = [{"prompt_ids": r.prompt, "chosen_ids": r.chosen, "rejected_ids": list(r.rejected or ())} for r in rows]
        losses, weights = (["sigmoid", "sft"], [1.0, recipe.sft_weight]) if recipe.sft_weight else (["sigmoid"], [1.0])
        dpo = DPOConfig(**common, beta=recipe.beta, loss_type=losses, loss_weights=weights)
        return _Dpo(**given, args=_on_one_device(dpo), train_dataset=Dataset.from_list(data))
    kto = KTOConfig(**common, beta=recipe.beta, **_balance(rows))
    return _Kto(
        **given, args=_on_one_device(kto), train_dataset=Dataset.from_list(_mismatched(rows, recipe.at_once(processes)))
    )


def _arguments(
    learner: Learner, rows: int, recipe: GeneratorRecipe, folder: Path, *, warm: bool, processes: int
) -> dict[str, Any]:
    steps, gathered = steps_of(rows, recipe, processes)
    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "max_length": None,  # rows fit already
        "per_device_train_batch_size": recipe.at_once(processes),
        "gradient_accumulation_steps": gathered,
        "num_train_epochs": recipe.epochs,
        "learning_rate": recipe.rate_for(learner.parameters, warm=warm),
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "warmup_steps": round(recipe.warmup * steps),
        "weight_decay": 0.0,
        "max_grad_norm": recipe.clip,
        "optim": "adamw_torch",
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "use_cpu": not gpu,
        "bf16": gpu and learner.precision == "bfloat16",
        _CHECKPOINTING: gpu,  # activations are computed again: less memory, a third more time
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # or a loss that is no number would be shown as the mean of those before it
        "save_strategy": "steps",
        "save_steps": max(1, steps // recipe.checkpoints),
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": gpu,
        "dataset_num_proc": None,
    }


def _on_one_device(given: Any) -> Any:
    """The arguments of a process that trains on one device. Where it sees several and trains alone, transformers would
    show a batch to each of them, and a step would be of so many times the rows; TRL refuses that."""
    if given.n_gpu > 1:
        given._n_gpu = 1  # as transformers does it for a model that is spread over devices
    return given


def _mismatched(rows: Sequence[Tokens], batch: int) -> list[dict[str, Any]]:
    """Rows for KTO, each with the answer of another row of its batch: what the divergence is estimated from.

    A last one that is alone in its batch has the answer of the row before it.
    """
    data = [{"prompt_ids": r.prompt, "completion_ids": r.chosen, "label": r.row.label} for r in rows]
    for start in range(0, len(data), batch):
        some = data[start : start + batch]
        first = some[-1] if len(some) > 1 else data[start - 1]
        for row, other in zip(some, [first, *some[:-1]], strict=True):
            row["KL_completion_ids"] = other["completion_ids"]
    return data


def _balance(rows: Sequence[Tokens]) -> dict[str, float]:
    """Weights with which both kinds of votes count the same in all (Ethayarajh et al., KTO, 2024, equation 8)."""
    up = sum(r.row.label for r in rows)
    down = len(rows) - up
    if not (up and down):
        return {}
    return {"desirable_weight": max(1.0, down / up), "undesirable_weight": max(1.0, up / down)}
