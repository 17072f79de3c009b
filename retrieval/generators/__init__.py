"""Generators: passages to an answer. `make_generator` chooses one by its specification.

extractive                    quotes the best sentences; offline, cannot invent
transformers:NAME_OR_PATH     a local model, with LoRA adapters
openai:BASE_URL#MODEL         a server that speaks OpenAI's chat completions
"""

from __future__ import annotations

from typing import Any

from kernel.errors import UserError
from kernel.ports import Embedder, Generator
from kernel.types import Sentence, Sentences

__all__ = ["collect", "make_generator"]


def make_generator(spec: str, embedder: Embedder, key: str | None = None, **options: Any) -> Generator:
    """The generator that `spec` names. Loads no model yet; `options` go to its constructor.

    `key` is for a model server, and stays here where there is none.

    Raises:
        UserError: the specification cannot be read, or an option is not one of that generator's.
    """
    kind, _, rest = spec.strip().partition(":")
    try:
        if kind == "extractive" and not rest:
            from retrieval.generators.extractive import ExtractiveGenerator

            return ExtractiveGenerator(embedder, **options)
        if kind == "transformers" and rest:
            from retrieval.generators.transformers import TransformersGenerator

            return TransformersGenerator(rest, **options)
        if kind == "openai" and "#" in rest:
            from retrieval.generators.openai_compatible import OpenAICompatibleGenerator

            base_url, _, model = rest.rpartition("#")
            return OpenAICompatibleGenerator(base_url, model, api_key=key, **options)
    except TypeError as error:
        raise UserError(f"the generator {spec!r} does not take these options: {error}", hint=_FORMS) from error
    raise UserError(f"there is no generator {spec!r}", hint=_FORMS, code="bad_generator")


def collect(stream: Sentences) -> tuple[tuple[Sentence, ...], dict[str, int]]:
    """The whole of a stream: its sentences, and the usage.

    Raises:
        Upstream: as the stream does; what came before is lost, so read the stream itself where it matters.
    """
    sentences = []
    while True:
        try:
            sentences.append(next(stream))
        except StopIteration as over:
            return tuple(sentences), over.value


_FORMS = "extractive | transformers:NAME_OR_PATH | openai:BASE_URL#MODEL, as in openai:http://localhost:8000/v1#qwen"
