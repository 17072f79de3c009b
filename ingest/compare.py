"""What changed between two versions: passages added, removed and changed, and in the changed ones the words.

It knows lists of passages and nothing of documents. Its work is bounded: passages are paired by an index of their rare
words, and words are compared only where both sides are of a size that ends soon; what is larger is shown in larger
pieces, never wrongly.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Words = list[list[str]]
"""[op, text] with op `=`, `-` or `+`: the `=` and `-` joined are the text before, the `=` and `+` the text after."""

ALIKE = 0.5
"""Share of words (Dice) from which two passages are one that changed."""
ALIKE_AT_PLACE = 0.25
"""The same for passages that stand between the same neighbours, or under the same heading."""
_RARE, _MOST_AT = 24, 64
"""A passage looks for its like by so many of its rarest words, each in at most so many passages."""
_WORD = re.compile(r"\w+|[^\w\s]")
_EMPTY_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_CELLS = 1_000_000
"""Tokens before times tokens after, above which a comparison goes by larger pieces."""
_ALL_CELLS = 20_000_000
"""The same for all passages of one comparison together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A passage as a version shows it. Equal text under an equal heading is the same passage."""

    text: str
    heading: str = ""
    space: str = field(default="\n\n", compare=False)
    """What stands between the passage before it and this one."""


def compare(before: Sequence[Shown], after: Sequence[Shown]) -> dict[str, list[Any]]:
    """`{"added": [text], "removed": [text], "changed": [{"before", "after", "words", "headings"}]}`, in order.

    They are compared by paragraphs, so that it does not matter where chunks were cut. What only moved is not there.
    What stands under another heading than before is a changed one; `headings` is [before, after].
    """
    a, b = _paragraphs(before), _paragraphs(after)
    old, new = _left_over(a, b)
    pairs = _pairs(a, old, b, new)
    budget = _ALL_CELLS
    changed = []
    for i, j in sorted(pairs.items(), key=lambda pair: pair[1]):
        told, spent = _words(a[i].text, b[j].text, min(_CELLS, budget))
        budget -= spent
        headings = [a[i].heading, b[j].heading]
        changed.append({"before": a[i].text, "after": b[j].text, "words": told, "headings": headings})
    taken = set(pairs.values())
    return {
        "added": [b[j].text for j in new if j not in taken],
        "removed": [a[i].text for i in old if i not in pairs],
        "changed": changed,
    }


def words(before: str, after: str) -> Words:
    """The words that differ between two texts."""
    return _words(before, after, _CELLS)[0]


# --- pairing --------------------------------------------------------------------------------------------


def _paragraphs(passages: Sequence[Shown]) -> list[Shown]:
    """What stands between empty lines, put together where a border of passages ran through it."""
    joined: list[Shown] = []
    for passage in passages:
        if joined and joined[-1].heading == passage.heading and not _EMPTY_LINE.search(passage.space):
            joined[-1] = replace(joined[-1], text=joined[-1].text + passage.space + passage.text)
        else:
            joined.append(passage)
    return [
        Shown(text=text.strip(), heading=one.heading)
        for one in joined
        for text in _EMPTY_LINE.split(one.text)
        if text.strip()
    ]


def _left_over(before: Sequence[Shown], after: Sequence[Shown]) -> tuple[list[int], list[int]]:
    """What has no equal on the other side, wherever it stands; each passage is the equal of at most one."""
    spare = Counter(after)
    old = []
    for i, passage in enumerate(before):
        if spare[passage] > 0:
            spare[passage] -= 1
        else:
            old.append(i)
    spare = Counter(before)
    new = []
    for j, passage in enumerate(after):
        if spare[passage] > 0:
            spare[passage] -= 1
        else:
            new.append(j)
    return old, new


def _pairs(before: Sequence[Shown], old: list[int], after: Sequence[Shown], new: list[int]) -> dict[int, int]:
    """Which of `old` became which of `new`: the likest first, those at the same place before others."""
    gap_of_old, gap_of_new = _gaps(before, after)
    words_of_old = {i: Counter(_WORD.findall(before[i].text.casefold())) for i in old}
    words_of_new = {j: Counter(_WORD.findall(after[j].text.casefold())) for j in new}
    holders: dict[str, list[int]] = defaultdict(list)
    at_gap: dict[int, list[int]] = defaultdict(list)
    for j in new:
        at_gap[gap_of_new[j]].append(j)
        for word in words_of_new[j]:
            holders[word].append(j)
    scored = []
    for i in old:
        mine, heading = words_of_old[i], before[i].heading
        rare = sorted((word for word in mine if word in holders), key=lambda word: len(holders[word]))
        near = {j for word in rare[:_RARE] for j in holders[word][:_MOST_AT]} | set(at_gap[gap_of_old[i]][:_MOST_AT])
        for j in near:
            same_place = gap_of_old[i] == gap_of_new[j] or heading == after[j].heading != ""
            share = _dice(mine, words_of_new[j])
            if share >= (ALIKE_AT_PLACE if same_place else ALIKE):
                scored.append((-share - 0.1 * same_place, abs(i - j), i, j))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, _, i, j in sorted(scored):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return pairs


def _gaps(before: Sequence[Shown], after: Sequence[Shown]) -> tuple[dict[int, int], dict[int, int]]:
    """For each passage, between which passages that both versions show it stands; equal for the same place."""
    matcher = difflib.SequenceMatcher(a=before, b=after, autojunk=len(before) > 2000)
    of_old: dict[int, int] = {}
    of_new: dict[int, int] = {}
    for number, (_tag, i1, i2, j1, j2) in enumerate(matcher.get_opcodes()):
        of_old |= dict.fromkeys(range(i1, i2), number)
        of_new |= dict.fromkeys(range(j1, j2), number)
    return of_old, of_new


def _dice(a: Counter[str], b: Counter[str]) -> float:
    shared = sum(min(n, b[word]) for word, n in a.items() if word in b)
    return 2 * shared / (a.total() + b.total()) if a or b else 1.0


# --- words ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    """A word or a sign, and the white space before it."""

    space: str
    word: str


def _words(before: str, after: str, most: int) -> tuple[Words, int]:
    """The difference, and how many cells were compared for it."""
    out = _Writer()
    a, tail_a = _tokens(before)
    b, tail_b = _tokens(after)
    head, tail = _common(a, b)
    out.all_same(a[:head], b[:head])
    middle_a, middle_b = a[head : len(a) - tail], b[head : len(b) - tail]
    spent = _compared(middle_a, middle_b, out, most)
    out.all_same(a[len(a) - tail :], b[len(b) - tail :])
    out.space(tail_a, tail_b)
    return out.done(), spent


def _compared(a: list[_Token], b: list[_Token], out: _Writer, most: int) -> int:
    cells = len(a) * len(b)
    if not cells:
        out.other(a, b)
        return 0
    if cells <= most:
        _aligned(a, b, out)
        return cells
    return _by_pieces(a, b, out, most)


def _by_pieces(a: list[_Token], b: list[_Token], out: _Writer, most: int) -> int:
    """Sentences and lines that stand once in both are anchors (as in patience diff); words are compared between them,
    as far as `most` reaches."""
    spent = at_a = at_b = 0
    for i, j, length in [*_anchors(_pieces(a), _pieces(b)), (len(a), len(b), 0)]:
        gone, come = a[at_a:i], b[at_b:j]
        head, tail = _common(gone, come)
        out.all_same(gone[:head], come[:head])
        mine, other = gone[head : len(gone) - tail], come[head : len(come) - tail]
        cells = len(mine) * len(other)
        if cells and spent + cells <= most:
            _aligned(mine, other, out)
            spent += cells
        else:
            out.other(mine, other)
        out.all_same(gone[len(gone) - tail :], come[len(come) - tail :])
        at_a, at_b = i + length, j + length
        out.all_same(a[i:at_a], b[j:at_b])
    return spent


def _anchors(a: list[tuple[int, tuple[str, ...]]], b: list[tuple[int, tuple[str, ...]]]) -> list[tuple[int, int, int]]:
    """(start in a, start in b, length) of the pieces that occur once on each side, as many as stand in one order."""
    once_a, once_b = (dict(_once(pieces)) for pieces in (a, b))
    shared = [(at, once_b[piece], len(piece)) for piece, at in once_a.items() if piece in once_b]
    tops: list[int] = []  # the longest rising row of places in b, by patience sorting
    last: list[int] = []
    back: list[int] = []
    for number, (_, j, _length) in enumerate(shared):
        pile = bisect_left(tops, j)
        back.append(last[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(j)
            last.append(number)
        else:
            tops[pile], last[pile] = j, number
    row: list[tuple[int, int, int]] = []
    number = last[-1] if last else -1
    while number >= 0:
        row.append(shared[number])
        number = back[number]
    return row[::-1]


def _once(pieces: list[tuple[int, tuple[str, ...]]]) -> list[tuple[tuple[str, ...], int]]:
    counted = Counter(piece for _, piece in pieces)
    return [(piece, at) for at, piece in pieces if counted[piece] == 1]


def _aligned(a: list[_Token], b: list[_Token], out: _Writer) -> None:
    keys = [t.word for t in a], [t.word for t in b]
    # From 200 words on, difflib seeds no match with words that are everywhere: that keeps it from cubic time.
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(a=keys[0], b=keys[1]).get_opcodes():
        if tag == "equal":
            out.all_same(a[i1:i2], b[j1:j2])
        else:
            out.other(a[i1:i2], b[j1:j2])


def _tokens(text: str) -> tuple[list[_Token], str]:
    """Tokens in order, and the white space behind the last."""
    found, at = [], 0
    for match in _WORD.finditer(text):
        found.append(_Token(text[at : match.start()], match[0]))
        at = match.end()
    return found, text[at:]


def _pieces(tokens: list[_Token]) -> list[tuple[int, tuple[str, ...]]]:
    """Sentences and lines of at most 64 words, each with the place of its first."""
    starts = [0] if tokens else []
    for at in range(1, len(tokens)):
        if "\n" in tokens[at].space or tokens[at - 1].word in ".!?" or at - starts[-1] >= 64:
            starts.append(at)
    ends = [*starts[1:], len(tokens)]
    return [(start, tuple(t.word for t in tokens[start:end])) for start, end in zip(starts, ends, strict=True)]


def _common(a: list[_Token], b: list[_Token]) -> tuple[int, int]:
    """How many tokens are the same at the beginning and, beyond those, at the end."""
    shorter = min(len(a), len(b))
    head = next((n for n in range(shorter) if a[n].word != b[n].word), shorter)
    tail = next((n for n in range(shorter - head) if a[-1 - n].word != b[-1 - n].word), shorter - head)
    return head, tail


class _Writer:
    """Collects [op, text], neighbours of one op joined."""

    def __init__(self) -> None:
        self._found: list[tuple[str, list[str]]] = []

    def all_same(self, a: list[_Token], b: list[_Token]) -> None:
        """Tokens of equal words; the space before them may differ."""
        for x, y in zip(a, b, strict=True):
            self.space(x.space, y.space)
            self._add("=", x.word)

    def other(self, a: list[_Token], b: list[_Token]) -> None:
        gone, come = ("".join(t.space + t.word for t in tokens) for tokens in (a, b))
        same = len(a[0].space) if a and b and a[0].space == b[0].space else 0
        self._add("=", gone[:same])
        self._add("-", gone[same:])
        self._add("+", come[same:])

    def space(self, a: str, b: str) -> None:
        if a == b:
            self._add("=", a)
        else:
            self._add("-", a)
            self._add("+", b)

    def done(self) -> Words:
        return [[op, "".join(texts)] for op, texts in self._found]

    def _add(self, op: str, text: str) -> None:
        if not text:
            return
        if self._found and self._found[-1][0] == op:
            self._found[-1][1].append(text)
        else:
            self._found.append((op, [text]))
