"""The verifier that asks a model for natural language inference: does the evidence entail the claim, or contradict it?

Any sequence classifier of transformers will do whose labels name entailment, as cross-encoders for NLI do; which output
is which is read from its configuration. Evidence that is longer than the model reads is judged in windows of whole
sentences, each of which begins with the last sentence of the one before.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from kernel.errors import UserError
from kernel.types import Judgement
from retrieval.sentences import split

BATCH = 16
"""Pairs that go through the model at once."""

_LONGEST = 512


class NliVerifier:
    """The `Verifier` port. Loads on first use; safe from several threads."""

    def __init__(self, model: str) -> None:
        self._model_name = model
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"nli:{self._model_name}"

    def judge(self, claims: Sequence[str], evidence: Sequence[Sequence[str]]) -> list[Judgement]:
        """As the port has it.

        Raises:
            UserError: the model cannot be loaded, or its labels do not name entailment.
        """
        with self._lock:  # a tokenizer is not safe from several threads
            pairs = [
                (i, window, claim)
                for i, (claim, texts) in enumerate(zip(claims, evidence, strict=True))
                if any(c.isalnum() for c in claim)
                for text in texts
                for window in self._windows(claim, text)
            ]
            judged = self._scores([(window, claim) for _, window, claim in pairs])
        support, contradiction = [0.0] * len(claims), [0.0] * len(claims)
        for (i, _, _), (entailed, contradicted) in zip(pairs, judged, strict=True):
            support[i], contradiction[i] = max(support[i], entailed), max(contradiction[i], contradicted)
        # A window that entails the claim outweighs one that, read alone, seems to contradict it.
        return [
            Judgement(support=s, contradiction=min(c, 1.0 - s)) for s, c in zip(support, contradiction, strict=True)
        ]

    def _windows(self, claim: str, text: str) -> list[str]:
        """Runs of whole sentences that fit beside the claim. A sentence that does not fit alone is cut by the model."""
        sentences = [text[a:b] for a, b in split(text)] or ([text] if text.strip() else [])
        tokenizer, _ = self._loaded
        sizes = [len(ids) for ids in tokenizer(sentences, add_special_tokens=False)["input_ids"]] if sentences else []
        room = self._longest - len(tokenizer(claim, add_special_tokens=False)["input_ids"]) - 4
        windows, start, used = list[str](), 0, 0
        for i, size in enumerate(sizes):
            if used and used + size > room:
                windows.append(" ".join(sentences[start:i]))
                start = i - 1 if sizes[i - 1] + size <= room else i
                used = sum(sizes[start:i])
            used += size
        return [*windows, " ".join(sentences[start:])] if sentences else []

    def _scores(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, float]]:
        """(entailment, contradiction) of each pair of evidence and claim, in order."""
        import torch

        found: list[tuple[float, float]] = [(0.0, 0.0)] * len(pairs)
        if not pairs:
            return found
        tokenizer, model = self._loaded
        entailment, contradiction = self._labels
        like_length = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]))
        for first in range(0, len(pairs), BATCH):
            some = like_length[first : first + BATCH]
            inputs = tokenizer(
                [pairs[i][0] for i in some],
                [pairs[i][1] for i in some],
                truncation="only_first",
                max_length=self._longest,
                padding=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                shares = model(**inputs).logits.float().softmax(-1)
            for i, row in zip(some, shares.tolist(), strict=True):
                found[i] = row[entailment], 0.0 if contradiction is None else row[contradiction]
        return found

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self._model_name)
            model = AutoModelForSequenceClassification.from_pretrained(self._model_name)
        except Exception as error:
            raise UserError(
                f"the verifier {self._model_name!r} cannot be loaded: {error}",
                hint="REPRISE_VERIFIER takes nli: and a folder with a sequence classifier, or a name your hub has",
                code="bad_verifier",
            ) from error
        return tokenizer, model.eval()

    @cached_property
    def _longest(self) -> int:
        tokenizer, model = self._loaded
        limits = (tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None) or _LONGEST)
        return int(min(_LONGEST, *limits))

    @cached_property
    def _labels(self) -> tuple[int, int | None]:
        """Which outputs are entailment and contradiction; the latter is None where a model only knows the former."""
        labels = {int(i): str(label).lower() for i, label in self._loaded[1].config.id2label.items()}
        entailment = [i for i, label in labels.items() if label.startswith("entail")]
        contradiction = [i for i, label in labels.items() if label.startswith(("contradict", "refute"))]
        if len(entailment) != 1 or len(labels) < 2:
            raise UserError(
                f"{self._model_name!r} is no model for natural language inference: its labels are "
                f"{', '.join(map(repr, labels.values()))}",
                hint="take a classifier with a label named entailment, as in cross-encoder/nli-deberta-v3-small",
                code="bad_verifier",
            )
        return entailment[0], contradiction[0] if len(contradiction) == 1 else None
