"""Verifiers: whether the texts that a sentence cites say what it says. `make_verifier` chooses one.

embedded           words, numbers, names, negation and the embedder's cosine; needs no model of its own
nli:NAME_OR_PATH   a cross-encoder for natural language inference, from a folder or a hub
"""

from __future__ import annotations

from kernel.errors import UserError
from kernel.ports import Embedder, Verifier

__all__ = ["make_verifier"]


def make_verifier(spec: str, embedder: Embedder) -> Verifier:
    """The verifier that `spec` names. Loads no model yet.

    Raises:
        UserError: the specification cannot be read.
    """
    kind, _, rest = spec.strip().partition(":")
    if kind == "embedded" and not rest:
        from retrieval.verifiers.embedded import EmbeddedVerifier

        return EmbeddedVerifier(embedder)
    if kind == "nli" and rest:
        from retrieval.verifiers.nli import NliVerifier

        return NliVerifier(rest)
    raise UserError(
        f"there is no verifier {spec!r}",
        hint="embedded | nli:NAME_OR_PATH, as in nli:cross-encoder/nli-deberta-v3-small",
        code="bad_verifier",
    )
