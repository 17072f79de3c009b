"""Examples in a whole house: who comes in, on which side, what people decide, and what comes of documents."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from qdrant_client import QdrantClient

from kernel.audit import entries
from kernel.errors import Conflict, NotFound, TryAgain, UserError
from kernel.ids import now_ms
from kernel.index.schema import keyword
from kernel.index.server import ServerIndex
from kernel.types import Passage, Proposal
from rehearsal.controller import Replay
from rehearsal.examples import NewExample, Taken
from rehearsal.generate import Generation
from rehearsal.ground import Quote
from rehearsal.history import Remembered, note_rehearsed, remembered, shift
from rehearsal.policies import Candidate
from rehearsal.split import practised
from rehearsal.standing import Standing
from rehearsal.tables import UNNAMED, Example, ExampleMemory, Ground
from rehearsal.topics import Topics
from retrieval.generators.extractive import ExtractiveGenerator
from retrieval.sentences import split
from tests.house import DIMENSION, House, page, visible_points

pytestmark = pytest.mark.integration

FOOD, TUSKS = "The walrus eats clams from the floor.", "Its tusks are ivory and grow for life."
BASE = {"Food": FOOD, "Tusks": TUSKS}


@pytest.fixture
def house(quick_folder: Path) -> Iterator[House]:
    with House(quick_folder / "home") as opened:
        opened.put("walrus.md", page("Walrus", BASE))
        yield opened


def take(house: House, *rows: dict[str, Any]) -> dict[str, Any]:
    return house.memory.import_rows("\n".join(map(json.dumps, rows)), "default")


def on(quote: str, question: str, **given: Any) -> dict[str, Any]:
    return {"question": question, "document": "walrus.md", "quote": quote} | given


def only(house: House, **narrowed: Any) -> dict[str, Any]:
    (found,) = house.memory.listing(**narrowed)
    return found


def drawn(house: House) -> set[str]:
    mix = house.mixer.draw(kind="retriever", policy="mixed", rho=0.2, seed=0, workspace=None, practised=set())
    return {row.example for row in mix.rows}


def seen(house: House) -> int:
    return len(visible_points(house.index, house.now(), keyword("kind", "example")))


# --- coming in -----------------------------------------------------------------------------------


def test_of_two_that_say_the_same_the_better_origin_stays_and_the_reply_says_so(house: House) -> None:
    (made,) = house.examples.add([_new(house, "What do walruses eat?", origin="document")])
    result = take(
        house,
        on(FOOD, "What does a walrus eat?"),
        on("eats clams", "what does the walrus eat"),
        on(FOOD, "Which food is it that walruses live on?"),
    )
    assert (result["imported"], result["skipped"]) == (2, 1)
    assert [(one["line"], one["of"]) for one in result["replaced"]] == [(1, made)]
    assert [one["line"] for one in result["duplicates"]] == [2]
    assert "same span, same answer" in result["duplicates"][0]["why"]
    assert only(house, status="retired")["reason"].startswith("duplicate")
    assert seen(house) == 2


def test_a_row_that_two_give_way_to_tells_of_both(house: House) -> None:
    answer = "Clams from the floor."
    asked, said = house.examples.add(
        [
            _new(house, "What does the walrus eat?", origin="document", answer="Crabs."),
            _new(house, "What do walruses eat?", origin="document", answer=answer),
        ]
    )
    result = take(house, on(FOOD, "What does the walrus eat?", answer=answer))
    assert [(one["line"], one["of"]) for one in result["replaced"]] == [(1, asked), (1, said)]
    assert [one["why"].partition(":")[0] for one in result["replaced"]] == ["replaced", "duplicate"]
    assert {e["example"] for e in house.memory.listing(status="retired")} == {asked, said}


def test_a_document_that_moves_while_a_file_is_imported_keeps_no_row_out_that_it_still_says(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("law.md", page("Law", {"Leave": "A leave takes a day."}))
    given, take_in = list[int](), house.examples.take

    def taken(new: Sequence[NewExample], **how: Any) -> list[Taken]:
        given.append(len(new))
        if len(given) == 1:
            house.put("walrus.md", page("Walrus", {"Food": f"{FOOD} And crabs.", "Tusks": "Tusks are teeth."}))
        return take_in(new, **how)

    monkeypatch.setattr(house.examples, "take", taken)
    result = take(
        house,
        {"question": "What is a leave?", "document": "law.md", "quote": "A leave takes a day."},
        on(FOOD, "What does a walrus eat?"),
        on(TUSKS, "What are tusks made of?"),
        on("Whales sing.", "Who sings?"),
    )
    assert given == [3, 2]
    assert (result["imported"], result["skipped"], result["quarantined"]) == (2, 0, 0)
    assert [error["line"] for error in result["errors"]] == [3, 4]
    assert all("is not in the live version" in error["message"] for error in result["errors"])
    assert {e["question"] for e in house.memory.listing(status="approved")} == {
        "What is a leave?",
        "What does a walrus eat?",
    }
    (live,) = house.shown(house.library.find("walrus.md").id).values()
    with house.db.read() as session:
        grounds = session.query(Ground).filter_by(document=house.library.find("walrus.md").id).all()
    assert {g.point for g in grounds} <= {place.point for place in live}
    assert seen(house) == 2


def test_a_correction_that_overtakes_another_one_of_the_same_question_is_not_in_use_beside_it(house: House) -> None:
    first, second = (
        _new(house, "What does a walrus eat?", origin="correction", answer=a) for a in ("Clams.", "Crabs.")
    )

    def overtake(step: str) -> None:
        if step == "inserted":
            house.epochs.step = lambda _step: None
            house.examples.add([second], replace=True)

    house.epochs.step = overtake
    house.examples.add([first], replace=True)
    (used,) = house.memory.listing(status="approved")
    assert used["answer"] == "Clams."  # which was the last of them to be visible
    assert only(house, status="retired")["answer"] == "Crabs."
    assert visible_points(house.index, house.now(), keyword("kind", "example")) == {point_in(house, used["example"])}


@pytest.mark.cluster
def test_corrections_of_one_question_at_once_leave_one_in_use(
    fresh_postgres: Callable[[], str], tmp_path: Path
) -> None:
    index = ServerIndex(QdrantClient(":memory:"), "reprise", DIMENSION)
    with House(tmp_path / "home", owner="p0", index=index, database_url=fresh_postgres()) as house:
        house.put("walrus.md", page("Walrus", BASE))
        houses = [house, *(house.twin(f"p{n}") for n in range(1, 4))]
        new = [_new(house, "What does a walrus eat?", origin="correction", answer=f"Clam {n}.") for n in range(4)]
        ready = Barrier(4)

        def correct(n: int) -> str | None:
            ready.wait()
            (made,) = houses[n].examples.add([new[n]], replace=True)
            return made

        with ThreadPoolExecutor(4) as pool:
            made = {one for one in pool.map(correct, range(4)) if one is not None}
        used = only(house, status="approved")["example"]
        assert used in made
        assert {e["example"] for e in house.memory.listing(status="retired")} == made - {used}
        assert visible_points(index, house.now(), keyword("kind", "example")) == {point_in(house, used)}


def test_a_whole_document_goes_out_and_comes_in_as_one_however_often(house: House, tmp_path: Path) -> None:
    sections = {f"Chapter {n}": f"Animal number {n} eats {n} clams a day." for n in range(5)}
    asked = {"question": "What is all of it about?", "relevant": [{"document": "many.md"}, {"document": "walrus.md"}]}
    house.put("many.md", page("Many", sections))
    take(house, asked, on(FOOD, "What does a walrus eat?"))
    before, lines = house.rows(Ground), list(house.memory.export_jsonl())
    assert [row.get("relevant") for row in map(json.loads, lines)].count(asked["relevant"]) == 1
    for n in range(2):
        with House(tmp_path / f"home {n}") as other:
            other.put("walrus.md", page("Walrus", BASE))
            other.put("many.md", page("Many", sections))
            assert other.memory.import_rows("".join(lines), "default")["imported"] == 2
            assert other.rows(Ground) == before
            again = list(other.memory.export_jsonl())
        assert sorted(again) == sorted(lines)
        lines = again


def test_a_held_out_question_is_never_lost_to_training(house: House) -> None:
    take(house, on(FOOD, "What does a walrus eat?", split="held-out"))
    with house.db.write() as session:
        session.query(Example).update({"origin": "document"})
    take(house, on(FOOD, "What do walruses eat?", split="train"))
    assert only(house, status="approved")["split"] == "held-out"


def test_what_is_in_quarantine_does_not_come_in_by_importing_it_again(house: House) -> None:
    take(house, on(FOOD, "What does a walrus eat?"))
    held = only(house)["example"]
    house.vetting.quarantine([held], "a poisoned row")
    assert take(house, on(FOOD, "What does a walrus eat?"))["skipped"] == 1
    assert only(house)["reason"] == "a poisoned row"
    take(house, {"question": "Who sings?"})
    assert take(house, on(TUSKS, "Who sings?"))["imported"] == 1  # all that it had lacked was grounding


def test_a_thumb_up_does_not_bring_back_what_a_person_holds_back(house: House) -> None:
    take(house, on(FOOD, "What does a walrus eat?", answer="Stones."))
    held = only(house)["example"]
    house.vetting.quarantine([held], "wrong")
    liked, right = (_new(house, "What does a walrus eat?", origin=origin) for origin in ("thumbs", "correction"))
    assert house.examples.add([liked], replace=True) == [None]
    assert not drawn(house)
    (made,) = house.examples.add([right], replace=True)
    assert house.memory.status(held) == "retired"
    assert made is not None


@pytest.mark.parametrize(
    ("there", "comes", "goes"),
    [
        ("import", "correction", True),
        ("thumbs", "correction", True),
        ("correction", "correction", True),
        ("document", "thumbs", True),
        ("thumbs", "thumbs", True),
        ("import", "thumbs", False),
        ("correction", "thumbs", False),
    ],
)
def test_what_people_say_of_an_answer_takes_the_place_of_nothing_better(
    house: House, there: str, comes: str, goes: bool
) -> None:
    old, new = (
        _new(house, "What does a walrus eat?", origin=origin, answer=answer)
        for origin, answer in ((there, "Clams."), (comes, "Crabs."))
    )
    (first,) = house.examples.add([dataclasses.replace(old, slice="food", pinned=True)])
    (second,) = house.examples.add([new], replace=True)
    used = only(house, status="approved")
    assert used["example"] == (second if goes else first)
    assert (used["slice"], used["pinned"]) == ("food", True), "what a person said of the question holds on"
    assert (second is not None) is goes


def test_a_correction_that_nothing_supports_waits_beside_what_is_in_use(house: House) -> None:
    take(house, on(FOOD, "What does a walrus eat?", pinned=True, slice="food", split="held-out"))
    old = only(house)["example"]
    for answer in ("Bananas.", "Cheese."):
        junk = NewExample(workspace="default", question="What does a walrus eat?", answer=answer, origin="correction")
        (waits,) = house.examples.add([junk], replace=True)
        assert waits is not None
        assert house.memory.status(waits) == "quarantined"
        assert only(house, status="quarantined")["answer"] == answer, "the last of them"
        assert only(house, status="approved")["example"] == old
    assert seen(house) == 1
    house.vetting.approve([waits])
    used = only(house, status="approved")
    assert (used["example"], used["pinned"], used["slice"], used["split"]) == (waits, True, "food", "held-out")
    assert house.memory.status(old) == "retired"
    assert house.memory.history(old)[-1]["detail"]["by"] == waits
    assert visible_points(house.index, house.now(), keyword("kind", "example")) == {point_in(house, waits)}


def test_a_row_without_grounding_does_not_take_the_place_of_a_question_from_a_document(house: House) -> None:
    (made,) = house.examples.add([_new(house, "What does a walrus eat?", origin="document")])
    assert take(house, {"question": "What does a walrus eat?", "answer": "Stones."})["skipped"] == 1
    assert only(house)["example"] == made


def test_a_fifth_is_held_out_and_half_of_that_asks_about_passages_nobody_practised(house: House) -> None:
    sections = {f"Chapter {n}": f"Animal number {n} eats {n} clams a day." for n in range(80)}
    house.put("many.md", page("Many", sections))
    rows = [
        {"question": f"{ask} {n}?", "document": "many.md", "quote": f"Animal number {n} eats {n} clams a day."}
        for n in range(80)
        for ask in ("How much food for", "What is given each day to", "Diet of number")
    ]
    first = take(house, *rows)
    assert first["imported"] == 240
    side = {e["question"]: (e["example"], e["split"]) for e in house.memory.listing()}
    held = {example for example, split in side.values() if split == "held-out"}
    with house.db.read() as session:
        known = practised(session, held, {example for example, split in side.values() if split == "train"})
    assert 0.12 < len(held) / 240 < 0.28
    assert 0.25 < len(known) / len(held) < 0.75
    whole = {q.split()[-1] for q, (example, _) in side.items() if example in held - known}
    assert all(split == "held-out" for q, (_, split) in side.items() if q.split()[-1] in whole)

    later = take(house, *({**row, "question": f"Fodder: {row['question'].split()[-1]}"} for row in rows[::3]))
    assert later["imported"] == 80
    new = {e["question"]: e["split"] for e in house.memory.listing() if e["question"].startswith("Fodder")}
    assert all(split == "held-out" for q, split in new.items() if q.split()[-1] in whole)


def test_the_side_depends_on_no_order_and_no_company(house: House, tmp_path: Path) -> None:
    rows = [on(quote, f"{ask} {n}?") for n in range(4) for quote, ask in ((FOOD, "Food"), (TUSKS, "Ivory of"))]
    take(house, *rows)
    with House(tmp_path / "other") as other:
        other.put("walrus.md", page("Walrus", BASE))
        for row in reversed(rows):
            take(other, row)
        sides = [{e["question"]: e["split"] for e in one.memory.listing()} for one in (house, other)]
    assert sides[0] == sides[1]


def test_a_handful_has_something_on_either_side(house: House) -> None:
    for n in range(0, 40, 5):
        house.memory.import_rows(
            "\n".join(json.dumps({"question": f"Hello {n + i}?", "standalone": True}) for i in range(5)), f"w{n}"
        )
        assert {e["split"] for e in house.memory.listing(workspace=f"w{n}")} == {"train", "held-out"}


# --- deciding ------------------------------------------------------------------------------------


def test_only_what_was_in_use_is_told_as_gone_with_its_source(house: House) -> None:
    used = _new(house, "What does a walrus eat?", split="train")
    waiting = _new(house, "Which food is there?", split="train", quarantine="waits for a person")
    (used_id, _) = house.examples.add([used, waiting])
    standing = Standing(house.db)
    assert standing.evicted(None, 0) == ()
    house.delete.delete(house.library.find("walrus.md").id)
    (gone,) = standing.evicted(None, 0)
    assert (gone.example, gone.why, gone.epoch) == (used_id, "source deleted", house.epochs.committed())
    assert standing.evicted(None, gone.epoch) == ()


def test_what_is_quarantined_leaves_every_mix_at_once_and_comes_back_only_by_a_flip(house: House) -> None:
    take(house, on(FOOD, "What does a walrus eat?", split="train"), on(TUSKS, "What are tusks?", split="train"))
    food = only(house, text="EAT")["example"]
    mix = house.mixer.draw(kind="retriever", policy="mixed", rho=0.2, seed=0, workspace=None, practised=set())
    epoch = house.epochs.committed()
    assert house.vetting.quarantine([food], "doubtful")[0]["status"] == "quarantined"
    assert house.epochs.committed() == epoch + 1
    assert food not in drawn(house)
    assert house.mixer.gone(mix) == [food]
    assert house.vetting.approve([food])[0]["status"] == "approved"
    assert house.epochs.committed() == epoch + 2
    assert food in drawn(house)
    assert house.vetting.approve([food])[0]["status"] == "approved"  # as it was: no epoch passes
    assert house.epochs.committed() == epoch + 2
    assert seen(house) == 2
    told = house.memory.history(food)
    assert [event["what"] for event in told] == ["created", "approved", "quarantined", "approved"]
    with house.db.read() as session:
        assert {e["action"] for e in entries(session)} >= {"example-quarantine", "example-approve"}


def test_several_are_decided_about_together_or_not_at_all(house: House) -> None:
    take(house, on(FOOD, "What does a walrus eat?"), on(TUSKS, "What are tusks?"))
    both = [e["example"] for e in house.memory.listing()]
    with pytest.raises(NotFound):
        house.vetting.retire([both[0], "ex-none"], "")
    assert seen(house) == 2
    house.vetting.retire(both, "no longer asked")
    assert seen(house) == 0
    with pytest.raises(UserError, match="no longer asked"):
        house.vetting.approve(both)


def test_an_approved_example_stands_on_the_passages_of_today_or_stays_where_it_is(house: House) -> None:
    take(house, on("The walrus eats clams", "What does a walrus eat?"), on(TUSKS, "What are tusks?"))
    both = [e["example"] for e in house.memory.listing()]
    house.vetting.quarantine(both, "")
    house.put("walrus.md", page("Walrus", {"Food": f"{FOOD} And crabs.", "Tusks": "Tusks are long."}))
    food = only(house, text="eat")["example"]
    assert house.vetting.approve([food])[0]["status"] == "approved"
    assert "re-grounded" in [event["what"] for event in house.memory.history(food)]
    with pytest.raises(UserError, match="does not hold its quote"):
        house.vetting.approve([only(house, text="tusks")["example"]])
    assert only(house, text="tusks")["status"] == "quarantined"


def test_an_edit_of_words_is_another_example_that_goes_on_with_the_history(house: House) -> None:
    take(house, on(FOOD, "What does a walrus eat?", split="held-out", answer="Clams."))
    old = only(house)
    edited = house.editing.edit(old["example"], {"question": "What is on a walrus's plate?", "answer": None})
    assert (edited["replaces"], edited["status"]) == (old["example"], "approved")
    now = only(house, status="approved")
    assert (now["example"], now["answer"], now["split"]) == (edited["example"], None, "held-out")
    assert seen(house) == 1
    told = house.memory.history(now["example"])
    assert [event["what"] for event in told] == ["created", "approved", "edited", "approved", "retired"]
    assert told[0]["question"] == "What does a walrus eat?"
    sorted_in_place = house.editing.edit(now["example"], {"slice": "food", "pinned": True})
    assert sorted_in_place["replaces"] is None
    assert only(house, slice_name="food")["pinned"] is True
    with pytest.raises(UserError, match="nothing changes"):
        house.editing.edit(now["example"], {"slice": "food"})
    assert house.editing.edit(now["example"], {"slice": None})["replaces"] is None
    assert next(e["slice"] for e in house.memory.listing() if e["example"] == now["example"]) == UNNAMED
    house.editing.edit(now["example"], {"slice": "food"})
    take(house, on(TUSKS, "What are tusks?"))
    with pytest.raises(Conflict, match="the same question"):
        house.editing.edit(now["example"], {"question": "what are tusks"})


def test_a_retired_example_lives_on_in_its_edited_form(house: House) -> None:
    take(house, on(TUSKS, "What are tusks made of?", split="train"))
    house.put("walrus.md", page("Walrus", {"Food": FOOD, "Tusks": "Tusks are teeth."}))
    old = only(house, status="retired")["example"]
    with pytest.raises(UserError, match="does not hold its quote"):
        house.editing.edit(old, {"answer": "Teeth."})
    edited = house.editing.edit(old, {"answer": "Teeth.", "quote": "Tusks are teeth."})
    assert edited["example"] in drawn(house)


LEAVE = {"question": "How much leave has a walrus?", "document": "rules.md"}


def rules(house: House, days: int, **more: str) -> None:
    house.put("rules.md", page("Rules", {"Leave": f"Every walrus has {days} days of leave."} | more))


@pytest.mark.parametrize("says", ["answer", "preferred"])
@pytest.mark.parametrize("state", ["approved", "held back", "never approved"])
def test_an_answer_to_a_whole_document_goes_with_the_sentence_that_said_it_whatever_it_waits_for(
    house: House, says: str, state: str
) -> None:
    rules(house, 14)
    take(house, LEAVE | {says: "14 days."})
    if state == "never approved":
        house.vetting.retire([only(house)["example"]], "")
        document = house.library.find("rules.md").id
        (places,) = house.shown(document).values()
        quote = Quote(document=document, point=places[0].point, text="")
        new = NewExample(workspace="default", question=LEAVE["question"], quotes=(quote,), quarantine="from a machine")
        (example,) = house.examples.add([dataclasses.replace(new, **{says: "14 days."})])
    else:
        example = only(house)["example"]
        if state == "held back":
            house.vetting.quarantine([example], "is it so?")
    assert example is not None
    rules(house, 14, Stay="They sleep on ice.")
    assert house.memory.status(example) == ("approved" if state == "approved" else "quarantined")
    rules(house, 30)
    assert house.memory.status(example) == "retired"
    with pytest.raises(UserError, match="source superseded"):
        house.vetting.approve([example])
    with pytest.raises(UserError, match="may not say its answer any more"):
        house.editing.edit(example, {"question": "How many days of leave has a walrus?"})
    edited = house.editing.edit(example, {says: "30 days."})
    assert edited["status"] == "approved"
    rules(house, 14)
    assert house.memory.status(edited["example"]) == "retired"
    assert house.editing.edit(example, {"question": "How many days off?"})["status"] == "approved", "it says so again"


def test_what_is_on_its_way_in_or_back_while_its_document_changes_does_not_come_in(house: House) -> None:
    def meanwhile(days: int) -> None:
        def change(step: str) -> None:
            if step == "inserted":
                house.epochs.step = lambda _step: None
                rules(house, days)

        house.epochs.step = change

    rules(house, 14)
    take(house, LEAVE | {"answer": "14 days."})
    example = only(house)["example"]
    house.vetting.quarantine([example], "is it so?")
    meanwhile(30)
    with pytest.raises(UserError, match="source superseded"):
        house.vetting.approve([example])
    assert seen(house) == 0
    house.editing.edit(example, {"answer": "30 days."})
    meanwhile(40)
    edit = {"question": "How many days of leave has a walrus?"}
    with pytest.raises(TryAgain, match="another version"):
        house.editing.edit(only(house, status="approved")["example"], edit)
    assert seen(house) == 0


def test_a_delete_takes_the_history_with_the_words(house: House) -> None:
    take(house, on(FOOD, "What does a walrus eat?"))
    example = only(house)["example"]
    house.vetting.quarantine([example], "the clams are secret")
    house.delete.delete("walrus.md")
    assert [event["what"] for event in house.memory.history(example)] == ["retired"]
    assert "clams" not in json.dumps(house.memory.history(example))


def test_rehearsals_make_a_memory_stronger_until_it_is_found_forgotten(house: House) -> None:
    take(house, on(FOOD, "What does a walrus eat?"))
    example = only(house)["example"]
    for at, (run, loss) in enumerate([("a", 1.0), ("b", 0.9), ("b", 9.0), ("c", 1.1), ("d", 2.0), ("e", float("nan"))]):
        with house.db.write() as session:
            lost = note_rehearsed(session, run, [(example, loss)], at + 1, kind="retriever")
        assert lost == ([example] if run == "d" else [])
    now = only(house)
    assert (now["rehearsed"], now["strength"], now["forgotten"], now["last_loss"]) == (5, 0.0, 1, 2.0)
    told = [(event["what"], event["detail"].get("run")) for event in house.memory.history(example)][2:]
    assert told == [*(("rehearsed", run) for run in "abcd"), ("forgotten", "d"), ("rehearsed", "e")]


@pytest.mark.parametrize(("risen", "lost"), [(1.0, True), (1.4, True), (3.0, False)])
def test_a_run_that_measures_all_of_them_higher_forgot_none_of_them_for_it(risen: float, lost: bool) -> None:
    losses = [(0.2 + n / 100, (0.2 + n / 100) * risen) for n in range(12)]
    found = remembered(Remembered(strength=2.0, forgotten=0), 0.5, 1.2, shift(losses))
    assert (found.lost, found.strength) == (lost, 0.0 if lost else 3.0)
    assert shift(losses[:9]) == shift([(1.0, 0.5)] * 12) == shift([(None, 2.0)] * 12) == 1.0


def test_what_one_kind_of_adapter_practised_is_neither_remembered_nor_forgotten_by_another(house: House) -> None:
    take(house, on(FOOD, "What does a walrus eat?", split="train"))
    example = only(house)["example"]
    rehearsals = [("retriever", 0.1), ("generator", 2.1), ("retriever", 0.12), ("generator", 1.9), ("retriever", 0.9)]
    for at, (kind, loss) in enumerate(rehearsals):
        with house.db.write() as session:
            lost = note_rehearsed(session, f"run{at}", [(example, loss)], at + 1, kind=kind)
        assert lost == ([example] if at == 4 else [])
    now = only(house)
    assert (now["rehearsed"], now["forgotten"], now["last_loss"], now["strength"]) == (5, 1, 0.9, 0.0)
    assert {kind: (m["rehearsed"], m["forgotten"], m["last_loss"]) for kind, m in now["memory"].items()} == {
        "generator": (2, 0, 1.9),
        "retriever": (3, 1, 0.9),
    }
    told = [event["detail"]["kind"] for event in house.memory.history(example)[2:]]
    assert told == [*(kind for kind, _ in rehearsals), "retriever"]

    def drawn_for(kind: str) -> Candidate:
        known: dict[str, Any] = {"workspace": None, "practised": {example}, "seed": 0, "replay": Replay(rho=0.2)}
        (old,) = house.mixer.pools.gather("due", kind=kind, **known).old
        return old

    seen = [drawn_for(kind) for kind in ("retriever", "generator", "reranker")]
    assert [(c.times_rehearsed, c.forgotten, c.strength, c.last_loss, c.last_rehearsed) for c in seen] == [
        (3, 1, 0.0, 0.9, 5),
        (2, 0, 2.0, 1.9, 4),
        (0, 0, 0.0, None, None),
    ]
    house.delete.delete("walrus.md")
    with house.db.read() as session:
        assert session.query(ExampleMemory).all() == []


# --- from documents ------------------------------------------------------------------------------

LAW = page(
    "Leave",
    {
        "Booking a leave": "Ask a week ahead in the portal of the house. A leave is a day on which nobody works.",
        "What is a trip?": "A trip is a journey of more than one day.",
        "Costs": "| item | price |\n|---|---|\n| hotel | 120 euros |\n| train | second class |",
    },
)


class Scribe:
    """A generator that writes: it asks about each sentence by its own words, and makes one quote up."""

    name = "scribe"

    def propose(self, passage: Passage, most: int) -> list[Proposal]:
        made = []
        for start, end in split(passage.text)[:most]:
            said = passage.text[start:end]
            made.append(Proposal(question=f"Is it so that {said.rstrip('.').lower()}?", answer=said, quote=said))
        return [*made, Proposal(question="Who wrote this?", answer="Me.", quote="I wrote all of this.")]


def generation(house: House, generator: Any = None, top: int = 5) -> Generation:
    writer = generator or ExtractiveGenerator(house.embedder)
    return Generation(house.db, house.library, house.search, house.examples, writer, top)


def test_questions_from_documents_are_kept_where_a_search_finds_its_way_back(house: House) -> None:
    house.put("leave.md", LAW)
    told = generation(house).run(["leave.md"], "default")
    assert told["proposed"] == told["kept"] + sum(told["dropped"].values())
    made = {e["question"]: e for e in house.memory.listing(origin="document")}
    assert {"What is a leave?", "How do I go about booking a leave?", "What is the price of hotel?"} <= set(made)
    assert {e["status"] for e in made.values()} == {"approved"}
    text = house.library.text("leave.md")["text"]
    for event in (house.memory.history(e["example"])[0] for e in made.values()):
        assert event["detail"]["rank"] <= 5
    for line in house.memory.export_jsonl():
        assert json.loads(line)["quote"] in text
    again = generation(house).run(["leave.md"], "default")
    assert again["kept"] == 0
    assert sum(n for why, n in again["dropped"].items() if why.startswith("there already")) >= told["kept"]


def test_what_several_rows_of_a_section_answer_is_not_asked_at_all(house: House) -> None:
    several = "".join(f"| {city} | {n}0 euros | {n} |\n" for n, city in enumerate(["Berlin", "Bonn", "Ulm"] * 3, 1))
    table = f"| City | Fee | Zone |\n|---|---|---|\n{several}| Kiel | 7 euros | 1 |\n"
    says = "The office looks at what each of the cities asks for a permit once in a year, and writes it down here."
    house.put("fees.md", page("Permits", {"Fees": f"{says}\n\n{table}"}))
    told = generation(house).run(["fees.md"], "default")
    assert told["dropped"]["asked of several places of the document"] == 9
    made = {e["question"] for e in house.memory.listing(origin="document")}
    assert {question for question in made if "given" in question} == {"What is given as Zone for Kiel?"}


def test_a_question_that_finds_another_passage_is_dropped_and_counted(house: House) -> None:
    says = "A leave is a day on which nobody works."
    house.put("one.md", page("One", {"First": f"{says} It is booked.", "Second": f"{says} It is paid."}))
    house.put("two.md", page("Two", {"Overview": "A trip is a journey of more than one day."}))
    house.put("three.md", page("Three", {"Overview": "A trip is a journey of more than one day. It is paid."}))
    told = generation(house, top=1).run(["one.md", "two.md", "three.md"], "default")
    assert told["dropped"]["asked of several places of the document"] == 2
    assert told["dropped"]["a search does not find its source among the first 1"] >= 1
    assert [e["question"] for e in house.memory.listing() if "What is" in e["question"]] == ["What is a trip?"]


def test_a_passage_that_moves_while_questions_are_made_of_it_costs_its_own_question_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("leave.md", LAW)
    house.put("trip.md", page("Trip", {"Overview": "A ferry is a ship that carries cars."}))
    given, take_in = list[int](), house.examples.take

    def taken(new: Sequence[NewExample], **how: Any) -> list[Taken]:
        given.append(len(new))
        if len(given) == 1:
            house.put("trip.md", page("Trip", {"Overview": "A ferry is a boat for cars."}))
        return take_in(new, **how)

    monkeypatch.setattr(house.examples, "take", taken)
    told = generation(house).run(["leave.md", "trip.md"], "default")
    assert given == [given[0], *(1 for _ in range(given[0]))]
    assert told["dropped"]["its passage changed meanwhile"] == 1
    assert told["proposed"] == told["kept"] + sum(told["dropped"].values())
    asked = {e["question"] for e in house.memory.listing(status="approved")}
    assert "What is a leave?" in asked
    assert "What is a ferry?" not in asked


def test_a_generator_that_writes_is_asked_and_not_believed(house: House) -> None:
    house.put("leave.md", LAW)
    told = generation(house, Scribe()).run(["leave.md"], "default", 4, hold=True)
    assert told["by"] == "scribe"
    assert told["kept"] == 4
    assert told["rules"] == {"written": 4}
    assert told["dropped"]["the model quoted what is not there"] >= 1
    waiting = house.memory.listing(status="quarantined")
    assert len(waiting) == 4
    assert seen(house) == 0
    house.vetting.approve([e["example"] for e in waiting])
    assert seen(house) == 4


def test_topics_are_counted_where_nobody_named_a_slice(house: House) -> None:
    rows = [
        {"question": f"{words} {n}?", "standalone": True, **({"slice": "mine"} if n == 0 else {})}
        for words in ("Clams crabs snails food", "Ivory tusk tooth length")
        for n in range(45)
    ]
    take(house, *rows)
    topics = Topics(house.db, house.index, house.epochs)
    assert topics.due() == ["default"]
    assert topics.due(since=now_ms()) == []  # looked at already
    told = topics.find()
    assert topics.due() == []
    assert (told["examples"], told["moved"]) == (90, 90)
    counted = {row["slice"]: row["train"] + row["held_out"] for row in told["clusters"]}
    assert counted.pop("mine") == 2
    assert sorted(counted.values()) == [44, 44]
    assert topics.find()["moved"] == 0
    assert {e["counted_in"] for e in house.memory.listing(slice_name="mine")} == {"mine"}


def point_in(house: House, example: str) -> str:
    with house.db.read() as session:
        return session.get_one(Example, example).point


def _new(house: House, question: str, **given: Any) -> NewExample:
    (places,) = house.shown(house.library.find("walrus.md").id).values()
    chunk: Sequence[Any] = [p for p in places if FOOD in p.text]
    quote = Quote(document=chunk[0].document, point=chunk[0].point, text=FOOD)
    return NewExample(workspace="default", question=question, quotes=(quote,), **given)
