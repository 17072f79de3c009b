"""Terms: what a person would call the same word is found, and what is not, is not."""

from __future__ import annotations

import pytest

from kernel.index.schema import sparse_document, sparse_query
from kernel.index.terms import LANGUAGES, languages, of_document, of_query, words


def shared(question: str, text: str) -> set[int]:
    return set(of_query(question)) & set(of_document(text))


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("cancellation policies", "Our cancellation policy is short."),
        ("E-1042", "The device shows the error E1042 and stops."),
        ("e1042", "Fehler E-1042 bedeutet, dass die Batterie leer ist."),
        ("max_retries", "Set maxRetries to 3."),
        ("maxRetries", "the option max_retries"),
        ("retries", "the option max_retries is 3"),
        ("httpx.Client", "Use `httpx.Client()` for pooling."),
        ("1200 euro", "a limit of 1,200 euros"),
        ("Kündigung", "Die Kündigungen sind mit einer Frist von vier Wochen möglich und werden bestätigt."),
        ("Kundigung", "Die Kündigung ist nicht mehr möglich, wenn die Frist vorbei ist."),
        ("contratos", "El contrato de la empresa es de un año y no se puede cambiar."),
        ("東京", "私は東京都に住んでいます"),
        ("café", "a cafe in town"),
    ],
)
def test_a_word_is_found_in_whatever_form_it_stands(question: str, text: str) -> None:
    assert shared(question, text)


def test_function_words_of_the_text_s_own_language_find_nothing() -> None:
    assert of_query("what is it of the and") == []
    assert not shared("was ist der und die", "Der Vertrag und die Frist, was das ist")


def test_a_word_that_carries_nothing_in_another_language_still_counts() -> None:
    assert shared("how do people die", "People die of many things in the world")


def test_a_decimal_is_not_the_number_without_its_point() -> None:
    assert "3.5" in words("3.5")
    assert "35" not in words("3.5")


def test_a_language_is_told_by_its_function_words_and_english_comes_first_in_doubt() -> None:
    assert languages(words("Wie lange ist die Frist für eine Kündigung?")) == ["german"]
    assert languages(words("cancellation")) == list(LANGUAGES)


def test_the_same_text_has_the_same_vector_and_repeated_words_weigh_more() -> None:
    once, twice = sparse_document("zebra lion"), sparse_document("zebra zebra lion")
    (term,) = of_query("zebra")[:1]
    assert sparse_document("zebra lion") == once
    assert twice.values[twice.indices.index(term)] > once.values[once.indices.index(term)]
    assert sparse_query("of the").indices == []
