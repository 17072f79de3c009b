"""What may be loaded by whom. Each case is a fresh interpreter: an import is for the life of a process."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODELS = {
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "sentence_transformers",
    "llama_index",
    "sklearn",
    "scipy",
}
HEAVY = MODELS | {
    "streamlit",
    "qdrant_client",
    "qdrant_edge",
    "alembic",
    "sqlalchemy",
    "numpy",
    "openai",
    "pandas",
}


def loaded_by(code: str) -> set[str]:
    """Top-level names of all modules in an interpreter that ran `code`."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy() -> None:
    code = """
from typer.testing import CliRunner
from ui.cli import app
result = CliRunner().invoke(app, ["--help"])
assert result.exit_code == 0 and "ingest" in result.output, result.output
"""
    assert not loaded_by(code) & (HEAVY | {"celery", "fastapi", "pydantic", "httpx"})


@pytest.mark.parametrize("module", ["kernel.types", "kernel.ports", "kernel.errors", "kernel.ids", "kernel.settings"])
def test_the_vocabulary_loads_nothing_heavy(module: str) -> None:
    assert not loaded_by(f"import {module}") & (HEAVY | {"celery", "fastapi", "httpx"})


def test_the_celery_app_loads_no_engine_and_no_model() -> None:
    assert not loaded_by("import kernel.celery_app") & HEAVY


def test_the_client_of_a_node_loads_no_engine_and_no_model() -> None:
    assert not loaded_by("import ui.remote") & HEAVY


@pytest.mark.parametrize("module", ["ui.wiring", "ui.platform", "ui.node", "ui.cluster", "ui.api.app"])
def test_the_doors_load_no_model(module: str) -> None:
    """Health checks answer at once: models load in the background, when a process needs them."""
    assert not loaded_by(f"import {module}") & (MODELS | {"streamlit"})


def test_the_web_app_loads_no_model_and_no_engine() -> None:
    """Streamlit's process talks to a node over HTTP; torch in it makes Streamlit's file watcher stumble."""
    code = """
import importlib, pkgutil, ui.web
for module in pkgutil.walk_packages(ui.web.__path__, "ui.web."):
    importlib.import_module(module.name)
"""
    loaded = loaded_by(code)
    assert "streamlit" in loaded
    assert not loaded & (MODELS | {"qdrant_client", "qdrant_edge", "sqlalchemy", "celery", "fastapi"})
