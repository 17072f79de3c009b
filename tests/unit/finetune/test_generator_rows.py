"""What a generator is shown and should write: targets, numbers, room, and the recipe. No model is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.generator import triple
from finetune.generator.evaluate import spread
from finetune.generator.figures import citations, faithfulness, refused, token_f1
from finetune.generator.minimum import Told, in_rows, require
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.rows import Said, read_config, read_train_set, sentences
from finetune.generator.target import cited, target
from finetune.generator.tokens import tokenised
from kernel.errors import NotFound, UserError
from kernel.types import Ask, Judgement, Sentence
from retrieval.generators import chat, prompt
from retrieval.verify import Checked
from tests.facts import colours, passage, texts, write_run
from tests.tiny import save_reader

RETURNS = passage(1, "Send it back in time. A parcel can be returned within 30 days of delivery. Keep the box.")
COSTS = passage(2, "Postage is free within the country.")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    words = [RETURNS.text, COSTS.text, "It is within 30 days.", *texts(colours(60, 1))]
    return AutoTokenizer.from_pretrained(save_reader(tmp_path_factory.mktemp("reader"), words))


# --- what should be written -----------------------------------------------------------------------------------------


def test_each_sentence_cites_the_passage_that_says_it() -> None:
    said = cited("A parcel can be returned within 30 days. Postage is free.", [COSTS, RETURNS])
    assert [s.cites for s in said] == [(RETURNS.chunk,), (COSTS.chunk,)]
    assert prompt.answer(sentences(said, [COSTS, RETURNS])) == (
        "A parcel can be returned within 30 days [2]. Postage is free [1]."
    )


def test_the_sentence_that_supports_an_answer_stands_before_it() -> None:
    first, then = target("30 days.", [RETURNS], quoted=True)
    assert first.text == "A parcel can be returned within 30 days of delivery."
    assert (then.text, then.cites) == ("30 days.", (RETURNS.chunk,))
    assert [s.text for s in target("30 days.", [RETURNS], quoted=False)] == ["30 days."]


def test_an_answer_that_is_the_sentence_already_is_not_said_twice() -> None:
    assert len(target("A parcel can be returned within 30 days of delivery.", [RETURNS], quoted=True)) == 1


def test_marks_and_links_of_an_answer_that_was_shown_are_not_learnt() -> None:
    (said,) = cited("It is [free](http://x.example) within the country [7].", [COSTS])
    assert said.text == "It is free within the country."


def test_a_refusal_is_written_as_it_is_served() -> None:
    assert cited(prompt.NO_ANSWER, [COSTS]) == ()
    assert prompt.answer(sentences((), [COSTS])) == prompt.NO_ANSWER


def test_a_chunk_that_is_not_shown_is_not_cited() -> None:
    (sentence,) = sentences((Said(text="It is free.", cites=("elsewhere", COSTS.chunk)),), [COSTS])
    assert sentence.marks == (1,)


# --- as tokens -------------------------------------------------------------------------------------------------------


def test_a_row_is_the_prompt_that_is_served_and_an_answer_that_ends(tokenizer: Any) -> None:
    row = colours(1, 1)[0]
    made = tokenised(row, tokenizer, {2}, 512)
    assert made is not None
    served = chat.written(tokenizer, prompt.messages(Ask(question=row.question), row.passages))
    assert made.prompt == chat.encoded(tokenizer, served)
    assert made.chosen[-1] == tokenizer.eos_token_id
    wanted = prompt.answer(sentences(row.chosen, row.passages))
    assert tokenizer.decode(made.chosen[:-1]) == f" {wanted}"


def test_a_chat_template_writes_its_own_end_once(tokenizer: Any) -> None:
    import copy

    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}</s>\n{% endif %}{% endfor %}"
    )
    asked, answer = chat.target(chatty, [{"role": "user", "content": "red blue"}], "It is red.", {2})
    assert chatty.decode(asked) == "red blue"
    assert answer.count(2) == 1
    assert answer[-1] == 2


def test_what_has_no_room_is_left_out_from_the_end_and_answers_are_renumbered(tokenizer: Any) -> None:
    row = colours(1, 1)[0]
    (gold,) = row.passages
    around = [passage(90, COSTS.text * 6), gold, passage(91, COSTS.text * 6)]
    wide = replace(row, passages=tuple(around))
    whole = tokenised(wide, tokenizer, {2}, 10_000)
    alone = tokenised(row, tokenizer, {2}, 10_000)
    assert whole is not None
    assert alone is not None
    squeezed = tokenised(wide, tokenizer, {2}, alone.length + 5)
    assert squeezed is not None
    assert squeezed.prompt == alone.prompt
    assert squeezed.chosen == alone.chosen != whole.chosen  # [1] where it was [2]
    assert tokenised(wide, tokenizer, {2}, alone.length - 1) is None  # an answer is never cut


# --- the folder and the recipe --------------------------------------------------------------------------------------


def test_a_folder_gives_back_what_was_written(tmp_path: Path) -> None:
    rows = [replace(r, rejected=(Said(text="It is so."),), label=False, part="vote") for r in colours(3, 1)]
    run = write_run(tmp_path / "run", "somewhere", rows, method="kto")
    assert read_train_set(run).rows == tuple(rows)
    assert read_config(run).recipe.method == "kto"
    (run / "passages.jsonl").unlink()
    with pytest.raises(NotFound, match=r"passages\.jsonl"):
        read_train_set(run)


def test_all_that_is_wrong_with_a_recipe_is_said_at_once() -> None:
    with pytest.raises(UserError) as error:
        GeneratorRecipe.from_json({"epochs": 0, "dropout": "much", "wings": 2, "target_modules": ["lm_head"]})
    assert all(name in error.value.message for name in ("epochs", "dropout", "wings", "target_modules"))


def test_what_was_said_once_counts_once_however_often_it_is_shown() -> None:
    one, other = colours(2, 1)
    pairs = [replace(row, rejected=(Said(text="It is so."),)) for row in (one, one, other)]
    votes = [replace(row, label=label) for row in (one, one, other) for label in (True, False)]
    assert in_rows(pairs) == Told(pairs=2, liked=2, disliked=0)
    assert in_rows(votes) == Told(pairs=0, liked=2, disliked=2)
    require(GeneratorRecipe(method="dpo", min_pairs=2), in_rows(pairs))
    with pytest.raises(UserError, match=r"holds 2 pairs .* and 3 are needed"):
        require(GeneratorRecipe(method="dpo", min_pairs=3), in_rows(pairs))
    with pytest.raises(UserError, match="holds 0 votes of the rarer kind, and 1 are needed"):
        require(GeneratorRecipe(method="kto", min_votes=1), in_rows(pairs))


def test_rates_and_ranks_follow_the_model_and_the_rows() -> None:
    recipe = GeneratorRecipe()
    assert [recipe.rank_for(n) for n in (10, 2_000, 30_000)] == [16, 32, 64]
    assert recipe.rate_for(10**9, warm=False) == 2e-4
    assert recipe.rate_for(8 * 10**9, warm=True) == 5e-5
    assert GeneratorRecipe(method="dpo").rate_for(10**9, warm=True) == 5e-6


@pytest.mark.parametrize(
    ("batch", "micro_batch", "processes", "method", "at_once"),
    [
        (16, 4, 1, "sft", 4),
        (16, 4, 2, "sft", 4),
        (1, 4, 1, "sft", 1),
        (10, 4, 1, "sft", 2),
        (13, 4, 1, "dpo", 1),
        (16, 4, 8, "dpo", 2),
        (3, 4, 1, "kto", 3),
        (15, 4, 1, "kto", 3),
    ],
)
def test_a_step_is_made_of_as_many_rows_as_the_recipe_says(
    batch: int, micro_batch: int, processes: int, method: Any, at_once: int
) -> None:
    recipe = GeneratorRecipe(batch=batch, micro_batch=micro_batch, method=method)
    assert recipe.at_once(processes) == at_once
    assert batch % (at_once * processes) == 0


@pytest.mark.parametrize(
    ("given", "processes", "wanted"),
    [
        ({"batch": 16}, 3, "batch=15 would do"),
        ({"batch": 2}, 8, "batch=8 would do"),
        ({"batch": 1, "method": "kto"}, 1, "batch=2 would do"),
        ({"batch": 13, "method": "kto"}, 1, "batch=12 would do"),
        ({"batch": 16, "micro_batch": 1, "method": "kto"}, 1, "set micro_batch to 2 or more"),
    ],
)
def test_a_step_that_cannot_be_made_is_refused_with_one_that_can(
    given: dict[str, Any], processes: int, wanted: str
) -> None:
    with pytest.raises(UserError, match="batch = ") as error:
        GeneratorRecipe(**given).at_once(processes)
    assert error.value.hint == wanted


def test_without_trl_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "trl":
            raise triple.metadata.PackageNotFoundError(name)
        return "0.0"

    monkeypatch.setattr(triple.metadata, "version", version)
    with pytest.raises(UserError, match="'trl', which is not installed") as error:
        triple.require()
    assert error.value.hint == "pip install 'reprise[generator]'"


def test_an_untested_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triple.metadata, "version", lambda name: "2.0.1")
    with pytest.raises(UserError, match=r"not tested with trl 2\.0\.1"):
        triple.require()


# --- figures ---------------------------------------------------------------------------------------------------------


def checked(text: str, support: float, *marks: int) -> Checked:
    sentence = Sentence(text=text, marks=marks)
    return Checked(sentence=sentence, judgement=Judgement(support=support, contradiction=0.0))


def test_figures_of_an_answer() -> None:
    answer = [checked("It is free.", 0.9, 2), checked("It is blue.", 0.1, 1)]
    assert not refused(answer)
    assert refused(answer[1:])
    assert citations(answer, frozenset({COSTS.chunk}), [RETURNS, COSTS]) == 0.5
    assert citations(answer, frozenset({RETURNS.chunk}), [RETURNS, COSTS]) == 0.0
    assert faithfulness(answer) == pytest.approx(0.5)
    assert faithfulness([]) == 1.0
    assert token_f1("free postage", "postage is free") == pytest.approx(token_f1("postage free", "is postage free"))
    assert token_f1("nothing alike", "postage") == 0.0


def test_questions_are_spread_over_slices_and_pinned_ones_always_asked() -> None:
    rows = [(f"a{n}", "large", False) for n in range(50)] + [(f"b{n}", "small", n == 3) for n in range(5)]
    some = spread(rows, 10)
    assert len(some) == 10
    assert ("b3", "small", True) in some
    assert sum(row[1] == "small" for row in some) >= 4
    assert spread(list(reversed(rows)), 10) == some
