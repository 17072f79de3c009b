"""Cutting a text that is too long into pieces, at sentences where it can be, and saying exactly where.

LlamaIndex's `SentenceSplitter` decides (sentences, then clauses, words, characters); its pieces come back
stripped, so they are found again in the text, one after the other, and anything but whitespace between them
is an error. Sizes are estimated here, because asking a tokenizer about each word would take minutes; the
caller checks them exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

Span = tuple[int, int]

CountTokens = Callable[[Sequence[str]], list[int]]

_LONG = 100
_CHARS_PER_TOKEN = 4
_LEAST_SIZE = 8  # no character has more tokens than this, and LlamaIndex refuses one that does not fit
_MARKS = r"!-/:-@\[-`{-~\u2000-\u206f\u3000-\u303f\uff01-\uff0f\uff1a-\uff1f"  # where tokenizers part words
_RUN = re.compile(rf"[^\s{_MARKS}]{{{_LONG},}}|\s{{{_LONG},}}")
GAP = re.compile(rf"\s{{{_LONG},}}")
_WORD = re.compile(r"\w+|[^\w\s]")
_CLAUSE = "[^,.;。？！\\n]+[,.;。？！\\n]?|[,.;。？！\\n]"  # LlamaIndex's own, and line ends
# Looking back, and never giving back, keeps a line of a million dots from taking for ever.
_SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+\s++|[。！？]+[」』”）]*\s*|\n[ \t]*\n\s*")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:\w|[A-Za-z]\.\w|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|cf|al|ca|etc|approx|No|Nr|Figs?|Eq"
    r"|Sec|Vol|Inc|Ltd|Co|Corp|bzw|usw|vgl|Abs|Art)\.\s+$"
)
_ABBREVIATION_CHARS = 12
_LONG_RUN = re.compile(r"\S{96}(?=\S)")


def weigh(count_tokens: CountTokens, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, and some for each very long word or gap.

    WordPiece calls a line of Base64 one unknown token, and a thousand spaces none: a chunk would be endless.
    """
    return [
        count + sum(surcharge(len(run)) for run in _RUN.findall(text))
        for text, count in zip(texts, count_tokens(texts) if texts else (), strict=True)
    ]


def surcharge(length: int) -> int:
    """What a word or gap of `length` characters counts beside its tokens."""
    return length // _CHARS_PER_TOKEN if length >= _LONG else 0


class Splitter:
    """Cuts spans by sentences. One serves one text and learns what its words cost, each word once."""

    def __init__(self, count_tokens: CountTokens) -> None:
        self._count = count_tokens
        self._cost: dict[str, int] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Count the words of texts that `split` will be given, in one call of the tokenizer."""
        found = (word for text in texts for part in sentences(text) for word in _WORD.findall(part))
        words = [word for word in dict.fromkeys(found) if word not in self._cost]
        self._cost.update(zip(words, weigh(self._count, words), strict=True))

    def split(self, text: str, span: Span, limit: int, tokens: int) -> list[Span]:
        """Cut `text[start:end]` into pieces of about `limit` tokens at most.

        Args:
            tokens: how many tokens the span has as a whole; the sum over its words is scaled by it.

        Returns:
            Spans without outer whitespace, in order, that together hold every character but whitespace.
        """
        from llama_index.core.node_parser import SentenceSplitter

        part = text[span[0] : span[1]]
        estimated = sum(self._sum(sentence) for sentence in sentences(part))
        splitter = SentenceSplitter(
            chunk_size=max(limit * estimated // max(tokens, 1), _LEAST_SIZE),
            chunk_overlap=0,
            tokenizer=lambda piece: range(self._sum(piece)),
            chunking_tokenizer_fn=sentences,
            secondary_chunking_regex=_CLAUSE,
        )
        return locate(text, span, splitter.split_text(part))

    def _sum(self, text: str) -> int:
        """Tokens by words: exact for WordPiece, which parts at words first, and close for others."""
        # A word that LlamaIndex has cut further is not known, and counts by its length.
        cost = self._cost
        return sum(cost.get(word) or 1 + len(word) // _CHARS_PER_TOKEN for word in _WORD.findall(text))


def locate(text: str, span: Span, pieces: Sequence[str]) -> list[Span]:
    """Where `pieces` stand in `text[start:end]`.

    Raises:
        AssertionError: a piece is not the next thing there, or something is left over. That is a mistake of
            ours or of the library, never of the document.
    """
    cursor, end = span
    found = []
    for piece in pieces:
        cursor = skip_space(text, cursor, end)
        if not piece or not text.startswith(piece, cursor) or cursor + len(piece) > end:
            raise AssertionError(f"a piece of {len(piece)} characters does not stand at offset {cursor}")
        found.append((cursor, cursor + len(piece)))
        cursor += len(piece)
    if skip_space(text, cursor, end) != end:
        raise AssertionError(f"the text from offset {cursor} to {end} is in no piece")
    return found


def halve(text: str, span: Span) -> list[Span]:
    """Two pieces, cut at the whitespace nearest to the middle, or within a word where there is none."""
    start, end = span
    middle = (start + end) // 2
    for distance in range((end - start) // 4):
        for place in (middle - distance, middle + distance):
            if text[place].isspace():
                middle = place
                break
        else:
            continue
        break
    return [piece for piece in (trim(text, (start, middle)), trim(text, (middle, end))) if piece[0] < piece[1]]


def trim(text: str, span: Span) -> Span:
    """`span` without whitespace at its ends."""
    start, end = span
    start = skip_space(text, start, end)
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def skip_space(text: str, start: int, end: int) -> int:
    """The offset of the first character from `start` that is not whitespace, or `end`."""
    while start < end and text[start].isspace():
        start += 1
    return start


def sentences(text: str) -> list[str]:
    """Sentences that together are exactly `text`; runs without a space are cut where they are absurdly long.

    LlamaIndex's own default loads NLTK, whose data it may fetch from the network; a chunker must not need
    that.
    """
    return list(_sentences(text))


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for match in _SENTENCE_END.finditer(text):
        end = match.end()
        if end == len(text) or text[end].islower():
            continue
        if _ABBREVIATION.search(text, max(start, match.start() - _ABBREVIATION_CHARS), end):
            continue
        yield from _runs(text[start:end])
        start = end
    if start < len(text):
        yield from _runs(text[start:])


def _runs(sentence: str) -> Iterator[str]:
    # Split by characters, as LlamaIndex would, a line of Base64 counts a token for each.
    start = 0
    for match in _LONG_RUN.finditer(sentence):
        yield sentence[start : match.end()]
        start = match.end()
    yield sentence[start:]
