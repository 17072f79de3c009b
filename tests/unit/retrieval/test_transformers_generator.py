from __future__ import annotations

import json
import string
import threading
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import Conflict, NotFound, Refused, UserError
from kernel.types import Ask, Passage, Sentence
from retrieval.encoder import quiet_peft
from retrieval.generators import collect, prompt
from retrieval.generators.batch import Row
from retrieval.generators.transformers import FIRST, TransformersGenerator, _until_stop

CONTEXT = 1600


def passage(text: str, rank: int = 1) -> Passage:
    return Passage(
        chunk=f"c{rank}", document="d", name="d", title="Guide", version=1, start=0, end=len(text), text=text, rank=rank
    )


def save_model(folder: Path, *, chat: bool = False) -> str:
    """A Llama of 2 layers that reads characters, with random weights from a fixed seed."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {c: n for n, c in enumerate(string.printable, 3)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>", model_max_length=CONTEXT
    )
    if chat:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}assistant: {% endif %}"
        )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_adapter(model: str, folder: Path, seed: int) -> str:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj", "o_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    with quiet_peft():
        adapted = get_peft_model(LlamaForCausalLM.from_pretrained(model), config)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.mul_(20)  # a random model is stubborn: small steps do not change its greedy path
    adapted.save_pretrained(folder)
    return str(folder)


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
