"""What is new to a champion: by slice, and within a slice by when a question came."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from finetune.kinds import CHAMPION, Options
from finetune.novelty import Novelty, practised_by
from finetune.registry import point
from finetune.tables import Adapter, Run
from kernel.ids import now_ms
from rehearsal.mix import Mix
from rehearsal.tables import Example, MixRow
from tests.doors import doors, memory_folder, opened
from tests.house import incoming, page
from ui.platform import Platform

pytestmark = pytest.mark.integration
KIND = "retriever"
THINGS = ("Kettle", "Lamp", "Radio")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A champion that has practised kettles and lamps; radios were asked about then, and are practised since."""
    with doors(), memory_folder(tmp_path_factory.mktemp("novelty")) as place, opened(place / "home") as platform:
        platform.ingest([incoming(f"{name}.md", page(name, {"Use": _text(name)})) for name in THINGS])
        _ask(platform, "Kettle", "first")
        _ask(platform, "Lamp", "first")
        _ask(platform, "Radio", "first")
        _run(platform, "champion", None, ("Kettle", "Lamp"))
        with platform.w.db.write() as session:
            session.add(Adapter(name="champion", kind=KIND, state="champion", parent=None, run="champion", path="none",
                                accepted=1, share=1.0, created=1))  # fmt: skip
            point(session, KIND, ("champion", "none"), None)
        _ask(platform, "Lamp", "second")
        _run(platform, "challenger", "champion", THINGS)
        yield platform


def test_of_a_slice_that_something_new_came_to_only_what_came_is_new(platform: Platform) -> None:
    assert _judged(platform, _novelty(platform)) == {
        ("Kettle", "first"): ("Kettle", "old", False),  # nothing new was practised of it
        ("Lamp", "first"): ("Lamp", "old", True),
        ("Lamp", "second"): ("Lamp", "new", False),
        ("Radio", "first"): ("Radio", "new", False),  # asked before, and never practised until now
    }


def test_without_a_champion_everything_is_new(platform: Platform) -> None:
    assert set(_judged(platform, _novelty(platform, parent=None)).values()) == {(name, "new", False) for name in THINGS}


def test_where_nothing_is_new_to_the_champion_what_the_run_practised_may_show_a_gain(platform: Platform) -> None:
    _run(platform, "repeat", "champion", ("Kettle",), only="first")
    judged = _judged(platform, _novelty(platform, "repeat"))
    assert judged["Kettle", "first"] == ("Kettle", "old", True)
    assert judged["Lamp", "second"] == ("Lamp", "old", False)


def test_in_another_workspace_a_slice_of_the_same_name_is_old_and_one_for_itself(platform: Platform) -> None:
    novelty = _novelty(platform, workspace="elsewhere")
    assert _judged(platform, novelty)["Lamp", "second"] == ("Lamp (default)", "old", False)


def test_what_is_approved_again_is_as_old_as_it_was(platform: Platform) -> None:
    lamp = next(e.id for e in _examples(platform, "held-out") if e.slice == "Lamp" and "first" in e.question)
    platform.quarantine_examples([lamp])
    platform.approve_examples([lamp])
    assert _judged(platform, _novelty(platform))["Lamp", "first"] == ("Lamp", "old", True)


def test_a_merge_that_serves_does_not_make_old_what_its_parents_were_drawn_before(platform: Platform) -> None:
    _run(platform, "merged", "champion", (), merged=("champion",))
    with platform.w.db.write() as session:
        session.add(Adapter(name="merged", kind=KIND, state="retired", parent="champion", run="merged", path="none",
                            accepted=1, share=0.0, created=now_ms()))  # fmt: skip
    assert _judged(platform, _novelty(platform, parent="merged"))["Lamp", "second"] == ("Lamp", "new", False)


def test_a_champion_that_was_drawn_for_another_workspace_has_seen_nothing_of_this_one(platform: Platform) -> None:
    _run(platform, "abroad", "champion", (), workspace="elsewhere")
    with platform.w.db.write() as session:
        session.add(Adapter(name="abroad", kind=KIND, state="retired", parent="champion", run="abroad", path="none",
                            accepted=1, share=0.0, created=now_ms()))  # fmt: skip
    judged = _judged(platform, _novelty(platform, parent="abroad", workspace="default"))
    assert judged["Lamp", "second"] == ("Lamp", "new", False)
    assert judged["Lamp", "first"] == ("Lamp", "old", True)


def test_what_a_run_goes_on_from_has_practised_for_it_whoever_the_champion_is(platform: Platform) -> None:
    registry = platform.w.registry
    with platform.w.db.write() as session:
        session.add(Adapter(name="aside", kind=KIND, state="retired", parent="champion", run="challenger", path="none",
                            accepted=1, share=0.0, created=now_ms()))  # fmt: skip
    for number, how in enumerate(({"start": "aside"}, {"merged": ("champion", "aside")})):
        _run(platform, f"onward-{number}", "champion", (), **how)
        assert practised_by(registry, _row(platform, f"onward-{number}")) == {
            f"onward-{number}", "challenger", "champion"
        }  # fmt: skip
    _run(platform, "again", "aside", ())
    with platform.w.db.write() as session:
        session.add(Adapter(name="again", kind=KIND, state="retired", parent="aside", run="again", path="none",
                            accepted=1, share=0.0, created=now_ms()))  # fmt: skip
    judged_again = _row(platform, "again", parent=None)
    assert practised_by(registry, judged_again) == {"again", "challenger", "champion"}


def _text(name: str) -> str:
    return f"The {name.lower()} is switched off at night."


def _ask(platform: Platform, name: str, time: str) -> None:
    """Two questions about a thing, one to practise and one held out."""
    rows = [
        {"question": f"is the {name.lower()} off, {split}, {time} time", "answer": _text(name), "slice": name,
         "document": f"{name}.md", "quote": _text(name), "split": split}
        for split in ("train", "held-out")
    ]  # fmt: skip
    assert platform.import_examples("".join(json.dumps(row) + "\n" for row in rows))["imported"] == 2


def _examples(platform: Platform, split: str) -> list[Example]:
    with platform.w.db.read() as session:
        return session.query(Example).filter_by(status="approved", split=split).all()


def _run(
    platform: Platform,
    run: str,
    parent: str | None,
    slices: Sequence[str],
    only: str = "",
    *,
    merged: tuple[str, ...] = (),
    start: str = CHAMPION,
    workspace: str | None = None,
) -> None:
    rows = [e for e in _examples(platform, "train") if e.slice in slices and only in e.question]
    options = Options(policy="mixed", rho=0.2, merged=merged, start=start).to_json()
    with platform.w.db.write() as session:
        session.add(Run(id=run, kind=KIND, state="accepted", options=options, workspace=workspace, adapter=run,
                        parent=parent, metrics={}, verdict=None, error=None, created=now_ms()))  # fmt: skip
        session.add_all(MixRow(run=run, example=e.id, part="new") for e in rows)


def _novelty(platform: Platform, run: str = "challenger", **changed: Any) -> Novelty:
    w = platform.w
    mix = Mix(epoch=1, workspace=None, policy="mixed", rho=0.2, seed=0, rows=(), excluded={})
    return Novelty.of(w.db, w.registry, _row(platform, run, **changed), mix)


def _row(platform: Platform, run: str, **changed: Any) -> Run:
    with platform.w.db.read() as session:
        row = session.get_one(Run, run)
        session.expunge(row)
    for name, value in changed.items():
        setattr(row, name, value)
    return row


def _judged(platform: Platform, novelty: Novelty) -> dict[tuple[str, str], tuple[str, str, bool]]:
    """(slice, part, renewed) of each held-out question, by its thing and time."""
    questions = platform.w.kinds[KIND]._evaluator.questions(None)  # type: ignore[attr-defined]
    placed = novelty.held_out(questions)
    of = {e.id: (e.slice, e.question.split(", ")[-1].split()[0]) for e in _examples(platform, "held-out")}
    return {of[e.example]: (e.slice, e.part, e.renewed) for e in placed}
