"""Which kind of text a text is: by its name's suffix where that says it, by its opening where it does not."""

from __future__ import annotations

import codecs
import re
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.parse.detect import Kind

_OF_KIND: tuple[tuple[Kind, str], ...] = (
    ("markdown", ".md .markdown .mdown .mkd .mdx"),
    ("html", ".html .htm .xhtml .shtml"),
    ("rst", ".rst .rest"),
    ("csv", ".csv .tsv .tab"),
    ("json", ".json .geojson"),
    ("jsonl", ".jsonl .ndjson"),
    ("xml", ".xml .rss .atom .svg"),
    ("ipynb", ".ipynb"),
    ("eml", ".eml"),
    ("plain", ".txt .text .adoc .asciidoc .org .tex .log .srt .vtt"),
)
_SUFFIXES: dict[str, Kind] = {suffix: kind for kind, suffixes in _OF_KIND for suffix in suffixes.split()}
SUFFIX_OF: dict[Kind, str] = {kind: suffixes.split()[0] for kind, suffixes in _OF_KIND} | {"plain": ".txt"}
"""The suffix that makes a text be read as a kind, whatever it is called otherwise."""

_SOURCE = "text/x-source"
_KIND_OF_MEDIA_TYPE: dict[str, Kind] = {
    "text/markdown": "markdown",
    "text/html": "html",
    "text/x-rst": "rst",
    "text/csv": "csv",
    "application/json": "json",
    "application/jsonl": "jsonl",
    "application/xml": "xml",
    "application/x-ipynb+json": "ipynb",
    "message/rfc822": "eml",
    "text/plain": "plain",
}

_COMMENTS = rb"(?:<!--(?:(?!-->).)*+-->\s*)*"
_OPENS_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?" + _COMMENTS + rb"<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_OPENS_XML = re.compile(rb"\s*<\?xml\b")
_ITS_ROOT = re.compile(
    rb"\s*(?:<\?[^>]*>\s*)*" + _COMMENTS + rb"(?:<!doctype\s+html\b|<(?:\w+:)?html[\s>])", re.I | re.S
)
_OPENS_MAIL = re.compile(rb"[A-Za-z][A-Za-z-]{1,40}:[ \t]")
_MAIL_HEADERS = re.compile(rb"^(from|to|date|subject|message-id|received|mime-version|return-path):", re.I | re.M)
_PROGRAM = re.compile(rb"#!\s*/\S*(?:bin|env)\b")
_JSON_BYTES = 1 << 22


def suffix_for(media_type: str) -> tuple[Kind, str] | None:
    """Which kind of text a media type stands for, and the suffix by which a file is read as that; None for others.

    It is what a restore needs: a person may have given the document any name.
    """
    if media_type.startswith(f"{_SOURCE};"):
        from pygments.lexers import find_lexer_class_by_name
        from pygments.util import ClassNotFound

        try:
            patterns = find_lexer_class_by_name(media_type.partition("language=")[2]).filenames
        except ClassNotFound:
            patterns = []
        # Any name of a program will do where the language has no suffix: its definitions are found all the same.
        suffix = next((pattern[1:] for pattern in patterns if pattern.startswith("*.") and "[" not in pattern), ".sh")
        return "source", suffix if suffix not in _SUFFIXES else ".sh"
    kind = _KIND_OF_MEDIA_TYPE.get(media_type)
    return (kind, SUFFIX_OF[kind]) if kind else None


def is_named_as_text(name: str) -> bool:
    return PurePath(name).suffix.lower() in _SUFFIXES


def kind_of_text(content: bytes, name: str, flavour: str | None) -> Kind:
    """Which parser reads this text. `flavour` is its UTF-16 or UTF-32 encoding, if it is in one."""
    suffix = PurePath(name).suffix.lower()
    head = content[:4096]
    opening = head.decode(flavour, "ignore").encode() if flavour else head.removeprefix(codecs.BOM_UTF8)
    kind = _SUFFIXES.get(suffix)
    if kind == "xml" and _ITS_ROOT.match(opening):
        return "html"  # XHTML, which is read by what it shows
    if kind is not None:
        return kind
    if _OPENS_HTML.match(opening):
        return "html"
    if _OPENS_XML.match(opening):
        return "xml"
    if _PROGRAM.match(opening) or _is_source(name):
        return "source"
    if len({match.lower() for match in _MAIL_HEADERS.findall(opening)}) >= 3 and _OPENS_MAIL.match(opening):
        return "eml"
    if opening.lstrip()[:1] in (b"{", b"[") and len(content) <= _JSON_BYTES:
        return _json(content, flavour)
    return "plain"


def _is_source(name: str) -> bool:
    from pygments.lexers import find_lexer_class_for_filename

    path = PurePath(name).name
    if not path or "\0" in path or len(path) > 255:
        return False
    lexer = find_lexer_class_for_filename(path)
    return lexer is not None and "text/plain" not in lexer.mimetypes


def _json(content: bytes, flavour: str | None) -> Kind:
    """A file without a telling name is JSON only if all of it is."""
    import json

    try:
        data = json.loads(content.decode(flavour or "utf-8-sig"))
    except (ValueError, RecursionError):
        return "plain"
    return "ipynb" if isinstance(data, dict) and "nbformat" in data and "cells" in data else "json"
