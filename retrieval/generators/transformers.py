"""Answers from a local causal language model: prompts that fit it, and its words read as they are written.

The model and its adapters live in `causal`, the batches in `batch`; greedy, so equal questions give equal answers,
alone or in a batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from kernel.errors import UserError
from kernel.types import BASE, Ask, Exchange, Passage, Proposal, Sentences
from retrieval.generators import chat, prompt, proposals
from retrieval.generators.adapters import Adapters
from retrieval.generators.batch import Batches, Row
from retrieval.generators.causal import CausalModel
from retrieval.generators.cut import Visible
from retrieval.generators.marks import Parser

FIRST = "first"
"""Name of the adapter that is given at construction."""

_LEAST_PASSAGE = 80
"""Characters of a passage that are worth showing when nothing else fits."""

_HISTORY_SHARE = 4
"""Earlier turns get the room of a prompt divided by this, before the passages get theirs."""


class TransformersGenerator:
    """The `Generator` and `Adaptable` ports over `transformers` and `peft`. Loads on first use."""

    def __init__(
        self,
        model_name_or_path: str,
        adapter_path: str | None = None,
        max_new_tokens: int = 256,
        device: str = "auto",
    ) -> None:
        if max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {max_new_tokens!r}", hint="it is a number of tokens, 256 by default")
        self._source, self._first, self._new_tokens = model_name_or_path, adapter_path, max_new_tokens
        self._model = CausalModel(model_name_or_path, device)
        self._adapters = Adapters()
        self._batches = Batches(self._model.run)
        self._loading = threading.RLock()
        self._loaded = False

    @property
    def name(self) -> str:
        return f"transformers:{self._source}"

    @property
    def adapter(self) -> str | None:
        return self._adapters.serving

    @property
    def adapters(self) -> set[str]:
        return self._adapters.loaded

    def load(self) -> None:
        """Load the model and its first adapter now, so that the first question does not wait.

        Raises:
            UserError: there is no such model, or it is not one that can be read.
        """
        with self._loading:
            if self._loaded:
                return
            self._model.load()
            if self._first is not None:
                try:
                    self._add(FIRST, self._first)
                except Exception:
                    self._model.let_go()  # or the next question would be answered by the base model, unasked
                    raise
                self._adapters.use(FIRST)
            self._loaded = True

    def load_adapter(self, name: str, path: str) -> None:
        self.load()
        with self._loading:
            self._add(name, path)

    def use(self, name: str | None) -> None:
        self.load()
        self._adapters.use(name)

    def unload(self, name: str) -> None:
        with self._adapters.drained(name):
            self._model.remove(name)

    def stream(self, ask: Ask, passages: Sequence[Passage]) -> Sentences:
        """Answer from the passages that fit the model's context: the last ones are left out first.

        Raises:
            UserError: the question does not fit with even a part of one passage, or the model cannot be loaded.
            Failed: the model broke off.
        """
        self.load()
        with self._adapters.chosen(ask.adapter) as adapter:
            text, tokens, shown = self._fit(ask, passages)
            thinking = text.rstrip().endswith(("<think>", "<thinking>"))  # some chat templates begin the thoughts
            parser = Parser(len(shown), thinking=thinking)
            row = self._row(tokens, self._reserve(), adapter, _until_stop(thinking))
            for piece in row.read():
                yield from parser.feed(piece)
                if parser.loops:
                    break
            yield from parser.finish()
        return {"prompt_tokens": len(tokens), "completion_tokens": row.written, "passages": len(shown)}

    def rewrite(self, question: str, history: Sequence[Exchange]) -> str | None:
        if not history:
            return question
        self.load()
        with self._adapters.chosen(BASE) as adapter:  # adapters are trained to answer
            kept = list(history)
            while True:
                turns = prompt.standalone(question, kept, self._reserved())
                tokens = self._tokens(self._text(turns, "Standalone question:"))
                if len(tokens) <= self._most():
                    break
                if not kept:
                    return None
                del kept[0]
            row = self._row(tokens, self._rewrite_reserve(), adapter, _until_line())
            return prompt.rewritten("".join(row.read()), question, history)

    def propose(self, passage: Passage, most: int) -> list[Proposal]:
        self.load()
        limit = self._model.context - self._most()  # no more than others reserve: they may share the batch
        most = max(1, min(most, limit // proposals.TOKENS_EACH))
        with self._adapters.chosen(BASE) as adapter:  # adapters are trained to answer
            while True:
                tokens = self._tokens(self._text(proposals.turns(passage, most, self._reserved()), ""))
                over = len(tokens) - self._most()
                if over <= 0:
                    break
                if len(passage.text) <= _LEAST_PASSAGE:
                    raise UserError(
                        f"no part of a passage fits {self._source!r}, which reads {self._most()} tokens at most",
                        hint="use a model with a longer context",
                    )
                passage = _shortened(passage, max(_LEAST_PASSAGE, len(passage.text) - max(16, 2 * over)))
            row = self._row(tokens, limit, adapter, lambda _piece: False)
            return proposals.read("".join(row.read()), most)

    def likelihood(self, ask: Ask, passages: Sequence[Passage], answer: str) -> float:
        """How likely the answer is behind the prompt of these passages: the mean log-probability of its tokens.

        Passages that do not fit are left out from the end, as for an answer.

        Raises:
            UserError: as of `stream`.
        """
        self.load()
        with self._adapters.chosen(ask.adapter) as adapter:
            _, tokens, shown = self._fit(ask, passages)
            turns = prompt.messages(ask, shown, self._reserved())
            return self._model.likelihood(turns, tokens, answer, adapter)

    @property
    def source(self) -> str:
        """Folder or name of the model, as it was given."""
        return self._source

    def _add(self, name: str, path: str) -> None:
        self._adapters.check_fresh(name)
        self._model.add(name, path)
        self._adapters.add(name)

    def _row(self, tokens: list[int], limit: int, adapter: str | None, ends: Callable[[str], bool]) -> Row:
        row = Row(prompt=tokens, limit=limit, adapter=adapter, apart=self._model.apart(adapter), ends=ends)
        self._batches.submit(row)
        return row

    # --- prompt -------------------------------------------------------------------------------------------------------

    def _fit(self, ask: Ask, passages: Sequence[Passage]) -> tuple[str, list[int], list[Passage]]:
        """The prompt, its tokens and the passages in it; where not even one fits, the beginning of the first."""
        budget = self._most()
        ask = self._with_recent_history(ask, budget // _HISTORY_SHARE)
        shown = list(passages)
        while True:
            text = self._prompt(ask, shown)
            tokens = self._tokens(text)
            if len(tokens) <= budget:
                return text, tokens, shown
            if len(shown) > 1:
                _leave_out(shown, (len(tokens) - budget) / len(tokens) * len(text))
            elif ask.history:
                ask = replace(ask, history=())
                shown = list(passages)
            elif shown and len(shown[0].text) > _LEAST_PASSAGE:
                # Tokens per character of this very prompt say how much is too long; a little more goes for safety.
                over = (len(tokens) - budget) / len(tokens) * sum(len(t) for t in (shown[0].text, prompt.SYSTEM))
                keep = max(_LEAST_PASSAGE, int(len(shown[0].text) - max(16.0, over)))
                shown = [_shortened(shown[0], keep)]
            else:  # without a passage there is nothing to answer from
                raise UserError(
                    f"a prompt of {len(tokens)} tokens does not fit {self._source!r}, which reads {budget} at most",
                    hint="ask a shorter question, or use a model with a longer context",
                )

    def _with_recent_history(self, ask: Ask, most: int) -> Ask:
        """The ask with as many of its latest exchanges as `most` tokens hold."""
        history = ask.history
        while history and len(self._model.encode(prompt.conversation(history, self._reserved()))) > most:
            history = history[1:]
        return ask if history is ask.history else replace(ask, history=history)

    def _prompt(self, ask: Ask, passages: Sequence[Passage]) -> str:
        return self._text(prompt.messages(ask, passages, self._reserved()))

    def _text(self, turns: list[dict[str, str]], lead: str = chat.LEAD) -> str:
        return chat.written(self._model.tokenizer, turns, lead)

    def _tokens(self, text: str) -> list[int]:
        """A chat template writes the special tokens itself."""
        return self._model.encode(text, special=not getattr(self._model.tokenizer, "chat_template", None))

    def _reserved(self) -> list[str]:
        return chat.reserved(self._model.tokenizer)

    def _most(self) -> int:
        """Tokens of a prompt at most, also for rewrites: in a batch all rows run as long as one does."""
        return self._model.context - max(self._reserve(), self._rewrite_reserve())

    def _reserve(self) -> int:
        """Tokens kept free for the answer: what was asked for, but at most half of a small context."""
        return min(self._new_tokens, self._model.context // 2)

    def _rewrite_reserve(self) -> int:
        return min(prompt.REWRITE_TOKENS, self._model.context // 2)


def _until_stop(thinking: bool) -> Callable[[str], bool]:
    """Ends when the model begins to write the next question or passage itself."""
    visible = Visible(prompt.STOPS, thinking=thinking)

    def ends(piece: str) -> bool:
        visible.feed(piece)
        return visible.over

    return ends


def _until_line() -> Callable[[str], bool]:
    """Ends with the first line that has words."""
    text = ""

    def ends(piece: str) -> bool:
        nonlocal text
        text += piece
        return "\n" in text.lstrip() and "<think" not in text

    return ends


def _leave_out(shown: list[Passage], characters: float) -> None:
    """Take passages from the end of `shown`: the last one, and more while what is too long surely holds more.

    A prompt is not tokenized again for each of fifty passages. Tokens per character differ from one passage to the
    next, so only half of an estimate is believed.
    """
    gone = len(shown.pop().text)
    while len(shown) > 1 and gone + len(shown[-1].text) < characters / 2:
        gone += len(shown.pop().text)


def _shortened(passage: Passage, characters: int) -> Passage:
    return replace(passage, text=passage.text[:characters], end=passage.start + characters)
