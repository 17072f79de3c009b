"""OpenAI's own client against a node: answers, streams, models, mistakes, and citations where one reaches them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi.testclient import TestClient
from openai import OpenAI

from finetune.tables import Adapter
from kernel.errors import NotFound, Upstream
from tests.doors import LIBRARY, doors, memory_folder, opened, served
from tests.house import incoming, minilm, random_adapter
from ui.api import models
from ui.api.app import make_app
from ui.platform import Platform
from ui.spoken import MOST_EXCHANGES

pytestmark = pytest.mark.integration

KEY = "a key of this node"
QUESTION = "Within how many days can a parcel be sent back?"
FOLLOW_UP = "And who pays the postage from abroad?"
UNKNOWN = "Who won the football world cup in Uruguay?"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with (
        doors(),
        memory_folder(tmp_path_factory.mktemp("openai")) as folder,
        opened(folder / "home", api_key=KEY) as platform,
    ):
        platform.ingest([incoming(name, text) for name, text in LIBRARY.items()])
        for number, state in enumerate(("retired", "previous", "champion", "candidate"), 1):
            enter(platform, f"retriever-{number}", state)
        yield platform


@pytest.fixture(scope="module")
def client(platform: Platform) -> Iterator[OpenAI]:
    with served(platform) as url, httpx.Client(trust_env=False) as plain:
        yield OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, http_client=plain)


@pytest.fixture
def asked(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the door asks the platform for, which answers as ever, with the adapter that serves."""
    heard: list[dict[str, Any]] = []
    answer = platform.ask

    def ask(question: str, **given: Any) -> dict[str, Any]:
        heard.append({"question": question, **given})
        return answer(question, **given | {"adapter": None})

    monkeypatch.setattr(platform, "ask", ask)
    return heard


def enter(platform: Platform, name: str, state: str) -> None:
    """An adapter in the registry, as a retrain leaves one."""
    w = platform.w
    with w.db.write() as session:
        w.registry.add(session, name, "retriever", f"run-{name}", None, w.home / "adapters" / name, True)
        session.flush()
        session.get_one(Adapter, name).state = state


def test_a_pinned_adapter_looks_and_stays_itself_whatever_serves(client: OpenAI, platform: Platform) -> None:
    w = platform.w
    random_adapter(Path(minilm().path), w.home / "adapters" / "retriever-2", seed=1)
    pinned = {"document": "returns.md"}  # so that even a random adapter has something to answer from
    for model, by in (("reprise@previous", "retriever-2"), ("reprise@retriever-2", "retriever-2"), ("reprise", None)):
        done = client.chat.completions.create(model=model, messages=user(QUESTION), extra_body=pinned)
        assert done.model_extra["reprise"]["adapters"]["retriever"] == by  # type: ignore[index]
    with pytest.raises(
        openai.NotFoundError, match="no complete adapter"
    ):  # its files are not there: nothing stands in for it
        client.chat.completions.create(model="reprise@retriever-1", messages=user(QUESTION))


def user(*words: str) -> list[Any]:
    """A conversation: what a person said, and answers between."""
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(words)]


def test_a_completion_carries_its_answer_and_its_citations(client: OpenAI, platform: Platform) -> None:
    done = client.chat.completions.create(model="reprise", messages=user(QUESTION), temperature=0.3, max_tokens=50)
    (choice,) = done.choices
    assert (done.object, done.model, choice.finish_reason, choice.message.role) == (
        "chat.completion", "reprise", "stop", "assistant",
    )  # fmt: skip
    assert "30 days" in (choice.message.content or "")
    assert choice.message.model_extra is not None
    cited = choice.message.model_extra["citations"]
    assert [c["n"] for c in cited] == list(range(1, len(cited) + 1))
    text = platform.text(cited[0]["document"], cited[0]["version"])["text"]
    assert cited[0]["quote"] == text[cited[0]["start"] : cited[0]["end"]]
    beside = done.model_extra["reprise"]  # type: ignore[index]
    assert beside["citations"] == cited
    assert done.id == f"chatcmpl-{beside['turn']}"
    assert beside["ignored"] == ["max_tokens", "temperature"]
    # Nobody counted tokens: the default generator quotes, and asks no model.
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (0, 0, 0)


def test_pictures_are_left_out_of_a_question(client: OpenAI) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": QUESTION}, picture]}]
    done = client.chat.completions.create(model="reprise:extractive", messages=parts)
    assert "30 days" in (done.choices[0].message.content or "")


def test_a_stream_says_the_sentences_and_then_what_they_cite(client: OpenAI) -> None:
    plain = client.chat.completions.create(model="reprise", messages=user(QUESTION))
    stream = client.chat.completions.create(
        model="reprise", messages=user(QUESTION), stream=True, stream_options={"include_usage": True}
    )
    *chunks, last, counted = list(stream)
    assert (chunks[0].choices[0].delta.role, chunks[0].choices[0].delta.content) == ("assistant", "")
    said = [c.choices[0].delta.content for c in chunks]
    assert "".join(text or "" for text in said) == plain.choices[0].message.content
    assert [c.choices[0].finish_reason for c in (*chunks, last)] == [None] * len(chunks) + ["stop"]
    assert last.choices[0].delta.model_extra == {"citations": plain.choices[0].message.model_extra["citations"]}  # type: ignore[index]
    assert last.model_extra["reprise"]["abstained"] is False  # type: ignore[index]
    assert counted.choices == []
    assert counted.usage is not None
    assert counted.usage.total_tokens == 0
    assert len({c.id for c in (*chunks, last, counted)}) == 1


def test_a_refusal_is_an_answer_without_citations_streamed_or_not(client: OpenAI) -> None:
    done = client.chat.completions.create(model="reprise", messages=user(UNKNOWN))
    assert done.choices[0].message.model_extra == {"citations": []}
    assert done.model_extra["reprise"]["abstained"] is True  # type: ignore[index]
    *chunks, last = list(client.chat.completions.create(model="reprise", messages=user(UNKNOWN), stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == done.choices[0].message.content
    assert last.choices[0].delta.model_extra == {"citations": []}


def test_a_question_may_be_scoped_beside_openais_own_fields(client: OpenAI) -> None:
    elsewhere = {"document": "summer camp.md"}
    done = client.chat.completions.create(model="reprise", messages=user(QUESTION), extra_body=elsewhere)
    assert done.model_extra["reprise"]["abstained"] is True  # type: ignore[index]


def test_what_was_said_before_is_history_as_far_as_it_is_bounded(client: OpenAI, asked: list[dict[str, Any]]) -> None:
    talk = [text for n in range(15) for text in (f"Question {n}?", f"Answer {n}. " + "x" * 5000)]
    messages = [{"role": "system", "content": "You are a pirate."}, *user(*talk, FOLLOW_UP)]
    done = client.chat.completions.create(model="reprise", messages=messages)
    (given,) = asked
    assert given["question"] == FOLLOW_UP
    assert [h["question"] for h in given["history"]] == [f"Question {n}?" for n in range(15)][-MOST_EXCHANGES:]
    assert all(len(h["answer"]) == 4000 for h in given["history"])
    assert "pirate" not in str(given)  # an operator's words have no power over what passages say
    assert done.model_extra["reprise"]["ignored"] == ["system"]  # type: ignore[index]


def test_the_models_are_generators_and_adapters(client: OpenAI) -> None:
    rows = {m.id: m for m in client.models.list()}
    assert [*list(rows)[:5], *sorted(list(rows)[5:])] == [
        "reprise", "reprise:extractive", "reprise@base",
        "reprise@champion", "reprise@previous",
        "reprise@retriever-2", "reprise@retriever-3", "reprise@retriever-4",
    ]  # fmt: skip
    assert {m.owned_by for m in rows.values()} == {"reprise"}
    champion = rows["reprise@champion"]
    assert champion.created > 0
    assert champion.model_extra is not None
    told = champion.model_extra["reprise"]
    assert (told["adapter"], told["kind"], told["state"]) == ("retriever-3", "retriever", "champion")
    assert client.models.retrieve("reprise@champion") == champion
    assert client.models.retrieve("reprise@retriever-1").id == "reprise@retriever-1"  # retired: not listed, still there


@pytest.mark.parametrize(
    ("model", "generator", "adapter"),
    [
        ("reprise", None, None),
        ("reprise:extractive", "extractive", None),
        ("reprise@champion", None, "retriever-3"),
        ("reprise@base", None, "base"),
        ("reprise@retriever-1", None, "retriever-1"),
        ("reprise:extractive@previous", "extractive", "retriever-2"),
    ],
)
def test_a_model_chooses_generator_and_adapter(
    client: OpenAI, asked: list[dict[str, Any]], model: str, generator: str | None, adapter: str | None
) -> None:
    client.chat.completions.create(model=model, messages=user(QUESTION))
    assert (asked[0]["generator"], asked[0]["adapter"]) == (generator, adapter)


@pytest.mark.parametrize(
    "model", ["gpt-5", "", "reprise:", "reprise@", "reprised", "reprise:oracle", "reprise@canary", "reprise@no@one"]
)
def test_a_model_that_is_not_there_is_told_as_openai_tells_it(client: OpenAI, platform: Platform, model: str) -> None:
    with pytest.raises(NotFound):
        models.chosen(platform, model)
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=model, messages=user(QUESTION), stream=True)
    error = caught.value
    assert (error.code, error.param, error.type) == ("model_not_found", "model", "invalid_request_error")
    assert "GET /v1/models" in error.body["hint"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"messages": [], "model": "reprise"}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}], "model": "reprise"}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}], "model": "reprise", "n": 2}, "n"),
    ],
)
def test_a_request_that_does_not_fit_names_the_part(client: OpenAI, given: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**given)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


def test_without_the_key_nothing_is_answered(client: OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="another key").models.list()
    assert (caught.value.code, caught.value.type) == ("unauthorized", "authentication_error")


def test_an_error_in_the_middle_of_an_answer_reaches_the_client(
    client: OpenAI, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(question: str, **_: Any) -> Iterator[dict[str, Any]]:
        yield {"type": "searched", "question": question, "scope": {}, "passages": 1}
        yield {"type": "sentence", "text": "It begins well. [1]", "citations": []}
        raise Upstream("the model server went away", hint="start it again")

    monkeypatch.setattr(platform, "ask_stream", breaks_off)
    said = []
    with (
        closing(client.chat.completions.create(model="reprise", messages=user(QUESTION), stream=True)) as stream,
        pytest.raises(openai.APIError, match="the model server went away") as caught,
    ):
        said += [chunk.choices[0].delta.content for chunk in stream]
    assert (caught.value.code, caught.value.type) == ("upstream", "server_error")


def test_a_fault_in_the_middle_of_an_answer_is_told_as_one(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(question: str, *_given: Any, **_: Any) -> Iterator[dict[str, Any]]:
        yield {"type": "searched", "question": question, "scope": {}, "passages": 1}
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(platform, "ask_stream", breaks)
    headers = {"Authorization": f"Bearer {KEY}"}
    with TestClient(make_app(platform), base_url="http://127.0.0.1", headers=headers) as http:
        told = http.post("/v1/ask/stream", json={"question": QUESTION}).text
        completed = http.post("/v1/chat/completions", json={"messages": user(QUESTION), "stream": True}).text
    assert '"code": "internal"' in told
    assert '"type": "server_error"' in completed
    assert "[DONE]" not in completed
    assert "broke off" in caplog.text
