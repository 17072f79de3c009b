from __future__ import annotations

import time

import pytest

from kernel.embedder import SentenceTransformerEmbedder
from kernel.errors import UserError
from kernel.types import Ask, Passage, Sentence, Wishes
from retrieval.generators import collect, make_generator
from retrieval.generators.extractive import ExtractiveGenerator
from retrieval.generators.openai_compatible import OpenAICompatibleGenerator
from retrieval.support import REFUSAL_THRESHOLD


def passage(text: str, *, document: str = "guide", start: int = 0, heading: str = "", rank: int = 1) -> Passage:
    return Passage(
        chunk=f"{document}/{start}",
        document=document,
        name=document,
        title=document,
        version=1,
        start=start,
        end=start + len(text),
        text=text,
        heading=heading,
        rank=rank,
    )


REFUNDS = (
    "## Refunds\n\n"
    "- You can ask for your money back within **30 days** of buying.\n"
    "- Gift cards are never refunded.\n\n"
    "| Plan | Fee per month |\n|---|---|\n| Basic | 10 dollars |\n| Team | 25 dollars |\n"
)
TIMEOUTS = (
    "HTTP calls end after a while. The default timeout for network inactivity is five seconds. "
    "Set another one like this:\n\n```python\nclient = Client(timeout=10.0)\n```\n"
)
CATS = "Cats sleep most of the day. They are fed in the morning, and the dog is fed at night."
ALL = [
    passage(REFUNDS, document="refunds", start=100),
    passage(TIMEOUTS, document="timeouts", start=7, rank=2),
    passage(CATS, document="pets", rank=3),
]


def quoted(generator: ExtractiveGenerator, question: str, passages: list[Passage]) -> tuple[Sentence, ...]:
    return collect(generator.stream(Ask(question=question), passages))[0]


def quotes(sentences: tuple[Sentence, ...], passages: list[Passage]) -> list[str]:
    found = []
    for sentence in sentences:
        assert sentence.marks == tuple(dict.fromkeys(mark for mark, _, _ in sentence.quotes))
        for mark, start, end in sentence.quotes:
            cited = passages[mark - 1]
            found.append(cited.text[start - cited.start : end - cited.start])
    return found


def test_the_sentence_that_answers_is_quoted_word_for_word(embedder: SentenceTransformerEmbedder) -> None:
    found = quoted(ExtractiveGenerator(embedder, max_sentences=1), "What is the default timeout?", ALL)
    assert [s.text for s in found] == ["The default timeout for network inactivity is five seconds."]
    assert quotes(found, ALL) == ["The default timeout for network inactivity is five seconds."]
    assert found[0].marks == (2,)


def test_quotes_carry_no_bullets_pipes_or_fences_and_offsets_count_from_the_version(
    embedder: SentenceTransformerEmbedder,
) -> None:
    one = ExtractiveGenerator(embedder, max_sentences=1)
    found = quoted(one, "Within how many days can I get my money back?", ALL)
    assert quotes(found, ALL) == ["You can ask for your money back within **30 days** of buying."]
    assert found[0].quotes[0][1] == 100 + REFUNDS.index("You can ask")
    assert quotes(quoted(one, "What does the Team plan cost per month?", ALL), ALL) == ["Team | 25 dollars"]


def test_a_heading_is_never_the_answer(embedder: SentenceTransformerEmbedder) -> None:
    found = quoted(ExtractiveGenerator(embedder), "Refunds", ALL)
    assert "Refunds" not in [s.text for s in found]


def test_what_a_sentence_announces_comes_with_it(embedder: SentenceTransformerEmbedder) -> None:
    found = quoted(ExtractiveGenerator(embedder), "How do I set another timeout?", ALL)
    texts = [s.text for s in found]
    assert texts.index("client = Client(timeout=10.0)") == texts.index("Set another one like this:") + 1


def test_the_answer_of_a_list_of_questions_is_what_follows_the_question(
    embedder: SentenceTransformerEmbedder,
) -> None:
    text = (
        "**How do I close my account?**\n\nWrite to the people team.\n\n"
        "**How do I open an account?**\n\nFill in the form on the first page.\n"
    )
    found = quoted(ExtractiveGenerator(embedder, max_sentences=1), "How do I close my account?", [passage(text)])
    assert [s.text for s in found] == ["Write to the people team."]


def test_equal_sentences_of_several_passages_are_quoted_once_with_several_marks(
    embedder: SentenceTransformerEmbedder,
) -> None:
    fact = "The office closes at six."
    passages = [
        passage(f"Hours. {fact} Lunch is at noon.", document="old"),
        passage("Dogs are welcome.", document="pets"),
        passage(f"{fact} On Friday it closes at four.", document="new", start=50),
    ]
    found = quoted(ExtractiveGenerator(embedder), "When does the office close?", passages)
    first = next(s for s in found if s.text == fact)
    assert set(first.marks) == {1, 3}
    assert [s.text for s in found].count(fact) == 1
    assert quotes(found, passages).count(fact) == 2


def test_a_sentence_cut_by_the_edge_of_a_chunk_is_quoted_from_the_chunk_that_has_it_whole(
    embedder: SentenceTransformerEmbedder,
) -> None:
    text = "Intro words stand here. The warranty of the pump ends after two years of normal use. Other words."
    cut = text.index("ends after")
    passages = [passage(text[cut:], start=cut), passage(text[: cut + 20], start=0), passage(text, start=0)]
    found = quoted(ExtractiveGenerator(embedder), "When does the warranty of the pump end?", passages)
    texts = [s.text for s in found]
    assert texts[0] == "The warranty of the pump ends after two years of normal use."
    assert not any(
        t in texts for t in ("ends after two years of normal use.", "The warranty of the pump ends after two")
    )


def test_sentences_of_one_passage_stand_in_the_order_of_the_text(embedder: SentenceTransformerEmbedder) -> None:
    text = "The pump needs oil. Oil for the pump is changed each year. Use oil of grade five for the pump."
    found = quoted(
        ExtractiveGenerator(embedder), "Which oil does the pump need, and when is it changed?", [passage(text)]
    )
    assert len(found) > 1
    starts = [s.quotes[0][1] for s in found]
    assert starts == sorted(starts)


def test_support_tells_an_answered_question_from_an_unrelated_one(embedder: SentenceTransformerEmbedder) -> None:
    generator = ExtractiveGenerator(embedder)
    for question in ("What is the default timeout?", "Are gift cards refunded?", "When are the cats fed?"):
        assert max(s.support for s in quoted(generator, question, ALL)) > REFUSAL_THRESHOLD
    for question in ("What is the capital of Mongolia?", "Who won the world cup in 1998?", "asdf qwer"):
        assert max(s.support for s in quoted(generator, question, ALL)) < REFUSAL_THRESHOLD
    found = quoted(generator, "What is the default timeout?", ALL)
    assert all(0 <= s.support <= 1 for s in found)


def test_nothing_to_quote_is_an_empty_draft(embedder: SentenceTransformerEmbedder) -> None:
    generator = ExtractiveGenerator(embedder)
    assert quoted(generator, "Anything?", []) == ()
    assert quoted(generator, "Anything?", [passage("| --- |\n\n***\n")]) == ()
    assert quoted(generator, "", ALL) != ()


def test_no_more_sentences_than_asked_for(embedder: SentenceTransformerEmbedder) -> None:
    many = [passage(" ".join(f"The pump number {i} needs oil of grade {i}." for i in range(40)))]
    assert len(quoted(ExtractiveGenerator(embedder, max_sentences=2), "Which oil do pumps need?", many)) <= 2
    with pytest.raises(UserError, match="max_sentences is 0"):
        ExtractiveGenerator(embedder, max_sentences=0)


def test_the_length_that_is_wished_for_is_kept_to(embedder: SentenceTransformerEmbedder) -> None:
    many = [passage(" ".join(f"Pump {i} in hall {i} needs oil of grade {i}." for i in range(40)))]
    found = {
        length: collect(
            ExtractiveGenerator(embedder).stream(
                Ask(question="Which oil do the pumps need?", wishes=Wishes(length=length)), many
            )
        )[0]
        for length in ("short", "normal", "long", None)
    }
    assert len(found["short"]) == 1
    assert len(found["normal"]) == len(found[None]) <= 3
    assert 3 < len(found["long"]) <= 5


def test_what_is_redundant_at_the_ends_is_left_out_and_the_rest_is_exact(
    embedder: SentenceTransformerEmbedder,
) -> None:
    text = "Cats sleep a lot. However, the pump needs\n fresh oil each year.[12][3]"
    cited = [passage(text, start=30)]
    one = quoted(ExtractiveGenerator(embedder, max_sentences=1), "When does the pump need fresh oil?", cited)
    assert [s.text for s in one] == ["the pump needs fresh oil each year."]
    assert quotes(one, cited) == ["the pump needs\n fresh oil each year."]
    both = [passage("The pump needs oil each year. However, the old pump needs fresh oil each month.")]
    assert [s.text for s in quoted(ExtractiveGenerator(embedder), "When does the pump need oil?", both)] == [
        "The pump needs oil each year.",
        "However, the old pump needs fresh oil each month.",
    ]


def test_a_long_passage_costs_no_more_than_its_most_promising_sentences(
    embedder: SentenceTransformerEmbedder,
) -> None:
    filler = " ".join(f"Item {i} is stored on shelf {i} of the hall." for i in range(400))
    long = passage(f"{filler} The spare key lies under the blue mat.")
    started = time.process_time()
    ask = Ask(question="Where does the spare key lie?")
    found, usage = collect(ExtractiveGenerator(embedder, max_sentences=1).stream(ask, [long]))
    assert [s.text for s in found] == ["The spare key lies under the blue mat."]
    assert usage["sentences_read"] <= 64
    assert time.process_time() - started < 20


def test_a_generator_is_chosen_by_its_specification(embedder: SentenceTransformerEmbedder) -> None:
    assert make_generator("extractive", embedder, max_sentences=2).name == "extractive"
    assert make_generator("openai:http://localhost:1/v1#m", embedder).name == "openai:m"
    assert make_generator("transformers:/no/model", embedder).name == "transformers:/no/model"
    for spec in ("", "extractive:x", "openai:http://localhost", "transformers:", "gpt"):
        with pytest.raises(UserError, match="there is no generator"):
            make_generator(spec, embedder)
    keyed = make_generator("openai:http://localhost:1/v1#m", embedder, "secret")
    assert isinstance(keyed, OpenAICompatibleGenerator)
    assert keyed._server._key == "secret"
    with pytest.raises(UserError, match="does not take these options"):
        make_generator("extractive", embedder, wings=2)


def test_of_sources_that_disagree_the_newer_one_is_quoted(embedder: SentenceTransformerEmbedder) -> None:
    """The older one is left to the note on the conflict, which cites both."""
    said = "The daily allowance for meals is {} euros within Germany."
    passages = [
        passage(said.format(28), document="travel-policy-2022.md"),
        passage(said.format(34), document="travel-policy-2024.md", rank=2),
    ]
    for asked in (passages, passages[::-1]):
        found = quoted(ExtractiveGenerator(embedder), "How much is the daily allowance for meals?", asked)
        assert [s.text for s in found] == [said.format(34)]
    undated = [passage(said.format(28), document="one.md"), passage(said.format(34), document="two.md", rank=2)]
    assert len(quoted(ExtractiveGenerator(embedder), "How much is the daily allowance for meals?", undated)) == 2
