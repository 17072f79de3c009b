"""Retrains on real questions: what is drawn, what a promoted adapter does, what is refused, what a delete takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune.tables import Figure
from ingest import sources
from ingest.incoming import Incoming
from kernel.errors import Refused, UserError
from kernel.jobs import Cancelled, TakenAway
from kernel.settings import load
from kernel.types import Progress, silent
from rehearsal.mix import Mix
from retrieval.search import Scope
from tests.house import incoming, numbered
from ui.platform import Platform
from ui.wiring import Wired, demo_folder, guide_folder

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
ROWS = [json.loads(line) for line in (demo_folder() / "examples.jsonl").read_text().splitlines()]


def lines(*slices: str) -> str:
    return "".join(json.dumps(row) + "\n" for row in ROWS if row["slice"] in slices)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    wired = Wired(load(home=tmp_path_factory.mktemp("retrain") / "home"))
    platform = Platform(wired)
    with numbered():
        platform.ingest(sources.read([str(guide_folder())], workspace="default"))
        platform.import_examples(lines("answers", "documents"))
        yield platform
    wired.close()


@pytest.fixture(scope="module")
def accepted(platform: Platform) -> dict[str, Any]:
    """A run that died after drawing its mix and was taken up again, promoted."""

    class Crash(BaseException):
        """A process that ends here."""

    def die(state: str) -> None:
        if state == "requested":
            raise Crash

    run = platform.request_run()
    platform.w.retrainer.step = die
    with pytest.raises(Crash):
        platform.w.retrainer.run(run, lambda _s, _d, _t: None)
    platform.w.retrainer.step = lambda _state: None
    assert platform.run(run)["state"] == "drawn"
    return platform.w.retrainer.run(run, lambda _s, _d, _t: None)


def test_the_same_seed_and_epoch_give_the_same_mix(platform: Platform) -> None:
    assert platform.preview(seed=3) == platform.preview(seed=3)


def test_a_mix_holds_no_held_out_example(platform: Platform) -> None:
    split = {e["example"]: e["split"] for e in platform.examples()}
    mix = platform.preview()
    assert {split[row["example"]] for row in mix["rows"]} == {"train"}
    assert mix["excluded"]["held out"] == sum(s == "held-out" for s in split.values())
    assert all(row["reason"] for row in mix["rows"])


def test_a_promoted_adapter_beats_the_base_on_held_out_questions(platform: Platform, accepted: dict[str, Any]) -> None:
    verdict = accepted["verdict"]
    assert verdict["accepted"], verdict
    whole = next(s for s in verdict["slices"] if s["slice"] == "(all)")
    assert whole["n"] > 40
    assert whole["challenger"] > whole["base"]
    assert whole["low"] > 0

    held = platform.w.evaluator.questions(None)
    texts = [q.question for q in held]
    before = [[h["chunk"] for h in platform.search(t, 5)["hits"]] for t in texts]
    assert platform.promote(accepted["adapter"])["champion"] == accepted["adapter"]
    after = [platform.search(t, 5) for t in texts]
    assert {a["adapter"] for a in after} == {accepted["adapter"]}
    assert [[h["chunk"] for h in a["hits"]] for a in after] != before
    # Measured anew, on the live encoder, not read from the report.
    live, _ = platform.w.live.encode(texts)
    assert not np.allclose(live, platform.w.embedder.embed_queries(texts), atol=1e-3)
    scores = platform.w.evaluator.score(held, accepted["adapter"], platform.w.evaluator.when()).dense
    base = platform.w.evaluator.score(held, None, platform.w.evaluator.when()).dense
    assert np.mean(list(scores.values())) > np.mean(list(base.values()))


def test_what_the_champion_has_seen_is_old_and_recalled_with_a_reason(
    platform: Platform, accepted: dict[str, Any]
) -> None:
    platform.import_examples(lines("rehearsal", "operations"))
    mix = platform.preview()
    seen = {row["example"] for row in platform.mix(accepted["run"])["rows"]}
    recalled = [row for row in mix["rows"] if row["part"] == "recalled"]
    assert recalled
    assert mix["rho"] == platform.w.settings.rho
    assert {row["example"] for row in recalled} <= seen
    assert not {row["example"] for row in mix["rows"] if row["part"] == "new"} & seen
    assert len(recalled) == round(mix["rho"] / (1 - mix["rho"]) * mix["new"])


def test_shuffled_labels_are_refused_and_promote_needs_a_named_override(
    platform: Platform, accepted: dict[str, Any]
) -> None:
    run = platform.retrain(control="shuffled")
    assert run["state"] == "rejected"
    with pytest.raises(Refused, match="the gate did not accept"):
        platform.promote(run["adapter"])
    assert platform.status()["champion"] == accepted["adapter"]
    platform.promote(run["adapter"], "to see that it can be done")
    entry = platform.audit()["entries"][0]
    assert (entry["action"], entry["detail"]["override"]) == ("promote", "to see that it can be done")
    assert platform.rollback()["champion"] == accepted["adapter"]


def test_an_edit_takes_its_examples_out_of_the_next_mix(platform: Platform) -> None:
    page = guide_folder() / "refusals.md"
    on_it = [e["example"] for e in platform.examples("approved") if e["documents"] == ["refusals.md"]]
    assert len(on_it) > 5
    file = Incoming(
        path=str(page),
        name="refusals.md",
        source=str(page.resolve()),
        workspace="default",
        content=b"# Refusals\n\nThis page says something else now.\n",
    )
    assert platform.ingest([file])["documents"][0]["status"] == "published"
    assert not set(on_it) & {row["example"] for row in platform.preview()["rows"]}
    after = {e["example"]: (e["status"], e["reason"]) for e in platform.examples()}
    assert {after[e] for e in on_it} == {("retired", "source superseded")}


def test_a_delete_names_the_adapters_and_empties_the_runs(platform: Platform, accepted: dict[str, Any]) -> None:
    rows = Path(accepted["manifest"]).parent / "train.jsonl"
    on_it = {e["example"] for e in platform.examples() if e["documents"] == ["citations.md"]}
    assert on_it & {json.loads(line)["example"] for line in rows.read_text().splitlines()}
    receipt = platform.delete("citations.md")
    assert accepted["adapter"] in receipt["adapters_trained_on_it"]
    assert receipt["remaining"] == 0
    assert receipt["examples"] == len(on_it)
    assert not on_it & {json.loads(line)["example"] for line in rows.read_text().splitlines()}
    assert not on_it & {row["example"] for row in platform.preview()["rows"]}


def test_the_extractive_generator_has_nothing_to_train(platform: Platform) -> None:
    with pytest.raises(UserError, match="'extractive' has no weights here"):
        platform.preview("generator")


def test_a_run_whose_job_was_taken_away_waits_where_it_was_and_a_cancelled_one_has_ended(platform: Platform) -> None:
    def stop(error: type[Cancelled]) -> Progress:
        def progress(stage: str, _done: int, _total: int) -> None:
            if stage == "training":
                raise error

        return progress

    run = platform.request_run()
    with pytest.raises(TakenAway):
        platform.w.retrainer.run(run, stop(TakenAway))
    assert (platform.run(run)["state"], platform.run(run)["error"]) == ("drawn", None)
    with pytest.raises(Cancelled):
        platform.w.retrainer.run(run, stop(Cancelled))
    assert (platform.run(run)["state"], platform.run(run)["error"]["code"]) == ("failed", "cancelled")


@pytest.fixture
def ranked(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs of all rankings of a test, one after another."""
    epochs, rank = list[int](), platform.w.search.rank

    def recording(texts: Any, vectors: Any, k: int, scope: Scope, **how: Any) -> Any:
        assert scope.when is not None
        epochs.append(scope.when.epoch)
        return rank(texts, vectors, k, scope, **how)

    monkeypatch.setattr(platform.w.search, "rank", recording)
    return epochs


def publish(platform: Platform) -> None:
    """Another version of a page that nobody asks about."""
    content = f"# Notice\n\nThis is number {platform.w.epochs.committed()}.\n".encode()
    page = Incoming(path="notice.md", name="notice.md", source="/notice.md", workspace="default", content=content)
    assert platform.ingest([page])["documents"][0]["status"] == "published"


def test_all_models_of_a_verdict_are_ranked_over_the_documents_of_one_moment(
    platform: Platform, accepted: dict[str, Any], ranked: list[int]
) -> None:
    row, folder = platform.w.runs.get(accepted["run"]), platform.w.runs.folder(accepted["run"])
    mix = Mix.from_json(json.loads((folder / "manifest.json").read_text()))
    before, so_far = platform.w.epochs.committed(), list[int]()

    def progress(stage: str, done: int, _total: int) -> None:
        if stage != "evaluating":
            raise Cancelled  # all are ranked; what they answer takes its time
        so_far.append(len(ranked))
        if done:
            publish(platform)

    with pytest.raises(Cancelled):
        platform.w.kinds["retriever"].evaluate(row, mix, folder, progress)
    assert platform.w.epochs.committed() == before + 2
    assert set(ranked) == {before}
    assert so_far[0] < so_far[1] < len(ranked) == 2 * so_far[1]  # the first had no champion before it, but the base


def test_what_is_deleted_while_models_are_asked_is_held_against_none_of_them(
    platform: Platform, accepted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    row, folder = platform.w.runs.get(accepted["run"]), platform.w.runs.folder(accepted["run"])
    mix = Mix.from_json(json.loads((folder / "manifest.json").read_text()))
    platform.ingest([incoming("zebra.md", "The zebra in the hall is made of painted wood.")])
    asked = {"question": "What is the zebra made of?", "relevant": [{"document": "zebra.md"}], "split": "held-out"}
    platform.import_examples(json.dumps(asked))
    (example,) = [e["example"] for e in platform.examples() if e["question"] == asked["question"]]
    kind: Any = platform.w.kinds["retriever"]
    monkeypatch.setattr(kind._legs, "of", lambda *_: {})  # what they answer takes its time

    def evaluated(progress: Progress) -> set[str]:
        return {e.example for e in kind.evaluate(row, mix, folder, progress).held_out}

    before = evaluated(silent)
    assert example in before

    def progress(_stage: str, done: int, _total: int) -> None:
        if done == 2:
            platform.delete("zebra.md")

    assert evaluated(progress) == before - {example}


def test_figures_of_what_was_forgotten_are_of_the_epoch_that_they_are_kept_under(
    platform: Platform, accepted: dict[str, Any], ranked: list[int]
) -> None:
    if platform.status()["champion"] != accepted["adapter"]:
        platform.promote(accepted["adapter"])
    before = platform.w.epochs.committed()

    def progress(_stage: str, done: int, total: int) -> None:
        if done < total:
            publish(platform)

    told = platform.w.forgetting.show("retriever", progress=progress)
    assert platform.w.epochs.committed() > before
    assert set(ranked) == {before} == {told["epoch"]}
    with platform.w.db.read() as session:
        measured = {figure.model: figure.epoch for figure in session.query(Figure)}
    assert len(told["rows"]) > 1
    assert {measured[row["model"]] for row in told["rows"]} == {before}
