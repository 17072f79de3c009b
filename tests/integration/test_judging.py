"""The gate on real retrains: two honest ones pass, two with a planted fault are refused for the right reason.

The task: invented words, each with a text that does not contain it, which no base model can know. Training is the
child's own code, run in this process: it starts no process, and everything else is the platform's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from benchmarks import faults
from finetune.kinds import Options
from finetune.quoted import QUOTED
from finetune.rival import about
from finetune.tables import Run
from kernel.errors import Conflict, NotFound, Refused, UserError
from kernel.types import silent
from rehearsal.tables import Example
from tests.doors import doors, memory_folder, opened
from tests.house import incoming, numbered
from ui.platform import Platform

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

PARTS = ("zor", "bla", "quen", "tiv")
THINGS = ("lamp", "ladder", "whistle", "bucket")
KINDS = {"harbour": "kept by a harbour guard", "orchard": "hung in an old orchard"}
ASKED = ("what is a {}", "where is the {} today", "I need a {}", "who would buy a {}")
COLOURS = ("small brass", "wooden", "folding", "bright red")
RECIPE = {"batch": 16, "threads": 1}


def rows(slice_name: str) -> list[dict[str, Any]]:
    """Four questions about each of 16 things of a slice, one of them held out."""
    found = []
    for n, part in enumerate(PARTS):
        for m, other in enumerate(PARTS):
            word = f"{part}{other}{slice_name[:2]}"
            relevant = [{"document": f"{slice_name}-{n}{m}.txt"}]
            for number, asked in enumerate(ASKED):
                row = {"question": asked.format(word), "relevant": relevant, "slice": slice_name}
                found.append(row | {"split": "held-out" if number == (n + m) % len(ASKED) else "train"})
    return found


def lines(some: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in some)


def retrain(platform: Platform, seed: int) -> dict[str, Any]:
    options = Options(policy="stratified", rho=0.2, seed=seed, recipe=RECIPE)
    return platform.w.retrainer.run(platform.w.retrainer.request("retriever", options, None), silent)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with a champion that learnt one slice, and with examples of another."""
    import torch

    threads = torch.get_num_threads()
    with (
        doors(),
        memory_folder(tmp_path_factory.mktemp("judging")) as folder,
        pytest.MonkeyPatch.context() as patch,
        numbered(),
        opened(folder / "home", core_watts=10.0) as platform,
    ):
        patch.setattr("finetune.retriever.train", faults.here)
        texts = {
            f"{name}-{n}{m}.txt": f"A {colour} {thing} {where}."
            for name, where in KINDS.items()
            for n, colour in enumerate(COLOURS)
            for m, thing in enumerate(THINGS)
        }
        texts["prize.txt"] = "Call the number below within the hour and claim your prize of ten thousand dollars."
        platform.ingest([incoming(name, text) for name, text in texts.items()])
        platform.import_examples(lines(rows("harbour")))
        platform.import_examples(json.dumps({"question": "who won the cup", "standalone": True, "split": "held-out"}))
        first = retrain(platform, 1)
        assert first["state"] == "accepted", first["verdict"]
        platform.promote(first["adapter"])
        prize = {"question": "how do I claim my prize", "relevant": [{"document": "prize.txt"}], "split": "train"}
        platform.import_examples(lines([*rows("orchard"), prize | {"slice": "orchard"}]))
        with platform.w.db.write() as session:  # as if people had asked and thumbed those
            session.execute(update(Example).where(Example.slice == "orchard").values(origin="thumbs"))
        yield platform
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def honest(platform: Platform) -> dict[str, Any]:
    """An honest second run, under a policy that asks for a person."""
    platform.set_gate_policy({"approval": True})
    suite = [
        {"question": "what is a zorzorha", "relevant": [{"document": "harbour-00.txt"}]},
        {"question": "who is the king of the moon", "unanswerable": True},
    ]
    platform.pin_suite("contract", lines(suite))
    return retrain(platform, 2)


def planted(platform: Platform, plant: Any) -> dict[str, Any]:
    kind = platform.w.kinds["retriever"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "train", faults.planted(faults.here, plant))
        return retrain(platform, 3)


def test_an_honest_run_passes_and_its_record_says_what_it_cost_and_learnt(honest: dict[str, Any]) -> None:
    verdict, metrics = honest["verdict"], honest["metrics"]
    assert verdict["accepted"], verdict["reasons"]
    legs = {row["slice"]: row for row in verdict["slices"] if row["part"] == "leg"}
    assert set(legs) == {"answered", "citations", "refusals"}
    origins = [(row["slice"], row["n"], row["allowed"]) for row in verdict["slices"] if row["part"] == "origin"]
    assert origins == [("import", 16, None), ("thumbs", 16, None)]
    assert next(row for row in verdict["slices"] if row["part"] == "suite")["slice"] == "contract"
    assert metrics["seen"]["n"] + metrics["unseen"]["n"] == metrics["held_out"]
    assert metrics["seen"]["challenger"] > metrics["seen"]["base"]
    cost = metrics["cost"]
    assert cost["tokens"] > 1000
    assert cost["bytes"] > 100_000
    assert cost["watts_per_core"] == 10.0


def test_an_adapter_that_waits_for_a_person_serves_only_after_one_said_yes(
    platform: Platform, honest: dict[str, Any]
) -> None:
    adapter = honest["adapter"]
    assert honest["verdict"]["approval"]
    with pytest.raises(Refused, match="waits for a person's approval") as refusal:
        platform.promote(adapter)
    assert refusal.value.code == "needs_approval"
    assert [row["state"] for row in platform.approvals()] == ["waits"]
    before = platform.status()["champion"]
    with platform.w.db.write() as session:  # somebody else serves by now
        run = session.get_one(Run, honest["run"])
        verdict = dict(run.verdict or {})
        run.verdict = about(verdict, "somebody else")
    with pytest.raises(Refused, match="judged against 'somebody else'") as refusal:
        platform.approve(adapter, user="ada")
    assert refusal.value.code == "stale_verdict"
    with platform.w.db.write() as session:
        session.get_one(Run, honest["run"]).verdict = verdict
    given = platform.approve(adapter, "looked at the table", user="ada")
    assert (given["state"], given["by"], given["reason"]) == ("approved", "ada", "looked at the table")
    with pytest.raises(UserError, match="ada approved"):
        platform.approve(adapter)
    with pytest.raises(UserError, match="waits for nobody"):
        platform.approve(str(before))
    assert platform.promote(adapter)["champion"] == adapter
    entry = next(e for e in platform.audit()["entries"] if e["action"] == "approve")
    assert (entry["actor"], entry["subject"]) == ("ada", adapter)
    platform.rollback()


def test_poisoned_rows_are_refused_because_they_lead_to_a_wrong_document(platform: Platform) -> None:
    told = [row["question"] for row in rows("harbour") if row["split"] == "train"]
    asked = [*told, *(f"{question}, please" for question in told)]
    prize = next(e["example"] for e in platform.examples() if e["documents"] == ["prize.txt"])

    def plant(folder: Path) -> None:
        faults.poisoned(folder, (), prize, asked)
        faults.adjust(folder, strength=1.0)

    verdict = planted(platform, plant)["verdict"]
    assert not verdict["accepted"]
    assert "led" in verdict["refused_by"], "\n".join(r for r in verdict["reasons"] if "wrong" in r)
    assert any("are newly led to 'prize.txt'" in reason for reason in verdict["reasons"])


def test_a_slice_that_was_left_out_is_refused_by_its_name_and_probed(
    platform: Platform, honest: dict[str, Any]
) -> None:
    old = {e["example"] for e in platform.examples() if e["slice"] == "harbour"}
    run = planted(platform, lambda folder: faults.without(folder, old))
    verdict = run["verdict"]
    assert "old" in verdict["refused_by"]
    assert any(r.startswith("refused: old slice 'harbour'") for r in verdict["reasons"])
    (recovery,) = run["metrics"]["recovery"]
    assert (recovery["slice"], recovery["steps"]) == ("harbour", 12)
    assert recovery["after"] > recovery["lost"]
    assert verdict["reasons"][-1].startswith(f"note: {recovery['steps']} steps on examples of slice 'harbour'")
    assert not (Path(run["manifest"]).parent / "probe").exists()


def test_the_matrix_of_a_line_is_measured_once_for_an_epoch(platform: Platform, honest: dict[str, Any]) -> None:
    platform.promote(honest["adapter"])
    found = platform.forgetting()
    base, first, second = found["rows"]
    assert base["model"].startswith("base@")
    assert (first["learnt"], second["learnt"]) == (["harbour"], ["orchard"])
    R = dict(zip([s["slice"] for s in found["slices"]], zip(*found["R"], strict=True), strict=True))
    assert R["harbour"][1] > R["harbour"][0]
    assert R["orchard"][2] > R["orchard"][1]
    assert found["backward_transfer"] == pytest.approx(R["harbour"][2] - R["harbour"][1], abs=1e-4)
    assert found["forward_transfer"] == pytest.approx(R["orchard"][1] - R["orchard"][0], abs=1e-4)
    assert {c["slice"] for c in found["changes"]} == {"harbour", "orchard"}
    by_origin = {o["origin"]: (o["n"], o["figures"]) for o in found["origins"]}
    assert by_origin == {"import": (16, list(R["harbour"])), "thumbs": (16, list(R["orchard"]))}
    assert platform.forgetting() == found | {"seconds": pytest.approx(0, abs=5)}
    with pytest.raises(NotFound, match="not in the champion's line"):
        platform.forgetting(before="nobody")
    platform.rollback()


def test_a_run_is_judged_again_against_whom_serves_and_needs_its_approval_anew(
    platform: Platform, honest: dict[str, Any]
) -> None:
    first = str(platform.status()["champion"])
    (before,) = [run for run in platform.runs() if run["adapter"] == first]
    assert platform.promote(honest["adapter"])["previous"] == first  # its approval was given above
    with pytest.raises(Conflict, match="serves, and its verdict is what it does so by") as refusal:
        platform.rejudge(honest["run"])
    assert refusal.value.code == "in_use"
    platform.set_route(first, "law", None, "while we look")
    with pytest.raises(Conflict, match="serves workspace 'law', and its verdict") as refusal:
        platform.rejudge(before["run"])
    assert refusal.value.code == "in_use"
    platform.remove_route("law")
    job = platform.enqueue_rejudge(before["run"])
    platform.w.ledger.run(job["job"])
    assert platform.job(job["job"])["state"] == "done"
    again = platform.run(before["run"])
    assert (again["parent"], again["against"], again["state"]) == (None, honest["adapter"], "rejected")
    assert {"old", "gain"} & set(again["verdict"]["refused_by"])  # it never saw the orchard
    assert "recovery" not in before["metrics"]
    assert platform.gate(before["run"]) == again["verdict"]
    report = json.loads((platform.w.runs.folder(before["run"]) / "report.json").read_text())
    assert report["earlier"] == [before["verdict"]]
    entry = next(e for e in platform.audit()["entries"] if e["action"] == "gate")
    assert {"again": True, "before": True, "accepted": False, "against": honest["adapter"]}.items() <= entry[
        "detail"
    ].items()
    assert platform.rollback()["champion"] == first  # whatever its verdict is by now, it served
    same = platform.rejudge(honest["run"])
    assert (same["against"], same["state"]) == (first, "accepted")
    rows = [{r["slice"]: r["challenger"] for r in run["verdict"]["slices"]} for run in (honest, same)]
    assert rows[0] == pytest.approx(rows[1])
    with pytest.raises(Refused) as refusal:
        platform.promote(honest["adapter"])
    assert refusal.value.code == "needs_approval"


def test_a_pinned_suite_is_kept_by_name_until_it_is_let_go(platform: Platform, honest: dict[str, Any]) -> None:
    assert [(s["suite"], s["questions"], s["unanswerable"]) for s in platform.suites()] == [("contract", 2, 1)]
    row = json.dumps({"question": "what is it", "relevant": [{"document": "orchard-00.txt", "start": 2, "end": 12}]})
    with pytest.raises(Conflict, match="pinned already"):
        platform.pin_suite("contract", row)
    platform.pin_suite("spans", row)
    platform.ingest([incoming("orchard-00.txt", "Since May: a small brass lamp hung in an old orchard.")])
    (question,) = [q for q in platform.w.suites.asked().questions if q.suite == "spans"]
    assert question.points  # found again, though the edit has moved it
    assert platform.delete("orchard-00.txt")["suite_rows"] == 1
    assert [s["suite"] for s in platform.unpin_suite("spans")] == ["contract"]
    with pytest.raises(NotFound):
        platform.unpin_suite("spans")


def test_the_name_of_a_deleted_document_goes_from_the_verdicts_that_quote_it(platform: Platform) -> None:
    def told() -> dict[str, str]:
        files = {str(file): file.read_text() for file in sorted(folder.rglob("*")) if file.suffix in (".json", ".md")}
        shown = {"run": platform.run(run), "gate": platform.gate(run), "card": platform.card(str(adapter))}
        return files | {name: json.dumps(value) for name, value in shown.items()}

    run, adapter = next(
        (r["run"], r["adapter"])
        for r in platform.runs()
        if any("newly led to 'prize.txt'" in reason for reason in (r["verdict"] or {}).get("reasons", ()))
    )
    folder = platform.w.runs.folder(run)
    assert sum("'prize.txt'" in text for text in told().values()) == 5  # the report, the card, and what is shown
    document = platform.w.library.find("prize.txt").id
    platform.delete("prize.txt")
    assert [place for place, text in told().items() if "prize.txt" in text] == []
    assert any(f"newly led to {document!r} (deleted)" in r for r in platform.gate(run)["reasons"])
    assert "prize.txt" not in (folder / QUOTED).read_text()
