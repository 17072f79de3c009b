"""Reprise inside LlamaIndex: a retriever over our index, and a query engine over our answers.

    from ui.llama import query_engine, retriever

    nodes = retriever("http://127.0.0.1:8321", k=5).retrieve("How long is the return period?")
    reply = query_engine("http://127.0.0.1:8321").query("How long is the return period?")

Both take the address of a node, a `ui.remote.Remote`, or a platform of this process (`ui.platform.Platform`, or
`ui.wiring.Wired`, which becomes one). The retriever gives passages to whatever LlamaIndex makes of them, which nobody
checks; the query engine gives our checked answer, with what it cites as source nodes. LlamaIndex is loaded when one
of them is made, and not before.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ui.spoken import spoken

if TYPE_CHECKING:
    from llama_index.core.base.base_query_engine import BaseQueryEngine
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.schema import NodeWithScore, QueryBundle

_WHERE = ("document", "name", "title", "version", "page", "start", "end", "heading")
_FOR_PEOPLE = ("name", "page", "heading")
"""What a model is told of a passage beside its text; the rest is for programs."""
_BESIDE = ("abstained", "support", "turn", "workspace", "adapters", "generator", "epoch", "as_of", "closest")


def retriever(source: Any, *, k: int = 10, api_key: str | None = None, **scope: Any) -> BaseRetriever:
    """A retriever of the `k` best passages.

    Args:
        source: a node's address, a `Remote`, a `Platform` or a `Wired`.
        k: passages of a query.
        api_key: the node's key, where it asks for one.
        scope: `workspace`, `document`, `as_of`, `epoch` and whatever else `search` takes.
    """
    platform, close = _platform(source, api_key)
    made: BaseRetriever = _classes().Retriever(platform, k, _given(scope))
    weakref.finalize(made, close)
    return made


def query_engine(
    source: Any, *, k: int | None = None, api_key: str | None = None, streaming: bool = False, **scope: Any
) -> BaseQueryEngine:
    """A query engine whose answers are ours. `response.source_nodes` are the citations, in order of their marks.

    `response.metadata` has `abstained`, `turn` and the rest of what `ask` returns. While an answer streams, source
    nodes come with the sentences, and the metadata when it has ended.

    Args:
        source: a node's address, a `Remote`, a `Platform` or a `Wired`.
        k: passages that an answer is made from.
        api_key: the node's key, where it asks for one.
        streaming: answer with LlamaIndex's `StreamingResponse`, sentence by sentence.
        scope: `workspace`, `document`, `as_of`, `epoch`, `generator` and whatever else `ask` takes.
    """
    platform, close = _platform(source, api_key)
    made: BaseQueryEngine = _classes().QueryEngine(platform, streaming, _given({"k": k, **scope}))
    weakref.finalize(made, close)
    return made


@functools.cache
def _classes() -> SimpleNamespace:
    """Our two classes. They are LlamaIndex's by descent, so they cannot stand at the top of this module."""
    from llama_index.core.base.base_query_engine import BaseQueryEngine
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.response.schema import Response, StreamingResponse

    class RepriseRetriever(BaseRetriever):
        """Passages of the platform's index, best first."""

        def __init__(self, platform: Any, k: int, scope: dict[str, Any]) -> None:
            super().__init__()
            self._platform, self._k, self._scope = platform, k, scope

        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            found = self._platform.search(query_bundle.query_str, self._k, **self._scope)
            return [_node(hit["chunk"], hit["text"], hit, hit["score"]) for hit in found["hits"]]

        async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            return await asyncio.to_thread(self._retrieve, query_bundle)

    class RepriseQueryEngine(BaseQueryEngine):
        """Answers of the platform, checked and cited."""

        def __init__(self, platform: Any, streaming: bool, scope: dict[str, Any]) -> None:
            super().__init__(callback_manager=None)
            self._platform, self._streaming, self._scope = platform, streaming, scope

        def _get_prompt_modules(self) -> dict[str, Any]:
            return {}

        def _query(self, query_bundle: QueryBundle) -> Response | StreamingResponse:
            question = query_bundle.query_str
            if self._streaming:
                streamed = StreamingResponse(response_gen=iter(()), metadata={})
                streamed.response_gen = self._streamed(question, streamed)
                return streamed
            shown = self._platform.ask(question, **self._scope)
            return Response(shown["answer"], [_source(c) for c in shown["citations"]], _beside(shown))

        def _streamed(self, question: str, response: StreamingResponse) -> Iterator[str]:
            """The words as they come, and whatever else becomes known on the way into `response`."""
            for words, event in spoken(self._platform.ask_stream(question, **self._scope)):
                if event["type"] == "sentence":
                    response.source_nodes.extend(_source(c) for c in event["citations"])
                elif event["type"] == "done":
                    response.source_nodes[:] = [_source(c) for c in event["citations"]]
                    response.metadata = _beside(event)
                if words:
                    yield words

        async def _aquery(self, query_bundle: QueryBundle) -> Response | StreamingResponse:
            return await asyncio.to_thread(self._query, query_bundle)

    return SimpleNamespace(Retriever=RepriseRetriever, QueryEngine=RepriseQueryEngine)


def _platform(source: Any, api_key: str | None) -> tuple[Any, Callable[[], None]]:
    """The operations, and what to call when nobody needs them any more: whoever gave us a platform closes it."""
    if isinstance(source, str):
        from ui.remote import Remote

        remote = Remote(source, api_key)
        return remote, remote.close
    if hasattr(source, "search") and hasattr(source, "ask"):
        return source, _nothing
    from ui.platform import Platform

    return Platform(source), _nothing


def _nothing() -> None:
    """There is nothing to close."""


def _source(citation: dict[str, Any]) -> NodeWithScore:
    name = f"{citation['chunk']}:{citation['start']}-{citation['end']}"  # one chunk may be quoted twice
    return _node(name, citation["quote"], citation, None, n=citation["n"])


def _node(name: str, text: str, where: dict[str, Any], score: float | None, **more: Any) -> NodeWithScore:
    from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode

    metadata = {field: where[field] for field in _WHERE} | more
    node = TextNode(
        id_=name,
        text=text,
        metadata=metadata,
        excluded_llm_metadata_keys=[field for field in metadata if field not in _FOR_PEOPLE],
        start_char_idx=where["start"],
        end_char_idx=where["end"],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=where["document"])},
    )
    return NodeWithScore(node=node, score=score)


def _beside(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: shown[name] for name in _BESIDE if name in shown}


def _given(scope: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scope.items() if value is not None}
