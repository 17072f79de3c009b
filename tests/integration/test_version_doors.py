"""Retention, duplicates and the feed of changes, through the command line and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.doors import BOILER, RETURNS, Terminal, doors, opened, written
from ui.api.app import make_app

pytestmark = pytest.mark.integration

EDITED = RETURNS.replace("30 days", "60 days")


@pytest.fixture(scope="module", autouse=True)
def _doors() -> Iterator[None]:
    with doors():
        yield


@pytest.fixture
def terminal(quick_folder: Path) -> Terminal:
    """Three versions of one document and a copy of the last under another name."""
    terminal = Terminal(quick_folder / "home")
    for text in (RETURNS, BOILER, EDITED):
        folder = written(quick_folder / "files", {"returns.md": text})
        terminal.json("ingest", str(folder))
    terminal.json("ingest", str(written(quick_folder / "more", {"copy.md": EDITED})))
    return terminal


def test_a_person_sets_a_rule_looks_what_it_would_do_and_applies_it(terminal: Terminal) -> None:
    assert terminal.json("retention", "show") == []
    assert terminal.error("retention", "set", "default")["code"] == "usage"
    assert terminal.error("retention", "set", "default", "--versions", "2", "--all")["code"] == "usage"
    assert terminal.error("retention", "set", "default", "--versions", "0")
    rule = terminal.json("retention", "set", "default", "--versions", "2")
    assert rule == {"workspace": "default", "policy": "keep 2 versions", "versions": 2, "days": None}
    assert terminal.json("retention", "show") == terminal.json("retention", "show", "default") == [rule]

    planned = terminal.json("retention", "apply", "--dry-run")
    assert [(row["name"], row["versions"]) for row in planned["expired"]] == [("returns.md", [1])]
    assert "would expire" in terminal.type("retention", "apply", "--dry-run").stdout
    assert terminal.json("text", "returns.md", "--version", "1")["text"] == RETURNS
    done = terminal.json("retention", "apply")
    assert (done["expired"], done["blobs"]) == (planned["expired"], 1)
    error = terminal.error("text", "returns.md", "--version", "1")
    assert error["code"] == "expired"
    assert "keep 2 versions" in error["message"]
    assert [(v["version"], v["state"]) for v in terminal.json("history", "returns.md")] == [
        (3, "live"),
        (2, "superseded"),
        (1, "expired"),
    ]
    assert [c["what"] for c in terminal.json("changes")][-1] == "expired"
    assert terminal.json("retention", "set", "default", "--all")["policy"] == "keep all"
    assert "expire" in [entry["action"] for entry in terminal.json("audit")["entries"]]


def test_copies_are_listed(terminal: Terminal) -> None:
    (group,) = terminal.json("duplicates")
    assert (group["kind"], [one["name"] for one in group["documents"]]) == ("same bytes", ["copy.md", "returns.md"])
    assert "same bytes" in terminal.type("duplicates").stdout
    assert terminal.json("duplicates", "--workspace", "empty") == []
    assert terminal.error("duplicates", "--threshold", "7")


def test_a_person_reads_which_words_changed(terminal: Terminal) -> None:
    terminal.json("restore", "returns.md", "1")
    said = terminal.type("diff", "returns.md", "3", "4").stdout
    assert "sent back within [-60-]{+30+} days of delivery" in said
    assert terminal.json("changes", "--limit", "2")[0]["what"] == "added"
    last = terminal.json("changes")[-1]
    assert (last["what"], last["cause"]) == ("changed", "restore")
    assert terminal.json("changes", "--after", str(last["seq"])) == []


def test_the_same_over_http(terminal: Terminal) -> None:
    with opened(terminal.home) as platform, TestClient(make_app(platform), base_url="http://localhost") as http:

        def get(path: str, **query: Any) -> Any:
            return http.get(f"/v1/{path}", params=query).json()

        rule = {"workspace": "default", "versions": 1}
        assert http.put("/v1/retention", json=rule).json()["policy"] == "keep 1 version"
        assert http.put("/v1/retention", json=rule | {"versions": 0}).status_code == 422
        assert http.put("/v1/retention", json=rule | {"days": 3}).status_code == 400
        assert [r["workspace"] for r in get("retention")] == ["default"]
        assert get("retention", workspace="other")[0]["policy"] == "keep all"
        dry = http.post("/v1/retention/apply", json={"dry_run": True}).json()
        assert [row["versions"] for row in dry["expired"]] == [[1, 2]]
        assert len(http.post("/v1/retention/apply", json={}).json()["expired"]) == 1
        gone = http.get("/v1/documents/returns.md/text", params={"version": 1})
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "expired")
        assert get("duplicates")[0]["kind"] == "same bytes"
        assert http.get("/v1/duplicates", params={"threshold": 0}).status_code == 400
        rows = get("changes")
        assert get("changes", after=rows[0]["seq"]) == rows[1:]
        assert get("changes", after=rows[0]["seq"], limit=1) == rows[1:2]
