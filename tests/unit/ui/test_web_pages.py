"""The pages as Streamlit draws them, without a browser."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("streamlit.testing.v1")

APP = Path(__file__).parents[3] / "ui" / "web" / "app.py"


def test_a_node_that_does_not_answer_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("REPRISE_API", "http://127.0.0.1:9")
    app = AppTest.from_file(str(APP), default_timeout=30).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "does not answer" in app.error[0].value
    assert "reprise up" in app.error[0].value


def test_a_citation_is_shown_with_its_quote_cut_out_of_the_text() -> None:
    from ui.web.passage import window

    text = "a" * 30 + "QUOTE" + "b" * 30
    shown = window(text, 30, 35, around=10)
    assert shown == {
        "before": "a" * 10,
        "quote": "QUOTE",
        "after": "b" * 10,
        "cut_before": True,
        "cut_after": True,
    }
    whole = window(text, 30, 35)
    assert whole["before"] + whole["quote"] + whole["after"] == text
    assert not whole["cut_before"]
    assert not whole["cut_after"]


def test_an_edit_is_marked_word_by_word_and_stays_escaped() -> None:
    from ingest.compare import words
    from ui.web.views.document import _marked

    before, after = _marked(words("Within 30 days & <b>free</b>", "Within 60 days & <b>free</b>"))
    assert before == "Within <del>30</del> days &amp; &lt;b&gt;free&lt;/b&gt;"
    assert after == "Within <ins>60</ins> days &amp; &lt;b&gt;free&lt;/b&gt;"


def test_files_go_in_batches_and_a_named_one_goes_alone() -> None:
    from ui.web.views.upload import batches

    class File:
        def __init__(self, name: str) -> None:
            self.name = name

        def getvalue(self) -> bytes:
            return b"text"

    many = [File(f"{i}.md") for i in range(520)]
    assert [len(b) for b in batches(many, "default", "", None, False)] == [500, 20]
    assert [len(b) for b in batches(many[:3], "default", "", None, True)] == [1, 1, 1]
    (batch,) = batches(many[:1], "default", "other.md", 7, False)
    assert (batch[0].name, batch[0].explicit, batch[0].at) == ("other.md", True, 7)


def test_a_file_of_the_web_app_has_every_field_of_one_on_its_way_in() -> None:
    from dataclasses import fields

    from ingest.incoming import Incoming
    from ui.web.client import Upload

    assert {field.name for field in fields(Upload)} == {field.name for field in fields(Incoming)}


def test_the_web_app_imports_no_model() -> None:
    heavy = "{'torch', 'transformers', 'llama_index', 'qdrant_edge', 'sqlalchemy', 'celery'}"
    code = (
        "import sys, ui.web.pages, ui.web.passage, ui.web.marks\n"
        "from ui.web.views import adapters, chat, conversations, copies, index, jobs, library, preferences\n"
        "from ui.web.views import rehearsal, retention, schedule, search, sight, sources, system, upload\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
