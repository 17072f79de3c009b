"""One function fetches from the internet, and it is guarded; everything else asks servers that it was given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

CLIENTS = {
    "httpx", "requests", "aiohttp", "urllib3", "httpcore", "http.client", "urllib.request", "ftplib", "pycurl",
    "websockets", "telnetlib", "smtplib",
}  # fmt: skip
KNOWN = {
    "ingest/fetch.py": {"httpx"},
    "ui/over_http/connection.py": {"httpx"},  # our own node
    "ui/over_http/sending.py": {"httpx"},  # and uploads to it
    "ui/node.py": {"httpx"},  # whether our own web app answers
    "retrieval/generators/server.py": {"httpx"},  # the server that the settings name
}
"""Who may hold an HTTP client, and which."""
_READS_A_URL = {"read_html", "read_csv", "read_excel", "read_xml", "read_json", "fromURL", "urlopen", "urlretrieve"}
"""Calls of libraries that fetch what looks like a URL to them."""


def test_nothing_but_the_guarded_fetch_asks_the_internet(modules: list[Path], root: Path) -> None:
    holders: dict[str, set[str]] = {}
    for file in modules:
        name = file.relative_to(root).as_posix()
        found = {client for client in imported(ast.parse(file.read_text())) if client in CLIENTS}
        if found - KNOWN.get(name, set()):
            holders[name] = found
    assert not holders


def test_no_library_is_handed_a_url_to_read(modules: list[Path], root: Path) -> None:
    callers = {
        f"{file.relative_to(root)}: {node.func.attr}"
        for file in modules
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _READS_A_URL
    }
    assert not callers


def test_the_fetch_is_still_where_it_is_looked_for(root: Path) -> None:
    assert all((root / name).is_file() for name in KNOWN)
    assert "httpx" in imported(ast.parse((root / "ingest" / "fetch.py").read_text()))


def imported(tree: ast.Module) -> set[str]:
    """Every module and package that is imported anywhere, also in functions and for types alone."""
    return {name for node in ast.walk(tree) for name in _names(node)}


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from (alias.name, alias.name.partition(".")[0])
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from (node.module, node.module.partition(".")[0])
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
