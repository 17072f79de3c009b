"""A conversation as doors carry it: the words of an answer as they come, and what was said before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

MOST_EXCHANGES, MOST_CHARACTERS = 10, 4000
"""How much of a conversation goes along with a question, and how much of each text: a follow-up needs its end."""
_MARKS = re.compile(r"\s*\[\d+\]")


def exchange(question: str, answer: str) -> dict[str, str]:
    """An earlier turn, as `ask` takes it: without marks, which would be taken for those of the new passages."""
    return {"question": question[:MOST_CHARACTERS], "answer": _MARKS.sub("", answer)[:MOST_CHARACTERS]}


def spoken(events: Iterable[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each event of an answer with the words that are new with it; they may be none.

    All words together are the answer, so whoever shows them as they are spoken has said all of it. The last event
    adds what no sentence was: a refusal, or a note.
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
