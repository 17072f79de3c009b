"""How likely a model finds a text: the log-probability of each token of a target behind its prompt.

One row at a time: no padding, so that a figure does not depend on the company it was measured in.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def logprobs(model: Any, prompt: Sequence[int], target: Sequence[int]) -> torch.Tensor:
    """float32 of shape (len(target),), differentiable through `model`. Only the logits that are needed are made."""
    import torch

    ids = torch.tensor([[*prompt, *target]], device=model.device)
    wanted = len(target) + 1
    more = {"logits_to_keep": wanted} if _keeps(model) else {}
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **more).logits[0, -wanted:-1]
    each = logits.float().log_softmax(dim=-1)
    return each.gather(1, ids[0, -len(target) :, None]).squeeze(1)


def mean_logprob(model: Any, prompt: Sequence[int], target: Sequence[int]) -> float:
    """The mean per token of the target, natural logarithm: minus its negative log-likelihood."""
    import torch

    with torch.inference_mode():
        return float(logprobs(model, prompt, target).mean())


def _keeps(model: Any) -> bool:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(inner.forward).parameters
