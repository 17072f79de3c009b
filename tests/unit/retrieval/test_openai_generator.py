from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kernel.errors import Upstream, UserError
from kernel.types import Ask, Passage
from retrieval.generators import collect
from retrieval.generators.openai_compatible import RETRIES, OpenAICompatibleGenerator

PASSAGES = [
    Passage(chunk="c", document="d", name="d", title="Sky", version=1, start=0, end=8, text="It is so")
    for _ in range(2)
]


class Server:
    """A real HTTP server that answers with what is queued for it, the last one again and again."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.replies: list[tuple[int, Any]] = []
        self.release = threading.Event()
        self.release.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, dict(self.headers), body))
                outer.release.wait(30)
                status, reply = outer.replies.pop(0) if len(outer.replies) > 1 else outer.replies[0]
                content = reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(content)))
                    self.send_header("retry-after-ms", "1")
                    self.end_headers()
                    self.wfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            def log_message(self, *args: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.release.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def ask(server: Server) -> Iterator[Callable[..., Any]]:
    made: list[OpenAICompatibleGenerator] = []

    def asked(**options: Any) -> Any:
        made.append(OpenAICompatibleGenerator(server.url, "tiny", **options))
        return collect(made[-1].stream(Ask(question="Why?"), PASSAGES))

    yield asked
    for generator in made:
        generator.close()


def completion(text: str | None) -> dict[str, Any]:
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "tiny",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def test_a_question_becomes_a_chat_and_the_reply_sentences(server: Server, ask: Callable[..., Any]) -> None:
    server.replies = [(200, completion("It is so [1]. And so [2]."))]
    sentences, usage = ask(api_key="secret-1")
    assert [(s.text, s.marks) for s in sentences] == [("It is so.", (1,)), ("And so.", (2,))]
    assert usage == {"prompt_tokens": 7, "completion_tokens": 3, "passages": 2}
    path, headers, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret-1"
    assert body["model"] == "tiny"
    assert body["temperature"] == 0
    assert [m["role"] for m in body["messages"]] == ["system", "user"]


def test_a_key_of_the_environment_is_not_sent_to_whichever_server(
    server: Server, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-you")
    monkeypatch.setenv("OPENAI_ORG_ID", "not-for-you")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "not-for-you")
    server.replies = [(200, completion("It is so [1]."))]
    ask()
    assert "not-for-you" not in json.dumps(server.asked[0][1])


def test_marks_out_of_range_images_and_links_do_not_get_through(server: Server, ask: Callable[..., Any]) -> None:
    server.replies = [(200, completion("See ![x](http://evil.example/?q=1) [here](http://evil.example) [1][3][99]."))]
    assert [(s.text, s.marks) for s in ask()[0]] == [("See x here.", (1,))]


def test_no_answer_is_an_empty_draft(server: Server, ask: Callable[..., Any]) -> None:
    server.replies = [(200, completion("NO_ANSWER"))]
    assert ask()[0] == ()
    server.replies = [(200, completion(None))]
    assert ask()[0] == ()


def test_a_server_that_fails_once_is_asked_again(server: Server, ask: Callable[..., Any]) -> None:
    server.replies = [(500, {"error": "busy"}), (200, completion("It is so [1]."))]
    assert ask()[0][0].marks == (1,)
    assert len(server.asked) == 2


def test_a_server_that_keeps_failing_is_asked_a_bounded_number_of_times(
    server: Server, ask: Callable[..., Any]
) -> None:
    server.replies = [(503, {"error": "busy"})]
    with pytest.raises(Upstream, match="status 503") as error:
        ask()
    assert len(server.asked) == 1 + RETRIES
    assert error.value.hint


@pytest.mark.parametrize(
    ("status", "says"),
    [(400, "status 400"), (401, "refused the key"), (403, "refused the key"), (404, "has no model 'tiny'")],
)
def test_a_mistake_is_not_repeated_and_is_named(
    server: Server, ask: Callable[..., Any], status: int, says: str
) -> None:
    server.replies = [(status, {"error": {"message": "no"}})]
    with pytest.raises(Upstream, match=says):
        ask()
    assert len(server.asked) == 1


@pytest.mark.parametrize("reply", ["<html>hello</html>", {"choices": []}, {"error": "odd"}, [], "null"])
def test_a_reply_of_another_shape_is_an_error_and_not_an_answer(
    server: Server, ask: Callable[..., Any], reply: Any
) -> None:
    server.replies = [(200, reply)]
    with pytest.raises(Upstream) as error:
        ask()
    assert server.url in error.value.message


def test_a_server_that_does_not_answer_in_time_is_an_error(
    server: Server, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.generators.openai_compatible.RETRIES", 0)
    server.replies = [(200, completion("late"))]
    server.release.clear()
    with pytest.raises(Upstream, match="did not answer within"):
        ask(timeout=0.2)


def test_a_server_that_is_not_there_is_an_error_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.generators.openai_compatible.RETRIES", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    generator = OpenAICompatibleGenerator(f"http://me:secret@127.0.0.1:{port}/v1", "tiny")
    with pytest.raises(Upstream, match="cannot be reached") as error:
        collect(generator.stream(Ask(question="Why?"), PASSAGES))
    generator.close()
    assert "secret" not in error.value.message
    assert str(port) in error.value.message


def test_an_address_that_is_none_is_the_callers_mistake() -> None:
    for url in ("", "localhost:8000", "file:///etc/passwd"):
        with pytest.raises(UserError, match="not the address"):
            OpenAICompatibleGenerator(url, "tiny")
    with pytest.raises(UserError, match="no model"):
        OpenAICompatibleGenerator("http://localhost/v1", "")
