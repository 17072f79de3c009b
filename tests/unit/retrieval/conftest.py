"""What the tests of retrieval share: the real embedder, loaded once."""

from __future__ import annotations

import pytest

from kernel.embedder import SentenceTransformerEmbedder


@pytest.fixture(scope="session")
def embedder() -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder(precision="float32")
