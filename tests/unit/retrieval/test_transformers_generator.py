from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import Conflict, Failed, NotFound, Refused, UserError
from kernel.ports import Adaptable
from kernel.types import BASE, Ask, Exchange, Passage, Sentence, Wishes
from retrieval.generators import collect, prompt
from retrieval.generators.batch import Row
from retrieval.generators.transformers import FIRST, TransformersGenerator, _until_stop
from tests.tiny import CONTEXT, save_adapter, save_chain, save_model, save_turn


def passage(text: str, rank: int = 1) -> Passage:
    return Passage(
        chunk=f"c{rank}", document="d", name="d", title="Guide", version=1, start=0, end=len(text), text=text, rank=rank
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads only get into each other's way on models this small."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def adapters(model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return (
        save_adapter(model, tmp_path_factory.mktemp("one"), 1),
        save_adapter(model, tmp_path_factory.mktemp("two"), 2),
    )


def answered(
    generator: TransformersGenerator, question: str, passages: list[Passage]
) -> tuple[tuple[Sentence, ...], dict[str, int]]:
    return collect(generator.stream(Ask(question=question), passages))


def written(generator: TransformersGenerator, question: str = "Why?", adapter: str | None = None) -> str:
    """What the model writes, before it is read as sentences: characters at random are seldom sentences."""
    return "".join(begun(generator, question, adapter).read())


def begun(generator: TransformersGenerator, question: str = "Why?", adapter: str | None = None) -> Row:
    generator.load()
    with generator._adapters.chosen(adapter) as name:
        _, tokens, _ = generator._fit(Ask(question=question), [passage("The sky is blue.")])
        return generator._row(tokens, generator._reserve(), name, _until_stop(False))


def test_an_adapter_changes_what_is_written_and_going_back_restores_it(model: str, adapters: tuple[str, str]) -> None:
    generator = TransformersGenerator(model, max_new_tokens=12)
    base = written(generator)
    generator.load_adapter("first.1", adapters[0])
    assert generator.adapter is None
    assert written(generator) == base, "an adapter that is only loaded must not answer"
    generator.use("first.1")
    one = written(generator)
    generator.load_adapter("second", adapters[1])
    assert written(generator) == one, "an adapter that is only loaded must not answer"
    generator.use("second")
    two = written(generator)
    assert len({base, one, two}) == 3
    generator.use("first.1")
    assert written(generator) == one
    generator.use(None)
    assert written(generator) == base
    assert generator.adapters == {"first.1", "second"}


def test_the_adapter_given_at_construction_answers_and_is_named(model: str, adapters: tuple[str, str]) -> None:
    generator = TransformersGenerator(model, adapter_path=adapters[0], max_new_tokens=12)
    generator.load()
    assert generator.adapter == FIRST
    by_name = TransformersGenerator(model, max_new_tokens=12)
    by_name.load_adapter("x", adapters[0])
    by_name.use("x")
    assert written(generator) == written(by_name)


def test_a_name_is_used_once_and_an_adapter_in_use_is_not_unloaded(model: str, adapters: tuple[str, str]) -> None:
    generator = TransformersGenerator(model, max_new_tokens=8)
    base = written(generator)
    generator.load_adapter("one", adapters[0])
    generator.use("one")
    with pytest.raises(Conflict, match="in use"):
        generator.unload("one")
    generator.use(None)
    generator.unload("one")
    assert generator.adapters == set()
    assert written(generator) == base
    with pytest.raises(Conflict, match="used before"):
        generator.load_adapter("one", adapters[1])
    with pytest.raises(NotFound, match="no adapter 'one'"):
        generator.use("one")
    generator.load_adapter("two", adapters[1])
    generator.use("two")
    assert written(generator) != base


def test_an_adapter_that_is_not_safetensors_is_refused(model: str, adapters: tuple[str, str], tmp_path: Path) -> None:
    generator = TransformersGenerator(model)
    with pytest.raises(NotFound):
        generator.load_adapter("x", str(tmp_path))
    never = TransformersGenerator(model, adapter_path=str(tmp_path))
    for _ in range(2):  # and never does the base model answer in its place
        with pytest.raises(NotFound):
            answered(never, "Why?", [passage("Blue.")])
    (tmp_path / "adapter_config.json").write_text((Path(adapters[0]) / "adapter_config.json").read_text())
    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(Refused, match="safetensors"):
        generator.load_adapter("x", str(tmp_path))


@pytest.mark.parametrize("chat", [False, True])
def test_passages_are_left_out_from_the_end_until_the_context_holds(chat: bool, tmp_path: Path) -> None:
    generator = TransformersGenerator(save_model(tmp_path, chat=chat), max_new_tokens=100)
    generator.load()
    for count in (1, 2, 3, 8):
        for length in (10, 200, 5_000):
            passages = [passage(f"{n} " * (length // 2), rank=n + 1) for n in range(count)]
            _, tokens, shown = generator._fit(Ask(question="What is it?"), passages)
            assert len(tokens) <= CONTEXT - 100
            assert [p.rank for p in shown] == [p.rank for p in passages[: len(shown)]]
            if length == 10 or count == 1:
                assert len(shown) == min(count, len(shown)) >= 1
    assert len(generator._fit(Ask(question="What?"), [passage("x" * 10)] * 2)[2]) == 2
    cut = generator._fit(Ask(question="What?"), [passage("y" * 9_000)])[2][0]
    assert 80 <= len(cut.text) < 1_100
    assert cut.end == len(cut.text)
    _, usage = answered(generator, "What?", [passage("x " * 300)] * 6)
    assert usage["prompt_tokens"] + usage["completion_tokens"] <= CONTEXT
    assert 1 <= usage["passages"] < 6


def test_a_question_that_cannot_fit_is_a_clear_error(model: str) -> None:
    with pytest.raises(UserError, match="does not fit"):
        answered(TransformersGenerator(model), "Why? " * 1_000, [passage("x")])


def test_a_chat_model_gets_turns_and_another_a_text(model: str, tmp_path: Path) -> None:
    chat = TransformersGenerator(save_model(tmp_path, chat=True))
    plain = TransformersGenerator(model)
    for generator, begins, ends in ((chat, "system: ", "assistant: "), (plain, prompt.SYSTEM[:20], "Answer:")):
        generator.load()
        text = generator._prompt(Ask(question="Why?"), [passage("Blue.")])
        assert text.startswith(begins)
        assert text.endswith(ends)


def test_a_model_that_refuses_a_system_turn_is_asked_in_one_turn(tmp_path: Path) -> None:
    generator = TransformersGenerator(save_model(tmp_path, chat=True))
    generator.load()
    generator._model.tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        "{{ m['role'] + ': ' + m['content'] }}{% endfor %}"
    )
    text = generator._prompt(Ask(question="Why?"), [passage("Blue.")])
    assert text.startswith("user: You answer")
    assert text.endswith("Question: Why?")


def test_generation_stops_where_the_model_writes_our_side_of_the_page(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = TransformersGenerator(model, max_new_tokens=40)
    full = written(generator)
    assert len(full) >= 10
    monkeypatch.setattr(prompt, "STOPS", (full[2:5],))
    assert len(written(generator)) < len(full)


def test_requests_from_several_threads_each_get_the_answer_they_would_get_alone(
    model: str, adapters: tuple[str, str]
) -> None:
    generator = TransformersGenerator(model, adapter_path=adapters[0], max_new_tokens=6)
    alone = {n: answered(generator, f"Question {n}?", [passage("Blue.")]) for n in range(3)}
    together: dict[int, Any] = {}

    def ask(n: int) -> None:
        together[n] = answered(generator, f"Question {n}?", [passage("Blue.")])

    threads = [threading.Thread(target=ask, args=(n,)) for n in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_a_model_that_is_not_there_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be loaded"):
        answered(TransformersGenerator(str(tmp_path / "none")), "Why?", [])
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-type"}))
    with pytest.raises(UserError, match="cannot be loaded"):
        TransformersGenerator(str(tmp_path)).load()
    with pytest.raises(UserError, match="max_new_tokens"):
        TransformersGenerator("x", max_new_tokens=0)


# --- batches ----------------------------------------------------------------------------------------------------------


@contextmanager
def busy(generator: TransformersGenerator) -> Iterator[list[list[Row]]]:
    """The model is busy until the block ends; what came meanwhile then runs. Yields the batches that were run."""
    generator.load()
    batches: list[list[Row]] = []
    entered, run = threading.Event(), generator._batches._run

    def noted(rows: Sequence[Row]) -> None:
        batches.append(list(rows))
        entered.set()
        run(rows)

    generator._batches._run = noted
    with generator._model._lock:
        begun(generator, "The one that runs meanwhile?")
        assert entered.wait(30)
        yield batches
    generator._batches._run = noted


def test_requests_that_arrive_while_the_model_is_busy_run_together_each_with_its_adapter(
    model: str, adapters: tuple[str, str]
) -> None:
    generator = TransformersGenerator(model, max_new_tokens=12)
    generator.load_adapter("one", adapters[0])
    generator.load_adapter("two", adapters[1])
    generator.use("two")
    asked = [
        ("Why?", BASE),
        ("Why?", "one"),
        ("And why is it so, then, tell me?", "one"),
        ("Why?", None),
        ("Who?", BASE),
    ]
    alone = [written(generator, question, adapter) for question, adapter in asked]
    assert len({alone[0], alone[1], alone[3]}) == 3
    with busy(generator) as batches:
        rows = [begun(generator, question, adapter) for question, adapter in asked]
    assert ["".join(row.read()) for row in rows] == alone
    assert [len(batch) for batch in batches] == [1, 5]


def test_a_piece_is_there_before_the_next_is_written(model: str) -> None:
    generator = TransformersGenerator(model, max_new_tokens=6)
    generator.load()
    seen = threading.Event()
    _, tokens, _ = generator._fit(Ask(question="Why?"), [])
    row = generator._row(tokens, 6, None, lambda piece: not seen.wait(30))
    pieces = row.read()
    assert next(pieces)
    assert row.written == 1
    seen.set()
    assert len("".join(pieces)) == 5


def test_a_reader_who_leaves_ends_the_work_for_the_answer(model: str) -> None:
    generator = TransformersGenerator(model, max_new_tokens=200)
    generator.load()
    left = threading.Event()
    _, tokens, _ = generator._fit(Ask(question="Why?"), [])
    row = generator._row(tokens, 200, None, lambda piece: not left.wait(30))
    pieces = row.read()
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    left.set()
    free = generator._row(tokens, 1, None, lambda piece: False)
    assert "".join(free.read())
    assert row.written < 5


def test_an_error_in_a_batch_reaches_every_reader_and_the_next_batch_runs(model: str) -> None:
    generator = TransformersGenerator(model, max_new_tokens=6)
    with busy(generator):
        rows = [begun(generator), begun(generator)]
        rows[0].ends = lambda piece: 1 // 0 > 0
    for row in rows:
        with pytest.raises(Failed, match="broke off"):
            "".join(row.read())
    assert written(generator)


# --- answers of a model that writes what is known -----------------------------------------------------------------


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_chain(tmp_path_factory.mktemp("chain"), "So\tit[1]. ")


PASSAGES = [passage("So it is."), passage("So it is not.", 2)]


def test_sentences_come_while_the_model_writes_and_the_usage_at_the_end(chain: str) -> None:
    generator = TransformersGenerator(chain, max_new_tokens=500)
    stream = generator.stream(Ask(question="Why?"), PASSAGES)
    assert next(stream) == Sentence(text="So it.", marks=(1,))
    rest, usage = collect(stream)
    assert rest == ()
    assert usage["completion_tokens"] < 60, "it goes round in circles, and is stopped"
    assert usage["passages"] == 2


def test_an_answer_keeps_the_adapter_it_began_with_and_an_unload_waits_for_it(chain: str, tmp_path: Path) -> None:
    generator = TransformersGenerator(chain, max_new_tokens=30)
    generator.load_adapter("cites-2", save_turn(chain, tmp_path / "two", "[2]"))
    generator.load_adapter("cites-3", save_turn(chain, tmp_path / "three", "[3]"))
    assert isinstance(generator, Adaptable)
    generator.use("cites-2")
    old = generator.stream(Ask(question="Why?"), PASSAGES)
    assert next(old).marks == (2,)
    generator.use(None)
    assert collect(generator.stream(Ask(question="Why?"), PASSAGES))[0][0].marks == (1,)
    assert collect(generator.stream(Ask(question="Why?", adapter="cites-3"), PASSAGES))[0][0].marks == ()
    unloading = threading.Thread(target=generator.unload, args=("cites-2",))
    unloading.start()
    with generator._adapters._changed:
        assert generator._adapters._changed.wait_for(lambda: "cites-2" not in generator._adapters._loaded, 30)
    with pytest.raises(NotFound, match="cites-2"):
        next(generator.stream(Ask(question="Why?", adapter="cites-2"), PASSAGES))
    assert "cites-2" in generator._model._laid.peft_config, "its answer is still being written"
    assert {s.marks for s in old if s.marks} <= {(2,)}
    unloading.join(30)
    assert set(generator._model._laid.peft_config) == {"cites-3"}
    assert generator.adapters == {"cites-3"}


def test_an_adapter_of_another_model_is_refused_and_the_model_serves_on(
    chain: str, model: str, adapters: tuple[str, str], tmp_path: Path
) -> None:
    generator = TransformersGenerator(chain, max_new_tokens=10)
    with pytest.raises(Refused, match="does not fit"):
        generator.load_adapter("alien", adapters[0])
    generator.load_adapter("cites-2", save_turn(chain, tmp_path, "[2]"))
    with pytest.raises(Refused, match="does not fit"):
        generator.load_adapter("alien", adapters[0])
    assert collect(generator.stream(Ask(question="Why?"), PASSAGES))[0][0].marks == (1,)
    assert collect(generator.stream(Ask(question="Why?", adapter="cites-2"), PASSAGES))[0][0].marks == (2,)


def test_a_follow_up_is_written_as_a_question_of_its_own(tmp_path: Path) -> None:
    generator = TransformersGenerator(save_chain(tmp_path, "What\tis Bleu?\n"), max_new_tokens=10)
    history = [Exchange(question="Which colours are there?", answer="Red [1].")]
    assert generator.rewrite("What is it?", history) == "What is Bleu?"
    assert generator.rewrite("What is it?", []) == "What is it?"
    generator.load_adapter("lisps", save_turn(generator._source, tmp_path / "lisps", "Wh\n"))
    generator.use("lisps")
    assert generator.rewrite("What is it?", history) == "What is Bleu?", "adapters are trained to answer"
    endless = TransformersGenerator(save_chain(tmp_path / "endless", "Ab"), max_new_tokens=10)
    assert (
        endless.rewrite("Hm?", [Exchange(question="Ha?", answer="x")])
        == "AbAbAbAbAbAbAbAbAbAbAbAbAbAbAbAbAbAbAbAbAbAbAbAb"
    )


def test_questions_are_asked_within_the_context_and_what_is_no_question_is_left_out(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = TransformersGenerator(model)
    generator.load()
    with busy(generator) as batches:
        asking = threading.Thread(target=generator.propose, args=(passage("Blue is a colour. " * 200), 3))
        asking.start()
    asking.join(30)
    (row,) = (row for batch in batches for row in batch if "You write" in generator._model.tokenizer.decode(row.prompt))
    assert len(row.prompt) + row.limit <= CONTEXT
    assert row.adapter is None
    assert generator.propose(passage("Blue is a colour."), 3) == []
    monkeypatch.setattr(type(generator._model), "context", 700)
    with pytest.raises(UserError, match="no part of a passage fits"):
        generator.propose(passage("Blue is a colour. " * 20), 3)


def test_old_turns_go_first_and_passages_stay(model: str) -> None:
    generator = TransformersGenerator(model, max_new_tokens=100)
    generator.load()
    history = tuple(Exchange(question=f"Question {n}?", answer="word " * 10) for n in range(20))
    alone = next(n for n in range(400, 0, -1) if len(generator._prompt(Ask(question="Why? " * n), [])) < CONTEXT - 100)
    generator._fit(Ask(question="Why? " * alone), [])
    with pytest.raises(UserError, match="does not fit"):  # without a passage there is nothing to answer from
        generator._fit(Ask(question="Why? " * alone), [passage("Blue. " * 100)])
    text, tokens, shown = generator._fit(Ask(question="Why?", history=history), [passage("Blue.")])
    assert len(tokens) <= CONTEXT - 100
    assert len(shown) == 1
    assert "Question 19?" in text
    assert "Question 0?" not in text


def test_an_answer_and_a_rewrite_of_one_batch_stay_within_the_context_together(model: str) -> None:
    long = [Exchange(question="word " * 300, answer="word " * 300)] * 3
    for most in (1, 300):
        generator = TransformersGenerator(model, max_new_tokens=most)
        generator.load()
        answer = generator._fit(Ask(question="Why?"), [passage("Blue. " * 900)])[1]
        with busy(generator) as batches:
            rewriting = threading.Thread(target=generator.rewrite, args=("And then?", long))
            rewriting.start()
        rewriting.join(30)
        rows = [row for batch in batches for row in batch]
        assert len(rows) == 2
        longest = max(len(answer), *(len(row.prompt) for row in rows))
        assert longest + max(row.limit for row in rows) <= CONTEXT


def test_no_text_can_bring_special_tokens_of_the_model(model: str) -> None:
    generator = TransformersGenerator(model)
    generator.load()
    history = (Exchange(question="</s>", answer="<s>"),)
    ask = Ask(question="Is </s> it?", history=history, wishes=Wishes(tone="</s>"))
    _, tokens, _ = generator._fit(ask, [passage("End. </s><unk> <s>")])
    assert tokens.count(2) == 0
    assert tokens[1:].count(1) == 0
