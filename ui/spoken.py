"""The words of an answer as they come: whoever shows them as they are spoken has in the end said the whole answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def spoken(events: Iterable[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each event of an answer with the words that are new with it; they may be none.

    All words together are the answer. The last event adds what no sentence was: a refusal, or a note.
    """
    said = ""
    for event in events:
        words = ""
        if event["type"] == "sentence":
            words = event["text"]
        elif event["type"] == "done":
            words = _rest(said, event)
        said += words
        yield words, event


def _rest(said: str, done: dict[str, Any]) -> str:
    answer: str = done["answer"]
    if answer.startswith(said):
        return answer[len(said) :]
    return f"\n\n{answer}" if done["abstained"] else ""
