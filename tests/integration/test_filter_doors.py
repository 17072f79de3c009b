"""Tags, filters and scopes through the command line, over HTTP, and from one to the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.doors import BOILER, CAMP, RETURNS, Terminal, doors, memory_folder, opened, written
from tests.house import incoming
from ui.api.app import make_app
from ui.node import Workers
from ui.platform import Platform
from ui.remote import Remote

pytestmark = pytest.mark.integration

GERMAN = "# Reiserichtlinie\n\nDie Kosten einer Bahnfahrt in der zweiten Klasse werden nach der Reise erstattet.\n"
FILES = {"returns policy.md": RETURNS.replace("# Returns", "# Returns policy"), "boiler.md": BOILER, "camp.md": CAMP}


@pytest.fixture(scope="module", autouse=True)
def _doors() -> Iterator[None]:
    with doors():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with memory_folder(tmp_path_factory.mktemp("filter-doors")) as place:
        yield place


@pytest.fixture(scope="module")
def platform(folder: Path) -> Iterator[Platform]:
    with opened(folder / "node") as platform:
        files = [incoming(name, text, tags=("english",)) for name, text in FILES.items()]
        platform.ingest([*files, incoming("reisen.md", GERMAN, tags=("german", "travel"))])
        yield platform


@pytest.fixture(scope="module")
def http(platform: Platform) -> Iterator[TestClient]:
    with TestClient(make_app(platform), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture(scope="module")
def remote(platform: Platform, http: TestClient) -> Remote:
    """The operations over HTTP, with a client that needs no socket."""
    remote = Remote("http://127.0.0.1")
    remote.close()
    remote._http = http
    return remote


def names(found: dict[str, Any]) -> set[str]:
    return {hit["name"] for hit in found["hits"]}


def test_a_person_tags_documents_and_looks_only_in_some(quick_folder: Path) -> None:
    terminal = Terminal(quick_folder / "home")
    folder = written(quick_folder / "files", {**FILES, "reisen.md": GERMAN})
    terminal.json("ingest", str(folder), "--tag", "Shelf  One", "--tag", "b", "--at", "2024-05-01")
    rows = terminal.json("documents")
    assert {row["name"]: row["language"] for row in rows} == {**dict.fromkeys(FILES, "en"), "reisen.md": "de"}
    assert all(row["tags"] == ["b", "shelf one"] for row in rows)
    assert all(row["from"].startswith("2024-05-01") for row in rows)
    told = terminal.json("tag", "camp.md", "--add", "Camp", "--remove", "b")
    assert (told["name"], told["tags"]) == ("camp.md", ["camp", "shelf one"])
    assert terminal.type("tag", "camp.md").stdout == "camp, shelf one\n"
    assert terminal.error("tag", "camp.md", "--add", "a,b")["code"] == "bad_tag"

    listed = terminal.json("documents", "--tag", "b", "--language", "en", "--source", str(folder))
    assert [row["name"] for row in listed] == ["boiler.md", "returns policy.md"]
    found = terminal.json("search", "parcel", "--tag", "b", "--language", "en", "--until", "2024-05-01")
    assert names(found) == {"returns policy.md", "boiler.md"}
    assert found["scope"]["count"] == 2
    several = terminal.json("search", "parcel", "-d", "camp*", "-d", "boiler.md", "--media-type", "text/*")
    assert names(several) == {"camp.md", "boiler.md"}
    assert names(terminal.json("search", "parcel", "--document", "camp.md")) == {"camp.md"}
    assert terminal.json("search", "parcel", "--until", "2024-05-01", "--as-of", "2024-04-30")["hits"] == []
    assert terminal.error("search", "parcel", "--scope", "on")["code"] == "bad_scope"

    question = "According to the returns policy, within how many days can a parcel be sent back?"
    said = terminal.type("ask", question).stdout
    assert "30 days" in said
    assert "Looked in returns policy.md, because of “returns policy”; `--scope off` looks in all documents." in said
    off = terminal.json("ask", question, env={"REPRISE_SCOPE": "off"})
    assert (off["scope"]["inferred"], off["scope"]["documents"]) == (None, None)
    assert terminal.json("ask", question, "--tag", "camp", code=3)["abstained"]
    assert terminal.json("delete", "camp.md")["tags"] == 2


def test_where_the_named_document_does_not_answer_all_are_asked_and_it_is_said(platform: Platform) -> None:
    shown = platform.ask("According to the returns policy, when does the gate of the summer camp open on Saturday?")
    assert not shown["abstained"]
    assert "nine o'clock" in shown["answer"]
    assert shown["scope"]["widened"]
    assert shown["scope"]["documents"] is None
    assert [d["name"] for d in shown["scope"]["inferred"]["documents"]] == ["returns policy.md"]


def test_http_takes_filters_wherever_a_question_is_asked(http: TestClient) -> None:
    body = {"filters": {"languages": ["de"]}}
    assert names(http.post("/v1/search", json={"query": "Bahnfahrt", **body}).json()) == {"reisen.md"}
    refused = http.post("/v1/ask", json={"question": "Within how many days can a parcel be sent back?", **body}).json()
    assert refused["abstained"]
    messages = [{"role": "user", "content": "Within how many days can a parcel be sent back?"}]
    chat = {"model": "reprise", "messages": messages, "filters": {"tags": ["english"]}}
    answered = http.post("/v1/chat/completions", json=chat).json()
    assert "30 days" in answered["choices"][0]["message"]["content"]
    assert answered["reprise"]["scope"]["count"] == 3
    for wrong in ({"tag": ["a"]}, {"tags": "a"}, {"since": "soon"}, {"languages": ["german"]}):
        got = http.post("/v1/search", json={"query": "x", "filters": wrong})
        assert got.status_code in (400, 422), wrong
        assert set(got.json()["error"]) == {"code", "message", "hint"}
    assert http.post("/v1/search", json={"query": "x", "scope": "on"}).status_code in (400, 422)


def test_http_lists_and_changes_tags(http: TestClient) -> None:
    listed = http.get("/v1/documents", params={"tags": ["german", "travel"], "languages": "de"}).json()
    assert [(row["name"], row["tags"]) for row in listed] == [("reisen.md", ["german", "travel"])]
    assert http.get("/v1/documents", params={"tag": "german"}).status_code in (400, 422)
    changed = http.post("/v1/documents/boiler.md/tags", json={"add": ["Pump"], "remove": ["english"]})
    assert changed.json()["tags"] == ["pump"]
    assert http.post("/v1/documents/boiler.md/tags", json={"add": ["english"], "remove": ["pump"]}).status_code == 200
    assert http.post("/v1/documents/boiler.md/tags", json={"add": [""]}).json()["error"]["code"] == "bad_tag"


def test_from_afar_everything_is_as_it_is_here(platform: Platform, remote: Remote) -> None:
    filters = {"tags": ["english"], "documents": ["*.md"]}
    assert remote.documents(filters=filters) == platform.documents(filters=filters)
    assert len(remote.documents("default")) == 4
    there, here = (at.search("parcel", 3, filters=filters, scope="off") for at in (remote, platform))
    assert there["hits"] == here["hits"]
    assert there["scope"] == here["scope"]
    assert remote.tag("camp.md") == platform.tag("camp.md")
    assert remote.tag("camp.md", ["far"], ["english"])["tags"] == ["far"]
    assert remote.tag("camp.md", ["english"], ["far"])["tags"] == ["english"]


def test_tags_travel_with_an_upload_whole_or_in_pieces(
    platform: Platform, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers(platform)
    workers.start()
    try:
        remote.ingest([incoming("sent.md", "# Sent\n\nIn one request.", tags=("one", "two words"))])
        monkeypatch.setattr("ui.over_http.documents.LARGE_BYTES", 4)
        remote.ingest([incoming("large.md", "# Large\n\nIn pieces.", tags=("one", "two words"))])
    finally:
        workers.stop()
    tags = {row["name"]: row["tags"] for row in platform.documents(filters={"tags": ["two words"]})}
    assert tags == {"sent.md": ["one", "two words"], "large.md": ["one", "two words"]}
    for name in tags:
        platform.delete(name)


def test_tags_are_changed_on_the_page_of_a_document(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.testing.v1 import AppTest

    from ui.web.views import document

    def page() -> None:
        from ui.web.views import document

        rows = document.node().documents()
        document._sorted_by(next(row for row in rows if row["name"] == "camp.md"))

    monkeypatch.setattr(document, "node", lambda: platform)
    app = AppTest.from_function(page, default_timeout=30).run()
    assert not app.exception
    assert app.multiselect[0].value == ["english"]
    assert "English" in app.markdown[0].value
    app.multiselect[0].set_value(["Summer  Camp"]).run()
    assert not app.exception
    assert platform.tag("camp.md")["tags"] == ["summer camp"]
    assert app.multiselect[0].value == ["summer camp"]
    platform.tag("camp.md", ["english"], ["summer camp"])
