"""What the tests of the house share: where it stands, its files, and its command line as a parser."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("kernel", "ingest", "retrieval", "rehearsal", "finetune", "ui")
_LEFT_OUT = {
    ".git",
    ".venv",
    ".reprise",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    "node_modules",
}
_PLACEHOLDER = re.compile(r"<[^<>]+>|[A-Z][A-Z_]*…?")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def modules() -> list[Path]:
    """Our modules, the migrations' scripts left out: those are written by a tool."""
    found = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    return [file for file in found if file.parent.name != "versions"]


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """Every file of the project: what git tracks or would, or all that is there where this is no checkout."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        files = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        files = [file for file in ROOT.rglob("*") if not _LEFT_OUT & set(file.relative_to(ROOT).parts)]
    return [file for file in files if file.is_file()]


@pytest.fixture(scope="session")
def parses() -> Callable[[str], None]:
    """Checks a `reprise …` line against the command line, running nothing. Raises what the parser raises."""
    from ui.cli import app

    command = typer.main.get_command(app)

    def check(line: str) -> None:
        _parse(command, "reprise", [_value(word) for word in shlex.split(line, comments=True)[1:]], None)

    return check


def _parse(command: Any, name: str, words: list[str], parent: Any) -> None:
    if "--help" in words[:1]:
        return
    context = command.make_context(name, words, parent=parent)
    if hasattr(command, "resolve_command"):
        if not context.args and not context._protected_args and command.invoke_without_command:
            return  # a group that does something by itself
        sub_name, sub, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        _parse(sub, sub_name, rest, context)


def _value(word: str) -> str:
    """A value that fits wherever a page writes a placeholder, such as VERSION or DOC."""
    return "1" if _PLACEHOLDER.fullmatch(word) else word
