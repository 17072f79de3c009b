"""The recipe of a retriever adapter: plain frozen data that can be stored, compared and run again.

It holds every knob of the training and no path: where the base model and the data are stands in the run's config.

The defaults were chosen once, on claims and abstracts (SciFact) and on questions that depend on time (TSQA), nDCG@10
on held-out questions, apart for those whose documents training had seen as answers and those of other documents.
Gentle rates at full strength gained little; high rates gained most on seen documents and lost on others; high rates
at half strength kept most of that gain and lost nothing. A temperature of .05 was better than .02, .03 and .1, and 16
negatives were better than 4 or none.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kernel.errors import UserError

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieverRecipe:
    """LoRA on the query encoder, contrastive against frozen document vectors.

    Raises:
        UserError: one or more values make no sense; all of them are named at once.
    """

    rank: int | None = None
    """None: by the number of rows, or the champion's where training goes on from it (`sized`)."""
    alpha: int | None = None
    """None: twice the rank, so that the learning rate need not follow the rank."""
    dropout: float = 0.05
    """In the LoRA branch only. Never change it between adapters of one lineage: a swap compares configs."""
    target_modules: tuple[str, ...] = ("query", "key", "value", "dense")
    """Names (last part) of the linear layers that get an adapter; a pooler's are left out, it is not used."""
    learning_rate: float = 2e-3
    """From the base model. High, since `strength` takes half of it back."""
    warm_learning_rate: float = 1e-3
    """From the champion's adapter: forgetting grows with the rate."""
    epochs: int = 4
    batch: int = 32
    temperature: float = 0.05
    hard_negatives: int = 16
    """At most so many per question and epoch, the hardest of its pool."""
    refresh: int = 1
    """Epochs after which the present model chooses them anew, the start counted; 0 leaves the order of the index."""
    negative_margin: float | None = None
    """A negative that the model at the start scores at this share of the positive's score or more is dropped."""
    warmup: float = 0.06
    """Share of all steps; after it the rate falls along a cosine to a tenth."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 17
    max_length: int = 64
    """Tokens of a question, special tokens counted."""
    strength: float = 0.5
    """How much of the way from where training started to where it ended is saved. Trained fast and served at half
    strength, an adapter keeps most of its gain and loses little elsewhere (Wortsman et al., Robust fine-tuning of
    zero-shot models, CVPR 2022)."""
    ema: float | None = None
    """Decay per step of an average of the weights, which is then what is saved; None saves the last weights."""
    distill: float = 1.0
    """Weight of the pull of recalled questions towards the ranking of the model that training started from. Labels
    say what one passage answers and leave the rest open; that model's ranking says what is to be kept (Buzzega et
    al., Dark experience for general continual learning, NeurIPS 2020)."""
    l2: float = 0.0
    """Weight of the squared distance from the weights that training started from (`restraint`)."""
    ewc: float = 0.0
    """Weight of the same distance, each weight as it mattered to the recalled questions at the start."""
    precision: Precision = "auto"
    """Of the frozen base while training; the adapter's own weights are always float32. `auto` takes bfloat16
    where the processor multiplies it in hardware tiles."""
    threads: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "target_modules", tuple(self.target_modules))
        problems = [f"{name} = {getattr(self, name)!r}: {wanted}" for name, ok, wanted in _RULES if not ok(self)]
        _report(problems)

    def rate(self, warm: bool) -> float:
        """The peak learning rate: lower when training starts from a champion's adapter."""
        return self.warm_learning_rate if warm else self.learning_rate

    def sized(self, rows: int, champion: tuple[int, int] | None = None) -> RetrieverRecipe:
        """The recipe with a rank and an alpha: those given, else the champion's (rank, alpha), else by data size.

        A warm start keeps its champion's, since its weights have that shape. More rows hold more to learn, and a rank
        beyond it only adds noise (Biderman et al., LoRA learns less and forgets less, TMLR 2024).
        """
        rank, alpha = self.rank, self.alpha
        if rank is None and champion is not None:
            rank, alpha = champion[0], champion[1] if alpha is None else alpha
        elif rank is None:
            rank = next(rank for most, rank in _RANKS if rows < most)
        return dataclasses.replace(self, rank=rank, alpha=2 * rank if alpha is None else alpha)

    def to_json(self) -> dict[str, Any]:
        """JSON values only; `from_json` takes it back."""
        return {**dataclasses.asdict(self), "target_modules": list(self.target_modules)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RetrieverRecipe:
        """A recipe of `data`; what is not named keeps its default.

        Raises:
            UserError: unknown names, wrong types or values that make no sense; all of them are named at once.
        """
        fields = {f.name: f for f in dataclasses.fields(cls)}
        problems = [f"{name}: no such setting" for name in data if name not in fields]
        good = {}
        for name, value in data.items():
            if name in fields:
                wanted = _TYPES.get(name, (float,))
                if not _is(value, wanted):
                    problems.append(f"{name} = {value!r}: expected {' or '.join(map(_spoken, wanted))}")
                else:
                    good[name] = value
        try:
            recipe = cls(**good)
        except UserError as error:
            problems += error.message.split("\n  ")[1:]
            recipe = cls()
        _report(problems)
        return recipe


_RANKS = ((2_000, 16), (20_000, 32), (math.inf, 64))
"""(fewer rows than, rank)"""

_Rule = tuple[str, Callable[[RetrieverRecipe], bool], str]


def _between(name: str, low: float, high: float, wanted: str) -> _Rule:
    return (
        name,
        lambda recipe: low <= getattr(recipe, name) <= high and math.isfinite(getattr(recipe, name)),
        wanted,
    )


_RULES: tuple[_Rule, ...] = (
    ("rank", lambda r: r.rank is None or 1 <= r.rank <= 512, "expected 1 to 512"),
    ("alpha", lambda r: r.alpha is None or 1 <= r.alpha <= 2048, "expected 1 to 2048; twice the rank is usual"),
    _between("dropout", 0, 0.9, "expected 0 to 0.9"),
    (
        "target_modules",
        lambda r: bool(r.target_modules) and all(r.target_modules),
        "expected at least one name",
    ),
    _between("learning_rate", 1e-7, 0.1, "expected 1e-7 to 0.1"),
    _between("warm_learning_rate", 1e-7, 0.1, "expected 1e-7 to 0.1"),
    _between("epochs", 1, 1000, "expected 1 to 1000"),
    _between("batch", 2, 4096, "expected 2 to 4096: a question needs others to be told from"),
    _between("temperature", 0.001, 10, "expected 0.001 to 10; cosines are divided by it"),
    _between("hard_negatives", 0, 64, "expected 0 to 64"),
    _between("refresh", 0, 1000, "expected 0 to 1000 epochs; 0 is never"),
    (
        "negative_margin",
        lambda r: r.negative_margin is None or 0 < r.negative_margin <= 2,
        "expected null, or more than 0 to 2; .95 is usual",
    ),
    _between("warmup", 0, 0.9, "expected a share of the steps, 0 to 0.9"),
    _between("clip", 1e-3, 1e3, "expected 0.001 to 1000"),
    _between("seed", 0, 2**31 - 1, "expected 0 to 2147483647"),
    _between("max_length", 8, 512, "expected 8 to 512 tokens"),
    _between("strength", 0.01, 1, "expected more than 0 to 1; 1 saves the last weights as they are"),
    ("ema", lambda r: r.ema is None or 0 < r.ema < 1, "expected null, or more than 0 and less than 1"),
    _between("distill", 0, 100, "expected 0 to 100"),
    _between("l2", 0, 1e6, "expected 0 to 1000000"),
    _between("ewc", 0, 1e6, "expected 0 to 1000000"),
    (
        "precision",
        lambda r: r.precision in ("auto", "float32", "bfloat16"),
        "expected auto, float32 or bfloat16",
    ),
    _between("threads", 1, 256, "expected 1 to 256"),
)
_WHOLE = ("epochs", "batch", "hard_negatives", "refresh", "seed", "max_length", "threads")
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_WHOLE, (int,)),
    "target_modules": (list,),
    "precision": (str,),
    "ema": (float, type(None)),
    "negative_margin": (float, type(None)),
    "rank": (int, type(None)),
    "alpha": (int, type(None)),
}


def _is(value: Any, wanted: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return False
    if list in wanted:
        return isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
    return isinstance(value, wanted) or (float in wanted and isinstance(value, int))


def _spoken(kind: type) -> str:
    return {int: "a whole number", float: "a number", str: "a text", list: "a list of names"}.get(kind, "null")


def _report(problems: list[str]) -> None:
    if problems:
        raise UserError(
            "\n  ".join([f"the recipe has {len(problems)} problem(s):", *problems]),
            hint="correct them; a setting that is left out takes its default",
            code="bad_recipe",
        )
