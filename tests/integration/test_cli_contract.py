"""The command line keeps the outside contract: every command, its one JSON value, its fields, its exit codes."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.doors import BOILER, LIBRARY, RETURNS, Terminal, doors, memory_folder, nothing_left_behind, written
from tests.house import page
from ui.cli import app

pytestmark = pytest.mark.integration

COMMANDS = [
    "up",
    "demo",
    "ingest",
    "documents",
    "tag",
    "history",
    "diff",
    "restore",
    "delete",
    "search",
    "ask",
    "text",
    "section",
    "feedback",
    "retrain",
    "runs",
    "run",
    "gate",
    "changes",
    "backup",
    "restore-backup",
    "adapters",
    "merge",
    "rejudge",
    "promote",
    "rollback",
    "eval",
    "doctor",
    "audit",
    "jobs",
    "job show",
    "job cancel",
    "job retry",
    "job remove",
    "embedder show",
    "embedder switch",
    "embedder cancel",
    "rechunk",
    "maintain",
    "api",
    "worker",
    "beat",
    "web",
    "chat",
    "mcp",
    "tune",
    "conversations",
    "conversation show",
    "conversation rename",
    "conversation delete",
    "me",
    "me set",
    "me export",
    "me erase",
    "examples import",
    "examples export",
    "examples list",
    "examples retire",
    "examples approve",
    "examples quarantine",
    "examples edit",
    "examples history",
    "examples slices",
    "examples generate",
    "examples cluster",
    "rehearsal preview",
    "rehearsal proposals",
    "rehearsal approve",
    "rehearsal reject",
    "rehearsal rho",
    "retention show",
    "retention set",
    "retention apply",
    "duplicates",
    "watch list",
    "watch add",
    "watch look",
    "watch pause",
    "watch remove",
    "approve",
    "approvals",
    "forgetting",
    "gate-policy show",
    "gate-policy set",
    "suite list",
    "suite unpin",
    "rollout start",
    "rollout show",
    "rollout advance",
    "rollout stop",
    "route set",
    "route list",
    "route remove",
    "schedule list",
    "schedule add",
    "schedule remove",
    "schedule pause",
    "schedule edit",
    "schedule history",
    "advise",
    "card",
    "lineage",
    "export-run",
    "reproduce",
]
GROUPS = (
    "watch",
    "examples",
    "rehearsal",
    "schedule",
    "retention",
    "job",
    "embedder",
    "conversation",
    "me",
    "gate-policy",
    "suite",
    "rollout",
    "route",
)
ROW = {
    "path",
    "document",
    "version",
    "status",
    "chunks_total",
    "chunks_new",
    "chunks_kept",
    "chunks_retired",
    "error",
}
HIT = {"rank", "score", "chunk", "document", "version", "page", "start", "end", "text"}
CITATION = {"n", "chunk", "document", "version", "page", "start", "end", "quote"}
QUESTION = "Within how many days can a parcel be sent back?"
UNKNOWN = "Who won the football world cup in Uruguay?"


@pytest.fixture(scope="module", autouse=True)
def _doors() -> Iterator[None]:
    with doors():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with memory_folder(tmp_path_factory.mktemp("cli")) as place:
        yield place


@pytest.fixture(scope="module")
def terminal(folder: Path) -> Terminal:
    """A home with the library in it. Tests that change something bring documents of their own."""
    terminal = Terminal(folder / "home")
    done = terminal.json("ingest", str(written(folder / "library", dict(LIBRARY))))
    assert [row["status"] for row in done["documents"]] == ["published"] * len(LIBRARY)
    return terminal


# --- every command -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_exists_and_explains_itself(command: str) -> None:
    words = command.split()
    done = CliRunner().invoke(app, [*words, "--help"])
    assert done.exit_code == 0
    assert done.stdout.startswith(f"Usage: {' '.join(['reprise', *words])} ")
    if command:
        assert "--home" in done.stdout
        assert "--json" in done.stdout


def test_the_contract_names_no_command_that_does_not_exist() -> None:
    contract = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
    named = [words.split() for words in re.findall(r"`reprise ([a-z-]+(?: [a-z-]+)?)", contract)]
    spoken = {" ".join(words[:2] if words[0] in GROUPS else words[:1]) for words in named}
    assert spoken <= set(COMMANDS)
    in_passing = {"schedule remove", "schedule pause", "job cancel", "job retry", "job remove"}
    assert set(COMMANDS) - spoken == in_passing


def test_a_group_without_a_command_says_which_there_are() -> None:
    done = CliRunner().invoke(app, ["schedule"])
    assert done.exit_code == 2
    assert "pause" in done.stderr + done.stdout


@pytest.mark.parametrize(
    "words",
    [["frobnicate"], ["search"], ["search", "x", "--frob"], ["search", "x", "--k", "many"], ["diff", "a", "one", "2"]],
    ids=" ".join,
)
def test_a_mistake_in_the_words_is_told_like_every_other(words: list[str], tmp_path: Path) -> None:
    error = Terminal(tmp_path / "home").error(*words)
    assert error["code"] == "usage"
    assert "--help" in error["hint"]
    assert not (tmp_path / "home").exists()


# --- documents in, versions ----------------------------------------------------------------------


def test_ingest_reports_a_row_for_each_file_and_the_epoch(terminal: Terminal, folder: Path) -> None:
    one = str(
        written(folder / "one", {"opening hours.md": page("Hours", {"Week": "We open at eight."})}) / "opening hours.md"
    )
    done = terminal.json("ingest", one)
    assert {"documents", "seconds", "epoch"} <= set(done)
    (row,) = done["documents"]
    assert set(row) >= ROW
    assert (row["path"], row["status"], row["version"], row["error"]) == (one, "published", 1, None)
    assert (row["chunks_total"], row["chunks_new"], row["chunks_kept"], row["chunks_retired"]) == (1, 1, 0, 0)
    again = terminal.json("ingest", one)
    assert again["documents"][0]["status"] == "unchanged"
    assert (again["documents"][0]["document"], again["documents"][0]["version"]) == (row["document"], 1)
    assert again["epoch"] == done["epoch"]


def test_ingest_takes_an_archive_as_if_it_were_a_folder(terminal: Terminal, folder: Path) -> None:
    with zipfile.ZipFile(folder / "tales.zip", "w") as archive:
        archive.writestr("fox.md", "# Fox\n\nThe fox ran over the hill.\n")
        archive.writestr("north/bear tale.md", "# Bear\n\nThe bear slept all winter.\n")
    done = terminal.json("ingest", str(folder / "tales.zip"), "--workspace", "tales")
    assert [(row["name"], row["status"]) for row in done["documents"]] == [
        ("fox.md", "published"),
        ("north/bear tale.md", "published"),
    ]
    assert [d["name"] for d in terminal.json("documents", "--workspace", "tales")] == ["fox.md", "north/bear tale.md"]


def test_a_document_has_versions_that_are_listed_compared_read_and_restored(terminal: Terminal, folder: Path) -> None:
    first = page("Lamp", {"Bulb": "The lamp takes a bulb of 40 watts.", "Care": "Wipe it with a dry cloth."})
    second = first.replace("40 watts", "60 watts") + "\n## Waste\n\nBring old bulbs to the collection point.\n"
    files = written(folder / "lamp", {"lamp.md": first, "lamp-new.md": second})
    published = terminal.json("ingest", str(files / "lamp.md"), "--at", "2026-01-01")
    later = terminal.json("ingest", str(files / "lamp-new.md"), "--as", "lamp.md", "--at", "2026-03-01T09:00:00Z")
    row = later["documents"][0]
    assert (row["version"], row["chunks_new"], row["chunks_kept"], row["chunks_retired"]) == (2, 2, 1, 1)
    assert row["document"] == published["documents"][0]["document"]

    history = terminal.json("history", "lamp.md")
    assert [v["version"] for v in history] == [2, 1]
    assert [v["state"] for v in history] == ["live", "superseded"]
    assert [v["at"] for v in history] == ["2026-03-01T09:00:00.000Z", "2026-01-01T00:00:00.000Z"]
    fields = {"version", "epoch", "at", "state", "sha256", "chunks_new", "chunks_kept", "chunks_retired"}
    assert all(set(v) >= fields for v in history)
    assert history == terminal.json("history", row["document"])  # by id as by name

    change = terminal.json("diff", "lamp.md", "1", "2")
    assert set(change) == {"added", "removed", "changed"}
    assert [passage.split("\n")[-1] for passage in change["added"]] == ["Bring old bulbs to the collection point."]
    assert change["removed"] == []
    (pair,) = change["changed"]
    assert ("40 watts" in pair["before"], "60 watts" in pair["after"]) == (True, True)

    old = terminal.json("text", "lamp.md", "--version", "1")
    assert {"text", "pages"} <= set(old)
    assert "40 watts" in old["text"]
    assert terminal.json("text", "lamp.md")["text"] != old["text"]
    assert terminal.type("text", "lamp.md", "--version", "1").stdout == old["text"] + "\n"

    restored = terminal.json("restore", "lamp.md", "1")
    assert set(restored) >= ROW
    assert (restored["status"], restored["version"]) == ("published", 3)
    assert terminal.json("text", "lamp.md")["text"] == old["text"]

    changes = [c for c in terminal.json("changes", "--since", "0") if c["document"] == row["document"]]
    assert [(c["version"], c["what"]) for c in changes] == [(1, "added"), (2, "changed"), (3, "changed")]
    assert all(set(c) >= {"epoch", "at", "document", "version", "what"} for c in changes)
    since = terminal.json("changes", "--since", str(changes[1]["epoch"]))
    assert [c["epoch"] for c in since] == [changes[2]["epoch"]]


def test_documents_are_listed_with_what_they_hold(terminal: Terminal) -> None:
    rows = {d["name"]: d for d in terminal.json("documents")}
    row = rows["manuals/boiler pump.md"]
    fields = {"document", "title", "source", "live_version", "versions", "chunks", "bytes", "updated"}
    assert set(row) >= fields
    assert (row["title"], row["live_version"], row["versions"], row["chunks"]) == ("Boiler pump", 1, 1, 2)
    assert row["bytes"] == len(BOILER.encode())
    assert row["source"].endswith("manuals/boiler pump.md")


def test_pages_of_a_pdf_are_numbered_from_one(terminal: Terminal, folder: Path) -> None:
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(folder / "lease.pdf"))
    for line in ("The tenant pays the rent on the first of the month.", "Keeping a goat on the balcony is forbidden."):
        canvas.drawString(72, 700, line)
        canvas.showPage()
    canvas.save()
    terminal.json("ingest", str(folder / "lease.pdf"), "--workspace", "law")
    found = terminal.json("text", "lease.pdf")
    assert [p["page"] for p in found["pages"]] == [1, 2]
    assert "goat" in found["text"][found["pages"][1]["start"] : found["pages"][1]["end"]]
    hit = terminal.json("search", "goat on the balcony", "--workspace", "law", "--k", "1")["hits"][0]
    assert hit["page"] == 2


# --- questions -----------------------------------------------------------------------------------


def test_a_hit_is_the_words_of_its_version(terminal: Terminal) -> None:
    found = terminal.json("search", "bleed the pump", "--k", "3")
    assert set(found) >= {"hits", "epoch", "ms"}
    assert set(found["ms"]) >= {"embed", "search", "total"}
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    assert sorted((hit["score"] for hit in found["hits"]), reverse=True) == [hit["score"] for hit in found["hits"]]
    for hit in found["hits"]:
        assert set(hit) >= HIT
        text = terminal.json("text", hit["document"], "--version", str(hit["version"]))["text"]
        assert hit["text"] == text[hit["start"] : hit["end"]]
    assert "bleed screw" in found["hits"][0]["text"]


def test_offsets_count_code_points_not_bytes(terminal: Terminal, folder: Path) -> None:
    text = page("Café 🫖", {"Öffnung": "Größe 🫖🫖 zählt: das Café öffnet um acht, é und 🫖 inklusive."})
    terminal.json("ingest", str(written(folder / "cafe", {"café.md": text}) / "café.md"), "--workspace", "cafe")
    hit = terminal.json("search", "Wann öffnet das Café?", "--workspace", "cafe")["hits"][0]
    assert hit["text"] == terminal.json("text", "café.md")["text"][hit["start"] : hit["end"]]
    assert "🫖🫖" in hit["text"]


def test_search_looks_where_and_when_it_is_told(terminal: Terminal, folder: Path) -> None:
    files = {f"{i}.md": page("Fee", {"Amount": f"The parking fee is {i} crowns an hour."}) for i in (3, 5)}
    written(folder / "fee", files)
    first = terminal.json("ingest", str(folder / "fee/3.md"), "--as", "fee.md", "--at", "2026-01-01", "-w", "town")
    terminal.json("ingest", str(folder / "fee/5.md"), "--as", "fee.md", "--at", "2026-02-01", "-w", "town")

    def fees(*options: str) -> list[str]:
        hits = terminal.json("search", "parking fee", "--workspace", "town", *options)["hits"]
        return [re.findall(r"\d+", hit["text"])[0] for hit in hits]

    assert fees() == ["5"]
    assert fees("--as-of", "2026-01-15") == ["3"]
    assert fees("--as-of", "2025-12-31") == []
    assert fees("--epoch", str(first["epoch"])) == ["3"]
    assert fees("--document", "fee.md") == ["5"]
    only = terminal.json("search", "how long", "--document", "summer camp.md")["hits"]
    assert {hit["document"] for hit in only} == {
        d["document"] for d in terminal.json("documents") if "camp" in d["name"]
    }
    assert len(terminal.json("search", "parcel", "--k", "2")["hits"]) == 2
    assert terminal.json("search", "parcel", "--workspace", "nowhere")["hits"] == []


def test_an_answer_cites_the_words_of_its_version(terminal: Terminal) -> None:
    shown = terminal.json("ask", QUESTION)
    fields = {"answer", "abstained", "support", "citations", "turn", "adapters", "epoch", "ms"}
    assert set(shown) >= fields
    assert set(shown["adapters"]) >= {"retriever", "generator"}
    assert not shown["abstained"]
    assert "30 days" in shown["answer"]
    assert [c["n"] for c in shown["citations"]] == list(range(1, len(shown["citations"]) + 1))
    assert {int(n) for n in re.findall(r"\[(\d+)\]", shown["answer"])} == {c["n"] for c in shown["citations"]}
    for citation in shown["citations"]:
        assert set(citation) >= CITATION
        text = terminal.json("text", citation["document"], "--version", str(citation["version"]))["text"]
        assert citation["quote"] == text[citation["start"] : citation["end"]]
    assert "30 days" in " ".join(c["quote"] for c in shown["citations"])


def test_what_nothing_supports_is_refused_with_exit_code_3(terminal: Terminal) -> None:
    shown = terminal.json("ask", UNKNOWN, code=3)
    assert shown["abstained"]
    assert shown["citations"] == []
    assert terminal.json("ask", QUESTION, "--workspace", "nowhere", code=3)["abstained"]
    assert terminal.json("ask", QUESTION, "--as-of", "2001-01-01", code=3)["abstained"]
    assert terminal.json("ask", QUESTION, "--document", "summer camp.md", "--k", "2", code=3)["abstained"]


def test_feedback_becomes_an_example(terminal: Terminal) -> None:
    turn = terminal.json("ask", "Who pays the postage from abroad?", "--generator", "extractive")["turn"]
    up = terminal.json("feedback", turn, "up")
    assert set(up) >= {"feedback", "example"}
    down = terminal.json("feedback", turn, "down")
    assert down["example"] is None
    corrected = terminal.json("feedback", turn, "down", "--correction", "From abroad the customer pays the postage.")
    examples = {e["example"]: e for e in terminal.json("examples", "list")}
    assert examples[up["example"]]["status"] == "retired"  # the correction of the same question took its place
    assert (examples[corrected["example"]]["origin"], examples[corrected["example"]]["status"]) == (
        "correction",
        "approved",
    )
    assert examples[corrected["example"]]["documents"] == ["returns.md"]
    assert {examples[one["example"]]["slice"] for one in (up, corrected)} == {
        "general"
    }  # its topic is what it is about


# --- examples, rehearsal -------------------------------------------------------------------------


def rows_of(terminal: Terminal) -> list[dict[str, Any]]:
    text = terminal.json("text", "returns.md")["text"]
    start = text.index("A gift is refunded")
    whole = {"document": "returns.md"}
    return [
        {"question": "How long can I send it back?", "document": "returns.md", "quote": "within 30 days of delivery"},
        {"question": "What do I get for a gift?", "relevant": [{**whole, "start": start, "end": start + 40}]},
        {"question": "Is there anything on returns?", "relevant": [whole], "slice": "broad", "pinned": True},
        {"question": "Say hello politely", "answer": "Hello.", "standalone": True, "licence": "CC0-1.0"},
        {"question": "What nobody grounds", "answer": "Hm."},
        {"question": "A line of two\u2028parts and é 🫖", "standalone": True, "preferred": "yes", "rejected": "no"},
    ]  # fmt: skip


def test_examples_come_in_and_go_out_and_in_again(terminal: Terminal, folder: Path) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows_of(terminal))
    file = written(folder / "examples", {"in.jsonl": lines}) / "in.jsonl"
    taken = terminal.json("examples", "import", str(file), "--slice", "first")
    nothing: dict[str, Any] = {"duplicates": [], "replaced": [], "ignored": [], "errors": []}
    assert taken == {"imported": 5, "skipped": 0, "quarantined": 1} | nothing
    assert terminal.json("examples", "import", str(file))["skipped"] == 6

    listed = terminal.json("examples", "list")
    fields = {
        "example",
        "question",
        "origin",
        "slice",
        "split",
        "status",
        "pinned",
        "documents",
        "rehearsed",
        "last_loss",
    }
    assert all(set(e) >= fields for e in listed)
    mine = {e["question"]: e for e in listed if e["slice"] == "first"}
    assert mine["Is there anything on returns?"]["pinned"] is True
    assert mine["What do I get for a gift?"]["documents"] == ["returns.md"]
    quarantined = terminal.json("examples", "list", "--status", "quarantined")
    assert {e["question"] for e in quarantined} == {"What nobody grounds"}

    out = folder / "examples" / "out.jsonl"
    done = terminal.json("examples", "export", str(out))
    exported = [json.loads(line) for line in out.read_text().split("\n") if line]
    approved = terminal.json("examples", "list", "--status", "approved")
    assert (done["file"], done["examples"]) == (str(out), len(exported))
    assert {row["question"] for row in exported} == {e["question"] for e in approved}

    other = Terminal(folder / "other home")
    other.json("ingest", str(folder / "library"))
    again = other.json("examples", "import", str(out))
    assert (again["imported"], again["quarantined"], again["errors"]) == (len(exported), 0, [])
    keep = ("question", "slice", "split", "pinned", "documents", "status")
    assert sorted([e[name] for name in keep] for e in other.json("examples", "list")) == sorted(
        [e[name] for name in keep] for e in approved
    )


def test_a_line_that_is_not_an_example_is_named_and_the_others_are_kept(terminal: Terminal, folder: Path) -> None:
    lines = '{"question": "Fine?", "standalone": true}\n{not json\n\n{"answer": "no question"}\n"text"\n'
    file = written(folder / "bad", {"bad.jsonl": lines}) / "bad.jsonl"
    done = terminal.json("examples", "import", str(file), code=1)
    assert done["imported"] == 1
    assert [e["line"] for e in done["errors"]] == [2, 4, 5]
    assert all(e["message"] for e in done["errors"])
    retired = terminal.json("examples", "list")[0]
    assert retired["question"] == "Fine?"
    told = {"example": retired["example"], "status": "retired", "reason": "asked twice"}
    assert terminal.json("examples", "retire", retired["example"], "--reason", "asked twice") == told


def test_examples_are_decided_about_edited_made_and_sorted(terminal: Terminal, folder: Path) -> None:
    table = 'question;answer;document;quote\n"What does a gift\nget?";credit;returns.md;A gift is refunded\nLoose?;;;\n'
    file = written(folder / "table", {"rows.csv": table}) / "rows.csv"
    taken = terminal.json("examples", "import", str(file))
    assert (taken["imported"], taken["quarantined"], taken["errors"]) == (1, 1, [])
    (loose,) = terminal.json("examples", "list", "--text", "loose?")
    assert terminal.json("examples", "approve", loose["example"])["status"] == "approved"
    (gift,) = terminal.json("examples", "list", "--origin", "import", "--text", "What does a gift")
    both = terminal.json("examples", "quarantine", gift["example"], loose["example"], "--reason", "look at them")
    assert [(row["status"], row["reason"]) for row in both] == [("quarantined", "look at them")] * 2
    terminal.json("examples", "approve", gift["example"])
    edited = terminal.json("examples", "edit", gift["example"], "--question", "What does one get for a gift?")
    assert (edited["status"], edited["replaces"]) == ("approved", gift["example"])
    history = terminal.json("examples", "history", edited["example"])
    assert [row["what"] for row in history] == [
        "created", "approved", "quarantined", "approved", "edited", "approved", "retired"
    ]  # fmt: skip
    made = terminal.json("examples", "generate", "returns.md", "--limit", "5")
    assert made["kept"] + sum(made["dropped"].values()) == made["proposed"]
    assert terminal.json("examples", "cluster")["examples"] == len(
        terminal.json("examples", "list", "--status", "approved")
    )
    assert terminal.json("examples", "slices")[0]["workspace"] == "default"
    terminal.json("examples", "retire", edited["example"], loose["example"])


def test_a_preview_gives_every_row_with_its_reason_and_the_same_twice(terminal: Terminal) -> None:
    found = terminal.json("rehearsal", "preview", "--policy", "random", "--rho", "0.3", "--seed", "7")
    assert set(found) >= {"new", "recalled", "rho", "rows", "excluded", "cost"}
    assert found["rho"] == 0.3
    assert found["new"] == len([r for r in found["rows"] if r["part"] == "new"])
    assert found["recalled"] == 0  # nothing was trained yet, so nothing is old
    assert found["new"] >= 1
    assert all(set(row) >= {"example", "part", "reason", "slice"} and row["reason"] for row in found["rows"])
    assert set(found["cost"]) >= {"examples", "tokens", "seconds_estimate"}
    assert found["cost"]["examples"] == len(found["rows"])
    assert (
        terminal.json("rehearsal", "preview", "--policy", "random", "--rho", "0.3", "--seed", "7")["rows"]
        == found["rows"]
    )
    held_out = [e for e in terminal.json("examples", "list", "--status", "approved") if e["split"] == "held-out"]
    assert found["excluded"].get("held out", 0) == len(held_out)


# --- adapters and schedules ----------------------------------------------------------------------


def test_schedules_are_added_paused_and_removed(terminal: Terminal) -> None:
    assert terminal.json("schedule", "list") == []
    (row,) = terminal.json("schedule", "add", "0 3 * * 1", "--workspace", "default")
    assert set(row) >= {"schedule", "cron", "kind", "workspace", "paused", "last", "next"}
    assert (row["cron"], row["kind"], row["workspace"], row["paused"], row["last"]) == (
        "0 3 * * 1",
        "retriever",
        "default",
        False,
        None,
    )
    assert row["next"].endswith("T03:00:00.000Z")
    (paused,) = terminal.json("schedule", "pause", row["schedule"])
    assert paused["paused"] is True
    (resumed,) = terminal.json("schedule", "pause", row["schedule"])
    assert resumed["paused"] is False
    (edited,) = terminal.json(
        "schedule", "edit", row["schedule"], "--when", "examples>=50", "--timezone", "Europe/Berlin",
        "--cooldown", "2d", "--workspace", "", "--rho", "0.3",
    )  # fmt: skip
    assert set(edited) >= {"when", "timezone", "cooldown", "policy", "rho", "last_result", "last_run", "seen"}
    assert (edited["when"], edited["timezone"], edited["cooldown"]) == (["examples>=50"], "Europe/Berlin", 172_800)
    assert (edited["workspace"], edited["rho"], edited["kind"]) == (None, 0.3, "retriever")
    assert terminal.error("schedule", "edit", row["schedule"], "--method", "dpo")["code"] == "bad_request"
    (writes,) = terminal.json("schedule", "edit", row["schedule"], "--kind", "generator", "--method", "dpo")
    assert (writes["kind"], writes["method"]) == ("generator", "dpo")
    assert terminal.json("schedule", "history", row["schedule"]) == []
    assert terminal.error("schedule", "edit", row["schedule"])["code"] == "bad_request"
    assert terminal.error("schedule", "edit", row["schedule"], "--when", "full moon")["code"] == "bad_trigger"
    assert terminal.error("schedule", "add")["code"] == "bad_schedule"
    assert terminal.error("schedule", "add", "0 3 * * 1", "--timezone", "Mars")["code"] == "bad_timezone"
    assert terminal.json("schedule", "remove", row["schedule"]) == []


def test_advice_and_lineage_of_a_home_without_adapters(terminal: Terminal, folder: Path) -> None:
    (row,) = terminal.json("advise", "--document", "returns.md")
    assert set(row) >= {"subject", "name", "verdict", "reason", "ready", "missing", "seconds", "facts"}
    assert row["verdict"] in ("index", "retriever adapter", "generator adapter", "neither")
    assert terminal.json("lineage", "returns.md")["adapters"] == []
    assert terminal.error("lineage", "nowhere.md")["code"] == "not_found"
    assert terminal.error("card", "retriever-1")["code"] == "not_found"
    assert terminal.error("export-run", "run-1", str(folder / "run"))["code"] == "not_found"
    assert terminal.error("reproduce", str(folder))["code"] == "not_found"
    assert terminal.error("advise", "--slice", "nowhere")["code"] == "not_found"


def test_the_gate_is_made_stricter_asks_a_pinned_suite_and_has_nothing_to_approve(
    terminal: Terminal, folder: Path
) -> None:
    shown = terminal.json("gate-policy", "show")
    assert set(shown) == {"kind", "workspace", "policy", "set", "changed"}
    assert (shown["policy"]["tolerance"], shown["set"]) == (0.015, {})
    strict = terminal.json("gate-policy", "set", "tolerance=0.01", "approval=true", "--workspace", "default")
    assert strict["set"] == {"tolerance": 0.01, "approval": True}
    assert terminal.json("gate-policy", "show")["policy"]["tolerance"] == 0.015
    wrong = terminal.error("gate-policy", "set", "tolerance=much", "min_n=0", "--workspace", "default")
    assert wrong["code"] == "bad_policy"
    assert all(name in wrong["message"] for name in ("tolerance", "min_n"))
    assert terminal.json("gate-policy", "set", "--reset", "--workspace", "default")["set"] == {}
    assert terminal.error("gate-policy", "set")["message"] == "nothing to set"

    suite = [{"question": QUESTION, "relevant": [{"document": "returns.md"}]}, {"question": "Fine?", "answer": "Yes"}]
    file = written(folder / "eval", {"kept.jsonl": "".join(json.dumps(r) + "\n" for r in suite)}) / "kept.jsonl"
    kept = terminal.json("eval", str(file), "--pin", "returns")["pinned"]
    assert (kept["suite"], kept["questions"], kept["workspace"], kept["by"]) == ("returns", 1, "default", "local")
    assert terminal.json("suite", "list") == [kept]
    assert terminal.json("suite", "unpin", "returns") == []
    assert terminal.error("suite", "unpin", "returns")["code"] == "not_found"

    assert terminal.json("approvals") == []
    assert terminal.error("approve", "retriever-1")["code"] == "not_found"
    matrix = terminal.json("forgetting")
    assert [row["run"] for row in matrix["rows"]] == [None]
    assert (matrix["forgetting"], matrix["changes"], matrix["metric"]) == (None, [], "ndcg@10")
    assert terminal.error("forgetting", "--before", "retriever-1")["code"] == "not_found"


def test_without_adapters_the_base_serves_and_there_is_nothing_to_move(terminal: Terminal) -> None:
    assert terminal.json("adapters") == []
    assert terminal.error("promote", "retriever-1")["code"] == "not_found"
    assert terminal.error("promote", "retriever-1", "--override", "because")["code"] == "not_found"
    assert "nothing to roll back" in terminal.error("rollback")["hint"]
    assert terminal.json("rollout", "show") == terminal.json("route", "list") == []
    assert terminal.error("rollout", "start", "retriever-1", "--share", ".1")["code"] == "not_found"
    assert terminal.error("rollout", "stop")["code"] == "no_rollout"
    assert terminal.error("route", "remove", "--workspace", "law")["code"] == "not_found"
    assert "which is no number" in terminal.error("rollout", "start", "x", "--steps", ".1,many")["message"]
    assert "margin=.05" in terminal.error("rollout", "start", "x", "--test", "margin")["hint"]
    assert terminal.error("gate", "run-1")["code"] == "not_found"
    assert terminal.json("runs") == terminal.json("runs", "--kind", "generator") == []
    assert "retriever or generator" in terminal.error("runs", "--kind", "reader")["hint"]
    for words in (["run", "run-1"], ["run", "run-1", "--mix"]):
        assert "`reprise runs`" in terminal.error(*words)["hint"]
    assert terminal.error("rejudge", "run-1")["code"] == "not_found"
    assert terminal.error("merge", "retriever-1", "retriever-2")["code"] == "not_found"
    assert terminal.error("merge", "retriever-1")["code"] == "bad_merge"
    assert terminal.error("merge", "retriever-1", "retriever-2", "--weights", "half,half")["code"] == "bad_request"
    assert terminal.error("retrain", "--kind", "generator")["code"] == "not_trainable"


# --- measuring -----------------------------------------------------------------------------------


def test_eval_gives_the_values_one_computes_by_hand(terminal: Terminal, folder: Path) -> None:
    query = "sending a parcel back"
    hits = terminal.json("search", query, "--k", "4")["hits"]
    second = {name: hits[1][name] for name in ("document", "start", "end")}
    ranks_1_and_3 = [{name: hits[i][name] for name in ("document", "start", "end")} for i in (0, 2)]
    by_document = list(dict.fromkeys(h["document"] for h in terminal.json("search", query, "--k", "12")["hits"]))
    nowhere = {"document": hits[3]["document"], "start": hits[3]["start"], "end": hits[3]["end"]}
    suite = [
        {"question": query, "relevant": [second], "slice": "spans"},  # one relevant, at rank 2
        {"question": query, "relevant": ranks_1_and_3, "slice": "spans"},  # two, at ranks 1 and 3
        {"question": query, "relevant": [nowhere], "slice": "missed"},  # at rank 4, beyond k
        {"question": query, "relevant": [{"document": by_document[1]}], "slice": "documents"},  # the second document
        {"question": UNKNOWN, "unanswerable": True, "slice": "refusals"},
        {"question": QUESTION, "answer": "Within 30 days!", "slice": "answers"},
    ]
    file = written(folder / "eval", {"suite.jsonl": "".join(json.dumps(r) + "\n" for r in suite)}) / "suite.jsonl"
    measured = terminal.json("eval", str(file), "--k", "3")
    second_rank, both = 1 / math.log2(3), (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert measured["n"] == 6
    spans = measured["slices"]["spans"]
    assert spans["ndcg@3"] == pytest.approx((second_rank + both) / 2, abs=1e-4)
    assert (spans["recall@3"], spans["mrr@3"]) == (1.0, 0.75)
    assert [measured["slices"]["missed"][f"{m}@3"] for m in ("ndcg", "recall", "mrr")] == [0.0, 0.0, 0.0]
    documents = measured["slices"]["documents"]
    assert documents["ndcg@3"] == pytest.approx(second_rank, abs=1e-4)
    assert (documents["recall@3"], documents["mrr@3"]) == (1.0, 0.5)
    assert measured["ndcg@3"] == pytest.approx((second_rank + both + 0 + second_rank) / 4, abs=1e-4)
    assert (measured["recall@3"], measured["mrr@3"]) == (0.75, pytest.approx((0.5 + 1 + 0 + 0.5) / 4, abs=1e-4))
    assert (measured["refusal_recall"], measured["slices"]["refusals"]["refusal_recall"]) == (1.0, 1.0)
    assert measured["slices"]["answers"]["answer_contains"] == 1.0
    for name in ("ndcg@3", "recall@3", "mrr@3", "citation_precision", "citation_recall"):
        assert measured["slices"]["answers"][name] is None  # nothing relevant was named: null, not zero
    assert measured["slices"]["spans"]["refusal_recall"] is None

    # Citations: what `ask` cites, against spans that one can lay beside it.
    shown = terminal.json("ask", QUESTION)
    cited = [{name: c[name] for name in ("document", "start", "end")} for c in shown["citations"]]
    elsewhere = {"document": by_document[1]}
    file.write_text(json.dumps({"question": QUESTION, "relevant": [cited[0], elsewhere]}) + "\n")
    judged = terminal.json("eval", str(file))
    right = sum(c == cited[0] or c["document"] == by_document[1] for c in cited)
    assert judged["citation_precision"] == pytest.approx(right / len(cited), abs=1e-4)
    assert judged["citation_recall"] == pytest.approx((1 + any(c["document"] == by_document[1] for c in cited)) / 2)
    assert "ndcg@10" in judged


def test_eval_measures_at_ranks_beyond_ten(terminal: Terminal, folder: Path) -> None:
    sections = {f"Room {i}": f"Room {i} is on floor {i % 4} and has {i + 2} chairs." for i in range(14)}
    terminal.json("ingest", str(written(folder / "rooms", {"rooms.md": page("Rooms", sections)})), "-w", "rooms")
    hits = terminal.json("search", "chairs", "--k", "12", "--workspace", "rooms")["hits"]
    last = {name: hits[-1][name] for name in ("document", "start", "end")}
    file = (
        written(folder / "eval", {"deep.jsonl": json.dumps({"question": "chairs", "relevant": [last]})}) / "deep.jsonl"
    )
    measured = terminal.json("eval", str(file), "--k", "12", "--workspace", "rooms")
    assert measured["mrr@12"] == pytest.approx(1 / 12, abs=1e-4)
    assert measured["ndcg@12"] == pytest.approx(1 / math.log2(13), abs=1e-4)


def test_a_suite_that_cannot_be_used_is_refused_with_its_lines(terminal: Terminal, folder: Path) -> None:
    rows = ['{"question": "fine?"}', "{no", '{"question": ""}']
    rows += [json.dumps({"question": "x", "relevant": [item]}) for item in ({"document": "no such.md"}, "y")]
    suite = "\n".join(rows)
    file = written(folder / "eval", {"bad.jsonl": suite}) / "bad.jsonl"
    error = terminal.error("eval", str(file))
    assert error["code"] == "bad_suite"
    assert all(f"line {n}:" in error["message"] for n in (2, 3, 4, 5))
    assert "line 1:" not in error["message"]
    assert terminal.error("eval", str(file), "--k", "0")["message"] == "k is 0"


# --- health, jobs, audit -------------------------------------------------------------------------


def test_a_healthy_home_passes_its_examination(terminal: Terminal) -> None:
    found = terminal.json("doctor")
    assert found["ok"] is True
    assert {c["name"] for c in found["checks"]} >= {"disk", "database", "index", "embedder", "audit log"}
    assert all(set(c) == {"name", "ok", "detail", "hint"} for c in found["checks"])
    full = terminal.json("doctor", code=1, env={"REPRISE_MIN_FREE_MB": "999999999"})
    assert [c["name"] for c in full["checks"] if not c["ok"]] == ["disk"]


def test_the_audit_log_shows_an_edit(folder: Path) -> None:
    terminal = Terminal(folder / "audited")
    for cron in ("0 3 * * 1", "0 4 * * 1"):
        terminal.json("schedule", "add", cron)
    log = terminal.json("audit", "--verify")
    assert log["intact"] is True
    assert [e["action"] for e in log["entries"]] == ["schedule.add", "schedule.add"]
    assert set(log["entries"][0]) >= {"seq", "at", "actor", "action", "subject", "detail"}

    from kernel.tables import AuditEntry

    with terminal.inside() as platform, platform.w.db.write() as session:
        session.query(AuditEntry).filter_by(seq=1).update({"actor": "somebody else"})
    assert terminal.json("audit")["intact"] is False
    assert terminal.json("audit", "--verify", code=1)["intact"] is False


def test_jobs_are_listed_as_the_ledger_knows_them(terminal: Terminal) -> None:
    with terminal.inside() as platform:
        from tests.house import incoming

        job = platform.enqueue_ingest([incoming("queued.md", "# Queued\n\nA page from a queue.\n")])["job"]
        platform.w.ledger.run(job)
    (row,) = terminal.json("jobs")
    fields = {"job", "kind", "state", "progress", "result", "error", "attempt", "enqueued_by", "worker"}
    assert set(row) >= fields | {"created", "started", "finished"}
    assert (row["job"], row["kind"], row["state"], row["attempt"]) == (job, "ingest", "done", 1)
    assert row["result"]["documents"] == 1  # a list of jobs counts what each holds; the job itself tells it


# --- backup, delete ------------------------------------------------------------------------------


def test_a_restored_home_answers_as_before(terminal: Terminal, folder: Path) -> None:
    file = folder / "all.backup"
    done = terminal.json("backup", str(file))
    assert set(done) >= {"file", "bytes", "epoch", "documents", "adapters"}
    assert (done["file"], done["bytes"]) == (str(file), file.stat().st_size)
    assert "never overwrites" in terminal.error("backup", str(file))["hint"]

    other = Terminal(folder / "restored")
    assert other.json("restore-backup", str(file)) == done
    assert other.error("restore-backup", str(file))["code"] == "conflict"  # the home is not new any more
    assert other.json("documents") == terminal.json("documents")
    assert other.json("history", "returns.md") == terminal.json("history", "returns.md")
    assert other.json("changes", "--since", "0") == terminal.json("changes", "--since", "0")
    assert other.json("examples", "list") == terminal.json("examples", "list")
    for query in ("bleed the pump", "gift voucher", "when does the gate open"):
        here, there = terminal.json("search", query)["hits"], other.json("search", query)["hits"]
        assert [{**hit, "score": None} for hit in there] == [{**hit, "score": None} for hit in here]
        assert [hit["score"] for hit in there] == pytest.approx([hit["score"] for hit in here], abs=1e-5)
    assert other.json("audit", "--verify")["intact"] is True
    assert other.json("doctor")["ok"] is True
    with other.inside() as platform:
        nothing_left_behind(platform)


def test_a_delete_leaves_a_receipt_and_nothing_else(terminal: Terminal, folder: Path) -> None:
    text = page("Secret recipe", {"Sauce": "The secret sauce needs quince, juniper and forty minutes of patience."})
    sent = text.replace("\n", "\r\n")  # so that the file and its text are two blobs
    terminal.json("ingest", str(written(folder / "secret", {"secret.md": sent}) / "secret.md"))
    line = {"question": "What does the sauce need?", "document": "secret.md", "quote": "quince, juniper"}
    file = written(folder / "secret", {"one.jsonl": json.dumps(line)}) / "one.jsonl"
    assert terminal.json("examples", "import", str(file))["imported"] == 1
    document = next(d["document"] for d in terminal.json("documents") if d["name"] == "secret.md")
    receipt = terminal.json("delete", "secret.md")
    fields = {"document", "points", "blobs", "examples", "cache_entries", "adapters_trained_on_it", "remaining"}
    assert set(receipt) >= fields
    assert (receipt["document"], receipt["points"], receipt["blobs"], receipt["examples"]) == (document, 1, 2, 1)
    assert (receipt["adapters_trained_on_it"], receipt["remaining"]) == ([], 0)
    assert "secret.md" not in [d["name"] for d in terminal.json("documents")]
    assert "quince" not in json.dumps(terminal.json("search", "quince and juniper"))
    assert terminal.error("history", document)["code"] == "deleted"
    assert terminal.error("text", "secret.md")["code"] == "not_found"
    assert terminal.json("changes", "--since", "0")[-1]["what"] == "deleted"
    with terminal.inside() as platform:
        nothing_left_behind(platform)
    assert RETURNS.split("\n")[0] == "# Returns"  # the others are as they were
    assert terminal.json("text", "returns.md")["text"].count("30 days") == 1


# --- for people ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["documents"], "summer camp.md"),
        (["history", "returns.md"], "live"),
        (["search", "bleed the pump"], "manuals/boiler pump.md version 1"),
        (["ask", QUESTION], "30 days"),
        (["doctor"], "audit log"),
        (["audit"], "The chain is intact."),
        (["examples", "list"], "question"),
        (["rehearsal", "preview"], "new and 0 recalled examples"),
        (["adapters"], "No adapters: the base model serves."),
        (["schedule", "list"], "No schedules."),
        (["changes"], "added"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_without_json_a_command_speaks_to_people(terminal: Terminal, words: list[str], expected: str) -> None:
    done = terminal.type(*words)
    assert done.exit_code == 0
    assert expected in done.stdout
    assert not done.stdout.startswith(("{", "["))
