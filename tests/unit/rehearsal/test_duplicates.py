"""What is one too many, and which of two stays."""

from __future__ import annotations

from rehearsal.duplicates import Stated, better, kept, why

SPAN = "A gift can be returned within 60 days."


def stated(
    question: str, answer: str | None = "60 days", quote: str = SPAN, origin: str = "import", **given: str
) -> Stated:
    document = given.get("document", "doc-1")
    return Stated(
        example=question,
        question=question,
        answer=answer,
        quotes=frozenset({(document, quote)}),
        origin=origin,
        split="",
    )


def test_the_same_span_answer_and_words_are_a_duplicate_whatever_their_order_and_inflection() -> None:
    old = stated("How long can gifts be returned?")
    assert why(stated("how long can a gift be returned", "the 60 days."), old)
    assert why(stated("How long can returned gifts be?", quote="returned within 60 days"), old)


def test_a_paraphrase_in_other_words_is_no_duplicate() -> None:
    assert why(stated("Until when may I bring a present back?"), stated("How long can gifts be returned?")) is None


def test_another_number_negation_answer_span_or_document_is_another_example() -> None:
    old = stated("Can gifts of level 1 be returned?")
    assert why(stated("Can gifts of level 2 be returned?"), old) is None
    assert why(stated("Can gifts of level 1 not be returned?"), old) is None
    assert why(stated("Can gifts of level 1 be returned?", "30 days"), old) is None
    assert why(stated("Can gifts of level 1 be returned?", quote="Shipping is free."), old) is None
    assert why(stated("Can gifts of level 1 be returned?", document="doc-2"), old) is None


def test_two_examples_on_nothing_are_never_duplicates() -> None:
    nowhere = Stated(example="a", question="Say hello?", answer="Hello", quotes=frozenset(), origin="import", split="")
    assert why(nowhere, nowhere) is None


def test_the_better_origin_stays_and_of_equals_what_was_there() -> None:
    order = ["correction", "import", "thumbs", "document", "replayed"]
    assert all(better(a, b) for n, a in enumerate(order) for b in order[n + 1 :])
    assert kept(stated("x", origin="correction"), stated("y", origin="document")) == "new"
    assert kept(stated("x", origin="thumbs"), stated("y", origin="thumbs")) == "old"
