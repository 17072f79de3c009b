"""A connection to a model server: chat completions as they are written, vLLM's adapters, and what can go wrong.

Servers differ in what they take and send. One that does not stream answers in one piece; a parameter that it refuses
by name is left out from then on.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from kernel.errors import Upstream, UserError

if TYPE_CHECKING:
    from openai import OpenAI

RETRIES = 2
"""Further attempts after a 408, 409, 429, 5xx or a broken connection; the client waits between them, 8 s at most."""

_OPTIONAL = ("stream_options", "max_tokens", "temperature")
_RUNTIME_LORA = "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; other servers load none"

_T = TypeVar("_T")


class ModelServer:
    """One server at `url`. Safe from several threads; connects when it is first asked."""

    NO_MODEL = "no_model"
    """Code of the `Upstream` that says that the server does not know the model's name."""

    def __init__(self, url: str, key: str | None, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(
                f"{url!r} is not the address of a model server", hint="for example http://localhost:8000/v1"
            )
        self._url, self._key, self._timeout = url, key, timeout
        self._lock = threading.Lock()
        self._refused: set[str] = set()

    def chat(self, model: str, turns: list[dict[str, str]], most: int, usage: dict[str, int]) -> Iterator[str]:
        """The pieces of one answer of at most `most` tokens; `usage` is filled in if the server says what it took.

        Raises:
            Upstream: there is no answer, or the one that had begun breaks off.
        """
        for attempt in range(1 + RETRIES):
            begun = False
            try:
                for piece in self._pieces(model, turns, most, usage):
                    begun = True
                    yield piece
                return
            except _Broken as error:
                if begun or attempt == RETRIES:
                    raise self._trouble("broke off in the middle", "ask again, and see its log") from error

    def load_adapter(self, name: str, path: str) -> None:
        """Have vLLM read the adapter in `path` (as it sees it). One that it has already is no fault: names are unique.

        Raises:
            Upstream: it did not.
        """
        self._adapt("load", {"lora_name": name, "lora_path": path}, "already been loaded", f"take {path!r}")

    def unload_adapter(self, name: str) -> None:
        """Have vLLM free the adapter. One that it has not is no fault.

        Raises:
            Upstream: it did not.
        """
        self._adapt("unload", {"lora_name": name}, "cannot be found", f"let go of {name!r}")

    def close(self) -> None:
        """Let go of open connections; the next request opens new ones."""
        with self._lock:
            if "_client" in self.__dict__:
                self._client.close()
                del self._client

    # --- asking -------------------------------------------------------------------------------------------------------

    @cached_property
    def _client(self) -> OpenAI:
        from openai import OpenAI

        # What the environment holds for OpenAI must not go to whichever server this is; a key must be given, too.
        client = OpenAI(
            base_url=self._url, api_key=self._key or "none", timeout=self._timeout, max_retries=RETRIES, project=""
        )
        client.organization = client.project = client.admin_api_key = None
        return client

    def _pieces(self, model: str, turns: list[dict[str, str]], most: int, usage: dict[str, int]) -> Iterator[str]:
        raw = self._open(model, turns, most)
        try:
            if "event-stream" in raw.headers.get("content-type", ""):
                yield from self._streamed(raw, usage)
            else:
                yield from self._whole(raw, usage)
        finally:
            raw.http_response.close()  # a server stops writing for a reader who has gone

    def _open(self, model: str, turns: list[dict[str, str]], most: int) -> Any:
        import openai

        while True:
            given = {"temperature": 0, "max_tokens": most, "stream_options": {"include_usage": True}}
            if "max_tokens" in self._refused:
                given["max_completion_tokens"] = most
            given = {name: value for name, value in given.items() if name not in self._refused}

            def ask(client: OpenAI, given: dict[str, Any] = given) -> Any:
                create: Any = client.chat.completions.with_raw_response.create
                return create(model=model, messages=turns, stream=True, **given)

            try:
                return self._asked(ask, model)
            except openai.APIStatusError as error:
                said = str(error.body or error)
                refused = next((name for name in _OPTIONAL if name in given and name in said), None)
                if refused is None or error.status_code not in (400, 422):
                    raise self._trouble(
                        f"answered with status {error.status_code}",
                        "see its log; a 400 often means that the context is too small",
                    ) from error
                self._refused.add(refused)

    def _streamed(self, raw: Any, usage: dict[str, int]) -> Iterator[str]:
        import httpx
        import openai

        finished = False
        try:
            for chunk in raw.parse():
                if getattr(chunk, "usage", None):
                    _count(chunk.usage, usage)
                    finished = True
                for choice in getattr(chunk, "choices", None) or []:
                    said = getattr(choice, "delta", None) or getattr(choice, "message", None)
                    finished = finished or bool(getattr(choice, "finish_reason", None))
                    if piece := getattr(said, "content", None):
                        yield piece
        except (httpx.HTTPError, openai.OpenAIError, ValueError, AttributeError) as error:
            raise _Broken from error
        if not finished:
            raise _Broken

    def _whole(self, raw: Any, usage: dict[str, int]) -> Iterator[str]:
        """The answer of a server that does not stream."""
        import httpx

        try:
            reply = json.loads(raw.http_response.read())
            text = reply["choices"][0]["message"]["content"]
        except httpx.HTTPError as error:
            raise _Broken from error
        except ValueError as error:
            raise self._trouble("answered something that is not a chat completion", "check its address") from error
        except (KeyError, IndexError, TypeError) as error:
            raise self._trouble(
                "answered without a message", "check that it speaks OpenAI's chat completions"
            ) from error
        _count(reply.get("usage"), usage)
        yield text or ""

    def _adapt(self, verb: str, body: dict[str, str], done: str, what: str) -> None:
        import httpx
        import openai

        def ask(client: OpenAI) -> Any:
            return client.post(f"/{verb}_lora_adapter", body=body, cast_to=httpx.Response)

        try:
            self._asked(ask, None)
        except openai.APIStatusError as error:
            said = error.response.text
            if done in said:
                return
            if error.status_code in (404, 405) and "lora" not in said.lower() and "adapter" not in said.lower():
                raise self._trouble(f"cannot {verb} adapters while it runs", _RUNTIME_LORA) from error
            raise self._trouble(
                f"did not {what}: {' '.join(said.split())[:200]}",
                "the path must be one that the server sees, and its --max-lora-rank at least the adapter's",
            ) from error

    def _asked(self, ask: Callable[[OpenAI], _T], model: str | None) -> _T:
        """What `ask` gets; a status error that says nothing about the server itself is passed on."""
        import openai

        with self._lock:
            client = self._client
        try:
            return ask(client)
        except openai.APITimeoutError as error:
            raise self._trouble(
                f"did not answer within {self._timeout:g} s",
                "it may be loading the model; try again or raise the timeout",
            ) from error
        except openai.APIConnectionError as error:
            raise self._trouble(
                "cannot be reached", "start it, or correct its address in the generator setting"
            ) from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise self._trouble("refused the key", "set REPRISE_GENERATOR_KEY to the key that it expects") from error
        except openai.NotFoundError as error:
            if model is None:
                raise
            raise self._trouble(
                f"has no model {model!r} at this address",
                "see its /models for the names it has; the address usually ends in /v1",
                code=self.NO_MODEL,
            ) from error
        except openai.APIStatusError:
            raise
        except (openai.OpenAIError, ValueError) as error:
            raise self._trouble("answered something that is not a chat completion", "check its address") from error

    def _trouble(self, what: str, hint: str, code: str | None = None) -> Upstream:
        return Upstream(f"the model server at {self._shown_url()!r} {what}", hint=hint, code=code)

    def _shown_url(self) -> str:
        """The address without a password that may stand in it."""
        parts = urlsplit(self._url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class _Broken(Exception):
    """The connection or the stream ended before the answer did."""


def _count(used: Any, usage: dict[str, int]) -> None:
    for name in ("prompt_tokens", "completion_tokens"):
        value = used.get(name) if isinstance(used, dict) else getattr(used, name, None)
        usage[name] = value if isinstance(value, int) else usage.get(name, 0)
