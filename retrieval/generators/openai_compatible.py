"""Any server that speaks OpenAI's chat completions: vLLM (adapters are model names there), Ollama, llama.cpp, others.

The server is asked once, and again a bounded number of times if it is busy or failing. What it writes is untrusted:
`marks` decides what of it gets through.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kernel.errors import Upstream, UserError
from kernel.types import Ask, Exchange, Passage, Sentences
from retrieval.generators import prompt
from retrieval.generators.marks import parse_marks

if TYPE_CHECKING:
    from openai import OpenAI

RETRIES = 2
"""Further attempts after a 408, 409, 429, 5xx or a broken connection; the client waits between them, 8 s at most."""


class OpenAICompatibleGenerator:
    """The `Generator` port over HTTP. `base_url` ends where `/chat/completions` begins, usually in `/v1`."""

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        timeout: float = 60,
        *,
        max_tokens: int = 512,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(
                f"{base_url!r} is not the address of a model server", hint="for example http://localhost:8000/v1"
            )
        if not model:
            raise UserError("no model is named", hint="openai:http://localhost:8000/v1#MODEL")
        self._url, self._model, self._key = base_url, model, api_key
        self._timeout, self._max_tokens = timeout, max_tokens
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"openai:{self._model}"

    def stream(self, ask: Ask, passages: Sequence[Passage]) -> Sentences:
        """Ask the server.

        Raises:
            Upstream: it could not be reached, refused, failed after retries, or answered in another shape.
        """
        reply = self._ask(prompt.messages(ask, passages))
        try:
            text = reply.choices[0].message.content or ""
        except (AttributeError, IndexError, TypeError) as error:
            raise self._trouble(
                "answered without a message", "check that it speaks OpenAI's chat completions"
            ) from error
        used = getattr(reply, "usage", None)
        yield from parse_marks(text, len(passages))
        return {
            "prompt_tokens": getattr(used, "prompt_tokens", None) or 0,
            "completion_tokens": getattr(used, "completion_tokens", None) or 0,
            "passages": len(passages),
        }

    def rewrite(self, question: str, history: Sequence[Exchange]) -> str | None:
        return None

    def close(self) -> None:
        """Let go of open connections. The generator opens new ones when it is asked again."""
        with self._lock:
            if "_client" in self.__dict__:
                self._client.close()
                del self._client

    @cached_property
    def _client(self) -> OpenAI:
        from openai import OpenAI

        # What the environment holds for OpenAI must not go to whichever server this is; a key must be given, too.
        client = OpenAI(
            base_url=self._url, api_key=self._key or "none", timeout=self._timeout, max_retries=RETRIES, project=""
        )
        client.organization = client.project = client.admin_api_key = None
        return client

    def _ask(self, messages: list[dict[str, str]]) -> Any:
        import openai

        with self._lock:
            client = self._client
        try:
            return client.chat.completions.create(
                model=self._model,
                messages=messages,  # type: ignore[arg-type]
                temperature=0,
                max_tokens=self._max_tokens,
            )
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
            raise self._trouble("refused the key", "set the key that this server expects") from error
        except openai.NotFoundError as error:
            raise self._trouble(
                f"has no model {self._model!r} at this address",
                "see its /models for the names it has; the address usually ends in /v1",
            ) from error
        except openai.APIStatusError as error:
            raise self._trouble(
                f"answered with status {error.status_code}",
                "see its log; a 400 often means that the context is too small",
            ) from error
        except (openai.OpenAIError, ValueError) as error:
            raise self._trouble("answered something that is not a chat completion", "check its address") from error

    def _trouble(self, what: str, hint: str) -> Upstream:
        return Upstream(f"the model server at {self._shown_url()!r} {what}", hint=hint)

    def _shown_url(self) -> str:
        """The address without a password that may stand in it."""
        parts = urlsplit(self._url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
