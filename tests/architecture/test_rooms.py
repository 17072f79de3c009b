"""A module is a room: it says what it is for, is not too large, and has a name that means something."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

MOST_LINES = 400
EMPTY_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "manager",
    "managers",
    "base",
    "common",
    "misc",
    "core",
    "stuff",
}
HEAVY = {
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "sentence_transformers",
    "llama_index",
    "streamlit",
    "openai",
    "qdrant_edge",
}
ADAPTERS = {
    "kernel/index/edge.py": {"qdrant_edge"},  # the embedded engine; only the wiring imports it
    "finetune/model.py": {"torch"},  # these are the training process, and nothing else imports them
    "finetune/training.py": {"torch"},
    "finetune/checkpoint.py": {"torch"},
    "finetune/restraint.py": {"torch"},
    "finetune/deltas.py": {"torch"},
    "finetune/generator/model.py": {"torch"},  # and these, that of generators
    "finetune/generator/training.py": {"torch", "transformers"},
    "finetune/generator/trainers.py": {"torch", "trl", "datasets"},
    "finetune/generator/checks.py": {"torch", "transformers"},
}
"""Modules whose business is one heavy library, imported at their top; others import it where it is needed."""


def test_every_module_says_what_it_is_for(modules: list[Path], root: Path) -> None:
    silent = [str(file.relative_to(root)) for file in modules if not ast.get_docstring(ast.parse(file.read_text()))]
    assert not silent


def test_no_room_is_too_large(modules: list[Path], root: Path) -> None:
    lines = {str(file.relative_to(root)): len(file.read_text().splitlines()) for file in modules}
    assert not {name: n for name, n in lines.items() if n > MOST_LINES}


def test_no_room_has_an_empty_name(modules: list[Path], root: Path) -> None:
    named = {part for file in modules for part in file.relative_to(root).with_suffix("").parts}
    assert not named & EMPTY_NAMES


def test_no_page_of_the_web_app_is_named_after_a_dependency(modules: list[Path], root: Path) -> None:
    """Streamlit puts its script's folder first on `sys.path`: the file would be imported in its place."""
    from importlib.metadata import packages_distributions

    names = {file.stem for file in modules if file.parent == root / "ui" / "web"} - {"__init__", "app"}
    assert not names & set(packages_distributions())


def test_heavy_libraries_are_imported_where_they_are_needed(modules: list[Path], root: Path) -> None:
    early: dict[str, set[str]] = {}
    for file in modules:
        name = file.relative_to(root).as_posix()
        allowed = {"streamlit"} if name.startswith("ui/web/") else ADAPTERS.get(name, set())
        found = {package.partition(".")[0] for package in _imported_at_once(ast.parse(file.read_text()).body)}
        if found & HEAVY - allowed:
            early[name] = found & HEAVY - allowed
    assert not early


def _imported_at_once(body: list[ast.stmt]) -> Iterator[str]:
    """What importing this body imports; what stands in functions or under TYPE_CHECKING does not count."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
        elif isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from _imported_at_once(node.body)
            yield from _imported_at_once(node.orelse)
        elif isinstance(node, ast.Try | ast.With | ast.ClassDef):
            yield from _imported_at_once(node.body)
