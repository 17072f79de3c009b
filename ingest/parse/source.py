"""Program source: the file as it is written, with a heading where each class, function and method begins.

Pygments recognises the language and tells code from strings and comments; what defines something is told by the words
that languages use for it, and what lies within what by indentation. It parses no language, so that a file with errors
in it reads as well as another.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ingest.parse.encoding import decode_noting
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.titles import MAX_HEADING_CHARS, stem
from kernel.types import Heading, Parsed

MEDIA_TYPE = "text/x-source"

_MOST_CHARS = 1_000_000
"""Beyond this a file was written by a program, and Pygments would take minutes."""
_LINE_CHARS = 2000

_MODIFIERS = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|sealed|open|override|virtual|async"
    r"|partial|readonly|unsafe|extern|inline|const|data|case|pub(?:\([^)]*\))?|suspend|local|declare|mut|fileprivate"
    r"|synchronized|native|strictfp|tailrec|operator|infix|implicit|lazy)\s+)*"
)
_HOLDER = re.compile(
    _MODIFIERS + r"(?:class|struct|interface|trait|enum(?:\s+class)?|union|record|protocol|extension|module|namespace"
    r"|object|mixin|contract|defmodule|package(?=\s+\w+\s*\{)|impl(?:\s*<[^>]*>)?(?:\s+[\w:<>, ]+\s+for)?"
    r"|@interface|@implementation|companion\s+object)\s+([\w.:$]+)(?![^{]*;$)"
)
_GO_TYPE = re.compile(r"type\s+(\w+)\s+(?:struct|interface)\b")
_FUNCTION = re.compile(
    _MODIFIERS + r"(?:def|defp|function\*?|fn|func|fun|sub|proc|procedure|macro_rules!)(?:\s+\([^)]*\))?"
    r"\s+(?:self\.|[\w.<>]+\.)?([\w$!?=]+)"
)
_ARROW = re.compile(
    r"(?:export\s+)?(?:default\s+)?(?:const|let|var)\s+([\w$]+)\s*(?::[^=]+)?=\s*"
    r"(?:async\s*)?(?:function\b|\([^)]*\)[^=]*=>|\w+\s*=>)"
)
_NO_TYPE = (
    "if|for|while|switch|return|else|do|case|catch|new|delete|throw|sizeof|using|typedef|await|yield|in|and|or|not|assert"
    "|print|echo|goto|defer|go|select|when|with|foreach|lock|function|try|super|this"
)
_C_LIKE = re.compile(
    rf"(?!(?:{_NO_TYPE})\b)((?:[\w$@<>\[\],:*&~.?]+\s+)*)[*&]*([~\w$:]+)(?:<[^()]*>)?\s*\((?:[^;]*|[^()]*\)[^;]*\{{.*\}})$"
)
_TYPE_ALONE = re.compile(r"(?!else\b|do\b|try\b)[A-Za-z_][\w:<>*& ]*")
_SQL = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP(?:ORARY)?\s+)?(?:TABLE|VIEW|FUNCTION|PROCEDURE|TRIGGER|TYPE)\s+"
    r"(?:IF\s+NOT\s+EXISTS\s+)?([\w.\"`\[\]]+)",
    re.IGNORECASE,
)
_BRACED = frozenset(
    [
        "c",
        "cpp",
        "c++",
        "java",
        "csharp",
        "c#",
        "js",
        "javascript",
        "typescript",
        "ts",
        "dart",
        "php",
        "kotlin",
        "scala",
        "objective-c",
        "groovy",
        "solidity",
        "glsl",
        "hlsl",
        "cuda",
        "jsx",
        "tsx",
        "arduino",
        "d",
        "vala",
        "swift",
    ]
)
_CLOSES = re.compile(r"(?:end|fi|done|esac|endif|endfunction)?[\s;,.]*")
_COMMENT = re.compile(r"\s*(?:///?|/\*|\*|#|--|;|%|\"\"\")")
_LABEL = re.compile(r"[\w\s]+:")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A definition whose lines are being walked through."""

    indent: int
    name: str
    holds: bool
    """A class or the like, whose methods are headings below it."""


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The decoded source. The title is the file's stem; every block ends where the next heading begins.

    Raises:
        FileRefused: `undecodable_text`, `binary_content` or `limit_max_text_mb`.
    """
    text, notes = decode_noting(content, name)
    limits.check(name, "max_text_mb", len(text) / 1e6, "million characters")
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    headings: list[Heading] = []
    lexer = _lexer(name, text)
    if len(text) > _MOST_CHARS:
        notes = (*notes, f"The file is longer than {_MOST_CHARS:,} characters; its definitions were not looked for.")
    elif lexer is not None:
        code = _code_lines(text, starts, lexer)
        outline = _Outline(lines, code, {alias.lower() for alias in lexer.aliases}, stem(name))
        headings = [Heading(start=starts[line], level=level, title=title) for line, level, title in outline.read()]
    cuts = sorted({0, *(heading.start for heading in headings), len(text)})
    blocks = [(start, end) for start, end in pairwise(cuts) if text[start:end].strip()]
    return Parsed(
        text=text,
        title=stem(name),
        media_type=f"{MEDIA_TYPE}; language={lexer.aliases[0]}" if lexer and lexer.aliases else MEDIA_TYPE,
        headings=tuple(headings),
        blocks=tuple(blocks),
        notes=notes,
    )


def _lexer(name: str, text: str) -> Any:
    from pathlib import PurePath

    from pygments.lexers import get_lexer_for_filename, guess_lexer
    from pygments.util import ClassNotFound

    # Pygments drops empty lines at both ends unless told not to, and offsets would be off.
    options = {"stripnl": False, "ensurenl": False}
    try:
        return get_lexer_for_filename(PurePath(name).name, text[:10_000], **options)
    except ClassNotFound:
        pass
    try:
        return guess_lexer(text[:2000], **options) if text.startswith("#!") else None
    except ClassNotFound:
        return None


def _code_lines(text: str, starts: list[int], lexer: Any) -> list[bool]:
    """Of each line, whether its first word is code: neither within a string or comment nor blank."""
    from pygments.token import Comment, String

    # A decorator or an attribute counts as code; it is attached to what it stands above later on.
    code = [True] * (len(starts) - 1)
    position = 0
    for kind, value in lexer.get_tokens(text):
        if (kind in Comment and kind not in Comment.Preproc) or (kind in String and len(value) > 1):
            first = bisect_right(starts, position) - 1
            last = bisect_right(starts, position + max(len(value) - 1, 0)) - 1
            if text[starts[first] : position].strip():
                first += 1
            for line in range(first, min(last + 1, len(code))):
                code[line] = False
        position += len(value)
    return code


class _Outline:
    """Walks the lines once and notes where definitions begin, and where code goes on that is in none of them."""

    def __init__(self, lines: list[str], code: list[bool], language: set[str], module: str) -> None:
        self._lines, self._code, self._module = lines, code, module
        self._braced, self._sql = bool(language & _BRACED), any("sql" in alias for alias in language)
        self._found: list[tuple[int, int, str]] = []
        self._open: list[_Open] = []
        self._decorated: int | None = None  # the first decorator above what comes next
        self._left: tuple[int, int, str] | None = None  # code behind a definition, further out
        self._has_left = False

    def read(self) -> list[tuple[int, int, str]]:
        """(line, level, title) of each heading, in order."""
        for number, line in enumerate(self._lines):
            words = line.strip()
            if self._code[number] and words and len(line) <= _LINE_CHARS and not self._is_tail(words):
                self._line(number, len(line) - len(line.lstrip()), words)
        self._go_on()
        return self._found

    def _is_tail(self, words: str) -> bool:
        """A line that ends or goes on with something, at whatever indentation: it leads nowhere else."""
        if words[0] in ")]}{" or _CLOSES.fullmatch(words):
            return True
        return self._braced and ((words[0] == "#" and words[1:2] != "[") or _LABEL.fullmatch(words) is not None)

    def _line(self, number: int, indent: int, words: str) -> None:
        if self._open and indent > self._open[-1].indent and not self._open[-1].holds:
            return  # inside a function
        if self._decorated is not None and indent > _indent(self._lines[self._decorated]):
            return  # what a decorator is called with
        while self._open and indent <= self._open[-1].indent:
            self._open.pop()
            self._has_left = True
        attribute = words.startswith(("@", "#[")) or (self._braced and words[0] == "[" and words[-1] == "]")
        if attribute and not _HOLDER.match(words):
            self._decorated = number if self._decorated is None else self._decorated
            return
        if named := self._named(words, typed=number > 0 and self._is_type(number - 1)):
            self._define(number, indent, *named)
            return
        if self._has_left:
            self._go_on()
            title = self._open[-1].name if self._open else self._module
            first = number if self._decorated is None else self._decorated
            self._left = (first, max(len(self._open), 1), title)
            self._has_left = False
        self._decorated = None

    def _define(self, number: int, indent: int, name: str, holds: bool) -> None:
        first = number if self._decorated is None else self._decorated
        if first > 0 and not holds and self._is_type(first - 1):
            first -= 1
            if self._left is not None and self._left[0] == first:
                self._left = None
        self._go_on()
        lowest = self._found[-1][0] + 1 if self._found else 0
        while first > lowest and self._is_comment(first - 1, indent):
            first -= 1
        self._open.append(_Open(indent=indent, name=name, holds=holds))
        self._found.append((first, min(len(self._open), 9), name[:MAX_HEADING_CHARS]))
        self._decorated, self._has_left = None, False

    def _go_on(self) -> None:
        if self._left is not None:
            self._found.append(self._left)
            self._left = None

    def _is_comment(self, number: int, indent: int) -> bool:
        """A comment right above a definition belongs to it."""
        line = self._lines[number]
        return (
            not self._code[number]
            and not line.startswith("#!")
            and _indent(line) >= indent
            and _COMMENT.match(line) is not None
        )

    def _is_type(self, number: int) -> bool:
        """The type of a C function, on a line of its own."""
        line = self._lines[number]
        return (
            self._braced and self._code[number] and line[:1].strip() != "" and _TYPE_ALONE.fullmatch(line) is not None
        )

    def _named(self, words: str, *, typed: bool) -> tuple[str, bool] | None:
        """The name that a line defines, and whether it holds others; None for any other line."""
        if match := _HOLDER.match(words) or _GO_TYPE.match(words):
            return match[1].strip(":."), True
        if match := _FUNCTION.match(words) or _ARROW.match(words):
            return match[1], False
        if self._sql and (match := _SQL.match(words)):
            return match[1], False
        match = _C_LIKE.match(words) if self._braced else None
        if match and words.endswith(("{", "}", ")", ",", "(")) and (match[1].strip() or typed or words.endswith("{")):
            return match[2].rpartition("::")[2] or match[2], False
        return None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
