"""The HTTP door: the same values as the command line, OpenAI's shapes for chat, and nothing open that should not be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.testclient import TestClient

from kernel.errors import NotFound, UserError
from tests.doors import BOILER, LIBRARY, RETURNS, Terminal, doors, memory_folder, nothing_left_behind, opened, served
from tests.house import incoming, page
from ui.api.app import make_app
from ui.node import Workers
from ui.platform import Platform
from ui.remote import Remote

pytestmark = pytest.mark.integration

QUESTION = "Within how many days can a parcel be sent back?"
UNKNOWN = "Who won the football world cup in Uruguay?"
ROUTES = {
    "/v1/documents": {"get", "post"},
    "/v1/documents/{doc}": {"delete"},
    "/v1/documents/{doc}/history": {"get"},
    "/v1/documents/{doc}/text": {"get"},
    "/v1/documents/{doc}/section": {"get"},
    "/v1/documents/{doc}/original": {"get"},
    "/v1/documents/{doc}/diff": {"get"},
    "/v1/documents/{doc}/restore": {"post"},
    "/v1/documents/{doc}/tags": {"post"},
    "/v1/changes": {"get"},
    "/v1/retention": {"get", "put"},
    "/v1/retention/apply": {"post"},
    "/v1/duplicates": {"get"},
    "/v1/embedder": {"get"},
    "/v1/embedder/switch": {"post"},
    "/v1/embedder/cancel": {"post"},
    "/v1/tuning": {"get", "post"},
    "/v1/index/maintain": {"post"},
    "/v1/index/rechunk": {"post"},
    "/v1/uploads": {"options", "post"},
    "/v1/uploads/{upload}": {"get", "head", "patch", "delete"},
    "/v1/search": {"post"},
    "/v1/ask": {"post"},
    "/v1/ask/stream": {"post"},
    "/v1/turns": {"get"},
    "/v1/feedback": {"post"},
    "/v1/models": {"get"},
    "/v1/models/{model}": {"get"},
    "/v1/chat/completions": {"post"},
    "/v1/examples": {"get"},
    "/v1/examples/import": {"post"},
    "/v1/examples/export": {"get"},
    "/v1/examples/{example}": {"patch", "delete"},
    "/v1/examples/{example}/history": {"get"},
    "/v1/examples/slices": {"get"},
    "/v1/examples/generate": {"post"},
    "/v1/examples/cluster": {"post"},
    "/v1/examples/approve": {"post"},
    "/v1/examples/quarantine": {"post"},
    "/v1/examples/retire": {"post"},
    "/v1/rehearsal/preview": {"get"},
    "/v1/rehearsal/rho": {"get"},
    "/v1/rehearsal/proposals": {"get"},
    "/v1/rehearsal/proposals/{proposal}": {"get"},
    "/v1/rehearsal/proposals/{proposal}/approve": {"post"},
    "/v1/rehearsal/proposals/{proposal}/reject": {"post"},
    "/v1/retrains": {"get", "post"},
    "/v1/retrains/{run}": {"get"},
    "/v1/retrains/{run}/mix": {"get"},
    "/v1/retrains/{run}/verdict": {"get"},
    "/v1/retrains/{run}/rejudge": {"post"},
    "/v1/adapters": {"get"},
    "/v1/adapters/merge": {"post"},
    "/v1/adapters/rollback": {"post"},
    "/v1/adapters/{adapter}/promote": {"post"},
    "/v1/adapters/{adapter}/approve": {"post"},
    "/v1/rollouts": {"get", "post"},
    "/v1/rollouts/advance": {"post"},
    "/v1/rollouts/stop": {"post"},
    "/v1/routes": {"get", "post", "delete"},
    "/v1/approvals": {"get"},
    "/v1/gate-policy": {"get", "put"},
    "/v1/suites": {"get", "post"},
    "/v1/suites/{name}": {"delete"},
    "/v1/forgetting": {"get"},
    "/v1/watches": {"get", "post"},
    "/v1/watches/{watch}": {"delete"},
    "/v1/watches/{watch}/pause": {"post"},
    "/v1/watches/{watch}/look": {"post"},
    "/v1/schedules": {"get", "post"},
    "/v1/schedules/{schedule}": {"delete", "patch"},
    "/v1/schedules/{schedule}/history": {"get"},
    "/v1/adapters/{adapter}/card": {"get"},
    "/v1/documents/{doc}/lineage": {"get"},
    "/v1/retrains/{run}/export": {"post"},
    "/v1/advice": {"get"},
    "/v1/schedules/{schedule}/pause": {"post"},
    "/v1/jobs": {"get"},
    "/v1/jobs/events": {"get"},
    "/v1/jobs/{job}": {"get", "delete"},
    "/v1/jobs/{job}/events": {"get"},
    "/v1/jobs/{job}/cancel": {"post"},
    "/v1/jobs/{job}/retry": {"post"},
    "/v1/status": {"get"},
    "/v1/audit": {"get"},
    "/v1/doctor": {"get"},
    "/v1/conversations": {"get"},
    "/v1/conversations/{conversation}": {"get", "patch", "delete"},
    "/v1/me": {"get", "patch", "delete"},
    "/v1/me/export": {"get"},
    "/v1/eval": {"post"},
    "/v1/backup": {"post"},
}


@pytest.fixture(scope="module", autouse=True)
def _doors() -> Iterator[None]:
    with doors():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with memory_folder(tmp_path_factory.mktemp("http")) as place:
        yield place


@pytest.fixture(scope="module")
def platform(folder: Path) -> Iterator[Platform]:
    with opened(folder / "home") as platform:
        platform.ingest([incoming(name, text) for name, text in LIBRARY.items()])
        yield platform


@pytest.fixture(scope="module")
def http(platform: Platform) -> Iterator[TestClient]:
    with TestClient(make_app(platform), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture(scope="module")
def node(platform: Platform) -> Iterator[str]:
    """The address of a running server on the platform, with worker threads that take its jobs."""
    workers = Workers(platform)
    workers.start()
    with served(platform) as url:
        yield url
    workers.stop()


# --- what there is -------------------------------------------------------------------------------


def test_every_route_is_described(http: TestClient) -> None:
    described = http.get("/openapi.json").json()
    found = {path: set(methods) for path, methods in described["paths"].items() if path.startswith("/v1")}
    assert found == ROUTES
    assert {"/healthz", "/readyz", "/metrics"} <= set(described["paths"])
    contract = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
    for method, path in re.findall(r"(GET|POST|DELETE) (/v1/[\w/]+)", contract):
        assert any(re.fullmatch(re.sub(r"\{\w+\}", r"[A-Z]+", known), path) for known in ROUTES), f"{method} {path}"


def test_health_readiness_and_counts(http: TestClient) -> None:
    assert http.get("/healthz").json() == {"ok": True}
    assert (http.get("/readyz").status_code, http.get("/readyz").json()) == (200, {"ready": True})
    http.app.state.ready = lambda: False  # type: ignore[attr-defined]
    assert (http.get("/readyz").status_code, http.get("/readyz").json()) == (503, {"ready": False})
    assert http.get("/healthz").status_code == 200
    http.app.state.ready = lambda: True  # type: ignore[attr-defined]
    metrics = http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    counts = dict(line.rsplit(" ", 1) for line in metrics.text.splitlines())
    status = http.get("/v1/status").json()
    assert int(counts["reprise_documents"]) == status["documents"] >= 3
    assert int(counts["reprise_epoch"]) == status["epoch"]


# --- documents -----------------------------------------------------------------------------------


def test_an_upload_becomes_a_document_by_a_job(http: TestClient, platform: Platform) -> None:
    files = [("files", ("notes/a b.md", page("Note", {"One": "Buy a kite."}).encode())), ("files", ("empty.md", b""))]
    job = http.post("/v1/documents", files=files, data={"workspace": "notes", "at": "2026-01-01"})
    assert job.status_code == 202
    assert job.json()["state"] == "queued"
    platform.w.ledger.run(job.json()["job"])
    ended = http.get(f"/v1/jobs/{job.json()['job']}").json()
    assert (ended["state"], ended["error"]) == ("done", None)
    assert set(ended["result"]) >= {"documents", "seconds", "epoch"}
    first, second = ended["result"]["documents"]
    assert (first["name"], first["status"], first["version"]) == ("notes/a b.md", "published", 1)
    assert (second["status"], second["error"]["code"]) == ("refused", "empty_file")
    (row,) = http.get("/v1/documents", params={"workspace": "notes"}).json()
    assert (row["document"], row["source"]) == (first["document"], "upload")
    assert http.get("/v1/documents/notes/a b.md/history").json()[0]["at"] == "2026-01-01T00:00:00.000Z"


def test_the_same_name_from_another_source_goes_on_only_when_it_is_meant(http: TestClient, platform: Platform) -> None:
    def upload(text: str, **fields: Any) -> dict[str, Any]:
        job = http.post("/v1/documents", files={"files": ("x.txt", text.encode())}, data={"workspace": "w", **fields})
        platform.w.ledger.run(job.json()["job"])
        row: dict[str, Any] = http.get(f"/v1/jobs/{job.json()['job']}").json()["result"]["documents"][0]
        return row

    assert upload("# One\n\nfirst words here", source="/a/plan.md", name="plan.md")["status"] == "published"
    assert upload("# Two\n\nsecond words here", source="/b/plan.md", name="plan.md")["error"]["code"] == "name_taken"
    meant = upload("# Two\n\nsecond words here", source="/b/plan.md", **{"as": "plan.md"})
    assert (meant["name"], meant["version"]) == ("plan.md", 2)


@pytest.mark.parametrize(
    "name",
    [
        "manuals/boiler pump.md",
        "summer camp.md",
        "a/b/c d/é ü.md",
        "100% #1?&.md",
        'say "hi".md',
        "x/text",
        "y/history",
    ],
)
def test_a_document_is_reached_by_its_name_whatever_it_is(http: TestClient, platform: Platform, name: str) -> None:
    if name not in LIBRARY:
        text = page(f"Page {len(name)}", {"Body": f"This is the page called {name}."})
        platform.ingest([incoming(name, text, path="page.md"), incoming(name, text + "\nMore.\n", path="page.md")])
    here = f"/v1/documents/{quote(name)}"
    history = http.get(f"{here}/history").json()
    assert history[0]["state"] == "live"
    text = http.get(f"{here}/text").json()
    assert text["name"] == name
    assert text["text"].startswith("#")
    assert http.get(f"{here}/text", params={"version": 1}).json()["version"] == 1
    if name in LIBRARY:
        assert http.get(f"{here}/original").content == LIBRARY[name].encode()
        return
    assert set(http.get(f"{here}/diff", params={"a": 1, "b": 2}).json()) == {"added", "removed", "changed"}
    restored = http.post(f"{here}/restore", json={"version": 1})
    assert (restored.status_code, restored.json()["version"]) == (200, 3)
    receipt = http.delete(here).json()
    assert (receipt["document"], receipt["remaining"]) == (text["document"], 0)
    assert http.get(f"{here}/text").status_code == 404
    assert http.get("/v1/changes", params={"since": 0}).json()[-1]["what"] == "deleted"


def test_what_a_document_holds_is_never_run_by_a_browser(http: TestClient, platform: Platform) -> None:
    page_ = "<!doctype html><html><body><script>alert(1)</script><p>The tale of a script.</p></body></html>"
    platform.ingest([incoming('tales/"a" é.html', page_)])
    here = "/v1/documents/" + quote('tales/"a" é.html')
    got = http.get(f"{here}/original")
    assert got.content == page_.encode()
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''%22a%22%20%C3%A9.html"
    assert "alert" not in http.get(f"{here}/text").json()["text"]


# --- questions -----------------------------------------------------------------------------------


def test_search_and_ask_give_the_values_of_the_command_line(http: TestClient) -> None:
    found = http.post("/v1/search", json={"query": "bleed the pump", "k": 2}).json()
    assert [hit["rank"] for hit in found["hits"]] == [1, 2]
    for hit in found["hits"]:
        text = http.get(f"/v1/documents/{hit['document']}/text", params={"version": hit["version"]}).json()["text"]
        assert hit["text"] == text[hit["start"] : hit["end"]]
    assert {"embed", "search", "total"} <= set(found["ms"])
    shown = http.post("/v1/ask", json={"question": QUESTION}).json()
    assert "30 days" in shown["answer"]
    for cited in shown["citations"]:
        text = http.get(f"/v1/documents/{cited['document']}/text", params={"version": cited["version"]}).json()["text"]
        assert cited["quote"] == text[cited["start"] : cited["end"]]
    assert http.get("/v1/turns", params={"limit": 1}).json()[0]["turn"] == shown["turn"]
    voted = http.post("/v1/feedback", json={"turn": shown["turn"], "vote": "up"}).json()
    assert http.get("/v1/examples").json()[0]["example"] == voted["example"]
    assert http.get("/v1/turns", params={"limit": 1}).json()[0]["votes"] == ["up"]
    refused = http.post("/v1/ask", json={"question": UNKNOWN})
    assert (refused.status_code, refused.json()["abstained"]) == (200, True)


def test_an_answer_streams_sentence_by_sentence_and_ends_as_the_whole_one(http: TestClient) -> None:
    whole = http.post("/v1/ask", json={"question": QUESTION}).json()
    with http.stream("POST", "/v1/ask/stream", json={"question": QUESTION}) as response:
        events = [json.loads(line.removeprefix("data: ")) for line in response.iter_lines() if line]
    kinds = [event["type"] for event in events]
    assert kinds == ["searched", *["sentence"] * (len(events) - 2), "done"]
    said = events[1:-1]
    assert "".join(event["text"] for event in said) == events[-1]["answer"] == whole["answer"]
    assert [c for event in said for c in event["citations"]] == events[-1]["citations"] == whole["citations"]
    wrong = http.post("/v1/ask/stream", json={"question": QUESTION, "generator": "none"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "not_found")


# --- the rest ------------------------------------------------------------------------------------


def test_examples_schedules_and_the_rest_answer_as_the_command_line_does(http: TestClient, folder: Path) -> None:
    rows = [{"question": f"Standalone {i}\u2028?", "answer": "Yes.", "standalone": True} for i in range(3)]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    taken = http.post("/v1/examples/import", json={"content": content, "slice": "s"}).json()
    nothing: dict[str, Any] = {"duplicates": [], "replaced": [], "ignored": [], "errors": []}
    assert taken == {"imported": 3, "skipped": 0, "quarantined": 0} | nothing
    exported = http.get("/v1/examples/export")
    assert exported.headers["content-type"] == "application/x-ndjson"
    listed = http.get("/v1/examples", params={"status": "approved"}).json()
    assert len([line for line in exported.text.split("\n") if line]) == len(listed)
    assert http.delete(f"/v1/examples/{listed[0]['example']}").json()["status"] == "retired"
    mine = {"examples": [listed[1]["example"]], "reason": "doubtful"}
    assert http.post("/v1/examples/quarantine", json=mine).json()[0]["status"] == "quarantined"
    assert http.post("/v1/examples/approve", json={"examples": mine["examples"]}).json()[0]["status"] == "approved"
    pinned = http.patch(f"/v1/examples/{listed[1]['example']}", json={"pinned": not listed[1]["pinned"]}).json()
    assert pinned["replaces"] is None
    assert http.patch(f"/v1/examples/{listed[1]['example']}", json={"colour": "red"}).status_code == 422
    happened = http.get(f"/v1/examples/{listed[1]['example']}/history").json()
    assert [row["what"] for row in happened][-3:] == ["quarantined", "approved", "edited"]
    jobs = [http.post("/v1/examples/generate", json={"limit": 3}), http.post("/v1/examples/cluster", json={})]
    assert [job.json()["kind"] for job in jobs] == ["examples-generate", "examples-cluster"]
    for job in jobs:  # or they would be done under the eyes of another test
        assert http.post(f"/v1/jobs/{job.json()['job']}/cancel").json()["state"] == "cancelled"
    assert http.post("/v1/examples/retire", json={"examples": [listed[0]["example"]]}).json()[0]["status"] == "retired"
    assert sum(row["train"] + row["held_out"] for row in http.get("/v1/examples/slices").json()) == len(listed) - 1
    preview = http.get("/v1/rehearsal/preview", params={"rho": 0.3, "seed": 3}).json()
    assert preview["rho"] == 0.3
    assert all(row["reason"] for row in preview["rows"])
    (schedule,) = http.post("/v1/schedules", json={"cron": "0 3 * * 1"}).json()
    assert http.post(f"/v1/schedules/{schedule['schedule']}/pause").json()[0]["paused"] is True
    changes = {"cron": None, "when": ["examples>=5"], "cooldown": 60, "paused": False}
    (edited,) = http.patch(f"/v1/schedules/{schedule['schedule']}", json=changes).json()
    assert (edited["cron"], edited["when"], edited["cooldown"]) == (None, ["examples>=5"], 60)
    assert http.patch(f"/v1/schedules/{schedule['schedule']}", json={"colour": "red"}).status_code == 422
    assert http.get(f"/v1/schedules/{schedule['schedule']}/history").json() == []
    assert http.get("/v1/advice", params={"document": "returns.md"}).json()[0]["subject"] == "document"
    assert http.get("/v1/documents/returns.md/lineage").json()["adapters"] == []
    assert http.get("/v1/adapters/none/card").status_code == 404
    assert http.delete(f"/v1/schedules/{schedule['schedule']}").json() == http.get("/v1/schedules").json() == []
    assert http.get("/v1/adapters").json() == http.get("/v1/retrains").json() == []
    assert http.get("/v1/audit").json()["intact"] is True
    assert http.get("/v1/doctor").json()["ok"] is True
    suite = json.dumps({"question": QUESTION, "relevant": [{"document": "returns.md"}]})
    assert http.post("/v1/eval", json={"suite": suite}).json()["mrr@10"] == 1.0
    backup = http.post("/v1/backup", json={"file": str(folder / "all.backup")}).json()
    assert backup["bytes"] == (folder / "all.backup").stat().st_size


def test_a_job_can_be_cancelled_and_tried_again(http: TestClient, platform: Platform) -> None:
    upload = {"files": ("later.md", page("Later", {"One": "This waits for its turn."}).encode())}
    job = http.post("/v1/documents", files=upload, data={"workspace": "later"}).json()["job"]
    assert http.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    platform.w.ledger.run(job)
    assert http.get("/v1/documents", params={"workspace": "later"}).json() == []
    assert http.post(f"/v1/jobs/{job}/retry").json()["state"] == "queued"
    platform.w.ledger.run(job)
    assert [d["name"] for d in http.get("/v1/documents", params={"workspace": "later"}).json()] == ["later.md"]
    assert http.get("/v1/jobs", params={"limit": 1}).json()[0]["job"] == job


def test_judging_answers_as_the_command_line_does(http: TestClient) -> None:
    whose = {"X-Reprise-User": "ada"}
    policy = http.put("/v1/gate-policy", json={"changes": {"min_gain": 0.01}}, headers=whose).json()
    assert policy == http.get("/v1/gate-policy").json()
    assert (policy["policy"]["min_gain"], policy["set"]) == (0.01, {"min_gain": 0.01})
    assert http.put("/v1/gate-policy", json={"changes": {"min_gain": "x"}}).json()["error"]["code"] == "bad_policy"
    assert http.put("/v1/gate-policy", json={"changes": {}, "reset": True}).json()["set"] == {}
    row = json.dumps({"question": QUESTION, "relevant": [{"document": "returns.md"}]})
    suite = http.post("/v1/suites", json={"name": "returns", "suite": row}, headers=whose).json()
    assert (suite["by"], http.get("/v1/suites").json()) == ("ada", [suite])
    assert http.post("/v1/suites", json={"name": "returns", "suite": row}).status_code == 409
    assert http.delete("/v1/suites/returns").json() == []
    assert http.post("/v1/adapters/none/approve", json={}).status_code == 404
    assert http.get("/v1/approvals").json() == []
    assert http.get("/v1/forgetting").json()["rows"][0]["model"].startswith("base@")


def test_a_schedule_with_nothing_to_train_on_keeps_no_other_from_its_turn(platform: Platform) -> None:
    from finetune.tables import Schedule

    for workspace in ("empty", "empty too"):
        platform.add_schedule("0 3 * * 1", workspace=workspace)
    with platform.w.db.write() as session:
        session.query(Schedule).update({"next": 1})
    done = platform.tick()
    assert done["scheduled"] == []
    assert "swept" in done
    assert all(s["last"] for s in platform.schedules())  # each was looked at, and waits for its next time
    for schedule in platform.schedules():
        platform.remove_schedule(schedule["schedule"])


def test_a_part_of_the_tick_that_breaks_keeps_no_other_from_its_turn(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_start: Any) -> list[str]:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(platform.w.schedules, "fire", broken)
    done = platform.tick()
    assert done["failed"] == ["scheduled"]
    assert {"erased", "looks", "swept"} <= set(done)


# --- who may ask ---------------------------------------------------------------------------------


def test_with_a_key_nothing_is_answered_without_it(platform: Platform, folder: Path) -> None:
    with opened(folder / "locked", api_key="s3cret") as locked:
        client = TestClient(make_app(locked), base_url="http://127.0.0.1")
        for path, methods in ROUTES.items():
            for method in methods:
                refused = client.request(method.upper(), re.sub(r"\{\w+\}", "x", path))
                assert (path, refused.status_code) == (path, 401)
                if method == "head":
                    continue  # has no body
                assert refused.json()["error"]["code"] == "unauthorized"
                assert "REPRISE_API_KEY" in refused.json()["error"]["hint"]
        assert client.get("/metrics").status_code == 401
        for given in ("Bearer wrong", "Bearer ", "Basic s3cret", "Bearer s3cre", "Bearer s3crets"):
            assert client.get("/v1/documents", headers={"Authorization": given}).status_code == 401
        assert client.get("/v1/documents", headers={"Authorization": "Bearer s3cret"}).json() == []
        for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
            assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "169.254.169.254", "testserver", "", "local"]
)
def test_a_foreign_host_is_refused(http: TestClient, host: str) -> None:
    refused = http.get("/v1/documents", headers={"Host": host})
    assert refused.status_code == 400
    assert "returns.md" not in refused.text


@pytest.mark.parametrize("host", ["127.0.0.1:8321", "localhost:8321", "[::1]:8321", "LOCALHOST"])
def test_loopback_by_any_of_its_names_is_answered(http: TestClient, host: str) -> None:
    assert http.get("/healthz", headers={"Host": host}).status_code == 200


def test_hosts_that_are_allowed_are_answered(platform: Platform, folder: Path) -> None:
    with opened(folder / "named", allowed_hosts="docs.example, *.inside.example") as named:
        client = TestClient(make_app(named), base_url="http://docs.example")
        for host, status in (("docs.example", 200), ("a.inside.example", 200), ("inside.example.evil", 400)):
            assert client.get("/healthz", headers={"Host": host}).status_code == status
        for host, status in (("docs.example", 200), ("a.inside.example", 200), ("inside.example.evil", 401)):
            origin = {"Origin": f"https://{host}:8443"}
            assert client.get("/v1/documents", headers=origin).status_code == status


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil.example", "null", "http://["])
def test_a_page_of_another_site_gets_nothing(http: TestClient, origin: str) -> None:
    refused = http.post("/v1/search", json={"query": "x"}, headers={"Origin": origin})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "foreign_origin")
    assert http.get("/v1/documents", headers={"Origin": "http://localhost:8322"}).status_code == 200


# --- through a real server -----------------------------------------------------------------------


def test_openais_own_client_talks_to_a_node(node: str) -> None:
    import openai

    with openai.OpenAI(base_url=f"{node}/v1", api_key="none", http_client=httpx.Client(trust_env=False)) as client:
        assert [m.id for m in client.models.list()] == ["reprise", "reprise:extractive"]
        messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
        done = client.chat.completions.create(model="reprise", messages=messages)
        said = done.choices[0].message
        assert "30 days" in str(said.content)
        assert said.model_extra is not None
        assert "30 days" in " ".join(c["quote"] for c in said.model_extra["citations"])
        words, ends, cited = [], [], []
        for chunk in client.chat.completions.create(model="reprise:extractive", messages=messages, stream=True):
            words.append(chunk.choices[0].delta.content or "")
            ends.append(chunk.choices[0].finish_reason)
            cited += (chunk.choices[0].delta.model_extra or {}).get("citations", [])
        assert "".join(words) == said.content
        assert ends[-1] == "stop"
        assert cited == said.model_extra["citations"]
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="gpt-5", messages=messages)
        assert caught.value.code == "model_not_found"


def test_the_command_line_does_the_same_through_a_node(node: str, platform: Platform, folder: Path) -> None:
    """`REPRISE_API` leads to the node; the home it would have opened otherwise is never made."""
    from tests.doors import written

    terminal, there = Terminal(folder / "no home"), {"REPRISE_API": node}
    name = 'odd "names"/100% #1.md'
    text = page("Far", {"Away": "This page was sent over a wire, and says so."})
    place = written(folder / "sent", {name: text, "empty.md": b"", "plain": "# No suffix\n\nJust words."})
    done = terminal.json("ingest", str(place), "-w", "sent", code=1, env=there)
    rows = {row["path"].removeprefix(f"{place.resolve()}/"): row for row in done["documents"]}
    assert {path: row["status"] for path, row in rows.items()} == {
        name: "published", "empty.md": "refused", "plain": "published",
    }  # fmt: skip
    assert rows[name]["name"] == name
    assert done["epoch"] == platform.status()["epoch"]
    renamed = terminal.json("ingest", str(place / name), "--as", "without suffix", "-w", "named", env=there)
    assert terminal.json("text", renamed["documents"][0]["document"], env=there)["title"] == "Far"  # read as Markdown
    assert terminal.json("ingest", str(place / "empty.md"), "-w", "sent", code=1, env=there)["epoch"] >= done["epoch"]

    for words in (
        ["documents", "-w", "sent"],
        ["history", name],
        ["text", name],
        ["changes", "--since", "0"],
        ["examples", "list"],
        ["adapters"],
        ["schedule", "list"],
        ["audit"],
        ["doctor"],
    ):
        far = terminal.json(*words, env=there)
        here = getattr(platform, {"examples": "examples", "schedule": "schedules"}.get(words[0], words[0]))
        arguments = {"documents": ["sent"], "history": [name], "text": [name], "changes": [0]}.get(words[0], [])
        near = json.loads(json.dumps(here(*arguments)))
        if words == ["doctor"]:  # how much disk is free changes while we look
            far, near = ([c for c in told["checks"] if c["name"] != "disk"] for told in (far, near))
        assert far == near
    hit = terminal.json("search", "sent over a wire", "-w", "sent", "--k", "1", env=there)["hits"][0]
    assert hit["text"] == terminal.json("text", name, env=there)["text"][hit["start"] : hit["end"]]
    assert terminal.json("ask", UNKNOWN, "-w", "sent", code=3, env=there)["abstained"]
    out = folder / "out.jsonl"
    assert terminal.json("examples", "export", str(out), env=there)["examples"] == len(platform.examples("approved"))
    assert out.read_text() == "".join(platform.export_examples())

    # Mistakes have the codes and exit codes they have without a node.
    for mistake, code in (
        (["history", "no such.md"], "not_found"),
        (["text", name, "--version", "9"], "not_found"),
        (["search", "x", "--k", "0"], "bad_request"),
        (["rehearsal", "preview", "--policy", "astrology"], "bad_request"),
        (["schedule", "add", "every day"], "bad_cron"),
        (["rollback"], "bad_request"),
        (["gate", "run-1"], "not_found"),
    ):
        assert terminal.error(*mistake, env=there)["code"] == code
    receipt = terminal.json("delete", rows[name]["document"], env=there)
    assert receipt["remaining"] == 0
    assert not (folder / "no home").exists()


def test_a_remote_raises_the_errors_of_its_node_and_knows_when_there_is_none(node: str) -> None:
    with closing(Remote(node)) as there, closing(Remote("http://127.0.0.1:9")) as nowhere:
        with pytest.raises(NotFound) as caught:
            there.history("no such.md")
        assert caught.value.code == "not_found"
        with pytest.raises(UserError):
            there.feedback("turn-1", "sideways")
        assert any(there.ready() for _ in range(30))  # each time it waits two seconds at most
        assert nowhere.ready() is False


def test_after_all_of_this_nothing_is_left_behind(platform: Platform) -> None:
    platform.w.recover()
    nothing_left_behind(platform)
    assert platform.text("returns.md")["text"].startswith(RETURNS[:40])
    assert platform.text("manuals/boiler pump.md")["text"].startswith(BOILER[:40])
