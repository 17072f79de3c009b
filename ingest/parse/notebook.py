"""Jupyter notebooks: Markdown cells with their headings, code cells as blocks, and what the code printed.

Pictures and widgets among the outputs are left out. Notebooks of older formats are converted first, by nbformat.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ingest.parse import markdown
from ingest.parse.compose import Composer
from ingest.parse.encoding import decode
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import damaged, wordless
from ingest.parse.titles import plausible_title, stem
from kernel.errors import FileRefused
from kernel.types import Parsed

MEDIA_TYPE = "application/x-ipynb+json"

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_REDRAWN = re.compile(r"[^\n]*\r(?!\n)")


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The cells in their order. The title is the notebook's own, else its first heading, else the stem.

    Raises:
        FileRefused: `broken_ipynb`, `limit_max_members`, `limit_max_text_mb`, or `no_text`.
    """
    composer = Composer(name, limits)
    try:
        notebook = _loaded(decode(content, name))
        limits.check(name, "max_members", len(notebook["cells"]), "cells")
        pictures = sum([_write(cell, composer, name, limits) for cell in notebook["cells"]])
        said = notebook.get("metadata", {}).get("title")
    except FileRefused:
        raise
    except Exception as exc:
        raise damaged(name, "Jupyter notebook", f"{type(exc).__name__}: {exc}", "broken_ipynb") from exc
    if composer.is_empty:
        raise wordless(name, "Its cells are empty; give one with something in it.")
    if pictures:
        composer.note(f"Pictures and widgets among the outputs were left out ({pictures}).")
    title = plausible_title(said) if isinstance(said, str) else None
    return composer.finish(title=title or composer.first_title or stem(name), media_type=MEDIA_TYPE)


def _loaded(text: str) -> Any:
    """The notebook in the form of today. It is not validated: many that people use would not pass."""
    from nbformat import convert
    from nbformat.reader import reads

    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("it is no object")
    if data.get("nbformat") == 4 and isinstance(data.get("cells"), list):
        # What nbformat insists on and other programs leave out.
        data.setdefault("metadata", {})
        for cell in data["cells"]:
            cell.setdefault("metadata", {})
        text = json.dumps(data)
    return convert(reads(text), 4)


def _write(cell: Any, composer: Composer, name: str, limits: Limits) -> int:
    """Write a cell; how many of its outputs are pictures."""
    source = _joined(cell.get("source"))
    if cell.get("cell_type") != "code":
        if cell.get("cell_type") == "markdown" and source.strip():
            composer.part(markdown.read(source.strip("\n").encode(errors="replace"), name, limits))
        else:
            composer.paragraph(source)
        return 0
    composer.code(source)
    pictures = 0
    for output in cell.get("outputs") or ():
        data = output.get("data") or {}
        if output.get("output_type") == "stream":
            composer.code(_printed(_joined(output.get("text"))))
        elif output.get("output_type") == "error":
            composer.code(f"{output.get('ename', 'Error')}: {output.get('evalue', '')}")
        elif "text/markdown" in data:
            composer.paragraph(_joined(data["text/markdown"]))
        elif any(kind.startswith(("image/", "application/")) for kind in data):
            pictures += 1
        elif "text/plain" in data:
            composer.code(_printed(_joined(data["text/plain"])))
    return pictures


def _joined(source: Any) -> str:
    """The source of a cell: a string, or a list of lines."""
    return "".join(map(str, source)) if isinstance(source, list) else str(source or "")


def _printed(text: str) -> str:
    """What a terminal shows in the end: no colours, and of a line that was drawn again only the last."""
    return _REDRAWN.sub("", _COLOURS.sub("", text).replace("\r\n", "\n"))
