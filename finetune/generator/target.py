"""What should be written: an answer as cited sentences, the sentence that supports it first where it is said otherwise.

An answer that a person gave names no passages. Each of its sentences is taken to cite the passage that says most of
it, by words alone, so that the same example gives the same target everywhere. `retrieval.generators.prompt.answer`
writes the marks.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetune.generator.rows import Said
from kernel.types import Passage
from retrieval import words
from retrieval.claims import quote
from retrieval.generators.marks import parse_marks
from retrieval.generators.prompt import defused

QUOTE_CHARS = 300
"""A longer sentence is not quoted: it would take the place of the answer."""

_SUPPORTS = 0.5
"""Share of an answer's words that a sentence has to hold to be quoted for it."""
_SAME = 0.8
"""Share of a sentence's words that an answer has to hold to be that sentence already."""
_MARKS = 99


def cited(answer: str, passages: Sequence[Passage]) -> tuple[Said, ...]:
    """The sentences of an answer, each with the passage that says most of it. A refusal has none."""
    return tuple(
        Said(text=sentence.text, cites=(best(sentence.text, passages).chunk,) if passages else ())
        for sentence in parse_marks(answer, _MARKS)
    )


def target(answer: str, gold: Sequence[Passage], *, quoted: bool) -> tuple[Said, ...]:
    """What should be written where `gold` are the passages that answer; nothing where the answer is a refusal."""
    said = cited(answer, gold)
    return led(said, answer, gold) if quoted else said


def led(said: tuple[Said, ...], answer: str, gold: Sequence[Passage]) -> tuple[Said, ...]:
    """The sentences of an answer behind the one of `gold` that supports it, where there is one that they do not say."""
    if not (said and gold):
        return said
    source = best(answer, gold)
    start, end = quote(answer, source.text)
    sentence = defused(" ".join(source.text[start:end].split()))
    supports = _share(answer, sentence) >= _SUPPORTS
    if not supports or len(sentence) > QUOTE_CHARS or _share(sentence, answer) >= _SAME:
        return said
    return (Said(text=sentence, cites=(source.chunk,)), *said)


def best(text: str, passages: Sequence[Passage]) -> Passage:
    """The passage that holds most of the words of a text; the first of equals."""
    return max(passages, key=lambda passage: _share(text, passage.text))


def holds(passage: str, text: str) -> bool:
    """Whether a passage has all the words of a text, so that it may well say the same."""
    return bool(words.stems(text)) and _share(text, passage) >= 1.0


def _share(text: str, of: str) -> float:
    """Share of the words of `text` that stand in `of`, 0 to 1."""
    wanted = set(words.stems(text))
    return len(wanted & set(words.stems(of))) / len(wanted) if wanted else 0.0
