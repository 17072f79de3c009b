"""Merging adapters: a candidate made of two or more adapters of one base, without training.

    cat     the weighted sum of what they do, cut to a rank
    ties    the largest entries of each, where they agree in sign
    dare    a random part of each, rescaled

With `cat`, two adapters and weights that add up to 1 this is the interpolation between them. A merge is a run like a
retrain: the same evaluation, the same gate. It is a finishing step and no substitute for rehearsal, which does better
than merging wherever both were compared.

What is asked is plain data (`Merge`), which a node checks; the work is done in the training child (`merge_run`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.files import write_json
from kernel.errors import Refused, UserError
from retrieval.encoder import CONFIG, MANIFEST, WEIGHTS, weights_sha256

if TYPE_CHECKING:
    from finetune.deltas import Factored, Factors

METHODS = ("cat", "ties", "dare")
_VERSIONS_OF = ("torch", "peft", "safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """What is merged, and how.

    Raises:
        UserError: it makes no sense.
    """

    adapters: tuple[str, ...]
    method: str = "cat"
    weights: tuple[float, ...] = ()
    """One for each adapter; empty is the same for all, adding up to 1."""
    rank: int | None = None
    """None: the largest rank among the adapters."""
    density: float = 0.5
    """The share of entries that `ties` and `dare` keep."""
    seed: int = 0

    def __post_init__(self) -> None:
        n = len(self.adapters)
        weights = tuple(self.weights) or (1 / n,) * n if n else ()
        object.__setattr__(self, "weights", weights)
        if n < 2 or len(set(self.adapters)) < n:
            raise _bad(f"{n} adapters are named", "name two or more, each once")
        if self.method not in METHODS:
            raise _bad(f"no method {self.method!r}", f"there are: {', '.join(METHODS)}")
        if len(weights) != n or not all(math.isfinite(w) for w in weights) or not any(weights):
            raise _bad(f"weights are {list(weights)} for {n} adapters", "give a number for each, not all of them zero")
        if self.method == "ties" and min(weights) < 0:  # a voice in an election of signs cannot be less than none
            raise _bad(
                f"weights are {list(weights)}, and ties takes none below zero", "leave it out, or merge with cat"
            )
        if self.rank is not None and not 1 <= self.rank <= 512:
            raise _bad(f"rank is {self.rank}", "expected 1 to 512")
        if not 0 < self.density <= 1:
            raise _bad(f"density is {self.density}", "expected a share: more than 0, to 1")

    @classmethod
    def of(cls, adapters: Sequence[str], method: str | None, settings: Mapping[str, Any], seed: int) -> Merge:
        """What a run's options ask for; `settings` may hold weights, rank and density.

        Raises:
            UserError: it makes no sense, or there is another setting.
        """
        strange = sorted(set(settings) - {"weights", "rank", "density"})
        if strange:
            raise _bad(f"a merge has no setting {strange[0]!r}", "it has weights, rank and density")
        given: dict[str, Any] = {k: tuple(v) if k == "weights" else v for k, v in settings.items() if v is not None}
        return cls(adapters=tuple(adapters), method=method or "cat", seed=seed, **given)


def write_config(folder: Path, merge: Merge, paths: Sequence[Path], base: str) -> None:
    """Everything `merge_run` needs; its existence means complete."""
    told = {"base": base, "merge": {**dataclasses.asdict(merge), "paths": [str(p) for p in paths]}}
    write_json(folder / "config.json", told)


def asked(run: Path) -> dict[str, Any] | None:
    """The merge that a run's folder asks for; None if it asks for a training."""
    try:
        told = json.loads((run / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # whoever reads it as a training says what is wrong
    return told if isinstance(told, dict) and "merge" in told else None


def merge_run(run: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Write the merged adapter into the run's folder; the manifest, which is for the caller to write last.

    Raises:
        Refused: the adapters do not fit each other.
    """
    from safetensors.torch import save_file

    started = time.monotonic()
    wanted = dict(config["merge"])
    folders = [Path(p) for p in wanted.pop("paths")]
    merge = Merge(**{**wanted, "adapters": tuple(wanted["adapters"]), "weights": tuple(wanted["weights"])})
    manifests = [json.loads((f / MANIFEST).read_text()) for f in folders]
    configs = [json.loads((f / CONFIG).read_text()) for f in folders]
    _fit(merge.adapters, manifests, configs)
    rank = merge.rank or max(int(c["r"]) for c in configs)
    alpha = 2 * rank
    merged = merged_layers([_layers(f, c) for f, c in zip(folders, configs, strict=True)], merge, rank, alpha / rank)
    out = run / "adapter"
    out.mkdir(parents=True, exist_ok=True)
    weights: dict[str, Any] = {}
    for layer, found in merged.items():
        weights |= {f"{layer}.lora_A.weight": found.factors.a, f"{layer}.lora_B.weight": found.factors.b}
    save_file(weights, str(out / WEIGHTS), metadata={"format": "pt"})
    (out / WEIGHTS).chmod(0o644)  # the library writes for the owner alone; another worker may serve it
    (out / CONFIG).write_text(json.dumps(configs[0] | {"r": rank, "lora_alpha": alpha}, indent=2, sort_keys=True))
    energy, lost = (math.fsum(getattr(f, name) for f in merged.values()) for name in ("energy", "lost"))
    return {
        "format": 1,
        "kind": manifests[0].get("kind", "retriever"),
        "base": manifests[0]["base"],
        "adapter": {"sha256": weights_sha256(out)},
        "parent": merge.adapters[0],
        "parents": list(merge.adapters),
        "warm_start": False,
        "merge": {
            "method": merge.method,
            "weights": list(merge.weights),
            "rank": rank,
            "density": merge.density if merge.method != "cat" else None,
            "seed": merge.seed,
            "parents": [m["adapter"]["sha256"] for m in manifests],
            "energy_lost": round(lost / energy, 6) if energy else 0.0,
        },
        "data": {"sha256": hashlib.sha256(b"").hexdigest(), "rows": 0, "new": 0, "recalled": 0},
        "seed": merge.seed,
        "steps": 0,
        "seconds": round(time.monotonic() - started, 1),
        "versions": {"python": sys.version.split()[0], **{name: metadata.version(name) for name in _VERSIONS_OF}},
        "licences": sorted({licence for m in manifests for licence in m.get("licences", ())}),
        "finished_ms": time.time_ns() // 1_000_000,
    }


def merged_layers(
    adapters: Sequence[Mapping[str, Factors]], merge: Merge, rank: int, scale: float
) -> dict[str, Factored]:
    """The merged factors of each layer, in order of its name. The same adapters and seed give the same."""
    import torch

    from finetune import deltas

    chance = torch.Generator().manual_seed(merge.seed)
    found = {}
    for layer in sorted(adapters[0]):
        parts = [adapter[layer] for adapter in adapters]
        if merge.method == "cat":
            found[layer] = deltas.cat(parts, merge.weights, rank, scale)
            continue
        full = [part.delta for part in parts]
        if merge.method == "ties":
            one = deltas.ties(full, merge.weights, merge.density)
        else:
            one = deltas.dare(full, merge.weights, merge.density, chance)
        found[layer] = deltas.factored(one, rank, scale)
    return found


# --- private ------------------------------------------------------------------------------------


def _layers(folder: Path, config: Mapping[str, Any]) -> dict[str, Factors]:
    from safetensors.torch import load_file

    from finetune.deltas import Factors

    weights, scale = load_file(str(folder / WEIGHTS)), float(config["lora_alpha"]) / int(config["r"])
    layers = [name.removesuffix(".lora_A.weight") for name in weights if name.endswith(".lora_A.weight")]
    if len(weights) != 2 * len(layers):
        raise Refused(f"the adapter in {str(folder)!r} holds more than LoRA matrices", hint=_PLAIN)
    return {
        layer: Factors(
            a=weights[f"{layer}.lora_A.weight"].float(), b=weights[f"{layer}.lora_B.weight"].float(), scale=scale
        )
        for layer in layers
    }


_BASE = {"base model": "sha256", "tokenizer": "tokenizer_sha256", "chat template": "template_sha256"}
_PLAIN = "only adapters that this platform trained, plain LoRA of one base, can be merged"


def _fit(names: Sequence[str], manifests: Sequence[Mapping[str, Any]], configs: Sequence[Mapping[str, Any]]) -> None:
    """Nothing, if they are plain LoRA over the same layers of the same base: of anything else the sum would be wrong.

    Raises:
        Refused: they are not.
    """
    for name, manifest, config in zip(names, manifests, configs, strict=True):
        odd = [
            key for key in ("use_rslora", "use_dora", "lora_bias", "rank_pattern", "alpha_pattern") if config.get(key)
        ]
        if odd:
            raise Refused(f"{name!r} is an adapter with {odd[0]}", hint=_PLAIN)
        for what, ours, first in (
            *(
                (f"was trained on another {what}", manifest["base"].get(key), manifests[0]["base"].get(key))
                for what, key in _BASE.items()
            ),
            ("has other target modules", sorted(config["target_modules"]), sorted(configs[0]["target_modules"])),
            ("has another dropout", config["lora_dropout"], configs[0]["lora_dropout"]),
        ):
            if ours != first:
                raise Refused(f"{name!r} {what} than {names[0]!r}", hint=_PLAIN, code="other_base")


def _bad(message: str, hint: str) -> UserError:
    return UserError(message, hint=hint, code="bad_merge")
