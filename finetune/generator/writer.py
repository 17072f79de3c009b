"""The model that writes here, as training, evaluation and the matrix borrow it: beside what it serves, which goes on.

It knows no questions and no figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kernel.errors import UserError
from kernel.types import BASE
from retrieval.choosing import Pinned
from retrieval.generators.transformers import TransformersGenerator
from retrieval.live_generator import LiveGenerator


def trainable(writing: LiveGenerator) -> TransformersGenerator:
    """The model that serves, if its weights are on this machine.

    Raises:
        UserError: they are not.
    """
    generator = writing.generator
    if isinstance(generator, TransformersGenerator):
        return generator
    raise UserError(
        f"the generator {generator.name!r} has no weights here that could be trained",
        hint="set REPRISE_GENERATOR to transformers:FOLDER or transformers:NAME, a model on this machine",
        code="not_trainable",
    )


@contextmanager
def worn(writing: LiveGenerator, name: str | None, path: str | None) -> Iterator[str]:
    """What the model calls an adapter, loaded until the block ends; without a name or a path the base model.

    Raises:
        Refused: the adapter was trained on another model.
    """
    if name is None or path is None:
        yield BASE
        return
    with writing.held(name, path):
        yield str(writing.asked(Pinned(name=name, path=path), plain=False))
