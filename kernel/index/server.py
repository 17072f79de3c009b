"""The cluster engine: a Qdrant server through `qdrant-client`, or the client's in-memory mode in contract tests.

Writes wait and are ordered strongly, so that step 4 of a publish has happened everywhere before step 5 is committed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from qdrant_client import QdrantClient, models

from kernel.errors import Failed
from kernel.index.schema import DENSE, INTEGERS, KEYWORDS, SPARSE

_BATCH = 256
_STRONG = models.WriteOrdering.STRONG


class ServerIndex:
    """The `VectorIndex` port on one collection of a Qdrant server."""

    def __init__(self, client: QdrantClient, collection: str, dimension: int) -> None:
        self._client, self._name = client, collection
        self._in_memory = not hasattr(client._client, "rest_uri")
        # The client's local mode corrupts its arrays under concurrent upserts (qdrant-client#1193).
        self._guard: AbstractContextManager[Any] = threading.RLock() if self._in_memory else nullcontext()
        self._ensure(dimension)

    @classmethod
    def connect(cls, url: str, api_key: str | None, collection: str, dimension: int) -> ServerIndex:
        """Raises:
        Failed: the server does not answer.
        """
        try:
            return cls(QdrantClient(url=url, api_key=api_key, timeout=60), collection, dimension)
        except Exception as error:
            raise Failed(
                f"the Qdrant server at {url!r} does not answer: {error}",
                hint="check REPRISE_QDRANT_URL and REPRISE_QDRANT_API_KEY, and that the server runs",
                code="index_unavailable",
            ) from error

    def insert(self, points: Sequence[models.PointStruct]) -> None:
        for start in range(0, len(points), _BATCH):
            with self._guard:
                self._client.upsert(
                    self._name,
                    list(points[start : start + _BATCH]),
                    wait=True,
                    ordering=_STRONG,
                    update_mode=models.UpdateMode.INSERT_ONLY,
                )

    def set_payload(self, payload: dict[str, Any], ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _BATCH):
            some = models.Filter(must=[models.HasIdCondition(has_id=list(ids[start : start + _BATCH]))])
            with self._guard:
                self._client.set_payload(self._name, payload, points=some, wait=True, ordering=_STRONG)

    def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _BATCH):
            with self._guard:
                self._client.delete(self._name, list(ids[start : start + _BATCH]), wait=True, ordering=_STRONG)

    def query(self, requests: Sequence[models.QueryRequest]) -> list[list[models.ScoredPoint]]:
        asked = [
            r.model_copy(
                update={
                    "with_payload": bool(r.with_payload),
                    "with_vector": [DENSE] if r.with_vector else False,
                }
            )
            for r in requests
        ]
        with self._guard:
            answers = self._client.query_batch_points(self._name, asked)
        return [[p.model_copy(update={"id": str(p.id)}) for p in answer.points] for answer in answers]

    def scroll(
        self, filter: models.Filter | None, *, with_vectors: bool = False, page_size: int = 1000
    ) -> Iterator[models.Record]:
        offset: Any = None
        while True:
            with self._guard:
                page, offset = self._client.scroll(
                    self._name,
                    scroll_filter=filter,
                    limit=page_size,
                    offset=offset,
                    with_payload=True,
                    with_vectors=[DENSE] if with_vectors else False,
                )
            yield from page
            if offset is None:
                return

    def retrieve(self, ids: Sequence[str], *, with_vectors: bool = False) -> list[models.Record]:
        with self._guard:
            return self._client.retrieve(
                self._name, list(ids), with_payload=True, with_vectors=[DENSE] if with_vectors else False
            )

    def count(self, filter: models.Filter | None = None) -> int:
        with self._guard:
            return self._client.count(self._name, count_filter=filter, exact=True).count

    def maintain(self) -> None:
        """A server optimizes itself."""

    def close(self) -> None:
        self._client.close()

    def _ensure(self, dimension: int) -> None:
        if not self._client.collection_exists(self._name):
            try:
                self._client.create_collection(
                    self._name,
                    vectors_config={DENSE: models.VectorParams(size=dimension, distance=models.Distance.COSINE)},
                    sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                )
            except Exception:
                if not self._client.collection_exists(self._name):  # else a process that started with us was first
                    raise
        if self._in_memory:
            return
        for key in KEYWORDS:
            self._client.create_payload_index(self._name, key, models.PayloadSchemaType.KEYWORD)
        for key in INTEGERS:
            self._client.create_payload_index(self._name, key, models.PayloadSchemaType.INTEGER)
