"""The pages of learning as Streamlit draws them, over a real platform: examples, mixes, adapters, schedules."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import select, update

from finetune.cost import told
from finetune.gate import HeldOut, judge
from finetune.kinds import Options
from finetune.policy import GatePolicy
from finetune.tables import Adapter, Run, RunDocument
from kernel.errors import RepriseError
from kernel.ids import now_ms
from rehearsal.tables import UNNAMED, Example
from tests.doors import LIBRARY, doors, memory_folder, opened
from tests.house import incoming, random_adapter

pytest.importorskip("streamlit.testing.v1")
pytestmark = pytest.mark.integration

QUOTES = {
    ("returns.md", "A parcel can be sent back within 30 days of delivery."): "send it back after {} days",
    ("returns.md", "A gift is refunded with a voucher, and the voucher never expires."): "voucher of {} euros",
    ("manuals/boiler pump.md", "A humming pump has air in it."): "pump no. {} hums",
}
SLICES = ("returns", "boiler")
COST = {
    "train_seconds": 12.0, "evaluate_seconds": 3.0, "cpu_seconds": 21.5, "tokens": 1400,
    "peak_memory_bytes": 812_000_000, "bytes": 900_000, "energy_wh_estimate": None, "watts_per_core": None,
}  # fmt: skip


def rehearsal() -> None:
    from ui.web.views import rehearsal

    rehearsal.show()


def adapters() -> None:
    from ui.web.views import adapters

    adapters.show()


def dialog() -> None:
    from ui.web.views import retrain

    retrain.ask()


def chat() -> None:
    from ui.web.views import chat

    chat.show()


def mix() -> None:
    from ui.web.views.mix import mix_table

    drawn = {"slice": "returns", "reason": "new: in no mix of what serves", "part": "new", "left_out": None}
    rows = [
        drawn | {"example": "ex-1"},
        drawn | {"example": "ex-2", "left_out": "it does not fit the model"},
        drawn | {"example": "ex-3", "part": "recalled", "reason": "random"},
    ]
    mix_table(rows, key="mix")


def schedule() -> None:
    from ui.web.views import schedule

    schedule.show()


def library() -> None:
    from ui.web.client import node
    from ui.web.views import document

    document.show(next(d for d in node().documents() if d["name"] == "returns.md"))


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Three documents, thirty examples, a champion, a candidate that waits for approval, and one that was refused."""
    with doors(), memory_folder(tmp_path_factory.mktemp("home")) as home, opened(home) as platform:
        platform.w.ingest.add([incoming(name, text) for name, text in LIBRARY.items()])
        rows = [
            {"question": f"{words.format(n)}?", "document": name, "quote": quote, "slice": SLICES["boiler" in name]}
            for (name, quote), words in QUOTES.items()
            for n in range(10)
        ]
        platform.import_examples("\n".join(map(json.dumps, rows)))
        judged(platform, "one", gain=0.3, loss=0.0)
        platform.promote("retriever-one")
        judged(platform, "two", gain=0.3, loss=0.0, approval=True)
        judged(platform, "bad", gain=0.3, loss=0.4)
        yield platform


def judged(platform: Any, name: str, *, gain: float, loss: float, approval: bool = False) -> None:
    """Enter a run that has ended, with an adapter of random weights and the gate's own verdict on invented figures."""
    chance = random.Random(name)
    parts: tuple[Literal["new", "old"], ...] = ("new", "old")
    asked = [HeldOut(example=f"{p}{n}", slice=SLICES[p == "old"], part=p) for p in parts for n in range(25)]
    base = {e.example: 0.4 + 0.2 * chance.random() for e in asked}
    now = {e.example: base[e.example] + (gain if e.part == "new" else -loss) + 0.01 * chance.random() for e in asked}
    scores = {"base": base, "champion": base, "challenger": now}
    verdict = judge(scores, asked, policy=GatePolicy(approval=approval))
    run, adapter = f"run-{name}", f"retriever-{name}"
    folder = random_adapter(Path(platform.w.embedder.path), platform.w.runs.folder(run) / "adapter", len(name))
    options = Options(policy="mixed", rho=0.3).to_json()
    state = "accepted" if verdict.accepted else "rejected"
    with platform.w.db.write() as session:
        session.add(
            Run(
                id=run, kind="retriever", state=state, workspace=None, options=options, adapter=adapter,
                parent=platform.w.live.fitting(),
                epoch=1, metrics={"examples": 24, "held_out": 50, "train_seconds": 12.0, "cost": COST},
                verdict=verdict.to_json(),
                error=None, created=now_ms(), finished=now_ms(),
            )
        )  # fmt: skip
        platform.w.registry.add(session, adapter, "retriever", run, None, folder, verdict.accepted)


@pytest.fixture
def drawn(platform: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws a page over the platform, at a tab."""
    from streamlit.testing.v1 import AppTest

    import ui.web.client

    monkeypatch.setattr(ui.web.client, "_remote", lambda url, key: platform)

    def draw(page: Any, **state: Any) -> Any:
        app = AppTest.from_function(page, default_timeout=60)
        for name, value in state.items():
            app.session_state[name.replace("__", ".")] = value
        app.run()
        assert not app.exception
        return app

    return draw


def html(app: Any) -> str:
    """All that a page shows as HTML."""
    return "\n".join(element.proto.body for element in app.get("html"))


def html_of_errors(app: Any) -> str:
    """All errors of a page, without what keeps Markdown out of them."""
    return "\n".join(error.value for error in app.error).replace("\\", "")


def undone(platform: Any) -> dict[str, Any]:
    """The newest run, which a page has just asked for; it is taken back."""
    run = platform.runs()[0]
    assert run["state"] == "requested"
    for job in (j["job"] for j in platform.jobs() if j["args"].get("run") == run["run"]):
        platform.cancel_job(job)
        platform.remove_job(job)
    with platform.w.db.write() as session:
        session.delete(session.get_one(Run, run["run"]))
    return run


def press(app: Any, label: str) -> Any:
    next(b for b in app.button if b.label == label).click().run()
    assert not app.exception
    return app


# --- rehearsal ------------------------------------------------------------------------------------


def test_examples_are_found_by_what_they_are(drawn: Any) -> None:
    app = drawn(rehearsal)
    assert len(app.dataframe[0].value) == 30
    app.selectbox(key="examples.slice").set_value("boiler").run()
    assert len(app.dataframe[0].value) == 10
    app.text_input(key="examples.find").set_value("no. 7").run()
    assert list(app.dataframe[0].value["Question"]) == ["pump no. 7 hums?"]


def test_an_import_says_what_was_wrong_with_which_line(drawn: Any) -> None:
    app = drawn(rehearsal, rehearsal__tab="Add")
    app.text_area[0].set_value('question;answer\n"when is the gate open?";"at nine"\n;\n')
    press(app, "Import")
    assert any("1 held back" in warning.value for warning in app.warning)
    app.text_area[0].set_value('{"question": "a"\n')
    press(app, "Import")
    assert "1 line was not taken" in app.error[0].value
    assert "not JSON" in html(app)


ANSI = "question;answer\n¿cuándo abre la puerta?;a las nueve\n".encode("cp1252")
"""As a spreadsheet saves a CSV where nobody asks it for UTF-8."""


def test_no_letter_of_a_file_of_examples_is_guessed(platform: Any, drawn: Any) -> None:
    before = len(platform.examples())
    app = drawn(rehearsal, rehearsal__tab="Add")
    app.file_uploader[0].upload("ansi.csv", ANSI)
    press(app, "Import")
    assert "'ansi.csv' cannot be read: 'utf-8' codec can't decode" in html_of_errors(app)
    assert "CSV UTF-8" in html_of_errors(app)
    assert len(platform.examples()) == before


def test_no_letter_of_a_pinned_suite_is_guessed(platform: Any, drawn: Any) -> None:
    app = drawn(adapters, adapters__tab="Gate")
    app.text_input(key="gate.pin.name").set_value("incidents")
    app.file_uploader(key="gate.pin.file").upload("suite.txt", ANSI)
    press(app, "Pin")
    assert "'suite.txt' cannot be read" in html_of_errors(app)
    assert platform.suites() == []


def test_the_next_mix_tells_its_ratio_and_every_row_with_its_reason(drawn: Any) -> None:
    app = drawn(rehearsal, rehearsal__tab="Next mix")
    for _ in range(60):
        if app.dataframe:
            break
        app.run()
    assert "Replay ratio 33.8 %: refused on old questions in run run-bad" in html(app)
    rows = app.dataframe[0].value
    assert len(rows) > 10
    assert all(rows["Reason"])
    assert set(rows["Slice"]) == set(SLICES)


def test_what_training_did_without_is_in_no_part_of_the_mix_and_says_why(drawn: Any) -> None:
    app = drawn(mix)
    assert list(app.dataframe[0].value["Part"]) == ["left out", "recalled", "new"]
    assert app.dataframe[0].value["Reason"][0] == "it does not fit the model; drawn as new: in no mix of what serves"
    (parts,) = app.segmented_control
    assert parts.options == ["all (3)", "left out (1)", "new (1)", "recalled (1)"]
    parts.set_value("new").run()
    assert list(app.dataframe[0].value["Example"]) == ["ex-1"]


def test_what_is_started_under_a_preview_is_what_was_previewed(platform: Any, drawn: Any) -> None:
    doc = next(d["document"] for d in platform.documents() if d["name"] == "manuals/boiler pump.md")
    app = drawn(rehearsal, rehearsal__tab="Next mix")
    app.multiselect(key="rehearsal.without.").set_value([doc]).run()
    for _ in range(60):
        if app.dataframe and set(app.dataframe[0].value["Slice"]) == {"returns"}:
            break
        app.run()
    assert set(app.dataframe[0].value["Slice"]) == {"returns"}
    press(app, "Start the retrain")
    assert undone(platform)["options"]["without"] == [doc]
    app = drawn(rehearsal, rehearsal__tab="Next mix")
    app.selectbox(key="rehearsal.from").set_value("base").run()
    for _ in range(60):
        if any(b.label == "Start the retrain" for b in app.button):
            break
        app.run()
    press(app, "Start the retrain")
    assert undone(platform)["options"]["start"] == "base"


def test_settings_of_a_recipe_are_written_one_a_line_and_mistakes_are_told(platform: Any, drawn: Any) -> None:
    app = drawn(dialog)
    app.text_area(key="retrain.recipe").set_value("epochs").run()
    assert "as in epochs=2" in html_of_errors(app)
    assert app.button(key="retrain.start").disabled
    app.text_area(key="retrain.recipe").set_value("epochs=many").run()
    app.button(key="retrain.start").click().run()
    assert "epochs" in html_of_errors(app)
    app.text_area(key="retrain.recipe").set_value("epochs=2\n\nrank = 8\n").run()
    app.button(key="retrain.start").click().run()
    assert undone(platform)["options"]["recipe"] == {"epochs": 2, "rank": 8}


def test_topics_count_what_the_gate_can_ask(drawn: Any) -> None:
    shown = html(drawn(rehearsal, rehearsal__tab="Topics"))
    assert "returns" in shown
    assert "fewer than 5 questions for the gate" in shown


def test_no_mix_waits_and_it_is_said_how_one_would(drawn: Any) -> None:
    assert "No mix waits for approval." in html(drawn(rehearsal, rehearsal__tab="Waiting mixes"))


# --- adapters -------------------------------------------------------------------------------------


def test_a_verdict_tells_for_and_against_and_each_slice(drawn: Any) -> None:
    shown = html(drawn(adapters, adapters__run="run-bad"))
    assert shown.count('class="rp-against"') >= 1
    assert shown.count('class="rp-for"') >= 1
    assert "rp-ci rp-bad" in shown
    assert "All questions" in shown
    assert "refused: " not in shown


def test_a_run_and_a_card_tell_all_that_was_spent(platform: Any, drawn: Any) -> None:
    run = html(drawn(adapters, adapters__run="run-bad"))
    card = html(drawn(adapters, adapters__tab="Adapters", adapters__card="retriever-one"))
    for name, words in told(COST):
        assert all(f"<span>{name}</span><b>{words}</b>" in shown for shown in (run, card))
        assert f"- {name}: {words}\n" in platform.card("retriever-one")["markdown"]


def test_of_two_challengers_of_a_cycle_the_page_and_the_card_say_which_is_preferred(platform: Any, drawn: Any) -> None:
    options = {name: platform.run(name)["options"] for name in ("run-one", "run-bad")}
    with platform.w.db.write() as session:
        for run, other, more in (("run-one", "run-bad", {}), ("run-bad", "run-one", {"start": "base"})):
            session.get_one(Run, run).options = options[run] | {"sibling": other} | more
    said = "The other challenger of this cycle, run-bad, began fresh from the base model; of the two this one is"
    app = drawn(adapters, adapters__run="run-one")
    assert said in html(app)
    assert said in html(drawn(adapters, adapters__tab="Adapters", adapters__card="retriever-one"))
    assert said in platform.card("retriever-one")["markdown"]
    press(app, "See the other")
    assert "of the two retriever-one is preferred" in html(app)
    with platform.w.db.write() as session:
        for run, asked in options.items():
            session.get_one(Run, run).options = asked


def test_an_adapter_that_waits_is_approved_by_a_person_who_is_named(platform: Any, drawn: Any) -> None:
    app = drawn(adapters)
    assert "retriever-two was accepted by the gate and waits" in html(app)
    app.text_input(key="adapters.approve.why.retriever-two").set_value("looked at it").run()
    press(app, "Approve")
    assert [(a["state"], a["by"], a["reason"]) for a in platform.approvals()] == [("approved", "local", "looked at it")]
    assert not any(b.label == "Approve" for b in app.button)


def test_what_the_gate_refused_is_promoted_with_a_reason_only(drawn: Any) -> None:
    app = drawn(adapters, adapters__run="run-bad")
    button = next(b for b in app.button if b.label == "Promote in spite of the gate")
    assert button.disabled


def test_what_was_accepted_against_another_champion_is_judged_again_by_a_press(platform: Any, drawn: Any) -> None:
    with platform.w.db.write() as session:
        session.get_one(Run, "run-two").parent = None
    app = drawn(adapters, adapters__run="run-two")
    assert "It was accepted against the base model, which has been replaced since." in html(app)
    assert next(b for b in app.button if b.label == "Promote all the same").disabled
    press(app, "Judge it again")
    (job,) = [j for j in platform.jobs() if j["kind"] == "rejudge"]
    assert (job["args"], job["state"]) == ({"run": "run-two"}, "queued")
    platform.cancel_job(job["job"])
    with platform.w.db.write() as session:
        session.get_one(Run, "run-two").parent = "retriever-one"


def test_an_export_names_a_folder_of_the_node_and_says_what_is_missing(drawn: Any, tmp_path: Path) -> None:
    app = drawn(adapters, adapters__run="run-two")
    app.text_input(key="adapters.export.folder.run-two").set_value("here").run()
    assert app.button(key="adapters.export.go.run-two").disabled
    app.text_input(key="adapters.export.folder.run-two").set_value(str(tmp_path / "out")).run()
    press(app, "Write it")
    assert "run-two" in html_of_errors(app)  # it was never trained: there is nothing that could be reproduced


def test_a_card_tells_what_an_adapter_was_made_of(drawn: Any) -> None:
    shown = html(drawn(adapters, adapters__tab="Adapters", adapters__card="retriever-one"))
    assert "kept ready" not in shown
    assert "It was trained from the base model." in shown


def test_a_trial_shows_its_figures_and_is_stopped(platform: Any, drawn: Any) -> None:
    with platform.w.db.write() as session:
        session.execute(update(Adapter).where(Adapter.name == "retriever-bad").values(accepted=1))
    platform.start_rollout("retriever-bad", shadow=True)
    app = drawn(adapters, adapters__tab="Rollout")
    assert "0 of 50" in html(app)
    press(app, "Give it 5 % now")
    shown = html(app)
    assert "5 % of those who ask" in shown
    assert "that it is worse" in shown
    press(app, "Stop the trial")
    assert "No adapter is on trial." in html(app)
    app = drawn(adapters, adapters__run="run-bad")
    app.radio(key="adapters.way.retriever-bad").set_value("Steps of my own").run()
    app.text_input(key="adapters.steps.retriever-bad").set_value("10, half").run()
    press(app, "Begin the trial")
    assert "in percent with commas" in html_of_errors(app)
    app.text_input(key="adapters.steps.retriever-bad").set_value("10, 50 %").run()
    press(app, "Begin the trial")
    trial = platform.rollouts()[0]
    assert (trial["stage"], trial["share"], trial["steps"]) == ("canary", 0.1, [0.5, 1.0])
    platform.stop_rollout()


def test_what_served_before_is_tried_again_for_a_reason(platform: Any, drawn: Any) -> None:
    with platform.w.db.write() as session:
        session.execute(update(Adapter).where(Adapter.name == "retriever-bad").values(accepted=1, state="retired"))
    try:
        app = drawn(adapters, adapters__run="run-bad")
        assert app.button(key="adapters.begin.retriever-bad").disabled
        app.text_input(key="adapters.again.retriever-bad").set_value("winter is back").run()
        press(app, "Begin the trial")
        assert not app.error, app.error[0].value
        assert platform.rollouts()[0]["override"] == "winter is back"
        platform.stop_rollout()
    finally:
        with platform.w.db.write() as session:
            values = {"accepted": 0, "state": "candidate"}
            session.execute(update(Adapter).where(Adapter.name == "retriever-bad").values(**values))


def test_a_route_is_set_where_the_verdict_speaks_for_it(platform: Any, drawn: Any) -> None:
    app = drawn(adapters, adapters__tab="Rollout")
    app.selectbox(key="route.adapter").set_value("retriever-one")
    press(app, "Route")
    assert not app.error, app.error[0].value
    assert [r["adapter"] for r in platform.routes()] == ["retriever-one"]
    press(app, "Remove")
    assert platform.routes() == []


def test_a_topic_can_be_routed_and_the_chat_asks_what_a_question_is_about_only_then(platform: Any, drawn: Any) -> None:
    with platform.w.db.write() as session:
        topical = session.scalars(select(Example).where(Example.slice == "boiler").limit(1)).one()
        topical.slice, topical.cluster = UNNAMED, "humming pumps"
    about = "chat.slice.default"
    assert about not in [s.key for s in drawn(chat).selectbox]
    app = drawn(adapters, adapters__tab="Rollout")
    assert {"humming pumps", *SLICES} <= set(app.selectbox(key="route.slice").options)
    app.selectbox(key="route.adapter").set_value("retriever-one")
    app.selectbox(key="route.slice").set_value("returns")
    press(app, "Route")
    assert not app.error, app.error[0].value
    app = drawn(chat)
    app.selectbox(key=about).set_value("returns").run()
    app.chat_input[0].set_value("Within how many days can a parcel be sent back?").run()
    (turn,) = app.session_state["chat.turns"]
    assert turn["shown"]["chosen"]["retriever"] == "route"
    assert "about “returns”" in html(app)
    platform.remove_route("default", "returns")
    with platform.w.db.write() as session:
        found = session.get_one(Example, topical.id)
        found.slice, found.cluster = "boiler", ""


def test_what_was_forgotten_stands_in_a_table_of_every_adapter_of_the_line(platform: Any, drawn: Any) -> None:
    held = next(e["example"] for e in platform.examples() if e["split"] == "held-out")
    with platform.w.db.write() as session:
        session.get_one(Example, held).origin = "thumbs"
    app = drawn(adapters, adapters__tab="Forgetting")
    for _ in range(60):
        if "rp-heat" in html(app):
            break
        app.run()
    assert "base model" in html(app)
    assert "retriever-one" in html(app)
    assert "By where questions come from" in html(app)
    assert "thumbs (1)" in html(app)
    app.selectbox(key="forgetting.before").set_value("base").run()
    app.selectbox(key="forgetting.after").set_value("retriever-one").run()
    for _ in range(60):
        if "From base model to retriever-one" in html(app):
            break
        app.run()
    assert "From base model to retriever-one" in html(app)


def test_a_threshold_of_the_gate_is_changed_and_taken_back(platform: Any, drawn: Any) -> None:
    app = drawn(adapters, adapters__tab="Gate")
    next(n for n in app.number_input if n.label == "Loss that is let pass").set_value(0.03)
    press(app, "Save")
    assert platform.gate_policy()["set"] == {"tolerance": 0.03}
    press(app, "Take the defaults again")
    assert platform.gate_policy()["set"] == {}


# --- schedule, document ---------------------------------------------------------------------------


def test_a_schedule_is_added_in_words_changed_paused_and_removed(platform: Any, drawn: Any) -> None:
    app = drawn(schedule)
    assert "No retrain is planned." in html(app)
    app.text_input(key="schedule.new.cron").set_value("0 3 * *")
    press(app, "Add")
    assert "not a cron expression" in app.error[0].value
    app.text_input(key="schedule.new.cron").set_value("30 2 * * 1-5")
    app.selectbox(key="schedule.new.zone").set_value("Europe/Berlin")
    app.number_input(key="schedule.new.examples").set_value(50)
    app.number_input(key="schedule.new.drift").set_value(10.0)
    app.number_input(key="schedule.new.days").set_value(3.0)
    app.number_input(key="schedule.new.turns").set_value(20)
    app.number_input(key="schedule.new.rho").set_value(0.35)
    press(app, "Add")
    assert "On working days at 02:30 (Europe/Berlin), if 50 new examples are there or answers became" in html(app)
    (one,) = platform.schedules()
    assert [one[name] for name in ("days", "turns", "rho")] == [3.0, 20, 0.35]
    assert one["when"] == ["examples>=50", "drift>=0.1"]
    assert (one["timezone"], one["cooldown"]) == ("Europe/Berlin", 6 * 3600)
    key = f"schedule.change.{one['schedule']}"
    app.session_state[f"schedule.edit.{one['schedule']}"] = True
    app.run()
    app.selectbox(key=f"{key}.kind").set_value("generator")
    app.selectbox(key=f"{key}.method").set_value("kto")
    app.number_input(key=f"{key}.rho").set_value(None)
    app.number_input(key=f"{key}.turns").set_value(40)
    press(app, "Save")
    changed = [platform.schedules()[0][name] for name in ("kind", "method", "rho", "days", "turns")]
    assert changed == ["generator", "kto", None, 3.0, 40]
    press(app, "Pause")
    assert platform.schedules()[0]["paused"]
    press(app, "Remove")
    assert platform.schedules() == []


def test_a_document_tells_which_adapters_saw_it_and_how_to_train_one_that_did_not(platform: Any, drawn: Any) -> None:
    doc = next(d["document"] for d in platform.documents() if d["name"] == "returns.md")
    tab = {f"document__tab__{doc}": "Adapters"}
    assert "No adapter has seen this document." in html(drawn(library, **tab))
    with platform.w.db.write() as session:
        session.add(RunDocument(run="run-one", document=doc, version=1, role="answer", count=3))
    app = drawn(library, **tab)
    assert "retriever-one" in html(app)
    press(app, "Retrain without it …")
    assert app.multiselect(key=f"retrain.without.{doc}").value == [doc]


def test_every_policy_is_offered_in_words() -> None:
    from rehearsal.policies import POLICIES
    from ui.web.views import asking

    assert set(asking.POLICIES) == set(POLICIES)


def test_every_threshold_of_the_gate_can_be_changed() -> None:
    from ui.web.views.gatekeeping import DATA, GAIN, LOSS

    assert {*LOSS, *GAIN, *DATA, "approval", "gain", "legs"} == set(GatePolicy().to_json())


def test_an_error_of_a_measurement_is_raised_where_its_answer_is_read() -> None:
    from ui.web.later import Call

    def fail() -> None:
        raise RepriseError("no such thing", hint="ask for another", code="x")

    call = Call(fail)
    assert call.ended.wait(10)
    with pytest.raises(RepriseError, match="no such thing"):
        call.answer()
