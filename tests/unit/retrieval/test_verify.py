from __future__ import annotations

import math

import pytest

from kernel.embedder import SentenceTransformerEmbedder
from kernel.types import Passage, Sentence
from retrieval.claims import quote
from retrieval.verifiers.embedded import EmbeddedVerifier
from retrieval.verify import CLAIM_THRESHOLD, check

EVIDENCE = [
    "Refunds are given within 30 days of purchase. A fee of 1,200 dollars applies to custom work. "
    "The API does not support XML. Alice Meyer leads the Berlin office, which opened in three stages."
]


@pytest.fixture
def verifier(embedder: SentenceTransformerEmbedder) -> EmbeddedVerifier:
    return EmbeddedVerifier(embedder)


def support(verifier: EmbeddedVerifier, claim: str, evidence: list[str]) -> float:
    return verifier.judge([claim], [evidence])[0].support


@pytest.mark.parametrize(
    "claim",
    [
        "Refunds are given within 30 days of purchase.",
        "Refunds are given within 30 days of the purchase.",
        "Custom work has a fee of 1200 dollars.",
        "XML is not supported by the API.",
        "The API doesn't support XML.",
        "The Berlin office is led by Alice Meyer.",
        "The Berlin office opened in 3 stages.",
    ],
)
def test_a_claim_that_its_evidence_makes_passes(claim: str, verifier: EmbeddedVerifier) -> None:
    assert support(verifier, claim, EVIDENCE) >= CLAIM_THRESHOLD


@pytest.mark.parametrize(
    "claim",
    [
        "Refunds are given within 60 days of purchase.",
        "Refunds are given within sixty days of purchase.",
        "A fee of 1,300 dollars applies to custom work.",
        "Refunds are not given within 30 days of purchase.",
        "Refunds are never given within 30 days of purchase.",
        "The API supports XML.",
        "The API does support XML.",
        "Bob Schulz leads the Paris office.",
        "The moon is made of cheese.",
        "The Berlin office opened in 1200 stages.",
        "",
    ],
)
def test_a_number_or_a_negation_that_the_evidence_lacks_sinks_a_claim(claim: str, verifier: EmbeddedVerifier) -> None:
    assert support(verifier, claim, EVIDENCE) < CLAIM_THRESHOLD


def test_a_claim_may_draw_on_neighbouring_sentences_and_several_texts(verifier: EmbeddedVerifier) -> None:
    two = ["The pump was built in Basel. It weighs forty kilograms.", "Its colour is green."]
    assert support(verifier, "The pump built in Basel weighs 40 kilograms.", two) >= CLAIM_THRESHOLD
    assert support(verifier, "Its colour is green.", two) >= CLAIM_THRESHOLD
    assert support(verifier, "The pump was built in Basel.", []) == 0.0
    assert support(verifier, "The pump was built in Basel.", ["", " "]) == 0.0


def test_the_quote_of_a_claim_is_the_sentence_that_says_it() -> None:
    start, end = quote("Custom work costs a fee of 1200 dollars.", EVIDENCE[0])
    assert EVIDENCE[0][start:end] == "A fee of 1,200 dollars applies to custom work."
    assert quote("Anything.", "***") == (0, 3)


def test_scores_stay_between_zero_and_one(verifier: EmbeddedVerifier) -> None:
    for claim in ("Refunds.", "30", "not", "no no no", "é", "one"):
        score = support(verifier, claim, EVIDENCE)
        assert 0 <= score <= 1
        assert math.isfinite(score)


@pytest.mark.parametrize(
    "claim",
    [
        "Refunds are given within 60 days of purchase.",
        "Refunds are not given within 30 days of purchase.",
        "The API supports XML.",
    ],
)
def test_what_the_evidence_denies_is_a_contradiction(claim: str, verifier: EmbeddedVerifier) -> None:
    assert verifier.judge([claim], [EVIDENCE])[0].contradiction > 0.5


@pytest.mark.parametrize(
    "claim", ["The moon is made of cheese.", "Refunds are given within 30 days of purchase.", "Cats"]
)
def test_what_the_evidence_does_not_speak_of_is_none(claim: str, verifier: EmbeddedVerifier) -> None:
    assert verifier.judge([claim], [EVIDENCE])[0].contradiction == 0.0


def test_a_whole_answer_is_judged_as_its_sentences_one_by_one(verifier: EmbeddedVerifier) -> None:
    claims = [
        "The API does not support XML.",
        "The moon is made of cheese.",
        "",
        "Alice Meyer leads the Berlin office.",
    ]
    together = verifier.judge(claims, [EVIDENCE, EVIDENCE, EVIDENCE, []])
    alone = [verifier.judge([c], [e])[0] for c, e in zip(claims, [EVIDENCE, EVIDENCE, EVIDENCE, []], strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert one.support == pytest.approx(other.support, abs=1e-4)
        assert one.contradiction == pytest.approx(other.contradiction, abs=1e-4)


# --- sentences of an answer -------------------------------------------------------------------------------------------

PASSAGE = Passage(
    chunk="c", document="d", name="d", title="d", version=1, start=40, end=40 + len(EVIDENCE[0]), text=EVIDENCE[0]
)


def test_a_checked_sentence_quotes_what_it_rests_on_and_a_mark_outside_the_passages_is_gone(
    verifier: EmbeddedVerifier,
) -> None:
    (found,) = check([Sentence(text="Custom work has a fee of 1200 dollars.", marks=(1, 7))], [PASSAGE], verifier)
    assert found.supported
    assert found.sentence.marks == (1,)
    ((mark, start, end),) = found.sentence.quotes
    assert (mark, PASSAGE.text[start - 40 : end - 40]) == (1, "A fee of 1,200 dollars applies to custom work.")


def test_an_unsupported_sentence_comes_back_with_its_judgement(verifier: EmbeddedVerifier) -> None:
    wrong, unmarked, quoted = check(
        [
            Sentence(text="Custom work has a fee of 1300 dollars.", marks=(1,)),
            Sentence(text="The API does not support XML."),
            Sentence(text="Refunds.", marks=(1,), quotes=((1, 40, 47),), support=0.7),
        ],
        [PASSAGE],
        verifier,
    )
    assert not wrong.supported
    assert wrong.judgement.support < CLAIM_THRESHOLD
    assert not unmarked.supported
    assert quoted.supported
    assert quoted.sentence.support == 0.7
