"""reStructuredText: sections, paragraphs, lists, tables and code as docutils reads them.

Nothing is included or fetched and no raw output is taken. Roles and directives that docutils does not know (those of
Sphinx) are read for their words: a role is what it shows, a directive its content.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ingest.parse.compose import Composer
from ingest.parse.encoding import decode_noting
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.titles import stem
from kernel.types import Parsed

if TYPE_CHECKING:
    from docutils import nodes

MEDIA_TYPE = "text/x-rst"

_ROLE = re.compile(r":[\w:+.-]+:`([^`]*?)(?:\s*<[^<>`]*>)?`")
_DIRECTIVE = re.compile(r"\.\. (?:\|[^|\n]*\| )?([\w:+.-]+)::[ \t]*(.*)")
_OPTION = re.compile(r"[ \t]*:[\w -]+:(?:[ \t].*)?")
_MOST_CHARS = 500_000
"""Beyond this docutils would take minutes."""
_MOST_WITHIN = 4
_CHANGES = {
    "versionadded": "New in version {}.",
    "versionchanged": "Changed in version {}.",
    "deprecated": "Deprecated since version {}.",
}
_WITHOUT_WORDS = ("toctree", "index", "currentmodule", "module", "highlight", "contents")
_UNSEEN = (*("comment", "substitution_definition", "target", "pending", "raw", "meta", "image", "docinfo_item"),)


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The words in their order. The title is the first heading of level 1, else the file's stem.

    Raises:
        FileRefused: `undecodable_text`, `binary_content` or `limit_max_text_mb`.
    """
    text, notes = decode_noting(content, name)
    limits.check(name, "max_text_mb", len(text) / 1e6, "million characters")
    composer = Composer(name, limits)
    why = f"is longer than {_MOST_CHARS:,} characters" if len(text) > _MOST_CHARS else ""
    if not why:
        try:
            _Reader(composer).walk(_tree(text), level=0)
        except RecursionError:
            why, composer = "nests its lists too deeply", Composer(name, limits)
    if why:
        composer.note(f"The file {why}; its text was kept as it is written.")
    for note in notes:
        composer.note(note)
    if composer.is_empty:
        composer.paragraph(text)  # it, or comments and definitions alone
    return composer.finish(title=composer.first_title or stem(name), media_type=MEDIA_TYPE)


def _tree(text: str) -> nodes.document:
    from docutils.frontend import get_default_settings
    from docutils.parsers.rst import Parser
    from docutils.utils import new_document

    settings = get_default_settings(Parser)
    settings.file_insertion_enabled = False
    settings.raw_enabled = False
    settings.report_level = 5  # nothing goes to the terminal
    settings.halt_level = 6
    settings.syntax_highlight = "none"
    document = new_document("text", settings)
    Parser().parse(text, document)
    return document


class _Reader:
    """Walks what docutils made. Substitutions are put in; references are the words that they show."""

    def __init__(self, composer: Composer, within: int = 0) -> None:
        self._composer = composer
        self._within = within
        self._substitutions: dict[str, str] = {}

    def walk(self, parent: nodes.Node, *, level: int, depth: int = -1) -> None:
        """Write the blocks of a node; `level` is that of the section around it, `depth` counts lists, from 0."""
        if level == 0 and depth < 0:
            for definition in _every(parent, "substitution_definition"):
                self._substitutions[definition["names"][0] if definition["names"] else ""] = definition.astext()
        first = depth >= 0
        for node in parent.children:
            first = self._block(node, level, depth, first) and first

    def _block(self, node: Any, level: int, depth: int, first: bool) -> bool:
        """Write one block; whether the next one is still the first of its list item."""
        kind = type(node).__name__
        if kind == "section":
            self.walk(node, level=level + 1)
        elif kind == "title" and type(node.parent).__name__ in ("section", "document"):
            self._composer.heading(max(level, 1), self._words(node))
        elif kind == "topic" and "contents" in node["classes"]:
            return first
        elif kind in ("paragraph", "title"):
            self._say(self._words(node), depth, first)
            return False
        elif kind in ("literal_block", "doctest_block", "math_block", "line_block"):
            self._composer.code(self._lines(node) if kind == "line_block" else node.astext())
        elif kind in ("bullet_list", "enumerated_list"):
            for item in node.children:
                self.walk(item, level=level, depth=depth + 1)
        elif kind in ("definition_list_item", "field", "option_list_item"):
            self._described(node, level, depth)
        elif kind == "table":
            self._table(node)
        elif kind in ("footnote", "citation"):
            label = next(iter(_every(node, "label")), None)
            body = " ".join(self._words(p) for p in _every(node, "paragraph"))
            self._composer.paragraph(f"[{label.astext()}] {body}" if label is not None else body)
        elif kind == "system_message":
            self._unknown(node, level)
        elif kind == "problematic" or kind.endswith("reference") or kind == "Text":
            self._say(self._words(node), depth, first)
        elif kind not in _UNSEEN:
            self.walk(node, level=level, depth=depth)  # a note, a quote, a figure, a list of definitions
        return True

    def _say(self, text: str, depth: int, first: bool) -> None:
        if depth >= 0:
            self._composer.item(text, depth, marked=first)
        else:
            self._composer.paragraph(text)

    def _described(self, item: Any, level: int, depth: int) -> None:
        """A term and what it means, a field and its value: on one line where that is short."""
        terms = [
            child for child in item.children if type(child).__name__ not in ("definition", "field_body", "description")
        ]
        bodies = [child for child in item.children if child not in terms]
        term = ", ".join(self._words(child) for child in terms)
        paragraphs = [child for body in bodies for child in body.children]
        if len(paragraphs) == 1 and type(paragraphs[0]).__name__ == "paragraph":
            self._say(f"{term}: {self._words(paragraphs[0])}", max(depth, 0), True)
            return
        self._say(term, max(depth, 0), True)
        for body in bodies:
            for child in body.children:
                self._block(child, level, max(depth, 0), False)

    def _table(self, table: Any) -> None:
        for title in _every(table, "title"):
            self._composer.paragraph(self._words(title))
        rows, heads = [], 0
        for row in _every(table, "row"):
            heads += type(row.parent).__name__ == "thead"
            cells: list[str] = []
            for entry in row.children:
                words = " ".join(self._words(block) for block in _leaves(entry))
                cells += [words, *[""] * entry.get("morecols", 0)]
            rows.append(cells)
        self._composer.table(rows, has_head=heads > 0)

    def _unknown(self, message: Any, level: int) -> None:
        """What docutils could not read: a directive of Sphinx, mostly, whose content is text like any other."""
        for block in _every(message, "literal_block"):
            head, _, rest = block.astext().partition("\n")
            match = _DIRECTIVE.match(head)
            if match is None:
                continue  # a table or list with a flaw: docutils repeats its source here
            kind = match[1].rpartition(":")[2]
            if kind in _WITHOUT_WORDS:
                continue
            if kind in ("include", "literalinclude", "raw"):
                self._composer.note(f"What the directive {kind!r} would put in ({match[2].strip()}) was left out.")
                continue
            lines = rest.split("\n")
            while lines and (not lines[0].strip() or _OPTION.fullmatch(lines[0])):
                lines.pop(0)
            body = _dedented(lines)
            words = _ROLE.sub(r"\1", match[2].strip())
            if kind in ("code-block", "sourcecode", "prompt", "productionlist", "math", "graphviz"):
                self._composer.code(body)
                continue
            if words:
                self._composer.paragraph(_CHANGES.get(kind, "{}").format(words))
            if body.strip():
                if self._within < _MOST_WITHIN:
                    _Reader(self._composer, self._within + 1).walk(_tree(body), level=level)
                else:
                    self._composer.paragraph(body)

    def _lines(self, block: Any) -> str:
        return "\n".join(self._words(line) for line in _every(block, "line"))

    def _words(self, node: Any) -> str:
        """The words of a paragraph, on the lines of the source joined."""
        pieces = []
        for part in node.findall(lambda inner: not inner.children):
            kind, parent = type(part).__name__, type(part.parent).__name__
            if kind != "Text" or parent == "raw":
                continue
            text = part.astext()
            if parent in ("footnote_reference", "citation_reference"):
                text = f"[{text}]"
            elif parent == "substitution_reference":
                text = self._substitutions.get(text, text)
            elif parent == "problematic":
                text = _ROLE.sub(r"\1", text)
            pieces.append(text)
        return " ".join("".join(pieces).split("\n"))


def _every(node: Any, kind: str) -> list[Any]:
    return [inner for inner in node.findall() if type(inner).__name__ == kind]


def _leaves(entry: Any) -> list[Any]:
    """The paragraphs and literal blocks of a cell."""
    return [node for node in entry.findall() if type(node).__name__ in ("paragraph", "literal_block", "line", "term")]


def _dedented(lines: list[str]) -> str:
    from textwrap import dedent

    return dedent("\n".join(lines))
