"""The recipe of a generator adapter: plain frozen data that can be stored, compared and run again.

Defaults are those that the literature agrees on for weekly adapters of models up to 8 billion parameters
(docs/decisions/0028): all linear layers, alpha twice the rank, a dropout that is never changed within a lineage, one
epoch, and a rate that is halved when training goes on from a champion, as forgetting grows with rate and steps. What
depends on the model or the number of rows is left open here (None) and settled when both are known.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kernel.errors import UserError

Method = Literal["sft", "dpo", "kto"]
METHODS: tuple[Method, ...] = ("sft", "dpo", "kto")

SMALL = 1_500_000_000
"""Parameters up to which a model takes twice the rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorRecipe:
    """LoRA on a causal language model.

    Raises:
        UserError: one or more values make no sense; all of them are named at once.
    """

    method: Method = "sft"
    """`sft` learns answers; `dpo` prefers a correction to what was shown; `kto` learns from thumbs alone."""
    rank: int | None = None
    """None: 16 below 2,000 rows, 32 up to 20,000, else 64; a warm start keeps the champion's."""
    dropout: float = 0.05
    """In the LoRA branch. Never change it between adapters of one lineage: a swap compares configs."""
    target_modules: tuple[str, ...] = ()
    """Names of the linear layers that get an adapter; empty for all but the head."""
    learning_rate: float | None = None
    """None: 2e-4 up to 1.5 billion parameters, else 1e-4; half of it on a warm start; 5e-6 for DPO and KTO."""
    epochs: int = 1
    batch: int = 16
    """Rows per step, on all devices together."""
    micro_batch: int = 4
    """Rows at a time on one device, at most: `at_once` says how many make up a step. For KTO two or more."""
    warmup: float = 0.03
    """Share of all steps; after it the rate falls along a cosine."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 17
    max_length: int = 2048
    """Tokens of prompt and answer together. Distractors are left out until a row fits; an answer is never cut."""
    distractors: int = 4
    """Passages beside those that answer, from the same search that serves."""
    gold: float = 0.8
    """Share of questions that are shown with what answers them. The rest must be refused, as they would be served."""
    quote: Literal["first", "none"] = "first"
    """Whether the sentence that supports an answer stands, cited, before an answer in other words (RAFT)."""
    correction_weight: int = 2
    """How often a correction is shown per epoch, each time among other passages."""
    beta: float = 0.1
    """Of DPO and KTO: how closely the reference is kept to."""
    sft_weight: float = 0.2
    """Of DPO: weight of the likelihood of the preferred answer itself, so that it does not fall with the other one."""
    min_pairs: int = 64
    """Pairs without which DPO is refused: few pairs, or few people's, teach their quirks."""
    min_votes: int = 16
    """Votes of the rarer kind without which KTO is refused."""
    quantize: Literal["auto", "none", "nf4"] = "auto"
    """The frozen base in 4 bits while training (QLoRA). `auto`: where there are CUDA, bitsandbytes, and more than 1.5
    billion parameters."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the frozen base. `auto` is bfloat16 on a GPU, float32 elsewhere; the adapter's own weights are float32."""
    checkpoints: int = 4
    """How often in a run a checkpoint is written."""
    processes: int = 1
    """More than one trains on as many GPUs, through `accelerate launch`."""
    threads: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "target_modules", tuple(self.target_modules))
        _report([f"{name} = {getattr(self, name)!r}: {wanted}" for name, ok, wanted in _RULES if not ok(self)])

    def rank_for(self, rows: int) -> int:
        """The rank of a fresh adapter for so many rows."""
        if self.rank is not None:
            return self.rank
        return 16 if rows < 2_000 else 32 if rows <= 20_000 else 64

    def rate_for(self, parameters: int, *, warm: bool) -> float:
        """The peak learning rate for a model of so many parameters."""
        if self.learning_rate is not None:
            return self.learning_rate
        if self.method != "sft":
            return 5e-6
        return (2e-4 if parameters <= SMALL else 1e-4) / (2 if warm else 1)

    def at_once(self, processes: int) -> int:
        """Rows at a time on each of so many devices: as many up to `micro_batch` as make up a step of `batch` exactly.

        Raises:
            UserError: there is no such number; the hint names a batch that would do.
        """
        least = 2 if self.method == "kto" else 1  # KTO compares an answer with the next one of those
        each, over = divmod(self.batch, processes)
        fit = [n for n in range(least, min(self.micro_batch, each) + 1) if each % n == 0 and not over]
        if fit:
            return fit[-1]
        if self.micro_batch < least:
            wrong = f"micro_batch = {self.micro_batch}: expected {least} or more for {self.method}"
            raise UserError(wrong, hint=f"set micro_batch to {least} or more")
        wanted = max(1, round(self.batch / (least * processes))) * least * processes
        raise UserError(
            f"batch = {self.batch}: expected equal parts of {least} to {self.micro_batch} rows for each of {processes} "
            f"process(es) with {self.method}",
            hint=f"batch={wanted} would do",
        )

    def brief(self, rows: int, steps: int) -> GeneratorRecipe:
        """The same of answers alone, for about `steps` steps over so many rows: to be looked at, and thrown away."""
        rate = self.learning_rate if self.method == "sft" else None  # that of preferences teaches no answer
        epochs = min(100, math.ceil(steps / max(1, math.ceil(rows / self.batch))))
        return dataclasses.replace(self, method="sft", learning_rate=rate, epochs=epochs, checkpoints=1, processes=1)

    def to_json(self) -> dict[str, Any]:
        """JSON values only; `from_json` takes it back."""
        return {**dataclasses.asdict(self), "target_modules": list(self.target_modules)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GeneratorRecipe:
        """A recipe of `data`; what is not named keeps its default.

        Raises:
            UserError: unknown names, wrong types or values that make no sense; all of them are named at once.
        """
        fields = {f.name for f in dataclasses.fields(cls)}
        problems = [f"{name}: no such setting" for name in data if name not in fields]
        good = {}
        for name, value in data.items():
            if name in fields:
                fits, wanted = _TYPES.get(name, (_number, "a number"))
                if fits(value):
                    good[name] = value
                else:
                    problems.append(f"{name} = {value!r}: expected {wanted}")
        try:
            recipe = cls(**good)
        except UserError as error:
            problems += error.message.split("\n  ")[1:]
            recipe = cls()
        _report(problems)
        return recipe


def _between(name: str, low: float, high: float, wanted: str, *, open_: bool = False) -> Any:
    def ok(recipe: GeneratorRecipe) -> bool:
        value = getattr(recipe, name)
        return (open_ and value is None) or (value is not None and math.isfinite(value) and low <= value <= high)

    return name, ok, wanted


_RULES: tuple[Any, ...] = (
    ("method", lambda r: r.method in METHODS, "expected sft, dpo or kto"),
    _between("rank", 1, 512, "expected 1 to 512, or null", open_=True),
    _between("dropout", 0, 0.9, "expected 0 to 0.9"),
    ("target_modules", lambda r: all(r.target_modules) and "lm_head" not in r.target_modules, "no empty name, no head"),
    _between("learning_rate", 1e-8, 1, "expected 1e-8 to 1, or null", open_=True),
    _between("epochs", 1, 100, "expected 1 to 100; more than 2 forget"),
    _between("batch", 1, 4096, "expected 1 to 4096"),
    _between("micro_batch", 1, 4096, "expected 1 to 4096"),
    _between("warmup", 0, 0.9, "expected a share of the steps, 0 to 0.9"),
    _between("clip", 1e-3, 1e3, "expected 0.001 to 1000"),
    _between("seed", 0, 2**31 - 1, "expected 0 to 2147483647"),
    _between("max_length", 64, 2**20, "expected 64 tokens or more"),
    _between("distractors", 0, 32, "expected 0 to 32"),
    _between("gold", 0, 1, "expected a share, 0 to 1"),
    ("quote", lambda r: r.quote in ("first", "none"), "expected first or none"),
    _between("correction_weight", 1, 10, "expected 1 to 10"),
    _between("beta", 1e-3, 10, "expected 0.001 to 10"),
    _between("sft_weight", 0, 10, "expected 0 to 10"),
    _between("min_pairs", 1, 10**6, "expected 1 or more"),
    _between("min_votes", 1, 10**6, "expected 1 or more"),
    ("quantize", lambda r: r.quantize in ("auto", "none", "nf4"), "expected auto, none or nf4"),
    ("precision", lambda r: r.precision in ("auto", "float32", "bfloat16"), "expected auto, float32 or bfloat16"),
    _between("checkpoints", 1, 1000, "expected 1 to 1000"),
    _between("processes", 1, 64, "expected 1 to 64"),
    _between("threads", 1, 256, "expected 1 to 256"),
)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_WHOLE = (
    "epochs", "batch", "micro_batch", "seed", "max_length", "distractors", "correction_weight", "min_pairs",
    "min_votes", "checkpoints", "processes", "threads",
)  # fmt: skip
_TYPES: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(_WHOLE, (_whole, "a whole number")),
    **dict.fromkeys(("method", "quote", "quantize", "precision"), (lambda v: isinstance(v, str), "a text")),
    "rank": (lambda v: v is None or _whole(v), "a whole number or null"),
    "learning_rate": (lambda v: v is None or _number(v), "a number or null"),
    "target_modules": (
        lambda v: isinstance(v, (list, tuple)) and all(isinstance(n, str) for n in v),
        "a list of names",
    ),
}


def _report(problems: list[str]) -> None:
    if problems:
        raise UserError(
            "\n  ".join([f"the recipe has {len(problems)} problem(s):", *problems]),
            hint="correct them; a setting that is left out takes its default",
            code="bad_recipe",
        )
