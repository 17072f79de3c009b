"""The doors of switching, maintaining and rechunking: command line and HTTP, with real models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import ui.wiring
from kernel.embedder import SentenceTransformerEmbedder
from kernel.settings import DEFAULT_EMBEDDER
from tests.doors import LIBRARY, Terminal, doors, opened, written
from tests.house import minilm
from tests.switching import assert_whole, tiny_model
from ui.api.app import make_app

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def _models() -> Iterator[None]:
    """The packaged model is loaded once; any other is loaded as ever."""
    with doors(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ui.wiring,
            "SentenceTransformerEmbedder",
            lambda name, *_: minilm() if name == DEFAULT_EMBEDDER else SentenceTransformerEmbedder(name, "float32"),
        )
        yield


def test_the_command_line_switches_the_embedder_and_back(quick_folder: Path, tiny: Path) -> None:
    terminal = Terminal(quick_folder / "home")
    assert terminal.json("ingest", str(written(quick_folder / "docs", LIBRARY)))["documents"]
    shown = terminal.json("embedder", "show")
    assert (shown["name"], shown["dimension"], shown["switching_to"]) == (DEFAULT_EMBEDDER, 384, None)
    unknown = terminal.error("embedder", "switch", str(quick_folder / "docs"))
    assert unknown["code"] == "bad_embedder"
    done = terminal.json("embedder", "switch", str(tiny), "--wait")
    assert (done["name"], done["dimension"], done["already"]) == (str(tiny), 32, False)
    assert terminal.json("embedder", "show")["name"] == str(tiny)
    hit = terminal.json("search", "The day of delivery does not count", "--k", "1")["hits"][0]
    assert "day of delivery" in hit["text"]
    assert {v["version"] for v in terminal.json("history", "summer camp.md")} >= {1}
    with terminal.inside() as platform:
        assert_whole(platform)
    told = terminal.type("embedder", "show", env={"REPRISE_EMBEDDER": DEFAULT_EMBEDDER})
    assert f"reprise embedder switch {DEFAULT_EMBEDDER}" in told.stdout
    back = terminal.json("embedder", "switch", DEFAULT_EMBEDDER)
    assert back["dimension"] == 384
    assert terminal.json("embedder", "cancel") == {"cancelled": [], "switching_to": None}
    assert terminal.json("maintain", "--wait")["why"] == "maintain"
    assert terminal.json("rechunk")["failed"] == []
    for words in (("embedder", "show"), ("embedder", "cancel"), ("rechunk",)):
        assert terminal.type(*words).exit_code == 0
    with terminal.inside() as platform:
        assert_whole(platform)


def test_a_node_switches_by_a_job(quick_folder: Path, tiny: Path) -> None:
    written(quick_folder / "docs", LIBRARY)
    Terminal(quick_folder / "home").json("ingest", str(quick_folder / "docs"))
    with opened(quick_folder / "home") as platform, TestClient(make_app(platform), base_url="http://127.0.0.1") as http:
        assert http.get("/v1/embedder").json()["job"] is None
        refused = http.post("/v1/embedder/switch", json={"model": str(quick_folder)})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_embedder")
        answer = http.post("/v1/embedder/switch", json={"model": str(tiny)})
        assert answer.status_code == 202
        job = answer.json()["job"]
        assert http.get("/v1/embedder").json()["job"] == job
        platform.w.ledger.run(job)
        assert http.get(f"/v1/jobs/{job}").json()["state"] == "done"
        assert http.get("/v1/embedder").json()["name"] == str(tiny)
        assert http.get("/v1/status").json()["embedder"] == str(tiny)
        found = http.post("/v1/search", json={"query": "When does the camp gate open?"}).json()["hits"]
        assert found
        again = http.post("/v1/index/rechunk").json()
        platform.w.ledger.run(again["job"])
        assert http.get(f"/v1/jobs/{again['job']}").json()["result"]["failed"] == []
        kept = http.post("/v1/index/maintain").json()
        platform.w.ledger.run(kept["job"])
        assert http.get(f"/v1/jobs/{kept['job']}").json()["state"] == "done"
        assert http.post("/v1/embedder/cancel").json() == {"cancelled": [], "switching_to": None}
        assert_whole(platform)
