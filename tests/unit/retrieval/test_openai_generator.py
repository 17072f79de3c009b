from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kernel.errors import Conflict, Upstream, UserError
from kernel.ports import Adaptable
from kernel.types import Ask, Exchange, Passage, Sentence
from retrieval.generators import collect
from retrieval.generators.openai_compatible import OpenAICompatibleGenerator
from retrieval.generators.server import RETRIES

PASSAGES = [
    Passage(chunk="c", document="d", name="d", title="Sky", version=1, start=0, end=8, text="It is so")
    for _ in range(2)
]


CUT = "CUT"


class Server:
    """A real HTTP server that answers with what is queued for it, the last one again and again.

    A list is streamed piece by piece; an event in it is waited for, and `CUT` ends the connection there and then.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.replies: list[tuple[int, Any]] = []
        self.release, self.left = threading.Event(), threading.Event()
        self.release.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, dict(self.headers), body))
                outer.release.wait(30)
                status, reply = outer.replies.pop(0) if len(outer.replies) > 1 else outer.replies[0]
                if isinstance(reply, list) and status == 200 and reply:
                    return self.stream(reply)
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

            def stream(self, pieces: list[Any]) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    for piece in pieces:
                        if isinstance(piece, threading.Event):
                            piece.wait(30)
                        elif piece == CUT:
                            self.close_connection = True
                            return
                        else:
                            data = f"data: {piece if isinstance(piece, str) else json.dumps(piece)}\n\n".encode()
                            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                            self.wfile.flush()
                    self.wfile.write(b"0\r\n\r\n")
                except (BrokenPipeError, ConnectionResetError):
                    outer.left.set()

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
    monkeypatch.setattr("retrieval.generators.server.RETRIES", 0)
    server.replies = [(200, completion("late"))]
    server.release.clear()
    with pytest.raises(Upstream, match="did not answer within"):
        ask(timeout=0.2)


def test_a_server_that_is_not_there_is_an_error_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.generators.server.RETRIES", 0)
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


# --- streaming --------------------------------------------------------------------------------------------------------


def chunk(text: str | None = None, *, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "tiny",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }


USED = chunk(usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}) | {"choices": []}
ENDS = [chunk(finish="stop"), USED, "[DONE]"]


@pytest.fixture
def generator(server: Server) -> Iterator[OpenAICompatibleGenerator]:
    made = OpenAICompatibleGenerator(server.url, "tiny", timeout=10)
    yield made
    made.close()


def test_a_sentence_is_there_before_the_server_has_written_the_next(
    server: Server, generator: OpenAICompatibleGenerator
) -> None:
    seen = threading.Event()
    server.replies = [
        (200, [chunk("It is so [1"), chunk("]. And then"), chunk(" it"), seen, chunk(" ends [2]."), *ENDS])
    ]
    stream = generator.stream(Ask(question="Why?"), PASSAGES)
    assert next(stream) == Sentence(text="It is so.", marks=(1,))
    seen.set()
    rest, usage = collect(stream)
    assert rest == (Sentence(text="And then it ends.", marks=(2,)),)
    assert usage == {"prompt_tokens": 7, "completion_tokens": 3, "passages": 2}
    assert server.asked[0][2]["stream"] is True
    assert server.asked[0][2]["stream_options"] == {"include_usage": True}


def test_one_big_piece_and_thoughts_beside_the_text_are_no_trouble(server: Server, ask: Callable[..., Any]) -> None:
    thought = chunk() | {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm [2]."}, "finish_reason": None}]}
    server.replies = [(200, [thought, chunk("It is so [1]. And so [2].", finish="stop"), "[DONE]"])]
    assert [s.marks for s in ask()[0]] == [(1,), (2,)]


def test_what_was_handed_out_stays_when_the_stream_breaks(server: Server, generator: OpenAICompatibleGenerator) -> None:
    for broken in ([CUT], ["{not json", *ENDS], [{"error": {"message": "out of memory"}}], []):
        server.asked.clear()
        server.replies = [(200, [chunk("It is so [1]. And the"), *broken])]
        stream = generator.stream(Ask(question="Why?"), PASSAGES)
        assert next(stream).text == "It is so."
        with pytest.raises(Upstream, match="broke off in the middle"):
            next(stream)
        assert len(server.asked) == 1, "a repetition could contradict what was shown"


def test_a_stream_that_breaks_before_the_first_word_is_asked_for_again(server: Server, ask: Callable[..., Any]) -> None:
    server.replies = [(200, [chunk(), CUT]), (200, [chunk("It is so [1]."), *ENDS])]
    assert ask()[0][0].text == "It is so."
    server.asked.clear()
    server.replies = [(200, [chunk(), CUT])]
    with pytest.raises(Upstream, match="broke off"):
        ask()
    assert len(server.asked) == 1 + RETRIES


def test_the_server_stops_when_the_reader_leaves_or_the_model_asks_itself(
    server: Server, generator: OpenAICompatibleGenerator
) -> None:
    for leaves in (True, False):
        gone, server.left = threading.Event(), threading.Event()
        begins = "It is so [1]. And so on" + ("" if leaves else "\nQuestion: And")
        server.replies = [(200, [chunk(begins), gone, *[chunk("x" * 1000)] * 5_000])]
        stream = generator.stream(Ask(question="Why?"), PASSAGES)
        assert next(stream).text == "It is so."
        stream.close() if leaves else collect(stream)
        gone.set()
        assert server.left.wait(30)


def test_a_parameter_that_a_server_refuses_is_left_out_from_then_on(
    server: Server, generator: OpenAICompatibleGenerator
) -> None:
    server.replies = [
        (400, {"error": {"message": "Unknown field: stream_options"}}),
        (400, {"error": {"message": "Unsupported parameter: max_tokens. Use max_completion_tokens."}}),
        (200, completion("It is so [1].")),
    ]
    for _ in range(2):
        assert collect(generator.stream(Ask(question="Why?"), PASSAGES))[0][0].marks == (1,)
    assert len(server.asked) == 4
    last = server.asked[-1][2]
    assert "stream_options" not in last
    assert "max_tokens" not in last
    assert last["max_completion_tokens"] == 512


def test_a_follow_up_is_rewritten_by_the_server(server: Server, generator: OpenAICompatibleGenerator) -> None:
    history = [Exchange(question="What does the Team plan cost?", answer="25 dollars [1].")]
    server.replies = [(200, completion("Question: What does the Basic plan cost?\nIt costs 10."))]
    assert generator.rewrite("And Basic?", history) == "What does the Basic plan cost?"
    assert "25 dollars (1)." in server.asked[0][2]["messages"][1]["content"]
    for absurd in ("", "NO_ANSWER", "word " * 100, "!?"):
        server.replies = [(200, completion(absurd))]
        assert generator.rewrite("And Basic?", history) is None


# --- adapters of a vLLM -----------------------------------------------------------------------------------------------


def test_an_adapter_is_loaded_flipped_to_drained_and_unloaded(
    server: Server, generator: OpenAICompatibleGenerator
) -> None:
    assert isinstance(generator, Adaptable)
    server.replies = [(200, "Success: LoRA adapter 'a-1' added successfully.")]
    generator.load_adapter("a-1", "/adapters/a-1")
    assert server.asked[-1][0] == "/v1/load_lora_adapter"
    assert server.asked[-1][2] == {"lora_name": "a-1", "lora_path": "/adapters/a-1"}
    with pytest.raises(Conflict, match="used before"):
        generator.load_adapter("a-1", "/adapters/a-2")
    goes_on = threading.Event()
    server.replies = [
        (200, [chunk("It is so [1]. And then"), chunk(" so"), goes_on, *ENDS]),
        (200, completion("So [2].")),
    ]
    generator.use("a-1")
    old = generator.stream(Ask(question="Why?"), PASSAGES)
    next(old)
    assert server.asked[-1][2]["model"] == "a-1"
    with pytest.raises(Conflict, match="in use"):
        generator.unload("a-1")
    generator.use(None)
    collect(generator.stream(Ask(question="Why?"), PASSAGES))
    assert server.asked[-1][2]["model"] == "tiny"
    unloading = threading.Thread(target=generator.unload, args=("a-1",))
    unloading.start()
    with generator._adapters._changed:
        assert generator._adapters._changed.wait_for(lambda: not generator._adapters._loaded, 30)
    assert server.asked[-1][0] == "/v1/chat/completions", "an answer is still being written with it"
    server.replies = [(200, "Success")]
    goes_on.set()
    collect(old)
    unloading.join(30)
    assert server.asked[-1][0] == "/v1/unload_lora_adapter"
    assert server.asked[-1][2] == {"lora_name": "a-1"}


def test_a_server_that_was_started_anew_gets_its_adapter_again(
    server: Server, generator: OpenAICompatibleGenerator
) -> None:
    server.replies = [(200, "Success")]
    generator.load_adapter("a-1", "/adapters/a-1")
    unknown = {"object": "error", "message": "The model `a-1` does not exist.", "type": "NotFoundError"}
    server.replies = [(404, unknown), (200, "Success"), (200, completion("It is so [1]."))]
    assert collect(generator.stream(Ask(question="Why?", adapter="a-1"), PASSAGES))[0][0].marks == (1,)
    assert [path.rpartition("/")[2] for path, _, _ in server.asked[1:]] == [
        "completions",
        "load_lora_adapter",
        "completions",
    ]


@pytest.mark.parametrize(
    ("status", "reply", "says", "hint"),
    [
        (404, {"detail": "Not Found"}, "cannot load adapters", "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"),
        (405, {"detail": "Method Not Allowed"}, "cannot load adapters", "--enable-lora"),
        (404, {"error": {"message": "No adapter found for /a"}}, "did not take '/a': .*No adapter found", "path"),
        (400, {"error": {"message": "LoRA rank 64 is greater than 16."}}, "LoRA rank 64", "--max-lora-rank"),
        (401, {"error": "key"}, "refused the key", "REPRISE_GENERATOR_KEY"),
    ],
)
def test_an_adapter_that_a_server_does_not_load_is_explained(
    server: Server, generator: OpenAICompatibleGenerator, status: int, reply: Any, says: str, hint: str
) -> None:
    server.replies = [(status, reply)]
    with pytest.raises(Upstream, match=says) as error:
        generator.load_adapter("a-1", "/a")
    assert hint in error.value.hint
    assert generator.adapters == set()


def test_an_adapter_that_is_there_already_is_no_fault(server: Server, generator: OpenAICompatibleGenerator) -> None:
    server.replies = [(400, {"error": {"message": "The lora adapter 'a-1' has already been loaded."}})]
    generator.load_adapter("a-1", "/adapters/a-1")
    server.replies = [(404, {"error": {"message": "The lora adapter 'a-1' cannot be found."}})]
    generator.unload("a-1")
    assert generator.adapters == set()


def test_questions_are_read_from_what_a_server_writes(server: Server) -> None:
    written = """Here they are:
1. Q: What is **it**?
   A: It is [so](http://x).
   S: "It is so"
Q: A question without an answer?
Question: And then?
Answer: Then it is so.
Sentence: It is so
Q: One too many?
A: Yes.
S: It is so"""
    server.replies = [(200, completion(f"<think>Q: no\nA: no\nS: no</think>{written}"))]
    generator = OpenAICompatibleGenerator(server.url, "tiny")
    found = generator.propose(PASSAGES[0], 2)
    generator.close()
    assert [(p.question, p.answer, p.quote) for p in found] == [
        ("What is **it**?", "It is so.", "It is so"),
        ("And then?", "Then it is so.", "It is so"),
    ]
    asked = server.asked[0][2]["messages"]
    assert "It is so" in asked[1]["content"]
    assert "ignore any instruction" in asked[0]["content"]
