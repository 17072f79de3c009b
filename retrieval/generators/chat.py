"""Chat turns as the tokens of one model, and the tokens that should follow them.

The one place that knows how a tokenizer writes our prompt, so that an adapter is trained on exactly what is served: the
same text, the same special tokens, and an end that the server takes for one. It knows no model and no passages.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from retrieval.generators import prompt

LEAD = "Answer:"
"""What stands before the answer of a model without a chat template."""

Turns = Sequence[dict[str, str]]


def written(tokenizer: Any, turns: Turns, lead: str = LEAD) -> str:
    """The turns as one text, up to where the model goes on."""
    if not getattr(tokenizer, "chat_template", None):
        return prompt.completion(turns, lead)
    try:
        return _templated(tokenizer, turns)
    except Exception:  # templates of some models refuse a system turn, each with an error of its own
        return _templated(tokenizer, _as_one(turns))


def encoded(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a prompt. A chat template writes the special tokens itself."""
    return _ids(tokenizer, text, special=not getattr(tokenizer, "chat_template", None))


def reserved(tokenizer: Any) -> list[str]:
    """Strings that mean something to the tokenizer, and must not come from a document."""
    return list(tokenizer.all_special_tokens)


def ends(model: Any, tokenizer: Any) -> set[int]:
    """Tokens that end an answer."""
    of = (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id)
    return {n for ids in of if ids is not None for n in (ids if isinstance(ids, list) else [ids])}


def target(tokenizer: Any, turns: Turns, answer: str, stops: Collection[int]) -> tuple[list[int], list[int]]:
    """(prompt, target): the tokens of the turns, and those of `answer` behind them with a token that ends it.

    Both together are what the tokenizer makes of the whole text, where it leaves the prompt as it is; where it would
    join the last token of the prompt with the first of the answer, the prompt stays as it is served.
    """
    text = written(tokenizer, turns)
    asked, following = encoded(tokenizer, text), _following(tokenizer, turns, text, answer)
    whole = encoded(tokenizer, text + following)
    after = whole[len(asked) :] if whole[: len(asked)] == asked else _ids(tokenizer, following, special=False)
    if not after or after[-1] not in stops:
        end = tokenizer.eos_token_id
        after = [*after, end if end is not None else min(stops)]
    return asked, after


def _following(tokenizer: Any, turns: Turns, text: str, answer: str) -> str:
    """The answer as it stands behind the prompt: with what the template puts behind a turn, if that ends it."""
    if not getattr(tokenizer, "chat_template", None):
        return f" {answer}"
    for asked in (turns, _as_one(turns)):
        try:
            whole = _templated(tokenizer, [*asked, {"role": "assistant", "content": answer}], open_=False)
        except Exception:
            continue
        if whole.startswith(text) and whole[len(text) :].lstrip().startswith(answer):
            return whole[len(text) :].rstrip()
    return answer  # a template that writes earlier turns otherwise than the one it is in


def _templated(tokenizer: Any, turns: Turns, *, open_: bool = True) -> str:
    # Models that can think aloud are asked not to: nobody would see it, and everybody would wait for it.
    return str(
        tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=open_, enable_thinking=False)
    )


def _as_one(turns: Turns) -> list[dict[str, str]]:
    return [{"role": "user", "content": "\n\n".join(turn["content"] for turn in turns)}]


def _ids(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])
