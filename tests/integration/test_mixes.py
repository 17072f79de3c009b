"""Mixes: what is measured before they are drawn, what waits for approval, what versions did, how much is recalled."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from finetune.challengers import EVERY, Cycle
from finetune.evaluate import Question
from finetune.facts import Facts
from finetune.files import read_lines
from finetune.gate import HeldOut
from finetune.kinds import Evaluation, Options
from finetune.materialise import materialise
from finetune.novelty import Novelty
from finetune.practised import leave_out, left_out
from finetune.recipe import RetrieverRecipe
from finetune.registry import point
from finetune.schedule import Due
from finetune.tables import Adapter, Firing, Run
from kernel.errors import Refused, TryAgain, UserError
from kernel.ids import fresh, now_ms
from kernel.types import Progress, silent
from rehearsal.mix import Mix, Rise
from rehearsal.policies import MEASURED, POLICIES, n_old
from rehearsal.suited import Suited
from rehearsal.tables import Example, ExampleEvent, ExampleMemory, MixRow
from tests.doors import Terminal, doors, memory_folder, opened
from tests.house import incoming, page
from ui.commands.runs import _people_mix
from ui.platform import Platform

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
THINGS = {
    "Kettle": "The kettle switches itself off when the water boils.",
    "Lamp": "The lamp takes a bulb of nine watts.",
    "Heater": "The heater must not be covered while it is on.",
    "Radio": "The radio remembers twelve stations.",
}
NEWS = {
    "Fridge": "The fridge is kept at seven degrees.",
    "Oven": "The oven cleans itself at five hundred degrees.",
}
KIND = "parrot"


class Parrot:
    """A kind of adapter that learns nothing and says what it is told to: the story of a run without a model."""

    name = KIND
    champion: str | None = "first"
    change = 0.1
    unread: str | None = None
    """A slice of which no row can be written."""
    unfit: str | None = None
    """A slice whose rows are written, and too long for it."""
    wants: Suited | None = None

    def check(self, options: Options) -> None: ...

    def suited(self, method: str | None, policy: str | None = None) -> Suited | None:
        return self.wants

    def suffices(self, options: Options, workspace: str | None, examples: Sequence[str]) -> None: ...

    def parent(self) -> str | None:
        return self.champion

    def rises(self, run: Run, mix: Mix, folder: Path) -> Mapping[str, Rise]:
        old = sorted(row.example for row in mix.rows if row.part == "recalled")
        return {example: Rise(before=1.0, after=1.0 + i / 10) for i, example in enumerate(old)}

    def materialise(self, run: Run, mix: Mix, folder: Path) -> None:
        rows = [{"example": r.example, "slice": r.slice} for r in mix.rows if r.slice != self.unread]
        (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        leave_out(folder, {r.example: "it cannot be read" for r in mix.rows if r.slice == self.unread})
        (folder / "config.json").write_text(json.dumps({"epoch": mix.epoch}))

    def train(self, folder: Path, progress: Progress) -> None:
        rows = read_lines(folder / "train.jsonl")
        told = [{"example": row["example"], "loss": 0.5} for row in rows if row["slice"] != self.unfit]
        (folder / "losses.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
        leave_out(folder, {row["example"]: "too long" for row in rows if row["slice"] == self.unfit})
        (folder / "adapter").mkdir()
        (folder / "adapter" / "manifest.json").write_text("{}")

    def evaluate(self, run: Run, mix: Mix, folder: Path, progress: Progress) -> Evaluation:
        held = [HeldOut(example=f"{part}{i}", slice=part, part=part) for part in ("new", "old") for i in range(20)]  # type: ignore[arg-type]
        before = {h.example: 0.5 for h in held}
        after = {h.example: 0.6 if h.part == "new" else 0.5 + self.change for h in held}
        scores = {"base": before, "champion": before, "challenger": after}
        return Evaluation(held_out=held, scores=scores, metric="said")

    def finish(self, run: Run) -> None: ...

    def tokens(self, questions: Sequence[str], options: Options) -> int:
        return len(questions)


@pytest.fixture(scope="module", autouse=True)
def _doors() -> Iterator[None]:
    with doors():
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with memory_folder(tmp_path_factory.mktemp("mixes")) as place:
        yield place / "home"


@pytest.fixture(scope="module")
def platform(home: Path) -> Iterator[Platform]:
    """Examples about four things that the champion has seen, and about two that it has not."""
    with opened(home) as platform:
        platform.ingest(
            [incoming(f"{name}.md", page(name, {"Use": text})) for name, text in {**THINGS, **NEWS}.items()]
        )
        platform.import_examples("".join(asked(THINGS)))
        _enthrone(platform)
        platform.import_examples("".join(asked(NEWS)))
        platform.w.kinds[KIND] = Parrot()  # type: ignore[assignment]
        yield platform


@pytest.fixture
def parrot(platform: Platform) -> Parrot:
    kind: Any = Parrot()
    platform.w.kinds[KIND] = kind
    return kind


def asked(things: Mapping[str, str]) -> Iterator[str]:
    """Eight questions about each thing, in a slice of its own, answered by its sentence."""
    for name, text in things.items():
        for way in ("how does the {} work", "what about the {}", "is there a {} here", "tell me of the {}",
                    "where is the {}", "who knows the {}", "may I use the {}", "the {}, please"):  # fmt: skip
            row = {"question": way.format(name.lower()), "answer": text, "document": f"{name}.md", "quote": text}
            yield json.dumps(row | {"slice": name}) + "\n"


def _enthrone(platform: Platform) -> None:
    """A champion that has practised what there is by now."""
    with platform.w.db.write() as session:
        known: dict[str, Any] = {"workspace": None, "adapter": "first", "parent": None, "metrics": {}, "verdict": None}
        epoch, options = platform.w.epochs.committed(), Options(policy="mixed", rho=0.2).to_json()
        session.add(Run(id="run_first", kind=KIND, state="accepted", options=options, epoch=epoch, error=None,
                        created=1, finished=2, **known))  # fmt: skip
        session.add(Adapter(name="first", kind=KIND, state="champion", parent=None, run="run_first", path="none",
                            accepted=1, share=1.0, created=1))  # fmt: skip
        practised = session.query(Example).filter_by(status="approved", split="train")
        session.add_all(MixRow(run="run_first", example=e.id, part="new") for e in practised)
        point(session, KIND, ("first", "none"), None)


def recalled(mix: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in mix["rows"] if row["part"] == "recalled"]


def test_a_measured_mix_says_of_each_slice_and_row_what_the_new_would_hurt(platform: Platform, parrot: Parrot) -> None:
    seen = platform.preview(KIND, "mir", 0.3, measure=True)
    assert {one["slice"] for one in seen["interference"]} == set(THINGS)
    assert sum(one["n"] for one in seen["interference"]) <= 8 * seen["recalled"]
    assert all(row["reason"].startswith("mir: loss +") and row["rise"] > 0 for row in recalled(seen))
    assert seen == platform.preview(KIND, "mir", 0.3, measure=True), "the same seed and epoch give the same mix"
    assert not list(platform.w.runs.folder("x").parent.glob("virtual-*")), "what the step was taken on is gone"


@pytest.fixture
def losses(platform: Platform, parrot: Parrot) -> Iterator[None]:
    """A loss that each old example is remembered by, in another order than the trial step will find."""
    old = [e["example"] for e in platform.examples() if e["slice"] in THINGS and e["split"] == "train"]
    known: dict[str, Any] = {"kind": KIND, "rehearsed": 1, "last_rehearsed": 1, "strength": 1.0, "forgotten": 0}
    with platform.w.db.write() as session:
        session.add_all(ExampleMemory(example=e, last_loss=1 / (n + 1), **known) for n, e in enumerate(sorted(old)))
    yield
    with platform.w.db.write() as session:
        session.execute(delete(ExampleMemory).where(ExampleMemory.kind == KIND))


@pytest.mark.usefixtures("losses")
@pytest.mark.parametrize("policy", sorted(set(POLICIES) - MEASURED))
def test_under_a_policy_that_does_not_choose_by_it_a_measurement_tells_alone(platform: Platform, policy: str) -> None:
    plain, told = (platform.preview(KIND, policy, 0.2, measure=measure) for measure in (False, True))
    assert [row["example"] for row in plain["rows"]] == [row["example"] for row in told["rows"]]
    assert plain["interference"] is None
    assert told["interference"]


def test_the_default_mix_measures_nothing_but_for_who_asks(platform: Platform, parrot: Parrot) -> None:
    plain, told = platform.preview(KIND), platform.preview(KIND, measure=True)
    assert plain["interference"] is None
    assert {one["slice"] for one in told["interference"]} == set(THINGS)
    rows = ([(row["example"], row["reason"]) for row in seen["rows"]] for seen in (plain, told))
    assert next(rows) == next(rows), "looking at what would be hurt changes nothing"


def test_an_unmeasured_mix_says_that_nothing_was_measured(platform: Platform, parrot: Parrot) -> None:
    seen = platform.preview(KIND, "mir", 0.3)
    assert seen["interference"] is None
    assert {row["reason"].split(":")[0] for row in recalled(seen)} == {
        "stratified, as no rise of the loss was measured"
    }


@pytest.mark.parametrize("policy", ["near", "far", "mixed", "stratified", "due"])
def test_old_rows_come_from_what_the_champion_saw_and_new_ones_do_not(
    platform: Platform, parrot: Parrot, policy: str
) -> None:
    seen = platform.preview(KIND, policy, 0.4)
    assert {row["slice"] for row in recalled(seen)} <= set(THINGS)
    assert {row["slice"] for row in seen["rows"] if row["part"] == "new"} == set(NEWS)
    assert seen["recalled"] == round(0.4 / 0.6 * seen["new"])


MANY = 120
"""Cycles after which one of eight rows that never had its turn would be no chance any more: 1 in 9 million."""


@pytest.fixture
def lineage(platform: Platform) -> Iterator[Sequence[str]]:
    """Champions one after the other that practised nothing; taken away again, or other tests would owe a fresh one."""
    names = [f"heir-{n}" for n in range(MANY)]
    known: dict[str, Any] = {"kind": KIND, "created": 1}
    with platform.w.db.write() as session:
        for name, parent in zip(names, ("first", *names), strict=False):
            session.add(Run(id=f"run_{name}", state="accepted", options={}, workspace=None, adapter=name, parent=parent,
                            metrics={}, verdict=None, error=None, **known))  # fmt: skip
            session.add(Adapter(name=name, state="retired", parent=parent, run=f"run_{name}", path="none", accepted=1,
                                share=0.0, **known))  # fmt: skip
    yield names
    with platform.w.db.write() as session:
        session.execute(delete(Adapter).where(Adapter.name.in_(names)))
        session.execute(delete(Run).where(Run.adapter.in_(names)))


@pytest.mark.parametrize("policy", ["random", "mixed"])
def test_every_cycle_recalls_others_until_all_that_is_old_had_its_turn(
    platform: Platform, parrot: Parrot, lineage: Sequence[str], policy: str
) -> None:
    drawn = []
    for parrot.champion in lineage:
        drawn.append({row["example"] for row in recalled(platform.preview(KIND, policy, 0.4))})
    assert {row["example"] for row in recalled(platform.preview(KIND, policy, 0.4))} == drawn[-1]
    old = {e["example"] for e in platform.examples() if e["slice"] in THINGS and e["split"] == "train"}
    assert set().union(*drawn) == old
    assert all(len(one) < len(old) / 2 for one in drawn)


def test_more_than_there_is_is_a_shortfall_and_said(platform: Platform, parrot: Parrot) -> None:
    seen = platform.preview(KIND, "random", 0.9)
    assert seen["short"] == 9 * seen["new"] - seen["recalled"] > 0


def test_a_document_that_is_left_out_takes_its_examples_out(platform: Platform, parrot: Parrot) -> None:
    lamp = next(d["document"] for d in platform.documents() if d["name"] == "Lamp.md")
    options = Options(policy="random", rho=0.9, without=(lamp,))
    seen = platform.w.retrainer.preview(KIND, options, None)
    assert {row["slice"] for row in recalled(seen)} == set(THINGS) - {"Lamp"}
    asked = platform.preview(KIND, "random", 0.9, without=["Lamp.md"])
    assert {row["slice"] for row in asked["rows"]} == (set(THINGS) | set(NEWS)) - {"Lamp"}


def test_what_a_kind_cannot_learn_from_takes_no_place_in_the_mix(platform: Platform, parrot: Parrot) -> None:
    before = platform.preview(KIND, "random", 0.4)
    assert "Lamp" in {row["slice"] for row in recalled(platform.preview(KIND, "random", 0.9))}  # all there are
    parrot.wants = Suited.both(Example.slice.not_in(["Lamp", "Oven"]), "without a use")
    seen = platform.preview(KIND, "random", 0.4)
    assert {row["slice"] for row in seen["rows"]}.isdisjoint({"Lamp", "Oven"})
    unsuited = [e for e in platform.examples() if e["slice"] in ("Lamp", "Oven") and e["split"] == "train"]
    assert seen["excluded"]["without a use"] == len(unsuited)
    assert seen["new"] < before["new"]
    assert seen["recalled"] == n_old(seen["new"], 0.4)
    parrot.wants = Suited.both(Example.slice.in_(list(THINGS)), "without a use")
    news = [e for e in platform.examples() if e["slice"] in NEWS and e["split"] == "train"]
    with pytest.raises(UserError, match=f"nothing new to train on: {len(news)} examples stand without a use"):
        platform.request_run(KIND)


def test_an_approved_mix_is_trained_as_it_was_proposed_but_for_what_went_away(
    platform: Platform, parrot: Parrot
) -> None:
    proposal = platform.propose(kind=KIND, rho=0.4, policy="mixed")
    assert proposal["state"] == "proposed"
    assert proposal["mix"]["interference"]
    assert [p["proposal"] for p in platform.proposals()] == [proposal["proposal"]]
    rows = [row["example"] for row in proposal["mix"]["rows"]]
    gone = recalled(proposal["mix"])[0]["example"]
    platform.w.vetting.retire([gone], "wrong")
    assert platform.proposals()[0]["gone"] == [gone]

    done = platform.approve_mix(proposal["proposal"])
    assert done["state"] == "accepted"
    mix = platform.mix(proposal["proposal"])
    assert [row["example"] for row in mix["rows"]] == [e for e in rows if e != gone]
    assert mix["dropped"] == [gone]
    shown = json.loads((platform.w.runs.folder(proposal["proposal"]) / "config.json").read_text())
    assert shown["epoch"] == platform.w.epochs.committed() > mix["epoch"]  # what is read beside them is of now
    with platform.w.db.read() as session:
        assert session.get_one(ExampleMemory, (rows[-1], KIND)).last_rehearsed is not None
    with pytest.raises(Refused, match="does not wait for approval: it is accepted"):
        platform.approve_mix(proposal["proposal"])


def test_a_challenger_from_the_base_is_asked_for_what_the_champion_knows(platform: Platform, parrot: Parrot) -> None:
    w = platform.w
    mix = w.retrainer.drawing.mix(KIND, Options(policy="mixed", rho=0.2, start="base"), None)
    assert {row.part for row in mix.rows} == {"new"}  # to a model that knows nothing
    run = Run(
        id="run_fresh", kind=KIND, parent="first", workspace=None, options=Options(policy="mixed", rho=0.2).to_json()
    )
    with w.db.write() as session:
        session.add_all(MixRow(run=run.id, example=row.example, part=row.part) for row in mix.rows)
    novelty = Novelty.of(w.db, w.registry, run, mix)
    assert novelty.slices == {("default", name) for name in NEWS}
    none: dict[str, Any] = {"points": frozenset(), "documents": frozenset(), "pinned": False, "workspace": "default"}
    judged = novelty.held_out(Question(example=n, question=n, slice=n, **none) for n in ("Lamp", *NEWS))
    assert [e.part for e in judged] == ["old", *("new" for _ in NEWS)]


def test_what_cannot_begin_from_the_base_owes_no_fresh_challenger(
    platform: Platform, parrot: Parrot, monkeypatch: pytest.MonkeyPatch
) -> None:
    cycles = [Cycle(fresh=n == 0, accepted=True) for n in range(EVERY)]
    monkeypatch.setattr(platform.w.runs, "cycles", lambda _kind: cycles)
    options = Options(policy="mixed", rho=0.2)
    run = platform.w.retrainer.request(KIND, options, None)
    sibling = platform.w.retrainer.challenge(run)
    assert sibling is not None
    assert platform.run(sibling)["options"]["start"] == "base"

    def check(options: Options) -> None:
        if options.start == "base":
            raise UserError("this goes on from the champion", hint="leave the start out")

    monkeypatch.setattr(parrot, "check", check)
    assert platform.w.retrainer.challenge(platform.w.retrainer.request(KIND, options, None)) is None
    for ours in platform.runs():
        if ours["state"] == "requested":
            platform.w.runs.fail(ours["run"], {"code": "test", "message": "over", "hint": ""})


def _entered(platform: Platform, run: str) -> set[str]:
    with platform.w.db.read() as session:
        return {row.example for row in session.query(MixRow).filter_by(run=run)}


def _no_cycle(platform: Platform, run: str) -> None:
    """The tests that follow count cycles."""
    with platform.w.db.write() as session:
        session.get_one(Run, run).state = "failed"


def test_what_training_left_out_was_not_practised_and_is_new_to_the_next_run(
    platform: Platform, parrot: Parrot, capsys: pytest.CaptureFixture[str]
) -> None:
    w = platform.w
    parrot.unread, parrot.unfit = "Fridge", "Oven"
    run = platform.request_run(KIND, rho=0.4)
    done = w.retrainer.run(run, silent)
    rows = {row["example"]: row for row in platform.mix(run)["rows"]}
    why = {row["slice"]: row["left_out"] for row in rows.values()}
    assert {name: why.pop(name) for name in NEWS} == {"Fridge": "it cannot be read", "Oven": "too long"}
    assert set(why.values()) == {None}
    _people_mix(platform.mix(run))
    assert {"it cannot be read", "too long"} <= set(re.split(r"\s{2,}", capsys.readouterr().out))
    seen = {example for example, row in rows.items() if row["left_out"] is None}
    assert seen
    assert _entered(platform, run) == seen
    assert {row["example"] for row in read_lines(w.runs.folder(run) / "train.jsonl")} == seen  # no words stay
    assert done["metrics"]["examples"] == platform.mix(run)["recalled"] == len(seen)
    with w.db.read() as session:
        noted = session.query(ExampleEvent).filter_by(what="rehearsed").all()
        assert {event.example for event in noted if event.detail["run"] == run} == seen
    parrot.champion = done["adapter"]
    new = {row["slice"] for row in platform.preview(KIND)["rows"] if row["part"] == "new"}
    assert new >= set(NEWS)
    assert w.runs.left_out(run) == set(rows) - seen
    _no_cycle(platform, run)


def test_a_run_that_dies_around_its_training_knows_what_it_practised(platform: Platform, parrot: Parrot) -> None:
    class Crash(BaseException):
        """A process that ends here."""

    def dying(at: str, method: Callable[..., None]) -> Callable[..., None]:
        def called(*given: Any) -> None:
            method(*given) if at == "after" else None
            raise Crash

        return called

    retrainer = platform.w.retrainer
    parrot.unread = "Fridge"
    run = platform.request_run(KIND, rho=0.4)
    folder = platform.w.runs.folder(run)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parrot, "materialise", dying("after", parrot.materialise))
        with pytest.raises(Crash):
            retrainer.run(run, silent)
    drawn = {row["example"]: row["slice"] for row in platform.mix(run)["rows"]}
    assert _entered(platform, run) == set(drawn)  # until it is told, all of it may have been written
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parrot, "train", dying("before", parrot.train))
        with pytest.raises(Crash):
            retrainer.run(run, silent)
    fridges = {example for example, name in drawn.items() if name == "Fridge"}
    assert _entered(platform, run) == set(drawn) - fridges

    # A row goes away, so it starts over; by now the fridge can be read, and the oven is too long.
    parrot.unread, parrot.unfit = None, "Oven"
    gone = next(example for example, name in drawn.items() if name == "Radio")
    platform.w.vetting.retire([gone], "wrong")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parrot, "train", dying("after", parrot.train))
        with pytest.raises(Crash):
            retrainer.run(run, silent)
    assert (folder / "adapter" / "manifest.json").exists()
    assert _entered(platform, run) == set(drawn) - {gone}
    assert retrainer.run(run, silent)["state"] == "accepted"
    ovens = {example for example, name in drawn.items() if name == "Oven"}
    assert _entered(platform, run) == set(drawn) - {gone} - ovens
    assert {row["example"] for row in platform.mix(run)["rows"] if row["left_out"]} == ovens
    _no_cycle(platform, run)


def test_an_adapter_whose_run_died_behind_its_verdict_gets_its_card(
    platform: Platform, parrot: Parrot, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        """A process that ends here."""

    def die(_adapter: str) -> None:
        raise Crash

    run = platform.request_run(KIND, rho=0.4)
    with monkeypatch.context() as patched:
        patched.setattr(platform.w.cards, "write", die)
        with pytest.raises(Crash):
            platform.w.retrainer.run(run, silent)
    card = platform.w.runs.folder(run) / "adapter" / "README.md"
    assert (platform.run(run)["state"], card.exists()) == ("accepted", False)
    platform.w.recover()  # as a start does
    told = card.read_text()
    assert told.startswith("---")
    card.unlink()
    platform.w.retrainer.run(run, silent)  # as whoever takes its job up does
    assert card.read_text() == told
    _no_cycle(platform, run)


def test_a_rejected_mix_trains_nothing(platform: Platform, parrot: Parrot) -> None:
    proposal = platform.propose(kind=KIND)["proposal"]
    assert platform.reject_mix(proposal, "too many lamps")["state"] == "declined"
    assert platform.proposals() == []
    run = platform.run(proposal)
    assert (run["state"], run["adapter"], run["error"]["message"]) == ("declined", None, "too many lamps")
    assert platform.audit()["entries"][0]["action"] == "mix.reject"


def test_a_mix_that_was_drawn_against_another_champion_is_not_trained(platform: Platform, parrot: Parrot) -> None:
    proposal = platform.propose(kind=KIND)["proposal"]
    parrot.champion = "second"
    with pytest.raises(Refused, match="drawn against first, which is not what serves now"):
        platform.approve_mix(proposal)
    platform.reject_mix(proposal)


def test_a_schedule_that_wants_approval_proposes_once(platform: Platform, parrot: Parrot) -> None:
    due = fired(platform, hold=True)
    platform._fire(due)
    run = platform.runs()[0]["run"]
    assert platform.w.retrainer.run(run, silent)["state"] == "proposed"
    with pytest.raises(UserError, match=f"{run} waits for approval"):
        platform._fire(due)
    platform.reject_mix(run)


def fired(platform: Platform, **options: Any) -> Due:
    """A firing as a schedule enters it, which nobody has carried out."""
    values: dict[str, Any] = {"schedule": "sch_1", "due": now_ms(), "cause": "time", "missed": 0, "evidence": {}}
    values |= {"options": options, "owner": "one", "lease_until": 0, "result": None, "message": "", "job": None}
    with platform.w.db.write() as session:
        session.add(Firing(id=(name := fresh("fire")), run=None, created=now_ms(), **values))
    return Due(id="sch_1", firing=name, kind=KIND, workspace=None, options=options)


def test_a_firing_starts_one_run_however_many_beats_are_at_it(platform: Platform, parrot: Parrot) -> None:
    due, before = fired(platform), {row["job"] for row in platform.jobs()}
    job = platform._fire(due)
    with pytest.raises(TryAgain, match="another beat has started"):
        platform._fire(due)
    dropped, started = platform.runs()[:2]
    assert (dropped["state"], started["state"]) == ("failed", "requested")
    assert {row["job"] for row in platform.jobs()} - before == {job}
    platform.cancel_job(job)
    platform.w.runs.settle(orphaned=False)


def test_the_replay_ratio_is_what_the_verdicts_say(platform: Platform, parrot: Parrot) -> None:
    assert platform.replay(KIND)["reasons"] == ["rho .30: where it starts"]
    parrot.change = -0.1
    run = platform.retrain(kind=KIND)
    assert run["state"] == "rejected"
    now = platform.replay(KIND)
    assert now["rho"] == 0.45
    assert now["reasons"][1] == f"rho .45 for 'old': refused there in run {run['run']} (-0.100)"
    seen = platform.preview(KIND)
    assert (seen["rho"], seen["replay"]["reasons"]) == (0.45, now["reasons"])
    assert platform.preview(KIND, rho=0.1)["replay"]["reasons"] == ["rho 0.10: as asked"]
    again = platform.run(platform.request_run(kind=KIND))
    assert (again["options"]["rho"], again["options"]["because"]) == (0.45, now["reasons"])


def test_what_versions_did_to_examples_is_reported(platform: Platform, parrot: Parrot) -> None:
    moved = page(
        "Kettle",
        {"Care": "Wipe it with a dry cloth, and never put it in water.", "Use": THINGS["Kettle"] + " It beeps then."},
    )
    cut = page("Heater", {"Use": "The heater may be covered with the lid that comes with it."})
    platform.ingest([incoming("Kettle.md", moved), incoming("Heater.md", cut)])
    seen = platform.preview(KIND, "random", 0.9)
    assert {e["slice"] for e in recalled(seen)} == {"Kettle", "Lamp", "Radio"}
    documents = [d for one in seen["evicted"] for d in one["documents"]]
    assert {(d["name"], d["version"]) for d in documents} == {("Heater.md", 2)}
    assert {one["why"] for one in seen["evicted"]} == {"source superseded"}
    kettles = {row["example"] for row in recalled(seen) if row["slice"] == "Kettle"}
    assert {one["example"] for one in seen["regrounded"]} == kettles
    assert {d["version"] for one in seen["regrounded"] for d in one["documents"]} == {2}


TOAST = "The toaster keeps the toast warm for a minute."
TOASTED = (
    "who warms bread",
    "is breakfast cold",
    "which machine roasts slices",
    "until when is my sandwich hot",
    "does the toaster switch off",
    "what happens to forgotten toast",
    "can crumbs burn",
)


@pytest.fixture
def toaster(platform: Platform) -> Iterator[str]:
    """A document that goes away again, with what questions about it became; its id."""
    platform.ingest([incoming("Toaster.md", page("Toaster", {"Use": TOAST}))])
    common = {"answer": TOAST, "document": "Toaster.md", "quote": TOAST, "slice": "Toaster", "split": "train"}
    rows = "".join(json.dumps({"question": question} | common) + "\n" for question in TOASTED)
    assert platform.import_examples(rows)["imported"] == len(TOASTED)
    (document,) = [d["document"] for d in platform.documents() if d["name"] == "Toaster.md"]
    yield document
    if any(d["document"] == document for d in platform.documents()):
        platform.delete(document)


def of_toaster(platform: Platform) -> dict[str, str]:
    """Question to example."""
    return {e["question"]: e["example"] for e in platform.examples("approved", slice_name="Toaster")}


def test_a_document_that_is_deleted_while_its_rows_are_written_is_not_trained_on(
    platform: Platform, parrot: Parrot, toaster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.ingest([incoming("Notice.md", page("Notice", {"Use": "The kitchen is closed on Sundays."}))])
    ids = {d["name"]: d["document"] for d in platform.documents()}
    deleted, read = ["Toaster.md", "Notice.md"], list[Any]()
    write, train = parrot.materialise, parrot.train
    about = set(of_toaster(platform).values())

    def overtaken(run: Run, mix: Mix, folder: Path) -> None:
        if deleted:
            platform.delete(deleted.pop(0))
        shown = [{"chunk": name, "document": ids[name]} for name in ("Fridge.md", "Notice.md", "Toaster.md")]
        (folder / "passages.jsonl").write_text("".join(json.dumps(passage) + "\n" for passage in shown))
        write(run, mix, folder)

    def reading(folder: Path, progress: Progress) -> None:
        read.append([row["example"] for row in read_lines(folder / "train.jsonl")])
        read.append([passage["document"] for passage in read_lines(folder / "passages.jsonl")])
        train(folder, progress)

    run = platform.request_run(KIND, rho=0.4)
    monkeypatch.setattr(parrot, "materialise", overtaken)
    monkeypatch.setattr(parrot, "train", reading)
    done = platform.w.retrainer.run(run, silent)
    assert (done["state"], deleted) == ("accepted", [])
    rows, passages = read
    assert rows
    assert not about & set(rows)
    assert passages == [ids["Fridge.md"]]
    mix = platform.mix(run)
    assert {row["example"] for row in mix["rows"]} == set(rows) == _entered(platform, run)
    assert set(mix["dropped"]) == about
    assert platform.lineage(toaster)["adapters"] == []
    card = (platform.w.runs.folder(run) / "adapter" / "README.md").read_text()
    assert "Fridge.md" in card
    assert not {word for word in ("Toaster", toaster, "Notice", ids["Notice.md"]) if word in card}
    _no_cycle(platform, run)


def test_what_went_away_before_its_row_was_read_is_left_out_as_gone(
    platform: Platform, parrot: Parrot, toaster: str, tmp_path: Path
) -> None:
    mix = platform.w.retrainer.drawing.mix(KIND, Options(policy="mixed", rho=0.2), None)
    withdrawn, unindexed, *rest = sorted(set(of_toaster(platform).values()))
    platform.retire_examples([withdrawn])
    with platform.w.db.read() as session:
        point_of_it = session.get_one(Example, unindexed).point
    platform.w.index.delete([point_of_it])  # as a delete does that is under way
    materialise(platform.w.db, platform.w.index, replace(mix, epoch=platform.w.epochs.committed()), tmp_path,
                recipe=RetrieverRecipe(), base="none", parent=None, parent_path=None)  # fmt: skip
    written = {row["example"] for row in read_lines(tmp_path / "train.jsonl")}
    assert set(rest) <= written == {row.example for row in mix.rows} - {withdrawn, unindexed}
    why = left_out(tmp_path, [row.example for row in mix.rows])
    assert why == {withdrawn: "it is gone", unindexed: "it is gone"}


def test_what_another_one_took_the_place_of_is_superseded_and_what_was_taken_away_deleted(
    platform: Platform, parrot: Parrot, toaster: str, tmp_path: Path
) -> None:
    w = platform.w
    ways = of_toaster(platform)
    with w.db.write() as session:
        session.execute(
            update(Example).where(Example.id == ways["does the toaster switch off"]).values(origin="document")
        )
    mix = w.retrainer.drawing.mix(KIND, Options(policy="mixed", rho=0.2), None)
    run = Run(id="run_facts", kind=KIND, parent=None, workspace=None, options={})

    def stands() -> tuple[int, int]:
        told = Facts(w.db, w.mixer, w.home).standing(run, mix, tmp_path, champion=None, held_out=[])
        return told.superseded, told.deleted

    assert stands() == (0, 0)
    platform.edit_example(ways["who warms bread"], {"question": "who bakes at noon"})
    assert stands() == (1, 0)
    turn = platform.ask("what happens to forgotten toast")["turn"]
    assert platform.feedback(turn, "down", TOAST)["example"]
    assert stands() == (2, 0)
    better = {"question": "does this toaster switch off", "answer": TOAST, "document": "Toaster.md", "quote": TOAST}
    assert len(platform.import_examples(json.dumps(better))["replaced"]) == 1
    assert stands() == (3, 0)
    platform.retire_examples([ways["is breakfast cold"]], "replaced by nothing, as nobody asks that")
    platform.quarantine_examples([ways["can crumbs burn"]])
    w.memory.withdraw([ways["which machine roasts slices"]], "withdrawn by its author")
    assert stands() == (3, 3)
    platform.delete(toaster)
    assert stands() == (0, len(TOASTED))


@pytest.mark.timeout(300)
def test_a_virtual_step_on_the_real_model_leaves_nothing_but_its_figures(platform: Platform) -> None:
    with platform.w.db.write() as session:
        practised = {row.example for row in session.query(MixRow).filter_by(run="run_first")}
    pool = platform.w.mixer.pools.gather(
        "mir", kind=KIND, workspace=None, practised=practised, seed=0, replay=platform.w.replays.control(KIND).replay
    )
    folder = platform.w.runs.folder("virtual-test")
    folder.mkdir(parents=True)
    kind: Any = platform.w.kinds["retriever"]
    run = Run(
        id="virtual", kind="retriever", options=Options(policy="mir", rho=0.2).to_json(), parent=None, created=now_ms()
    )
    rises = kind.rises(run, platform.w.mixer.virtual(pool, [c.example for c in pool.old]), folder)
    assert set(rises) == {c.example for c in pool.old}
    assert len({round(r.by, 4) for r in rises.values()}) > 1
    assert not (folder / "adapter").exists()
    assert {row.rise for row in platform.w.mixer.pick(pool, rises).rows if row.part == "recalled"} - {None}


def test_what_a_crash_left_of_a_trial_step_goes_and_no_work_of_another_process(platform: Platform) -> None:
    runs = platform.w.runs
    virtual, mine = runs.folder("virtual-left"), runs.folder(platform.runs()[0]["run"])
    for folder in (virtual, mine / "probe"):
        folder.mkdir(parents=True)
    runs.clean_up(orphaned=False)
    assert virtual.is_dir()
    assert (mine / "probe").is_dir()
    runs.clean_up(orphaned=True)
    assert not virtual.exists()
    assert not (mine / "probe").exists()
    assert mine.is_dir()


@pytest.mark.parametrize(("change", "control"), [(-0.3, None), (0.1, "shuffled")])
def test_a_run_that_never_serves_leaves_what_is_remembered(
    platform: Platform, parrot: Parrot, change: float, control: str | None
) -> None:
    def memories() -> dict[tuple[str, str], tuple[Any, ...]]:
        with platform.w.db.read() as session:
            rows = session.query(ExampleMemory).all()
            figures = ("rehearsed", "last_rehearsed", "last_loss", "strength", "forgotten")
            return {(m.example, m.kind): tuple(getattr(m, name) for name in figures) for m in rows}

    parrot.change = change
    before = memories()
    run = platform.request_run(KIND, control=control)
    ended = platform.w.retrainer.run(run, silent)
    assert ended["state"] == ("accepted" if control else "rejected")
    assert memories() == before


def test_the_command_line_lists_proposals_and_the_ratio(platform: Platform, home: Path) -> None:
    with platform.w.db.write() as session:
        session.execute(update(Run).values(kind="retriever"))  # what a terminal opens knows no parrot
    platform.w.close()
    terminal = Terminal(home)
    assert terminal.json("rehearsal", "proposals") == []
    assert terminal.json("rehearsal", "rho")["rho"] == 0.5  # refused twice by now
    assert "refused there" in terminal.type("rehearsal", "rho").stdout
    assert terminal.error("rehearsal", "rho", "--kind", KIND)["code"] == "bad_request"
    assert terminal.error("rehearsal", "approve", "run_none")["code"] == "not_found"
