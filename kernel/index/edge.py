"""The embedded engine: Qdrant Edge, the Rust engine in this process, with its write-ahead log.

This module alone knows Edge's types; it translates `qdrant_client.models` and refuses what it cannot express (a filter
that cannot be expressed must never widen). Facts that shaped it: a shard's folder opens in one process only; `optimize`
holds Python's global lock for its whole run, so `maintain` is for a process that does nothing else
(`kernel.index.compact`); writes may come from several threads.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client import models

from kernel.errors import DiskFull, Failed
from kernel.index.schema import DENSE, INTEGERS, KEYWORDS, SPARSE

_BATCH = 512
_NO_ROOM = ("No space left", "os error 28", "Disk quota", "os error 122")


class EdgeIndex:
    """The `VectorIndex` port on a folder."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._closed = False
        try:
            if not exists(folder):
                _create(folder, dimension)
            self._shard = edge.EdgeShard.load(str(folder))
        except Exception as error:
            raise Failed(
                f"the index in {str(folder)!r} cannot be opened: {error}",
                hint="another process may hold it; stop that one, or restore a backup if the folder is damaged",
                code="index_unavailable",
            ) from error

    def insert(self, points: Sequence[models.PointStruct]) -> None:
        for start in range(0, len(points), _BATCH):
            batch = [edge.Point(p.id, _vectors(p.vector), p.payload or {}) for p in points[start : start + _BATCH]]
            self._update(edge.UpdateOperation.upsert_points(batch, update_mode=edge.UpdateMode.InsertOnly))

    def set_payload(self, payload: dict[str, Any], ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _BATCH):
            some = edge.Filter(must=[edge.HasIdCondition(set(ids[start : start + _BATCH]))])
            self._update(edge.UpdateOperation.set_payload_by_filter(some, payload))

    def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _BATCH):
            self._update(edge.UpdateOperation.delete_points(list(ids[start : start + _BATCH])))

    def query(self, requests: Sequence[models.QueryRequest]) -> list[list[models.ScoredPoint]]:
        batch = edge.QueryBatchRequest([_request(request) for request in requests])
        return [
            [
                models.ScoredPoint(
                    id=str(p.id),
                    version=p.version,
                    score=p.score,
                    payload=p.payload,
                    vector=_dense_only(p.vector),
                )
                for p in found
            ]
            for found in self._shard.query_batch(batch)
        ]

    def scroll(
        self, filter: models.Filter | None, *, with_vectors: bool = False, page_size: int = 1000
    ) -> Iterator[models.Record]:
        offset, translated = None, _filter(filter) if filter else None
        while True:
            page, offset = self._shard.scroll(
                edge.ScrollRequest(
                    offset=offset,
                    limit=page_size,
                    filter=translated,
                    with_payload=True,
                    with_vector=[DENSE] if with_vectors else False,
                )
            )
            yield from map(_record, page)
            if offset is None:
                return

    def retrieve(self, ids: Sequence[str], *, with_vectors: bool = False) -> list[models.Record]:
        found = self._shard.retrieve(list(ids), with_payload=True, with_vector=[DENSE] if with_vectors else False)
        return [_record(record) for record in found]

    def count(self, filter: models.Filter | None = None) -> int:
        return self._shard.count(edge.CountRequest(exact=True, filter=_filter(filter) if filter else None))

    def maintain(self) -> None:
        self._shard.optimize()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._shard.flush()
            self._shard.close()

    def _update(self, operation: edge.UpdateOperation) -> None:
        try:
            self._shard.update(operation)
        except Exception as error:
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            if full or any(sign in str(error) for sign in _NO_ROOM):
                raise DiskFull(
                    "the disk is full, so the index could not be written",
                    hint="free some space and try again; nothing that was acknowledged is lost",
                ) from error
            raise Failed(f"the index refused a write: {error}", code="index_write") from error


def exists(folder: Path) -> bool:
    """True if there is an index in the folder; one that died while it was made is none."""
    return (folder / "edge_config.json").exists()


def _create(folder: Path, dimension: int) -> None:
    """Make an empty index aside, and move it into place when it is whole."""
    aside = folder.with_name(f"{folder.name}.making")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    config = edge.EdgeConfig(
        vectors={DENSE: edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)},
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
    )
    shard = edge.EdgeShard.create(str(aside), config)
    for key in KEYWORDS:
        shard.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Keyword))
    for key in INTEGERS:
        shard.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Integer))
    shard.flush()
    shard.close()
    with suppress(OSError):
        folder.rmdir()  # an empty one may have been made for us
    aside.rename(folder)
    parent = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(parent)  # a power cut must not take the folder away from under what is written into it
    finally:
        os.close(parent)


# --- translation: qdrant_client.models -> qdrant_edge -------------------------------------------


def _vectors(vector: Any) -> dict[str, Any]:
    return {name: _vector(value) for name, value in vector.items()}


def _vector(value: Any) -> Any:
    return edge.SparseVector(value.indices, value.values) if isinstance(value, models.SparseVector) else value


def _dense_only(vector: Any) -> Any:
    return {DENSE: list(vector[DENSE])} if isinstance(vector, dict) and DENSE in vector else None


def _record(record: edge.Record) -> models.Record:
    return models.Record(id=str(record.id), payload=record.payload, vector=_dense_only(record.vector))


def _request(request: models.QueryRequest) -> edge.QueryRequest:
    return edge.QueryRequest(
        limit=request.limit or 10,
        offset=request.offset,
        query=_query(request.query, request.using),
        prefetches=[_prefetch(p) for p in _as_list(request.prefetch)],
        with_vector=[DENSE] if request.with_vector else False,
        with_payload=bool(request.with_payload),
        filter=_filter(request.filter) if request.filter else None,
        score_threshold=request.score_threshold,
        params=_params(request.params),
    )


def _prefetch(prefetch: models.Prefetch) -> edge.Prefetch:
    return edge.Prefetch(
        limit=prefetch.limit or 10,
        query=_query(prefetch.query, prefetch.using),
        prefetches=[_prefetch(p) for p in _as_list(prefetch.prefetch)],
        params=_params(prefetch.params),
        filter=_filter(prefetch.filter) if prefetch.filter else None,
        score_threshold=prefetch.score_threshold,
    )


def _params(params: models.SearchParams | None) -> edge.SearchParams | None:
    if params is None:
        return None
    corpus = params.idf.corpus if isinstance(params.idf, models.IdfCorpusParams) else None
    return edge.SearchParams(
        hnsw_ef=params.hnsw_ef,
        exact=bool(params.exact),
        idf=edge.IdfParams(corpus=_filter(corpus)) if corpus else None,
    )


def _query(query: Any, using: str | None) -> Any:
    if query is None:
        return None
    if isinstance(query, models.FusionQuery):
        return edge.Fusion.Dbsf() if query.fusion is models.Fusion.DBSF else edge.Fusion.Rrf(k=2)
    if isinstance(query, models.RrfQuery):
        return edge.Fusion.Rrf(k=query.rrf.k or 2, weights=query.rrf.weights)
    if isinstance(query, models.SampleQuery):
        return edge.Sample.Random
    if isinstance(query, models.NearestQuery):
        if query.mmr is None:
            return edge.Query.Nearest(_vector(query.nearest), using=using)
        return edge.Mmr(
            vector=_vector(query.nearest),
            lambda_=1.0 - (query.mmr.diversity if query.mmr.diversity is not None else 0.5),
            candidates_limit=query.mmr.candidates_limit or 100,
            using=using,
        )
    if isinstance(query, list | models.SparseVector):
        return edge.Query.Nearest(_vector(query), using=using)
    raise NotImplementedError(f"the Edge engine has no translation for a {type(query).__name__} query")


def _filter(given: models.Filter) -> edge.Filter:
    if given.min_should is not None:
        raise NotImplementedError("the Edge engine has no translation for min_should")
    return edge.Filter(
        must=[_condition(c) for c in _as_list(given.must)] or None,
        should=[_condition(c) for c in _as_list(given.should)] or None,
        must_not=[_condition(c) for c in _as_list(given.must_not)] or None,
    )


def _condition(condition: Any) -> Any:
    if isinstance(condition, models.Filter):
        return _filter(condition)
    if isinstance(condition, models.HasIdCondition):
        return edge.HasIdCondition({str(i) for i in condition.has_id})
    if isinstance(condition, models.FieldCondition):
        asked = {name for name, value in condition if value is not None} - {"key"}
        if not asked or asked - {"match", "range"}:
            raise NotImplementedError(f"the Edge engine has no translation for a condition on {sorted(asked)}")
        return edge.FieldCondition(condition.key, match=_match(condition.match), range=_range(condition.range))
    raise NotImplementedError(f"the Edge engine has no translation for {type(condition).__name__}")


_MATCHES: dict[type, Callable[[Any], Any]] = {
    models.MatchValue: lambda m: edge.MatchValue(_no_bool(m.value)),
    models.MatchAny: lambda m: edge.MatchAny(list(m.any)),
    models.MatchExcept: lambda m: edge.MatchExcept(list(getattr(m, "except_"))),  # noqa: B009 (pydantic alias)
}


def _match(match: Any) -> Any:
    if match is None:
        return None
    if type(match) not in _MATCHES:
        raise NotImplementedError(f"the Edge engine has no translation for {type(match).__name__}")
    return _MATCHES[type(match)](match)


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise NotImplementedError("the Edge engine reads a bool as an integer and matches nothing: store 0 and 1")
    return value


def _range(bounds: Any) -> Any:
    if bounds is None:
        return None
    if not isinstance(bounds, models.Range):
        raise NotImplementedError(f"the Edge engine has no translation for {type(bounds).__name__}")
    return edge.RangeFloat(gte=bounds.gte, gt=bounds.gt, lte=bounds.lte, lt=bounds.lt)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
