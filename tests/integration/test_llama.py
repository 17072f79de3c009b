"""LlamaIndex over a node and over a platform of this process: our retriever in its query engine, and ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.doors import LIBRARY, RETURNS, doors, memory_folder, opened, served
from tests.house import incoming
from ui.llama import query_engine, retriever
from ui.platform import Platform

pytestmark = pytest.mark.integration

KEY = "a key of this node"
QUESTION = "Within how many days can a parcel be sent back?"
UNKNOWN = "Who won the football world cup in Uruguay?"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with (
        doors(),
        memory_folder(tmp_path_factory.mktemp("llama")) as folder,
        opened(folder / "home", api_key=KEY) as platform,
    ):
        platform.ingest([incoming(name, text) for name, text in LIBRARY.items()])
        yield platform


@pytest.fixture(scope="module")
def source(platform: Platform) -> Iterator[str]:
    """A node's address."""
    with served(platform) as url:
        yield url


def test_passages_come_as_nodes_that_say_where_they_stand(source: str, platform: Platform) -> None:
    ours = retriever(source, k=2, api_key=KEY)
    hits = platform.search(QUESTION, 2)["hits"]
    for nodes in (ours.retrieve(QUESTION), asyncio.run(ours.aretrieve(QUESTION))):
        assert [(n.node_id, n.score, n.text) for n in nodes] == [(h["chunk"], h["score"], h["text"]) for h in hits]
    first = nodes[0]
    assert first.metadata == {
        name: hits[0][name] for name in ("document", "name", "title", "version", "page", "start", "end", "heading")
    }
    text = platform.text("returns.md")["text"]
    assert first.text == text[first.node.start_char_idx : first.node.end_char_idx]
    assert first.node.ref_doc_id == hits[0]["document"]


def test_a_scope_is_kept(source: str) -> None:
    scoped = retriever(source, api_key=KEY, document="summer camp.md").retrieve(QUESTION)
    assert {n.metadata["name"] for n in scoped} == {"summer camp.md"}
    assert retriever(source, api_key=KEY, as_of="2001-01-01").retrieve(QUESTION) == []


def test_an_answer_has_its_citations_as_source_nodes(source: str) -> None:
    reply = query_engine(source, api_key=KEY).query(QUESTION)
    assert "30 days" in str(reply)
    assert [n.metadata["n"] for n in reply.source_nodes] == list(range(1, len(reply.source_nodes) + 1))
    assert all(n.text in RETURNS for n in reply.source_nodes)
    assert reply.metadata["abstained"] is False
    assert reply.metadata["turn"]
    refused = asyncio.run(query_engine(source, api_key=KEY).aquery(UNKNOWN))
    assert refused.metadata["abstained"] is True
    assert refused.source_nodes == []


def test_an_answer_streams_and_ends_as_the_whole_one(source: str) -> None:
    whole = query_engine(source, api_key=KEY).query(QUESTION)
    streamed = query_engine(source, api_key=KEY, streaming=True).query(QUESTION)
    assert streamed.metadata == {}
    assert "".join(streamed.response_gen) == str(whole)
    assert [n.text for n in streamed.source_nodes] == [n.text for n in whole.source_nodes]
    assert streamed.metadata["abstained"] is False


def test_llamaindexs_own_query_engine_runs_on_our_retriever(source: str) -> None:
    from llama_index.core.llms import MockLLM
    from llama_index.core.query_engine import RetrieverQueryEngine

    engine = RetrieverQueryEngine.from_args(retriever(source, k=3, api_key=KEY), llm=MockLLM())
    reply = engine.query(QUESTION)
    assert "30 days" in str(reply)  # the mock says its prompt: our passages are in it
    assert "page" in str(reply) or "name: returns.md" in str(reply)
    assert "doc-" not in str(reply)  # ids are for programs
    assert len(reply.source_nodes) == 3


def test_it_works_in_this_process_too_without_a_node(platform: Platform) -> None:
    for here in (platform, platform.w):
        assert retriever(here, k=1).retrieve(QUESTION)[0].metadata["name"] == "returns.md"
    assert "30 days" in str(query_engine(platform).query(QUESTION))
