from __future__ import annotations

import pytest

from kernel.embedder import SentenceTransformerEmbedder
from kernel.types import Passage
from retrieval.evidence import read
from retrieval.support import REFUSAL_THRESHOLD, answerable, sentence_supports
from retrieval.words import negated, numbers, stem, stems


def passage(text: str, title: str = "", heading: str = "") -> Passage:
    return Passage(
        chunk=text[:9], document=title, name=title, title=title, version=1, start=0, end=len(text), text=text,
        heading=heading,
    )  # fmt: skip


DOCS = [
    passage(
        "You can set a timeout on a client instance, which is used as the default for requests made with it. "
        "The default timeout for network inactivity is five seconds. Pass `timeout=None` to wait for ever.",
        "Timeouts",
    ),
    passage(
        "Proxies can be configured for a scheme, for a host or for all requests. "
        "HTTP/2 is switched on with `http2=True` when the client is made.",
        "Advanced use",
    ),
]


def question_support(question: str, passages: list[Passage], embedder: SentenceTransformerEmbedder) -> float:
    return answerable(read(question, passages, embedder))


# --- questions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "question",
    [
        "What is the default timeout?",
        "How do I set a timeout on a client?",
        "How do I switch on HTTP/2?",
        "Can proxies be configured for a host?",
        "default timeout",
    ],
)
def test_a_question_that_a_sentence_answers_is_above_the_threshold(
    question: str, embedder: SentenceTransformerEmbedder
) -> None:
    assert question_support(question, DOCS, embedder) > REFUSAL_THRESHOLD


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of Mongolia?",
        "Who painted the ceiling of the Sistine Chapel?",
        "How long do cats sleep?",
        "When did the second world war end?",
        "What is the best recipe for pancakes?",
        "Wie hoch ist die Zugspitze?",
        "xyzzy plugh",
    ],
)
def test_a_question_about_something_else_is_below_the_threshold(
    question: str, embedder: SentenceTransformerEmbedder
) -> None:
    assert question_support(question, DOCS, embedder) < REFUSAL_THRESHOLD


def test_no_evidence_is_no_support(embedder: SentenceTransformerEmbedder) -> None:
    assert question_support("What is the default timeout?", [], embedder) == 0.0
    assert question_support("What is the default timeout?", [passage("  \n")], embedder) == 0.0


def test_a_heading_helps_its_text(embedder: SentenceTransformerEmbedder) -> None:
    text = "It is paid on the last working day."
    bare = question_support("When is the travel allowance paid?", [passage(text)], embedder)
    under = question_support(
        "When is the travel allowance paid?", [passage(text, heading="Travel allowance")], embedder
    )
    assert under > bare


def test_a_year_that_the_evidence_does_not_name_counts_against_it(embedder: SentenceTransformerEmbedder) -> None:
    team = [passage("In 2015 she played for the Lions. In 2016 she played for the Bears.")]
    asked = "Which team did she play for in {}?"
    named, unnamed = (question_support(asked.format(y), team, embedder) for y in (2016, 2011))
    assert named > unnamed


def test_nearness_to_the_title_alone_is_no_support(embedder: SentenceTransformerEmbedder) -> None:
    text = "The Great Red Spot of Jupiter was first seen in 1665. It moves counterclockwise and takes about six days."
    jupiter = [passage(text, title="Jupiter")]
    assert question_support("How long does the Great Red Spot take to turn?", jupiter, embedder) > REFUSAL_THRESHOLD
    assert question_support("Which company sells Jupiter telescopes?", jupiter, embedder) < REFUSAL_THRESHOLD


def test_a_question_that_is_the_title_is_judged_by_the_text(embedder: SentenceTransformerEmbedder) -> None:
    title = "How to close an account"
    says = passage("To close an account, write to the people team.", title=title)
    other = passage("Lunch is at noon. The kitchen is on the second floor.", title=title)
    asked = "How do I close an account?"
    assert question_support(asked, [says], embedder) > REFUSAL_THRESHOLD
    assert question_support(asked, [says], embedder) > question_support(asked, [other], embedder)


def test_a_sentence_alone_is_supported_no_better_than_all_evidence(embedder: SentenceTransformerEmbedder) -> None:
    evidence = read("What is the default timeout?", DOCS, embedder)
    each = sentence_supports(evidence)
    assert each.shape == (len(evidence.candidates),)
    assert 0 <= each.min() <= each.max() <= answerable(evidence) + 1e-9 <= 1


# --- words ------------------------------------------------------------------------------------------------------------


def test_words_of_one_family_meet() -> None:
    assert stems("The policies were applied.") == stems("a policy applies")
    assert stem("running") == stem("runs") == stem("run")
    assert stems("maxRetries") == stems("max_retries") == stems("max retries")
    assert stems("Café") == stems("cafe")
    assert stems("users' and the user’s") == ["user", "user"]


def test_words_of_different_meaning_do_not_meet() -> None:
    for one, other in (("university", "universe"), ("news", "new"), ("organ", "organize"), ("war", "were")):
        assert stem(one) != stem(other)
    assert stems("war and sin") == ["war", "sin"]


def test_numbers_are_equal_however_they_are_written() -> None:
    assert numbers("1,200 and 3.50 and twenty") == {"1200", "3.50", "20"}
    assert numbers("5.0") == numbers("five") == {"5"}
    assert numbers("no one") == set()


def test_a_negation_names_what_is_denied() -> None:
    assert negated("The API does not support XML.") == {"support", "xml"}
    assert negated("It isn't.") == {""}
    assert negated("Nicht erlaubt.") == {"erlaubt"}
    assert negated("All is well, notably the nodes.") == set()
