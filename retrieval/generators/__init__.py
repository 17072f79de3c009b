"""Generators by name."""

from __future__ import annotations

from typing import Any

from kernel.ports import Embedder, Generator


def make_generator(spec: str, embedder: Embedder, **options: Any) -> Generator:
    from retrieval.generators.extractive import ExtractiveGenerator

    return ExtractiveGenerator(embedder)
