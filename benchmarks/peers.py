"""The peer of the benchmarks: a plain LlamaIndex pipeline, as its documentation puts one together.

Same model, same texts; float32, chunks of 256 tokens so that the model reads all of every chunk, Qdrant's local mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernel.embedder import model_path
from kernel.settings import DEFAULT_EMBEDDER


def llama_index(texts: Sequence[tuple[str, str]], folder: Path) -> tuple[Any, int]:
    """Ingest (name, text) pairs; the index to query and how many nodes it has."""
    from llama_index.core import Document, StorageContext, VectorStoreIndex
    from llama_index.core.ingestion import IngestionPipeline
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    embedding = HuggingFaceEmbedding(model_name=model_path(DEFAULT_EMBEDDER), device="cpu")
    store = QdrantVectorStore("peer", client=QdrantClient(path=str(folder)))
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=256, chunk_overlap=20), embedding], vector_store=store
    )
    nodes = pipeline.run(documents=[Document(text=text, doc_id=name) for name, text in texts])
    index = VectorStoreIndex.from_vector_store(
        store, embed_model=embedding, storage_context=StorageContext.from_defaults(vector_store=store)
    )
    return index, len(nodes)


def llama_index_of(rows: Sequence[tuple[str, str, str, Sequence[float]]], folder: Path) -> Any:
    """The index to query over (id, name, text, vector) rows that were cut and embedded elsewhere."""
    from llama_index.core import VectorStoreIndex
    from llama_index.core.schema import TextNode
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    embedding = HuggingFaceEmbedding(model_name=model_path(DEFAULT_EMBEDDER), device="cpu")
    store = QdrantVectorStore("peer", client=QdrantClient(path=str(folder)))
    store.add(
        [
            TextNode(id_=point, text=text, embedding=list(vector), metadata={"name": name, "ws": "default"})
            for point, name, text, vector in rows
        ]
    )
    return VectorStoreIndex.from_vector_store(store, embed_model=embedding)
