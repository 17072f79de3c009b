"""What people prefer, from their votes to an adapter that writes: DPO on corrections, then KTO on thumbs, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from finetune.files import read_lines
from finetune.generator import trainer
from finetune.generator.kind import GeneratorKind
from kernel.errors import UserError
from kernel.types import silent
from rehearsal.tables import ExampleMemory, MixRow
from tests.doors import doors, memory_folder, opened
from tests.facts import COLOURS, RECIPE, THINGS
from tests.house import incoming, numbered, page
from tests.tiny import save_reader
from ui.platform import Platform

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
COLOUR = dict(zip(THINGS[:6], COLOURS, strict=False))
PAGES = {
    f"{thing}.md": page(
        thing.title(), {"Colour": f"The {thing} of the house is {colour}.", "Care": f"Clean the {thing} of the house."}
    )
    for thing, colour in COLOUR.items()
}
QUICK = {**RECIPE, "distractors": 1, "epochs": 2, "min_pairs": 4, "min_votes": 2}


def colour_row(asked: str, thing: str, **more: Any) -> dict[str, Any]:
    quote = f"The {thing} of the house is {COLOUR[thing]}."
    told = {"question": asked.format(thing), "document": f"{thing}.md", "quote": quote, "slice": "colours"}
    return told | {"answer": f"It is {COLOUR[thing]}."} | more


PAIRS = [
    colour_row("Which colour has the {}?", thing, preferred=f"It is {COLOUR[thing]}.", rejected="Clean the house.",
               split="train" if number < 4 else "held-out")
    for number, thing in enumerate(COLOUR)
]  # fmt: skip
PLAIN = [
    colour_row("How is the {} painted?", thing, split="train" if number < 4 else "held-out")
    for number, thing in enumerate(COLOUR)
]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    words = [*PAGES.values(), *(f"{row['question']} {row['answer']}" for row in (*PAIRS, *PLAIN))]
    with (
        doors(),
        numbered(),
        memory_folder(tmp_path_factory.mktemp("preferences")) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        model = save_reader(folder / "model", words, context=900)
        # The child's own code in this process: that it has one of its own is shown where a run is.
        patch.setattr("finetune.generator.kind.train", lambda run, *_: trainer.train(run))
        with opened(folder / "home", generator=f"transformers:{model}") as platform:
            kind = platform.w.kinds["generator"]
            assert isinstance(kind, GeneratorKind)
            kind._generator()._new_tokens = 4  # it does not end by itself, and nobody waits for it
            platform.w.ingest.add([incoming(name, text) for name, text in PAGES.items()])
            platform.import_examples("".join(json.dumps(row) + "\n" for row in (*PAIRS, *PLAIN)))
            yield platform


@pytest.fixture(scope="module")
def corrected(platform: Platform) -> set[str]:
    """Examples of the training side that a person made by correcting an answer."""
    made = []
    for thing in list(COLOUR)[:4]:
        turn = platform.ask(f"What colour is the {thing} of the house?", generator="extractive")
        assert turn["citations"], turn
        told = platform.feedback(
            turn["turn"], "down", correction=f"The {thing} of the house is {COLOUR[thing]}, as we say."
        )
        assert told["status"] == "approved", told
        made.append(told["example"])
    return {e["example"] for e in platform.examples() if e["example"] in made and e["split"] == "train"}


@pytest.fixture(scope="module")
def dpo(platform: Platform, corrected: set[str]) -> dict[str, Any]:
    """What came of the pairs; it serves."""
    done = platform.retrain(silent, kind="generator", method="dpo", recipe=QUICK)
    platform.promote(done["adapter"], "a test")
    return done


@pytest.fixture(scope="module")
def kto(platform: Platform, dpo: dict[str, Any]) -> dict[str, Any]:
    for number, thing in enumerate(list(COLOUR)[:4]):
        turn = platform.ask(f"Please tell me the colour of the {thing} of the house.", generator="extractive")
        platform.feedback(turn["turn"], "up" if number % 2 else "down")
    return platform.retrain(silent, kind="generator", method="kto", recipe=QUICK)


def of_run(platform: Platform, run: str) -> dict[str, str]:
    with platform.w.db.read() as session:
        return {row.example: row.part for row in session.query(MixRow).filter_by(run=run)}


def paired(platform: Platform, split: str = "train") -> set[str]:
    return {e["example"] for e in platform.examples("approved") if e["rejected"] and e["split"] == split}


def test_too_little_is_counted_in_what_the_run_would_draw(platform: Platform, corrected: set[str]) -> None:
    pairs = len(paired(platform))
    with pytest.raises(UserError, match=f"the mix holds {pairs} pairs of .*, and {pairs + 1} are needed"):
        platform.request_run("generator", method="dpo", recipe={**QUICK, "min_pairs": pairs + 1})
    with pytest.raises(UserError, match="the mix holds 2 pairs"):
        platform.request_run("generator", method="dpo", recipe=QUICK, without=[f"{t}.md" for t in list(COLOUR)[:3]])
    with pytest.raises(UserError, match="votes of the rarer kind"):
        platform.request_run("generator", method="kto", recipe={**QUICK, "min_votes": pairs + 1})


def test_pairs_are_learnt_and_what_is_none_stays_new(
    platform: Platform, corrected: set[str], dpo: dict[str, Any]
) -> None:
    assert dpo["state"] in ("accepted", "rejected"), dpo
    pairs, mix = paired(platform), platform.mix(dpo["run"])
    plain = {e["example"] for e in platform.examples("approved") if e["split"] == "train"} - pairs
    assert corrected <= pairs
    assert len(plain) == 4
    assert {row["example"] for row in mix["rows"]} == pairs == set(of_run(platform, dpo["run"]))
    assert mix["excluded"]["without a pair of a preferred and a rejected answer"] == len(plain)
    assert dpo["metrics"]["examples"] == len(pairs)
    data = dpo["metrics"]["data"]
    assert data["rows"] == len(pairs) + len(corrected)  # a correction is shown twice
    told = read_lines(platform.w.runs.folder(dpo["run"]) / "metrics.jsonl")
    assert told[-1]["rewards/margins"] > told[0]["rewards/margins"] == pytest.approx(0.0, abs=1e-4)
    card = platform.card(dpo["adapter"])
    assert card["data"]["rows"] == len(pairs)

    new = {row["example"] for row in platform.preview("generator", rho=0.0)["rows"]}
    assert new == plain, "SFT still teaches as new what DPO could not use"
    observed = platform.w.schedules._observed
    assert {m: observed.new_examples("generator", None, m) for m in ("sft", "dpo")} == {"sft": len(plain), "dpo": 0}
    with platform.w.db.read() as session:
        assert all(session.get(ExampleMemory, (e, "generator")) is None for e in plain)
    assert platform.ask("Which colour has the door?")["adapters"]["generator"] == dpo["adapter"]


def test_votes_are_learnt_from_the_champion_and_a_rollback_gives_it_back(
    platform: Platform, dpo: dict[str, Any], kto: dict[str, Any]
) -> None:
    folder = platform.w.runs.folder(kto["run"])
    manifest = json.loads((folder / "adapter" / "manifest.json").read_text())
    assert (manifest["method"], manifest["parent"], manifest["reference"]) == ("kto", dpo["adapter"], dpo["adapter"])
    assert manifest["data"]["votes"] == 2
    parts = of_run(platform, kto["run"])
    votes = {turn for turn, part in parts.items() if part == "vote"}
    assert len(votes) == 2
    assert set(parts) == {line["example"] for line in read_lines(folder / "losses.jsonl")}
    assert not (folder / "passages.jsonl").exists()

    def writer() -> str | None:
        return platform.ask("Which colour has the door?")["adapters"]["generator"]  # type: ignore[no-any-return]

    platform.promote(kto["adapter"], "a test")
    assert writer() == kto["adapter"]
    assert platform.rollback("generator")["champion"] == dpo["adapter"]
    assert writer() == dpo["adapter"]
    cited = {c["document"] for turn in votes for c in platform.w.turns.get(turn).shown["citations"]}
    for document in cited:  # a delete finds the adapters that saw a vote on its words
        assert kto["adapter"] in platform.delete(document)["adapters_trained_on_it"]
    assert not votes & {row["example"] for row in read_lines(folder / "train.jsonl")}
