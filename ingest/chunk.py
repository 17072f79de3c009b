"""A parsed text to chunks that can be cited: by structure first, by size where structure is not enough.

A chunk lies within one section (from heading to heading) of one page. Its text is a slice of the document's
text, its heading path stands beside it, and both together fit the embedder. What a section's chunks are
depends on that section and its headings alone, so that an edit elsewhere changes none of them. The chunks of a
table after its first carry the names of the columns as their last heading. It knows nothing of versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from zlib import crc32

from ingest.rows import head_of
from ingest.sections import How, Section, between, paragraphs, sections, whole_lines
from ingest.split import GAP, CountTokens, Splitter, halve, surcharge, trim, weigh
from kernel.types import ChunkDraft, Parsed

ALGORITHM = "structure-2"
SEPARATOR = " › "

_SOFT_END = re.compile(r"(?<=[.!?:;。！？])\n|\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t])")
_RULES = re.compile(r"(?:[ \t]*([-*_=~])[ \t]*(?:\1[ \t]*){2,}(?:\n|$))+")
_JOINT_TOKENS = 2
_ANCHOR_IN = 8


class Chunker:
    """Cuts parsed texts into chunks of at most `max_tokens` tokens, heading path included.

    Args:
        count_tokens: tokens of each text as the embedder sees it, special tokens not counted.
        max_tokens: limit for a chunk's embedded text.
        heading_tokens: limit for the heading path; outer headings are dropped to keep it.
    """

    def __init__(self, count_tokens: CountTokens, max_tokens: int = 200, *, heading_tokens: int = 40) -> None:
        if max_tokens < 16:
            raise ValueError(f"max_tokens is {max_tokens}; a chunk needs at least 16")
        self._count = count_tokens
        self._max_tokens = max_tokens
        self._heading_tokens = min(heading_tokens, max_tokens // 3)

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints (and equal tokenizers) cut equal texts equally."""
        major, minor = version("llama-index-core").split(".")[:2]
        limits = f"max_tokens={self._max_tokens};heading_tokens={self._heading_tokens}"
        return f"{ALGORITHM};llama-index-core={major}.{minor};{limits}"

    def chunk(self, parsed: Parsed) -> list[ChunkDraft]:
        """The chunks of a text, in order, without overlap.

        Every character lies in exactly one chunk, except whitespace, heading lines, front matter and
        decorative rules (`---`). A text that would have no chunk so is chunked whole. Blocks are cut only if
        they do not fit.
        """
        text = parsed.text
        packs = self._pack(text, list(sections(parsed)), parsed.blocks)
        if not packs and text.strip():
            packs = self._pack(text, [Section(start=0, end=len(text))], parsed.blocks, keep_rules=True)
        return [
            ChunkDraft(
                ordinal=ordinal,
                start=pack.units[0].start,
                end=pack.units[-1].end,
                text=text[pack.units[0].start : pack.units[-1].end],
                heading=pack.label,
                page=pack.page,
            )
            for ordinal, pack in enumerate(packs)
        ]

    def _pack(
        self,
        text: str,
        parts: Sequence[Section],
        blocks: Sequence[tuple[int, int]],
        *,
        keep_rules: bool = False,
    ) -> list[_Pack]:
        units: list[_Unit] = []
        for number, section in enumerate(parts):
            for start, end, how in paragraphs(text, section, blocks):
                rule = how == "prose" and not keep_rules and _RULES.fullmatch(text, start, end) is not None
                # What is short enough is never cut, and needs no head.
                head = head_of(text, start, end) if how == "block" and end - start > self._max_tokens else None
                unit = _Unit(start=start, end=end, section=number, path=section.path, how=how, rule=rule)
                units.append(replace(unit, columns=head.columns, rows=head.rows) if head else unit)
        labels = self._labels([path for unit in units for path in (unit.path, unit.path_of_rows)])
        budgets = {path: self._max_tokens - tokens for path, (_, tokens) in labels.items()}
        packs = [
            _Pack(units=group, page=parts[group[0].section].page, labels=labels)
            for group in _greedy(text, self._fitting(text, units, budgets), budgets)
        ]
        return self._checked(text, packs)

    def _fitting(self, text: str, units: list[_Unit], budgets: _Budgets) -> list[_Unit]:
        """Cut units until each fits its budget, with one call of the tokenizer per round."""
        splitter = Splitter(self._count)
        done: list[_Unit] = []
        while units:
            sizes = weigh(self._count, [text[unit.start : unit.end] for unit in units])
            sized = [replace(unit, size=size) for unit, size in zip(units, sizes, strict=True)]
            fits = [unit.size <= budgets[unit.label_path] or unit.end - unit.start <= 1 for unit in sized]
            done += [unit for unit, fit in zip(sized, fits, strict=True) if fit]
            long = [unit for unit, fit in zip(sized, fits, strict=True) if not fit]
            splitter.learn(text[unit.start : unit.end] for unit in long if unit.how != "piece")
            units = [part for unit in long for part in _cut(text, unit, splitter, budgets[unit.label_path])]
        return sorted(done, key=lambda unit: unit.start)

    def _checked(self, text: str, packs: list[_Pack]) -> list[_Pack]:
        """Count what will be embedded, and divide what is too long after all.

        Sizes of parts add up exactly for WordPiece, and nearly so for others; so only packs near the limit
        are looked at.
        """
        while True:
            near = [n for n, pack in enumerate(packs) if pack.at_most > self._max_tokens]
            counts = self._count([packs[n].embedded(text) for n in near]) if near else []
            long = {n for n, count in zip(near, counts, strict=True) if count > self._max_tokens}
            divided: list[_Pack] = []
            for n, pack in enumerate(packs):
                divided += _divide(text, pack, self._count) if n in long else [pack]
            if divided == packs:
                return packs
            packs = divided

    def _labels(self, paths: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, int]]:
        """The heading path of each section as it is embedded, and its tokens."""
        titles = list({title: None for path in paths for title in path})
        counts = self._count([*titles, SEPARATOR])
        tokens = dict(zip(titles, counts, strict=False))
        labels = {}
        for path in dict.fromkeys(paths):
            kept = list(path)
            while len(kept) > 1 and sum(tokens[t] + counts[-1] for t in kept) > self._heading_tokens:
                kept.pop(0)
            labels[path] = SEPARATOR.join(kept)
        result = {}
        for (path, label), count in zip(labels.items(), self._count(list(labels.values())), strict=True):
            result[path] = self._shortened(label, count)
        return result

    def _shortened(self, label: str, tokens: int) -> tuple[str, int]:
        while tokens > self._heading_tokens and len(label) > 2:
            label = label[: max(1, len(label) * self._heading_tokens // (tokens + 2) - 1)].rstrip() + "…"
            tokens = self._count([label])[0]
        return label, tokens


_Path = tuple[str, ...]
_Budgets = dict[_Path, int]
"""By heading path: tokens that are left for the text below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """A span that is not cut if it fits. `how` says what it is, and so how it is cut otherwise."""

    start: int
    end: int
    section: int
    path: _Path
    how: How
    size: int = 0
    rule: bool = False
    columns: str = ""
    """Of a table and its rows: the names of its columns."""
    rows: int = 0
    """Where the first row of the table begins."""

    @property
    def path_of_rows(self) -> _Path:
        return (*self.path, self.columns) if self.columns else self.path

    @property
    def label_path(self) -> _Path:
        """The headings of a chunk that this unit opens: with the columns, where the table's head is in another."""
        return self.path if self.how == "block" or self.start < self.rows else self.path_of_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pack:
    """Units of one section, in order, that make a chunk."""

    units: list[_Unit]
    page: int | None
    labels: dict[_Path, tuple[str, int]]

    @property
    def label(self) -> str:
        return self.labels[self.units[0].label_path][0]

    @property
    def at_most(self) -> int:
        return self.labels[self.units[0].label_path][1] + sum(unit.size + _JOINT_TOKENS for unit in self.units)

    def embedded(self, text: str) -> str:
        body = text[self.units[0].start : self.units[-1].end]
        return f"{self.label}\n{body}" if self.label else body


def _cut(text: str, unit: _Unit, splitter: Splitter, budget: int) -> list[_Unit]:
    """Cut what is too long: a block by lines, prose at line ends that end something, lines by sentences."""
    spans: list[tuple[int, int]] = [(unit.start, unit.end)]
    how: How = "line"
    if unit.how == "block":
        lines = between(re.compile("\n"), text, unit.start, unit.end)
        spans = [(start, end) for start, end, _ in whole_lines(text, list(lines), "line")]
    elif unit.how == "prose":
        spans = [trim(text, span) for span in between(_SOFT_END, text, unit.start, unit.end)]
    if len(spans) < 2 and unit.how != "piece":
        spans = list(between(GAP, text, unit.start, unit.end))
    if len(spans) < 2 and unit.how != "piece":
        how = "piece"
        spans = splitter.split(text, (unit.start, unit.end), budget, unit.size)
    if len(spans) < 2:
        how = "piece"
        spans = halve(text, (unit.start, unit.end))
    return [replace(unit, start=start, end=end, how=how) for start, end in spans if start < end]


def _greedy(text: str, units: Sequence[_Unit], budgets: _Budgets) -> Iterator[list[_Unit]]:
    """Fill chunks in order, within sections. Rules neither open nor close a chunk.

    A chunk that is half full also ends before a unit whose own content says so. Without that, one row put into a long
    table would move the cuts of all rows after it; with it, the cuts fall back into step after a few chunks
    (content-defined chunking: Muthitacharoen et al., LBFS, 2001).
    """
    group: list[_Unit] = []
    size = 0
    for unit in units:
        if group:
            gap = surcharge(unit.start - group[-1].end)
            label = group[0].label_path
            # What follows the last rows of a table does not stand under its columns.
            apart = unit.section != group[0].section or (label != group[0].path and unit.label_path != label)
            full = apart or size + gap + unit.size > budgets[label]
            if full or (size * 2 >= budgets[label] and _is_anchor(text, unit)):
                yield _without_last_rules(group)
                group, size = [], 0
            else:
                size += gap
        if group or not unit.rule:
            group.append(unit)
            size += unit.size
    if group:
        yield _without_last_rules(group)


def _is_anchor(text: str, unit: _Unit) -> bool:
    return crc32(text[unit.start : unit.end].encode()) % _ANCHOR_IN == 0


def _without_last_rules(group: list[_Unit]) -> list[_Unit]:
    while group[-1].rule:
        group.pop()
    return group


def _divide(text: str, pack: _Pack, count_tokens: CountTokens) -> list[_Pack]:
    units = pack.units
    if len(units) == 1:
        halves = halve(text, (units[0].start, units[0].end))
        counted = weigh(count_tokens, [text[start:end] for start, end in halves])
        units = [
            replace(units[0], start=start, end=end, size=size)
            for (start, end), size in zip(halves, counted, strict=True)
        ]
        if len(units) == 1:
            return [pack if units[0].end - units[0].start < 2 else replace(pack, units=units)]
    middle = len(units) // 2
    return [
        replace(pack, units=part)
        for part in (_without_last_rules(units[:middle]), _without_rules(units[middle:]))
        if part
    ]


def _without_rules(group: list[_Unit]) -> list[_Unit]:
    while group and group[0].rule:
        group = group[1:]
    return group
