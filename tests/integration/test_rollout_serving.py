"""Trials, routes and swaps on the platform as its doors wire it: real adapters on the packaged model, real answers."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import NotFound, UserError
from retrieval.lending import Lent
from retrieval.shadow import Shadows
from retrieval.tables import Difference, Turn
from tests.doors import LIBRARY, doors, memory_folder, opened
from tests.house import incoming, minilm, random_adapter
from tests.tiny import save_chain, save_turn
from ui.platform import Platform

pytestmark = pytest.mark.integration
QUESTIONS = (
    "Within how many days can a parcel be sent back?",
    "What does a humming pump need?",
    "When does the camp gate open?",
    "Who pays the postage from abroad?",
)
NAMES = ("retriever-a", "retriever-b")


@pytest.fixture(scope="module", autouse=True)
def _doors() -> Iterator[None]:
    with doors():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with memory_folder(tmp_path_factory.mktemp("serving")) as place:
        yield place


@pytest.fixture(scope="module")
def platform(folder: Path) -> Iterator[Platform]:
    """The library, and two adapters with random weights that were accepted."""
    with opened(folder / "home") as platform:
        platform.ingest([incoming(name, text) for name, text in LIBRARY.items()])
        for seed, name in enumerate(NAMES):
            enter(platform, name, random_adapter(Path(minilm().path), adapter_folder(platform, name), seed))
        yield platform


@pytest.fixture(autouse=True)
def _at_rest(platform: Platform, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is tried, nothing is routed, and the base serves, before and after a test."""
    names = (f"{request.node.name} {n}" for n in count())  # of trials, or chance would deal the arms
    monkeypatch.setattr("finetune.rollout.fresh", lambda prefix: f"{prefix} of {next(names)}")
    yield
    for trial in platform.rollouts():
        if trial["state"] == "running":
            platform.stop_rollout(trial["kind"])
    for route in platform.routes():
        platform.remove_route(route["workspace"], route["slice"], route["kind"])
    while platform.w.live.champion() is not None:
        platform.rollback()


def adapter_folder(platform: Platform, name: str) -> Path:
    return platform.w.home / "runs" / name / "adapter"


def enter(platform: Platform, name: str, folder: Path, kind: str = "retriever") -> None:
    with platform.w.db.write() as session:
        platform.w.registry.add(session, name, kind, f"run-{name}", None, folder, True)


def hits(found: dict[str, Any]) -> list[str]:
    return [hit["chunk"] for hit in found["hits"]]


def test_search_answer_record_and_reply_name_the_same_adapter(platform: Platform) -> None:
    platform.start_rollout(NAMES[0], share=0.5, override="again")
    served = set()
    for n in range(12):
        user = f"user {n}"
        found, shown = platform.search(QUESTIONS[0], user=user), platform.ask(QUESTIONS[0], user=user)
        assert found["adapter"] == shown["adapters"]["retriever"]
        assert (shown["chosen"]["retriever"] == "canary") == (found["adapter"] == NAMES[0])
        with platform.w.db.read() as session:
            kept = session.get_one(Turn, shown["turn"]).shown
        assert kept["adapters"] == shown["adapters"]
        assert hits(platform.search(QUESTIONS[0], adapter=found["adapter"] or "base")) == hits(found)
        served.add(found["adapter"])
    assert served == {None, NAMES[0]}


def test_what_is_named_answers_whatever_stands(platform: Platform) -> None:
    platform.promote(NAMES[0])
    platform.start_rollout(NAMES[1], share=0.9, override="again")
    for name, told in ((NAMES[0], NAMES[0]), (NAMES[1], NAMES[1]), ("base", None), (f"base,{NAMES[0]}", NAMES[0])):
        shown = platform.ask(QUESTIONS[1], adapter=name)
        assert (shown["adapters"]["retriever"], shown["chosen"]["retriever"]) == (told, "named")
    with pytest.raises(UserError, match="two adapters of the retriever"):
        platform.ask(QUESTIONS[1], adapter=",".join(NAMES))
    with pytest.raises(NotFound):
        platform.search(QUESTIONS[1], adapter="nobody")


def test_in_the_shadow_the_champion_is_shown_and_the_differences_are_written_down(platform: Platform) -> None:
    platform.start_rollout(NAMES[0], shadow=True, override="again")
    shown = [platform.ask(question) for question in QUESTIONS]
    assert {s["adapters"]["retriever"] for s in shown} == {None}
    platform.w.shadows.settle()
    with platform.w.db.read() as session:
        rows = {row.turn: row for row in session.query(Difference)}
    assert set(rows) >= {s["turn"] for s in shown}
    for s in shown:
        row = rows[s["turn"]]
        assert row.error is None
        assert row.overlap is not None
        assert 0 <= row.overlap <= 1
        challenger = platform.ask(s["question"], adapter=NAMES[0])
        assert row.shadow_abstained == challenger["abstained"]
    told = platform.rollouts()[0]["shadow"]
    assert (told["compared"], told["failed"], told["dropped"]) == (len(QUESTIONS), {}, 0)
    for again in (QUESTIONS[0].upper(), f" {QUESTIONS[0]}"):  # is answered likewise, and says nothing new
        platform.ask(again)
    platform.w.shadows.settle()
    assert platform.rollouts()[0]["shadow"]["compared"] == len(QUESTIONS)


def test_a_shadow_that_fails_is_seen_by_nobody_and_told(platform: Platform) -> None:
    platform.start_rollout(NAMES[0], shadow=True, override="again")
    plain = platform.ask(QUESTIONS[0], adapter="base")
    away = adapter_folder(platform, NAMES[0])
    shutil.move(away, aside := away.with_name("aside"))
    try:
        platform.w.live.unload_all_but(set())
        shown = platform.ask(QUESTIONS[0])
        platform.w.shadows.settle()
    finally:
        shutil.move(aside, away)
    assert shown["answer"] == plain["answer"]
    told = platform.rollouts()[0]
    assert told["shadow"]["failed"] == {"not_found": 1}
    assert "a person has to look" in told["reason"]


def test_a_shadow_that_is_behind_leaves_turns_out_and_says_how_many(platform: Platform) -> None:
    w = platform.w
    platform.start_rollout(NAMES[0], shadow=True, override="again")
    short, there = Shadows(w.db, w.answerer, w.search, w.lending, waiting=1), w.answerer.after
    began, goes_on, real = threading.Event(), threading.Event(), w.answerer.again

    def slow(asked: Any, lent: Lent) -> dict[str, Any]:
        began.set()
        goes_on.wait(30)
        return real(asked, lent)

    w.answerer.after, w.answerer.again = short.offer, slow  # type: ignore[method-assign]
    try:
        platform.ask(QUESTIONS[0])
        assert began.wait(30)
        for question in QUESTIONS:  # one waits in the line; the others find it full
            platform.ask(question)
        goes_on.set()
        short.settle()
        w.answerer.again = real  # type: ignore[method-assign]
        platform.ask(QUESTIONS[1])
        short.settle()
    finally:
        w.answerer.after, w.answerer.again = there, real  # type: ignore[method-assign]
        short.close()
    assert platform.rollouts()[0]["shadow"]["dropped"] == len(QUESTIONS) - 1


def test_a_route_serves_its_slice_and_without_its_files_the_base_does(platform: Platform) -> None:
    platform.set_route(NAMES[0], "default", "pumps", "measured by hand")
    found = platform.search(QUESTIONS[1], slice="pumps")
    assert (found["adapter"], found["chosen"]) == (NAMES[0], "route")
    answered = platform.ask(QUESTIONS[1], slice="pumps")
    assert (answered["adapters"]["retriever"], answered["slice"]) == (NAMES[0], "pumps")
    assert platform.ask(QUESTIONS[1])["slice"] is None
    assert platform.search(QUESTIONS[1])["adapter"] is None
    away = adapter_folder(platform, NAMES[0])
    shutil.move(away, aside := away.with_name("aside"))
    try:
        platform.w.live.unload_all_but(set())
        broken = platform.ask(QUESTIONS[1], slice="pumps")
        assert broken["adapters"]["retriever"] is None
        assert f"adapter {NAMES[0]!r} cannot be loaded" in platform.status()["trouble"]
        assert not next(c for c in platform.doctor()["checks"] if c["name"] == "adapter")["ok"]
    finally:
        shutil.move(aside, away)
    assert next(c for c in platform.doctor()["checks"] if c["name"] == "adapter")["ok"], "whoever asks has it tried"
    assert platform.search(QUESTIONS[1], slice="pumps")["adapter"] == NAMES[0]
    assert platform.status()["trouble"] is None


def test_the_doors_of_http_try_and_route(platform: Platform) -> None:
    from fastapi.testclient import TestClient

    from ui.api.app import make_app

    with TestClient(make_app(platform), base_url="http://127.0.0.1") as http:
        asked = {"adapter": NAMES[0], "share": 0.5, "test": {"margin": 0.2}, "override": "again"}
        started = http.post("/v1/rollouts", json=asked).json()
        assert (started["state"], started["share"], started["plan"]["margin"]) == ("running", 0.5, 0.2)
        assert http.post("/v1/rollouts", json=asked).json()["error"]["code"] == "rollout_running"
        assert http.post("/v1/rollouts", json=asked | {"test": {"luck": 1}}).status_code == 400
        served = {
            http.post("/v1/search", json={"query": QUESTIONS[0]}, headers={"X-Reprise-User": f"u{n}"}).json()["adapter"]
            for n in range(20)
        }
        assert served == {None, NAMES[0]}
        assert http.get("/v1/rollouts").json()[0]["rollout"] == started["rollout"]
        assert http.post("/v1/rollouts/stop", json={}).json()["state"] == "stopped"
        assert http.post("/v1/rollouts/advance", json={}).status_code == 404
        route = {"adapter": NAMES[0], "workspace": "default", "slice": "pumps", "override": "by hand"}
        assert http.post("/v1/routes", json=route).json() == http.get("/v1/routes").json()
        asked = {"question": QUESTIONS[1], "slice": "pumps"}
        assert http.post("/v1/ask", json=asked).json()["chosen"]["retriever"] == "route"
        gone = http.delete("/v1/routes", params={"workspace": "default", "slice": "pumps"})
        assert gone.json() == []


def test_no_answer_fails_or_is_mixed_while_adapters_come_and_go(platform: Platform) -> None:
    """A small `benchmarks/swap.py`."""
    seen: list[tuple[str, dict[str, Any]]] = []
    failures: list[BaseException] = []
    moved = threading.Event()

    def ask(offset: int) -> None:
        for n in range(offset, 10_000):
            if moved.is_set() and n - offset > 5:
                return
            question = QUESTIONS[n % len(QUESTIONS)]
            try:
                seen.append((question, platform.search(question)))
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        for name in (*NAMES, NAMES[0]):
            platform.promote(name)
            platform.w.live.unload_all_but(set())  # the worst that a move of another process could do
            platform.rollback()
    finally:
        moved.set()
        for thread in threads:
            thread.join()
    assert not failures
    again = {
        (name, question): hits(platform.search(question, adapter=name or "base"))
        for question in QUESTIONS
        for name in {found["adapter"] for _, found in seen}
    }
    assert all(hits(found) == again[found["adapter"], question] for question, found in seen)


def test_a_generator_swaps_its_adapters_under_load_and_a_freed_one_comes_back(folder: Path) -> None:
    """Each adapter makes the chain write another word, so an answer tells who wrote it."""
    chain = save_chain(folder / "chain", "So\tit[1].$")
    with opened(folder / "writing", generator=f"transformers:{chain}", unsupported="flag", refusal_threshold=0.0) as p:
        p.ingest([incoming(name, text) for name, text in LIBRARY.items()])
        for name, links in (("generator-a", "ia["), ("generator-b", "ie["), ("generator-c", "iu[")):
            enter(p, name, Path(save_turn(chain, adapter_folder(p, name), links)), "generator")

        def wrote(shown: dict[str, Any]) -> list[str]:
            return [sentence["text"] for sentence in shown["sentences"]]

        seen: list[dict[str, Any]] = []
        failures: list[BaseException] = []
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                try:
                    seen.append(p.ask(QUESTIONS[0]))
                except BaseException as error:
                    failures.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            for name in ("generator-a", "generator-b", "generator-c", "generator-a"):
                p.promote(name)
                p.ask(QUESTIONS[1])
            assert p.rollback("generator")["champion"] == "generator-c"
        finally:
            done.set()
            asking.join()
        assert not failures
        shown = p.ask(QUESTIONS[0])
        assert (shown["adapters"]["generator"], shown["chosen"]["generator"]) == ("generator-c", "champion")
        assert {"retriever", "generator"} == set(shown["adapters"])
        for one in seen:
            name = one["adapters"]["generator"] or "base"
            assert wrote(p.ask(QUESTIONS[0], adapter=name)) == wrote(one), name
        assert len({tuple(wrote(p.ask(QUESTIONS[0], adapter=n))) for n in ("base", "generator-a", "generator-b")}) == 3
        with pytest.raises(UserError, match="does not take 'generator-a'"):
            p.ask(QUESTIONS[0], adapter="generator-a", generator="extractive")
