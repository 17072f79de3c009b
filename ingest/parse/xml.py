"""XML of any kind: the words of its elements, in their order; feeds (RSS, Atom) as items under headings.

Elements that name themselves (a `title` or `name` first) become headings, runs of alike flat elements become tables,
short leaves are lines `tag: words`. Entities are refused, never expanded, and nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ingest.parse import html
from ingest.parse.compose import Composer
from ingest.parse.encoding import declared_in_xml, decode_noting
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import damaged, wordless
from ingest.parse.titles import MAX_HEADING_CHARS, one_line, plausible_title, stem
from kernel.errors import FileRefused
from kernel.types import Parsed

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MEDIA_TYPE = "application/xml"

_DECLARATION = re.compile(r"\s*<\?xml\b[^>]*\?>")
_TITLES = ("title", "name", "heading", "head", "label", "caption")
_PROSE = ("p", "para", "simpara", "paragraph", "text", "description", "desc", "summary", "content", "body", "abstract")
_LINE_CHARS = 300
_CELL_CHARS = 1000
_ITEM_LINES = ("pubDate", "published", "updated", "date", "creator", "author", "link", "category")
_DEEPEST_HEADING = 6


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The words of the file. The title is its first title, else the stem.

    Raises:
        FileRefused: `broken_xml`, `unsafe_xml` for one that declares entities, `limit_max_text_mb`, or `no_text`.
    """
    text, notes = decode_noting(content, name, declared_in_xml(content))
    root = _root(_DECLARATION.sub("", text, count=1).lstrip(), name)
    composer = Composer(name, limits)
    for note in notes:
        composer.note(note)
    if _tag(root) in ("rss", "RDF", "feed"):
        _feed(root, composer, name, limits)
    else:
        _write(root, composer)
    if composer.is_empty:
        raise wordless(name, "Its elements hold no words.")
    return composer.finish(title=plausible_title(composer.first_title) or stem(name), media_type=MEDIA_TYPE)


def _root(text: str, name: str) -> Element:
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        # A DOCTYPE alone does no harm; what it may declare does.
        root: Element = fromstring(text, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as exc:
        raise FileRefused(
            f"{name!r} declares entities of its own ({type(exc).__name__}), which could grow without end or read files",
            hint="Save it without a DOCTYPE, entities replaced by their text (`xmllint --noent --dropdtd` does that).",
            code="unsafe_xml",
        ) from exc
    except (ParseError, ValueError) as exc:
        raise damaged(name, "XML file", str(exc), "broken_xml") from exc
    return root


def _feed(root: Element, composer: Composer, name: str, limits: Limits) -> None:
    channel = next((child for child in root if _tag(child) == "channel"), root)
    composer.heading(1, _words(_child(channel, "title")))
    composer.paragraph(_words(_child(channel, "description")) or _words(_child(channel, "subtitle")))
    for item in [element for element in root.iter() if _tag(element) in ("item", "entry")]:
        composer.heading(2, _plain(_words(_child(item, "title")), name, limits) or "Untitled")
        lines = []
        for tag in _ITEM_LINES:
            found = [_words(child) or child.get("href", "") for child in item if _tag(child) == tag]
            if words := ", ".join(one_line(word) for word in found if word.strip()):
                lines.append(f"{tag}: {words}")
        composer.paragraph("\n".join(lines))
        for tag in ("encoded", "content", "description", "summary"):
            body = _child(item, tag)
            if body is not None and (words := _words(body)).strip():
                # The longest of these is the article, and the others are shortened copies of it.
                composer.part(html.fragment(words, name, limits), below=2)
                break


def _write(root: Element, composer: Composer) -> None:
    """Walk without recursion, since files nest deeper than Python's stack allows."""
    stack: list[tuple[Iterator[list[Element]], int]] = [(iter([[root]]), 1)]
    while stack:
        runs, level = stack[-1]
        run = next(runs, None)
        if run is None:
            stack.pop()
        elif len(run) == 1:
            stack.append((iter(_open(run[0], composer, level)), level + (_name(run[0]) is not None)))
        elif rows := _rows(run):
            composer.table(rows)
        else:
            stack.append((iter([[element] for element in run]), level))


def _open(element: Element, composer: Composer, level: int) -> list[list[Element]]:
    """Write what is an element's own, and hand back its children, in runs of one tag, that are still to be written."""
    name = _name(element)
    if _is_leaf(element) or _is_mixed(element):
        words = _words(element)
        attributes = "" if words.strip() else ", ".join(f"{_bare(k)}={v}" for k, v in element.attrib.items())
        if _tag(element) in _PROSE or len(words) > _LINE_CHARS or _is_mixed(element):
            composer.paragraph(_paragraph(words))
        elif one_line(words) or attributes:
            composer.item(f"{_tag(element)}: {one_line(words) or attributes}")
        return []
    if name is not None:
        composer.heading(min(level, _DEEPEST_HEADING), _words(name))
    runs: list[list[Element]] = []
    for child in element:
        if child is name or not isinstance(child.tag, str):
            continue
        if runs and runs[-1][0].tag == child.tag and not _is_leaf(child):
            runs[-1].append(child)
        else:
            runs.append([child])
    return runs


def _rows(run: Sequence[Element]) -> list[list[str]]:
    """Head and rows, if the elements are records: attributes and leaves only, each once."""
    records = []
    for element in run:
        record = {_bare(key): value for key, value in element.attrib.items()}
        for child in element:
            if not _is_leaf(child) or _tag(child) in record or len(_words(child)) > _CELL_CHARS:
                return []
            record[_tag(child)] = _words(child)
        records.append(record)
    columns = list(dict.fromkeys(key for record in records for key in record))
    if not columns or sum(map(len, records)) < len(columns) * len(records) * 0.4:
        return []
    return [columns] + [[record.get(column, "") for column in columns] for record in records]


def _name(element: Element) -> Element | None:
    """The child by which an element is called, if it comes first."""
    first = next((child for child in element if isinstance(child.tag, str)), None)
    if first is None or len(element) < 2 or _tag(first).lower() not in _TITLES:
        return None
    words = one_line(_words(first))
    return first if 0 < len(words) <= MAX_HEADING_CHARS and not any(len(child) for child in first) else None


def _is_leaf(element: Element) -> bool:
    return len(element) == 0


def _is_mixed(element: Element) -> bool:
    """Words and elements side by side: a paragraph with markup in it."""
    return len(element) > 0 and (
        (element.text or "").strip() != "" or any((child.tail or "").strip() for child in element)
    )


def _child(element: Element, tag: str) -> Element | None:
    return next((child for child in element if _tag(child) == tag), None)


def _words(element: Element | None) -> str:
    return "".join(element.itertext()) if element is not None else ""


def _plain(words: str, name: str, limits: Limits) -> str:
    """A title that may be escaped HTML."""
    return one_line(html.fragment(words, name, limits).text if "<" in words or "&" in words else words)


def _paragraph(words: str) -> str:
    lines = (" ".join(line.split()) for line in words.strip().split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _tag(element: Element) -> str:
    return _bare(element.tag) if isinstance(element.tag, str) else ""


def _bare(name: str) -> str:
    return name.rpartition("}")[2]
