"""Any server that speaks OpenAI's chat completions: vLLM (adapters are model names there), Ollama, llama.cpp, others.

What it writes is read while it comes, and is untrusted: `marks` decides what of it gets through. A server that is
busy or failing is asked again a bounded number of times, but only until its first word: after that a repetition could
contradict what was shown. `server` holds the connection and its faults.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kernel.errors import Upstream, UserError
from kernel.types import Ask, Exchange, Passage, Proposal, Sentences
from retrieval.generators import prompt, proposals
from retrieval.generators.adapters import Adapters
from retrieval.generators.marks import Parser
from retrieval.generators.server import ModelServer


class OpenAICompatibleGenerator:
    """The `Generator` port over HTTP, and `Adaptable` where the server is vLLM with runtime LoRA.

    `base_url` ends where `/chat/completions` begins, usually in `/v1`. `timeout` is the longest silence in seconds.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        timeout: float = 60,
        *,
        max_tokens: int = 512,
    ) -> None:
        if not model:
            raise UserError("no model is named", hint="openai:http://localhost:8000/v1#MODEL")
        self._server = ModelServer(base_url, api_key, timeout)
        self._model, self._max_tokens = model, max_tokens
        self._adapters = Adapters()
        self._paths: dict[str, str] = {}

    @property
    def name(self) -> str:
        return f"openai:{self._model}"

    @property
    def adapter(self) -> str | None:
        return self._adapters.serving

    @property
    def adapters(self) -> set[str]:
        return self._adapters.loaded

    def stream(self, ask: Ask, passages: Sequence[Passage]) -> Sentences:
        """Ask the server.

        Raises:
            Upstream: it could not be reached, refused, failed after retries, answered in another shape or broke off.
        """
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "passages": len(passages)}
        parser = Parser(len(passages))
        with self._adapters.chosen(ask.adapter) as adapter:
            for piece in self._written(prompt.messages(ask, passages), adapter, self._max_tokens, usage):
                yield from parser.feed(piece)
                if parser.over:
                    break
            yield from parser.finish()
        return usage

    def rewrite(self, question: str, history: Sequence[Exchange]) -> str | None:
        if not history:
            return question
        turns = prompt.standalone(question, history)
        # The base model, as adapters are trained to answer.
        written = "".join(self._written(turns, None, prompt.REWRITE_TOKENS, {}))
        return prompt.rewritten(written, question, history)

    def propose(self, passage: Passage, most: int) -> list[Proposal]:
        asked = proposals.turns(passage, most)
        return proposals.read("".join(self._written(asked, None, most * proposals.TOKENS_EACH, {})), most)

    def load_adapter(self, name: str, path: str) -> None:
        """Have vLLM load the adapter in the folder `path`, as the server sees it.

        Raises:
            Conflict: the name was used before.
            Upstream: it did not: it is no vLLM, has no runtime LoRA, or does not find or take the adapter.
        """
        self._adapters.check_fresh(name)
        self._server.load_adapter(name, path)
        self._paths[name] = path
        self._adapters.add(name)

    def use(self, name: str | None) -> None:
        self._adapters.use(name)

    def unload(self, name: str) -> None:
        with self._adapters.drained(name):
            self._server.unload_adapter(name)
            self._paths.pop(name, None)

    def close(self) -> None:
        """Let go of open connections. The generator opens new ones when it is asked again."""
        self._server.close()

    def _written(
        self, turns: list[dict[str, str]], adapter: str | None, most: int, usage: dict[str, int]
    ) -> Iterator[str]:
        """The pieces that come; `usage` is filled in from what the server says at the end."""
        if adapter is None:
            yield from self._server.chat(self._model, turns, most, usage)
            return
        pieces = self._server.chat(adapter, turns, most, usage)
        try:
            first = next(pieces, "")
        except Upstream as error:
            if error.code != ModelServer.NO_MODEL:
                raise
            self._server.load_adapter(adapter, self._paths[adapter])  # it was started anew, and has forgotten
            pieces = self._server.chat(adapter, turns, most, usage)
            first = next(pieces, "")
        yield first
        yield from pieces
