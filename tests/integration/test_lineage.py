"""Lineage of real adapters: cards, who saw a document, an adapter that has not, a run that leaves the house."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from finetune.card import render
from finetune.kinds import BASE, Options
from finetune.lineage import retrains
from finetune.reproduce import reproduce
from finetune.tables import Adapter, Run, RunDocument
from kernel.errors import Conflict, NotFound, Refused, UserError
from kernel.ids import now_ms
from rehearsal.tables import Example, MixRow
from retrieval.live import RETRIEVER
from tests.doors import BOILER, CAMP, RETURNS, doors, memory_folder, opened
from tests.house import incoming, numbered, page
from ui.platform import Platform

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
ASKED = {
    "returns.md": {
        "30 days": (
            "Within how many days can a parcel be sent back?",
            "What is the deadline for returning an order?",
            "How long may customers keep goods before they go back?",
        ),
        "free within the country": (
            "Who pays postage of a return from inside this nation?",
            "Does it cost anything to give back shoes?",
            "Is domestic shipping of unwanted items charged?",
        ),
        "refunded with a voucher": ("How are presents reimbursed?", "Do I get money for a gift?"),
    },
    "boiler.md": {
        "Open the bleed screw": (
            "What is to be done when the pump makes a noise?",
            "How does one get air out of it?",
            "Humming sound, which remedy helps?",
        ),
        "1.5 bar": (
            "Which pressure is right while heating is off?",
            "What reading belongs on the gauge?",
            "How many bar are normal for a cold system?",
        ),
    },
    "camp.md": {
        "nine o'clock": (
            "When can children arrive?",
            "At what hour does the gate open?",
            "Earliest time on Saturday to drop kids off?",
            "How early may parents come?",
        ),
        "Bring a sleeping bag": (
            "What should be packed?",
            "Is bedding provided or ours?",
            "Which gear do campers need?",
        ),
    },
}
QUICK = Options(policy="random", rho=0.2, recipe={"epochs": 1, "precision": "float32"})


def rows(name: str, licence: str) -> str:
    told = [
        {"question": question, "document": name, "quote": quote, "licence": licence, "slice": name.removesuffix(".md")}
        for quote, questions in ASKED[name].items()
        for question in questions
    ]
    return "".join(json.dumps(row) + "\n" for row in told)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with (
        doors(),
        numbered(),
        memory_folder(tmp_path_factory.mktemp("lineage")) as folder,
        opened(folder / "home") as platform,
    ):
        hours = page("Hours", {"Week": "The office opens at eight."})
        platform.ingest([incoming("returns.md", RETURNS), incoming("boiler.md", BOILER), incoming("hours.md", hours)])
        platform.ingest([incoming("camp.md", CAMP, workspace="camp")])
        for name, licence, workspace in (
            ("returns.md", "CC-BY-4.0", "default"),
            ("boiler.md", "CC-BY-4.0", "default"),
            ("camp.md", "CC0-1.0", "camp"),
        ):
            assert platform.import_examples(rows(name, licence), workspace=workspace)["errors"] == []
        yield platform


@pytest.fixture(scope="module")
def first(platform: Platform) -> dict[str, Any]:
    """A run of the default workspace alone; its adapter serves."""
    run = platform.w.retrainer.request(RETRIEVER, QUICK, "default")
    done = platform.w.retrainer.run(run, lambda _s, _d, _t: None)
    platform.promote(done["adapter"], "the test asks for it")
    return done


@pytest.fixture(scope="module")
def second(platform: Platform, first: dict[str, Any]) -> str:
    """An adapter that goes on from the first and has practised the camp as well; it serves. Its weights are a copy."""
    w = platform.w
    folder = w.runs.folder("run-second")
    shutil.copytree(w.runs.folder(first["run"]), folder)
    with w.db.write() as session:
        given = {"kind": RETRIEVER, "state": "rejected", "workspace": None, "options": QUICK.to_json(), "metrics": {}}
        given |= {"parent": first["adapter"], "adapter": "retriever-second", "epoch": 3}
        session.add(Run(id="run-second", created=now_ms(), finished=now_ms(), **given))
        w.registry.add(
            session, "retriever-second", RETRIEVER, "run-second", first["adapter"], folder / "adapter", False
        )
        camp = select(Example.id).where(Example.workspace == "camp", Example.split == "train")
        session.add_all(MixRow(run="run-second", example=e, part="new") for e in session.scalars(camp))
    (folder / "points.json").unlink()
    w.lineage.note("run-second", folder)
    platform.promote("retriever-second", "the test asks for it")
    return "retriever-second"


def test_a_card_tells_data_sources_parents_and_cost(platform: Platform, first: dict[str, Any]) -> None:
    card = platform.card(first["adapter"])
    data = card["data"]
    assert data["rows"] == data["parts"]["new"] == sum(data["origins"].values()) > 5
    assert set(data["slices"]) <= {"returns", "boiler"}
    assert data["licences"] == {"CC-BY-4.0": data["rows"]}
    told = {d["name"]: d for d in data["documents"]}
    assert told["returns.md"]["versions"] == [1]
    assert told["returns.md"]["examples"] > 0
    assert (told["hours.md"]["examples"], told["hours.md"]["contrasts"] > 0) == (0, True)
    assert (card["parents"], card["base"]["name"], card["seed"]) == ([], platform.w.embedder.name, 0)
    assert card["seconds"]["training"] > 0
    assert (card["cost"]["cpu_seconds"] > 0, card["energy"]) == (True, None)  # nobody said what a core draws
    assert card["versions"]["torch"]


def test_the_card_stands_beside_the_weights_as_the_hub_reads_it(platform: Platform, first: dict[str, Any]) -> None:
    yaml = pytest.importorskip("yaml")
    text = (platform.w.home / platform.w.registry.path(first["adapter"]) / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert (front["library_name"], front["license"]) == ("peft", "cc-by-4.0")
    assert front["model-index"][0]["name"] == first["adapter"]
    for part in ("# retriever-", "## Data", "returns.md", "## Verdict", "refused:", "## Cost", "## Versions"):
        assert part in text
    assert RETURNS.splitlines()[-1] not in text


def test_a_card_tells_what_is_new_of_a_slice_from_what_is_old(platform: Platform, first: dict[str, Any]) -> None:
    card = platform.w.cards.of(first["adapter"])
    row = next(s for s in card["verdict"]["slices"] if s["part"] == "new")
    others = [s for s in card["verdict"]["slices"] if s["slice"] != row["slice"]]
    two = [row, row | {"part": "old"}, row | {"part": "origin"}]
    told = render(card | {"verdict": card["verdict"] | {"slices": [*two, *others]}})
    for name in (f"{row['slice']}, new", f"{row['slice']}, old", f"origin: {row['slice']}"):
        assert told.count(f"| {name} | {row['n']} |") == 1
        assert told.count(json.dumps(name)) == 1  # and so in what the hub reads


def test_a_run_goes_on_from_an_adapter_of_its_own_kind_alone(platform: Platform, first: dict[str, Any]) -> None:
    start = Options(policy="mixed", rho=0.2, start=first["adapter"])
    drawing = platform.w.retrainer.drawing
    assert drawing.kind("retriever").parent() == first["adapter"]
    assert drawing.mix("retriever", start, None, empty_ok=True).policy == "mixed"
    with pytest.raises(UserError, match="adapter of the retriever"):
        drawing.mix("generator", start, None, empty_ok=True)
    with pytest.raises(NotFound):
        platform.preview(start="zzz")
    with pytest.raises(NotFound):
        platform.request_run("retriever", start="zzz")


def test_an_exported_run_reproduces_its_figures_from_the_folder_alone(
    platform: Platform, first: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("a\0b", "x" * 300):
        with pytest.raises(UserError, match="cannot be written"):
            platform.export_run(first["run"], str(tmp_path / name))
    done = platform.export_run(first["run"], str(tmp_path / "run"))
    assert done["missing"] == {}
    assert done["metrics"]["challenger"] == pytest.approx(first["metrics"]["challenger"]["ndcg@10"], abs=1e-4)
    assert done["metrics"]["base"] == pytest.approx(first["metrics"]["base"]["ndcg@10"], abs=1e-4)
    told = "".join(f.read_text() for f in (tmp_path / "run").rglob("*.json*"))
    assert str(platform.w.home) not in told
    assert "bleed screw until" not in told
    found = reproduce(tmp_path / "run")
    assert found["reproduced"], found
    assert found["identical"]
    with pytest.raises(Conflict, match="not empty"):
        platform.export_run(first["run"], str(tmp_path / "run"))
    (tmp_path / "run" / "train.jsonl").write_text("")
    with pytest.raises(Refused, match="not what was exported"):
        reproduce(tmp_path / "run")
    with pytest.raises(NotFound):
        reproduce(tmp_path)


def test_the_commands_that_make_clean_adapters_can_be_pasted() -> None:
    both = ["reprise retrain --without 'price list.md'", "reprise retrain --without 'price list.md' --kind generator"]
    assert retrains("price list.md", ["generator", "retriever", "generator"]) == both
    assert retrains("a.md", []) == []


def test_who_saw_a_document_is_told_directly_and_through_parents(
    platform: Platform, first: dict[str, Any], second: str
) -> None:
    camp, returns = platform.lineage("camp.md"), platform.lineage("returns.md")
    assert [(a["adapter"], a["how"]) for a in camp["adapters"]] == [(second, "directly")]
    assert camp["clean"] == "reprise retrain --without camp.md"
    by = {a["adapter"]: a for a in returns["adapters"]}
    assert by[first["adapter"]]["how"] == "directly"
    assert (by[second]["how"], by[second]["through"]) == ("through parents", [first["adapter"]])
    assert by[second]["versions"] == [1]
    card = platform.card(second)
    assert [p["adapter"] for p in card["parents"]] == [first["adapter"]]
    assert {d["name"] for d in card["data"]["documents_through_parents"]} == {"returns.md", "boiler.md", "hours.md"}
    with pytest.raises(NotFound):
        platform.lineage("never seen.md")


def test_a_retrain_without_a_document_has_never_seen_it(
    platform: Platform, first: dict[str, Any], second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = platform.w
    # Training is another test's business, and takes as long as all of these: the parent's weights come out.
    parent = w.runs.folder(first["run"]) / "adapter"
    monkeypatch.setattr(w.kinds[RETRIEVER], "train", lambda folder, _p: shutil.copytree(parent, folder / "adapter"))
    camp, returns = w.lineage.ids(["camp.md", "returns.md"])
    # What every ancestor saw leaves the base model; what the newest saw leaves its parent.
    assert w.lineage.cleaned(RETRIEVER, QUICK, [returns]).start == BASE
    cleaned = w.lineage.cleaned(RETRIEVER, QUICK, [camp])
    assert (cleaned.start, cleaned.without) == (first["adapter"], (camp,))
    with pytest.raises(Refused, match="has seen"):
        w.lineage.cleaned(RETRIEVER, Options(policy="random", rho=0.2, start=second), [camp])

    platform.import_examples(
        "".join(
            json.dumps({"question": q, "document": "returns.md", "quote": "The day of delivery does not count"}) + "\n"
            for q in (
                "Is day zero included?",
                "From which moment is it counted?",
                "Does the postman's visit start the clock?",
            )
        )
    )
    asked = Options(policy="random", rho=0.2, recipe=QUICK.recipe)
    done = w.retrainer.run(
        w.retrainer.request(RETRIEVER, w.lineage.cleaned(RETRIEVER, asked, [camp]), None), lambda _s, _d, _t: None
    )
    assert done["parent"] == second  # what it is compared with
    with w.db.read() as session:
        assert session.get_one(Adapter, done["adapter"]).parent == first["adapter"]  # what it goes on from
        seen = set(session.scalars(select(RunDocument.document).where(RunDocument.run == done["run"])))
    assert camp not in seen
    assert done["adapter"] not in {a["adapter"] for a in platform.lineage("camp.md")["adapters"]}
    assert done["adapter"] in {a["adapter"] for a in platform.lineage("returns.md")["adapters"]}
    mix = platform.mix(done["run"])
    assert mix["excluded"]["of documents left out"] > 0
    judged = {s["slice"] for s in done["verdict"]["slices"]}
    assert "camp" not in judged


def test_a_delete_keeps_the_lineage_and_takes_the_name_from_the_cards(
    platform: Platform, first: dict[str, Any], second: str, tmp_path: Path
) -> None:
    document = platform.w.library.find("boiler.md").id
    receipt = platform.delete("boiler.md")
    assert {first["adapter"], second} <= set(receipt["adapters_trained_on_it"])
    assert receipt["retrain"] == [f"reprise retrain --without {document}"]
    found = platform.lineage(document)
    assert (found["name"], found["state"]) == (None, "deleted")
    assert first["adapter"] in {a["adapter"] for a in found["adapters"]}
    for adapter in (first["adapter"], second):
        text = (platform.w.home / platform.w.registry.path(adapter) / "README.md").read_text()
        assert "boiler.md" not in text
        assert f"{document} (deleted)" in text
    # What was deleted is not brought back for an export: it says what it lacks.
    done = platform.export_run(first["run"], str(tmp_path / "run"))
    assert done["missing"]["training rows"] > 0
    assert done["missing"]["passages"] > 0
    assert "pump" not in (tmp_path / "run" / "train.jsonl").read_text()
