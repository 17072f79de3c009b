"""Generator adapters behind the platform's doors, on a model built here: rows, a run, serving, votes, deletes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from finetune.files import read_lines
from finetune.generator import materialise, trainer
from finetune.generator.context import Contexts
from finetune.generator.evaluate import ANSWERS, CITATIONS, CLOSED, FAITHFULNESS, METRIC, REFUSALS
from finetune.generator.kind import GeneratorKind
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.rows import TrainRow, read_train_set
from finetune.generator.votes import Votes
from finetune.kinds import Options
from finetune.probe import Lost, Probing
from finetune.reproduce import reproduce
from finetune.tables import Run
from kernel.errors import NotFound, Refused, UserError
from kernel.jobs import TakenAway
from kernel.types import Ask, Passage, Sentence, Sentences, silent
from rehearsal.mix import Mix
from rehearsal.tables import MixRow
from tests.doors import opened
from tests.facts import COLOURS, RECIPE, THINGS
from tests.house import incoming, numbered, page
from tests.tiny import save_reader
from ui.platform import Platform

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
ASKED = ("What colour is the {}?", "Which colour has the {} of the house?", "How is the {} painted?",
         "Tell me the colour of the {}.", "In what colour do we see the {}?")  # fmt: skip
COLOUR = dict(zip(THINGS[:9], COLOURS * 2, strict=False))
PAGES = {
    f"{thing}.md": page(
        thing.title(), {"Colour": f"The {thing} of the house is {colour}.", "Care": f"Clean the {thing} of the house."}
    )
    for thing, colour in COLOUR.items()
}
ROWS: list[dict[str, Any]] = [
    {
        "question": asked.format(thing),
        "answer": f"It is {colour}.",
        "document": f"{thing}.md",
        "quote": f"The {thing} of the house is {colour}.",
        "slice": "colours",
    }
    for thing, colour in COLOUR.items()
    for asked in ASKED
]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("generator")
    words = [*PAGES.values(), *(f"{row['question']} {row['answer']}" for row in ROWS)]
    model = save_reader(folder / "model", words, context=900)
    with numbered(), opened(folder / "home", generator=f"transformers:{model}") as platform:
        kind(platform)._generator()._new_tokens = 24  # it does not end by itself, and nobody waits for it
        platform.w.ingest.add([incoming(name, text) for name, text in PAGES.items()])
        platform.import_examples("".join(json.dumps(row) + "\n" for row in ROWS))
        yield platform


def kind(platform: Platform) -> GeneratorKind:
    found = platform.w.kinds["generator"]
    assert isinstance(found, GeneratorKind)
    return found


def of_run(platform: Platform, run: str) -> set[str]:
    """Examples and turns that a run is known to practise."""
    with platform.w.db.read() as session:
        return {row.example for row in session.query(MixRow).filter_by(run=run)}


def drawn(platform: Platform, folder: Path, run: str = "run-x", **options: Any) -> tuple[list[TrainRow], Mix]:
    """The rows of a run that was drawn and written, and not trained."""
    asked = Options(policy="mixed", rho=0.2, seed=3, **options)
    mix = platform.w.mixer.draw(kind="generator", policy="mixed", rho=0.2, seed=3, workspace=None, practised=set())
    row = Run(id=run, kind="generator", workspace=None, options=asked.to_json(), parent=None, adapter="generator-x")
    folder.mkdir(parents=True)
    kind(platform).materialise(row, mix, folder)
    return list(read_train_set(folder).rows), mix


# --- rows ----------------------------------------------------------------------------------------------------------


def test_rows_show_what_answers_among_what_does_not_or_are_refused(platform: Platform, tmp_path: Path) -> None:
    rows, mix = drawn(platform, tmp_path / "one")
    again, _ = drawn(platform, tmp_path / "two")
    assert rows == again  # the same mix, seed and index give the same rows
    held_out = {e["example"] for e in platform.examples() if e["split"] == "held-out"}
    assert {row.example for row in rows} == {row.example for row in mix.rows}
    assert not held_out & {row.example for row in rows}
    answered, refused = [r for r in rows if r.chosen], [r for r in rows if not r.chosen]
    assert 0.45 < len(answered) / len(rows) < 1  # four of five, by a hash of their ids
    assert len({[p.chunk for p in row.passages].index(min(row.gold)) for row in answered}) > 2  # in a drawn place
    for row in answered:
        assert row.gold <= {p.chunk for p in row.passages}
        assert all(set(said.cites) <= row.gold for said in row.chosen)
    for row in refused:
        thing = next(t for t in COLOUR if t in row.question)
        assert row.passages
        assert not any(f"The {thing} of the house is" in p.text for p in row.passages)


def test_what_may_not_be_kept_is_answered_by_the_champion_or_left_out(platform: Platform, tmp_path: Path) -> None:
    _, mix = drawn(platform, tmp_path / "one")
    asked = replace(mix, rows=tuple(replace(row, target="champion") for row in mix.rows[:2]))
    options = Options(policy="generative", rho=0.2, recipe={"gold": 1.0}).to_json()
    row = Run(id="run-y", kind="generator", workspace=None, options=options, parent=None, adapter="generator-y")
    with pytest.raises(UserError, match="the champion had no supported answer"):  # it is a model that cannot write
        kind(platform).materialise(row, asked, tmp_path)


def test_of_what_the_champion_answers_only_what_grounds_the_example_is_learnt(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parrot(_asked: Ask, passages: Sequence[Passage]) -> Sentences:
        yield from (Sentence(text=p.text.splitlines()[-1], marks=(n,)) for n, p in enumerate(passages, 1))
        yield Sentence(text=passages[0].text.splitlines()[-1], marks=(1, 2))  # one of the two at most answers
        return {}

    def distracted(asked: Ask, passages: Sequence[Passage]) -> Sentences:
        thing = next(t for t in COLOUR if t in asked.question)
        yield from (s for s in parrot(asked, passages) if f"{thing} of the house is" not in s.text)
        return {}

    _, mix = drawn(platform, tmp_path / "one")
    asked = replace(mix, rows=tuple(replace(row, target="champion") for row in mix.rows))
    options = Options(policy="generative", rho=0.2, recipe={"gold": 1.0}).to_json()
    row = Run(id="run-z", kind="generator", workspace=None, options=options, parent=None, adapter="generator-z")
    monkeypatch.setattr(kind(platform)._generator(), "stream", parrot)
    kind(platform).materialise(row, asked, tmp_path)
    rows = read_train_set(tmp_path).rows
    assert {r.example for r in rows} == {r.example for r in asked.rows}
    assert any(len(r.passages) > len(r.gold) for r in rows)
    for one in rows:
        texts = {p.chunk: p.text for p in one.passages}
        assert all(said.cites and set(said.cites) <= one.gold for said in one.chosen)
        assert all(said.text in texts[chunk] for said in one.chosen for chunk in said.cites)
    monkeypatch.setattr(kind(platform)._generator(), "stream", distracted)
    with pytest.raises(UserError, match="answered it from what does not ground it"):
        kind(platform).materialise(row, asked, tmp_path)


def test_what_cannot_be_trained_is_said_when_it_is_asked_for(platform: Platform) -> None:
    with pytest.raises(UserError, match="the mix holds 0 pairs"):
        platform.request_run("generator", method="dpo")
    with pytest.raises(UserError, match="no method 'ppo'"):
        platform.request_run("generator", method="ppo")
    with pytest.raises(UserError, match="wings: no such setting"):
        platform.request_run("generator", recipe={"wings": 2})
    with pytest.raises(UserError, match="micro_batch = 1: expected 2 or more for kto"):
        platform.request_run("generator", method="kto", recipe={"micro_batch": 1})
    with pytest.raises(UserError, match="a retriever has no method"):
        platform.request_run("retriever", method="dpo")
    cost = platform.preview("generator")["cost"]
    assert cost["tokens"] > 100 * cost["examples"]


def test_a_generator_without_weights_cannot_be_trained(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "home") as platform,
        pytest.raises(UserError, match="'extractive' has no weights here") as error,
    ):
        platform.request_run("generator")
    assert "REPRISE_GENERATOR" in error.value.hint
    with opened(tmp_path / "home") as platform, pytest.raises(UserError, match="'extractive' has no weights here"):
        platform.forgetting("generator")


# --- a run, and serving what came out ------------------------------------------------------------------------------


SUITE: list[dict[str, Any]] = [
    {"question": "What colour is the lamp?", "answer": ["It is red.", f"{COLOUR['lamp']}"],
     "relevant": [{"document": "lamp.md"}]},
    {"question": "Who made the moon?", "unanswerable": True},
    {"question": "Is there a page about the door?", "relevant": [{"document": "door.md"}]},
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(platform: Platform) -> dict[str, Any]:
    platform.pin_suite("everyday", "".join(json.dumps(row) + "\n" for row in SUITE))
    return platform.retrain(silent, kind="generator", recipe={**RECIPE, "distractors": 2})


def test_a_run_is_judged_by_likelihood_and_with_passages_and_without(
    platform: Platform, trained: dict[str, Any]
) -> None:
    slices = {s["slice"]: s for s in trained["verdict"]["slices"]}
    learnt = slices["colours"]
    assert (learnt["metric"], learnt["part"]) == (METRIC, "new")
    assert learnt["n"] > 3
    assert learnt["challenger"] > 2 * learnt["base"]
    assert learnt["low"] > 0
    assert {ANSWERS, CITATIONS, FAITHFULNESS, REFUSALS, CLOSED} <= set(slices)
    assert trained["metrics"]["data"]["rows"] == trained["metrics"]["examples"]
    folder = Path(trained["manifest"]).parent
    assert not (folder / "passages.jsonl").exists()  # what training alone needed
    card = platform.card(trained["adapter"])
    assert card["base"]["name"] == "model"
    assert {d["name"] for d in card["data"]["documents"]} == set(PAGES)  # what it was shown, not only what answers


def test_a_pinned_suite_is_asked_and_an_answer_that_nobody_gave_is_not_made_up(
    platform: Platform, trained: dict[str, Any]
) -> None:
    row = next(s for s in trained["verdict"]["slices"] if s["part"] == "suite")
    assert (row["slice"], row["n"], row["metric"]) == ("everyday", 2, METRIC)
    assert trained["metrics"]["suites_left_out"] == {"everyday": 1}  # a whole page, and no word of an answer
    assert any("of the pinned suite 'everyday'" in reason for reason in trained["verdict"]["reasons"])
    w = platform.w
    asked, when = w.suites.asked(), w.search.when()
    answered, refused = kind(platform)._evaluator.pinned(asked, when, GeneratorRecipe())
    assert answered.answers == ("It is red.", COLOUR["lamp"])  # any of them will do
    assert len(answered.targets) == 2
    assert any("lamp" in p.text for p in answered.read)
    assert (refused.answers, refused.wanted, refused.suite) == ((), (), "everyday")
    lamp = next(iter(asked.questions[0].sources))
    without = kind(platform)._evaluator.pinned(asked, when, GeneratorRecipe(), [lamp])
    assert [q.question for q in without] == ["Who made the moon?"]  # what it must not know is not asked of it


def test_a_probe_practises_what_was_lost_and_leaves_nothing_behind(
    platform: Platform, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The child's own code in this process: that it has one of its own is shown by the run itself.
    monkeypatch.setattr("finetune.generator.recovery.train", lambda folder, *_: trainer.train(folder))
    held_out = next(s for s in trained["verdict"]["slices"] if s["slice"] == "colours")
    examples = tuple(e["example"] for e in platform.examples() if e["split"] == "held-out")
    run, serving = platform.w.runs.get(trained["run"]), kind(platform)._generator().adapters
    folder = platform.w.runs.folder(run.id)
    lost = Lost(slice="colours", examples=examples, before=1.0, now=held_out["challenger"])
    (found,) = kind(platform).probe(run, folder, [lost], silent)
    assert isinstance(kind(platform), Probing)
    assert (found.slice, found.n) == ("colours", len(examples))
    assert 10 <= found.steps < 20
    assert found.after > found.lost
    assert not (folder / "probe").exists()
    assert kind(platform)._generator().adapters == serving
    strange = Lost(slice="colours", examples=("ex-of-nobody",), before=1.0, now=0.1)
    assert kind(platform).probe(run, folder, [strange], silent) == []


def test_an_exported_run_reproduces_its_figures_and_its_weights_from_the_folder_alone(
    platform: Platform, trained: dict[str, Any], tmp_path: Path
) -> None:
    done = platform.export_run(trained["run"], str(tmp_path / "run"))
    assert done["missing"] == {}
    assert done["rows"] == trained["metrics"]["data"]["rows"]
    held_out = next(s for s in trained["verdict"]["slices"] if s["part"] == "all")
    assert done["held_out"] == held_out["n"]
    for model in ("base", "challenger"):
        assert done["metrics"][model] == pytest.approx(held_out[model], abs=0.02)
    told = "".join(f.read_text() for f in (tmp_path / "run").rglob("*.json*"))
    assert str(platform.w.home) not in told
    with pytest.raises(NotFound, match="the base model of this run, 'model', is not here"):
        reproduce(tmp_path / "run")
    found = reproduce(tmp_path / "run", Path(kind(platform)._generator().source))
    assert found["reproduced"], found
    assert found["identical"]
    assert found["metric"] == METRIC
    with pytest.raises(Refused, match="not the base model of this run"):
        reproduce(tmp_path / "run", Path(save_reader(tmp_path / "other", ["another model"])))


def test_the_matrix_measures_each_adapter_of_the_line_once_on_the_questions_of_today(
    platform: Platform, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.promote(trained["adapter"], "a test")
    serving = kind(platform)._generator().adapters
    told = platform.forgetting("generator")
    assert told["metric"] == METRIC
    assert [row["model"] for row in told["rows"]][1:] == [trained["adapter"]]
    assert told["rows"][0]["model"].startswith("base@")
    assert told["rows"][1]["learnt"] == ["colours"]
    held_out = [e for e in platform.examples() if e["split"] == "held-out"]
    assert [row["measured"] for row in told["rows"]] == [len(held_out)] * 2
    (column,) = [n for n, s in enumerate(told["slices"]) if s["slice"] == "colours"]
    verdict = next(s for s in trained["verdict"]["slices"] if s["slice"] == "colours")
    assert told["R"][1][column] == pytest.approx(verdict["challenger"], abs=0.05)  # it was asked among fewer passages
    assert told["R"][1][column] > 2 * told["R"][0][column]
    (change,) = told["changes"]
    assert change["low"] > 0
    assert kind(platform)._generator().adapters == serving  # what it loaded, it let go
    scorer = platform.w.forgetting._scorers["generator"]
    monkeypatch.setattr(scorer, "scored", lambda *_given: pytest.fail("measured again"))
    assert platform.forgetting("generator")["R"] == told["R"]
    with pytest.raises(UserError, match="figures as served are those of a retriever"):
        platform.forgetting("generator", served=True)
    platform.rollback("generator")


def test_a_preview_tells_what_new_answers_would_do_to_old_ones(platform: Platform, trained: dict[str, Any]) -> None:
    platform.promote(trained["adapter"], "a test")
    platform.import_examples(
        "".join(
            json.dumps({
                "question": f"How is the {thing} cleaned?", "answer": "With water.", "document": f"{thing}.md",
                "quote": f"Clean the {thing} of the house.", "slice": "care", "split": "train",
            }) + "\n"
            for thing in COLOUR
        )
    )  # fmt: skip
    serving = kind(platform)._generator().adapters
    seen = platform.preview("generator", "mir", 0.3, measure=True)
    (told,) = seen["interference"]
    assert (told["slice"], seen["new"]) == ("colours", len(COLOUR))
    assert told["n"] >= seen["recalled"] > 0
    assert told["mean_rise"] != 0
    assert all(row["rise"] is not None for row in seen["rows"] if row["part"] == "recalled")
    assert platform.preview("generator", "mir", 0.3)["interference"] is None
    assert kind(platform)._generator().adapters == serving
    assert not list((platform.w.home / "runs").glob("virtual-*"))
    platform.retire_examples([e["example"] for e in platform.examples() if e["slice"] == "care"])
    platform.rollback("generator")


def test_a_promoted_adapter_writes_at_once_and_a_rollback_loads_nothing(
    platform: Platform, trained: dict[str, Any], tmp_path: Path
) -> None:
    first, second = trained["adapter"], sibling(platform, trained["adapter"])
    question, model = "What colour is the lamp?", kind(platform)._generator()

    def writer() -> str | None:
        return platform.ask(question)["adapters"]["generator"]  # type: ignore[no-any-return]

    assert writer() is None
    platform.promote(first, "a test")
    assert writer() == first
    platform.promote(second, "a test")
    assert writer() == second
    ready = model.adapters
    assert platform.rollback("generator")["champion"] == first
    assert writer() == first
    assert model.adapters == ready
    likely = [model.likelihood(Ask(question=question, adapter=a), (), "It is blue.") for a in sorted(ready)]
    assert len(likely) == 2  # the champion and the one before it, each under a name of its own
    assert likely[0] != likely[1]
    assert kind(platform).parent() == first


def sibling(platform: Platform, adapter: str) -> str:
    """Another adapter: the same weights, a little larger."""
    home, path = platform.w.home, platform.w.registry.path(adapter)
    other = home / path / ".." / "other"
    shutil.copytree(home / path, other)
    weights = load_file(other / "adapter_model.safetensors")
    save_file({name: w * 1.5 for name, w in weights.items()}, other / "adapter_model.safetensors")
    with platform.w.db.write() as session:
        run = platform.run(adapter.replace("generator-", "run-"))["run"]
        platform.w.registry.add(session, "generator-other", "generator", run, None, other.resolve(), False)
    return "generator-other"


def test_a_figure_is_not_compared_with_one_of_another_reading(platform: Platform) -> None:
    scorer = platform.w.forgetting._scorers["generator"]
    question, *_ = scorer.questions(None, platform.w.evaluator.when())
    assert scorer.kept_as(question, METRIC) == scorer.kept_as(question, METRIC)
    for other in (replace(question, read=question.read[::-1]), replace(question, targets=())):
        assert scorer.kept_as(other, METRIC) != scorer.kept_as(question, METRIC)


def test_a_merge_is_judged_as_a_retrain_is_and_loads_where_its_parents_do(
    platform: Platform, trained: dict[str, Any]
) -> None:
    first = trained["adapter"]
    with pytest.raises(UserError, match="weights are"):
        platform.merge([first, "generator-other"], weights=[1.0])
    run = platform.merge([first, "generator-other"], weights=[0.5, 0.5])
    assert run["state"] in ("accepted", "rejected")
    assert run["verdict"]["slices"][0]["metric"] == METRIC
    assert run["metrics"]["method"] == "merge"
    manifest = json.loads((Path(run["manifest"]).parent / "adapter" / "manifest.json").read_text())
    assert (manifest["kind"], manifest["parents"]) == ("generator", [first, "generator-other"])
    model, ask = kind(platform)._generator(), Ask(question="What colour is the lamp?", adapter=None)
    likely = []
    for name in (first, "generator-other", run["adapter"]):
        with kind(platform)._worn(name, platform.w.registry.path(name)) as alias:
            likely.append(model.likelihood(replace(ask, adapter=alias), (), "It is blue."))
    assert min(likely[:2]) < likely[2] < max(likely[:2])  # half way between one and the same a little larger
    with pytest.raises(Refused, match="trained nothing"):
        platform.export_run(run["run"], str(platform.w.home / "exported"))


def test_an_adapter_of_another_model_is_refused(platform: Platform, trained: dict[str, Any]) -> None:
    folder = platform.w.home / platform.w.registry.path(trained["adapter"])
    other = folder / ".." / "strange"
    shutil.copytree(folder, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["base"]["tokenizer_sha256"] = "0" * 64
    (other / "manifest.json").write_text(json.dumps(manifest))
    with platform.w.db.write() as session:
        run = trained["run"]
        platform.w.registry.add(session, "generator-strange", "generator", run, None, other.resolve(), True)
    with pytest.raises(Refused, match=r"trained on another model .* \(other tokenizer\)"):
        platform.promote("generator-strange", "whatever its verdict is about")


# --- votes and deletes ---------------------------------------------------------------------------------------------


def test_a_thumb_down_is_a_row_until_its_document_is_deleted(platform: Platform, tmp_path: Path) -> None:
    w = platform.w
    contexts = Contexts(w.db, w.library, w.search, w.live, w.epochs)
    votes = Votes(w.db, w.library, contexts)
    turn = platform.ask("What colour is the bell of the house?", generator="extractive")
    assert turn["citations"], turn
    platform.feedback(turn["turn"], "down")
    (row,) = votes.down(None, w.search.when(), 3)
    assert (row.example, row.label, row.part) == (turn["turn"], False, "vote")
    assert row.gold == {c["chunk"] for c in turn["citations"]}
    assert all(said.cites for said in row.chosen)
    votes.note("run-votes", [row])

    run = w.home / "runs" / "run-passages"
    rows, _ = drawn(platform, run)
    shutil.copytree(run, run / "probe")  # as it stands while a slice is practised again
    assert any("bell" in p.text for row in rows for p in row.passages)
    document = turn["citations"][0]["document"]
    assert platform.delete(document)["remaining"] == 0
    assert votes.down(None, w.search.when(), 3) == []
    assert "bell" not in (run / "passages.jsonl").read_text() + (run / "probe" / "passages.jsonl").read_text()
    assert read_train_set(run).broken
    after, _ = drawn(platform, tmp_path / "after")
    assert not any("bell" in p.text for row in after for p in row.passages)


@pytest.mark.parametrize("what", ["conversation", "everything"])
def test_a_turn_that_is_deleted_while_a_run_is_written_is_no_row_of_it(
    platform: Platform, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [
        platform.ask(f"Tell me the colour of the {thing}.", conversation="new", user="ada", generator="extractive")
        for thing in ("door", "wall")
    ]
    for turn in turns:
        platform.feedback(turn["turn"], "down")
    fresh = ROWS[0] | {"question": f"And how does the door look to {what}?", "split": "train"}
    platform.import_examples(json.dumps(fresh))
    written = materialise.write_rows

    def slowly(folder: Path, rows: Sequence[TrainRow]) -> None:
        assert {turn["turn"] for turn in turns} <= {row.example for row in rows}
        if what == "everything":
            platform.erase_me(user="ada")
        else:
            platform.delete_conversation(turns[0]["conversation"], user="ada")
        written(folder, rows)

    def stop(*_: object) -> None:
        raise TakenAway

    monkeypatch.setattr(materialise, "write_rows", slowly)
    monkeypatch.setattr(kind(platform), "train", stop)
    options = Options(policy="mixed", rho=0.2, method="kto", recipe={"min_votes": 1})
    run = platform.w.retrainer.request("generator", options, None)
    with pytest.raises(TakenAway):
        platform.w.retrainer.run(run, silent)
    voted = {row["example"] for row in read_lines(platform.w.home / "runs" / run / "train.jsonl")}
    left = set() if what == "everything" else {turns[1]["turn"]}
    assert {turn["turn"] for turn in turns} & voted == left
    assert {turn["turn"] for turn in turns} & of_run(platform, run) == left


def test_a_thumb_down_on_a_document_that_is_left_out_counts_for_nothing(platform: Platform) -> None:
    turn = platform.ask("What colour is the lamp of the house?", generator="extractive")
    platform.feedback(turn["turn"], "down")
    cited = tuple({c["document"] for c in turn["citations"]})
    assert cited
    liked = [e["example"] for e in platform.examples("approved", split="train") if e["answer"] and not e["rejected"]]
    options = Options(policy="mixed", rho=0.2, method="kto", recipe={"min_votes": 1})
    kind = platform.w.kinds["generator"]
    kind.suffices(options, None, liked)
    with pytest.raises(UserError, match="0 votes of the rarer kind"):
        kind.suffices(replace(options, without=cited), None, liked)


def test_a_thumb_down_on_a_question_of_the_exam_is_no_row(platform: Platform) -> None:
    w = platform.w
    votes = Votes(w.db, w.library, Contexts(w.db, w.library, w.search, w.live, w.epochs))
    exam = [e["question"] for e in platform.examples() if e["split"] == "held-out"]
    shown = [platform.ask(question, generator="extractive") for question in exam[:3]]
    assert any(turn["citations"] for turn in shown)
    for turn in shown:
        platform.feedback(turn["turn"], "down")
    assert not {row.example for row in votes.down(None, w.search.when(), 3)} & {turn["turn"] for turn in shown}


def test_no_row_shows_what_was_superseded(platform: Platform, tmp_path: Path) -> None:
    changed = page("Lamp", {"Colour": "The lamp of the house is orange.", "Care": "Clean the lamp of the house."})
    assert platform.w.ingest.add([incoming("lamp.md", changed)])["documents"][0]["status"] == "published"
    rows, _ = drawn(platform, tmp_path / "after")
    shown = {p.text for row in rows for p in row.passages}
    assert not any(f"The lamp of the house is {COLOUR['lamp']}" in text for text in shown)
    assert not any("lamp" in row.question for row in rows)  # its examples went with the words that grounded them
