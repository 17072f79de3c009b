"""Years of questions and texts, and the reranker that goes by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.types import Passage
from retrieval.fusion import blended
from retrieval.reranker import EmbeddedReranker, make_reranker
from retrieval.years import named, share_named


def passage(text: str, *, title: str = "Board", heading: str = "") -> Passage:
    return Passage(
        chunk=text, document="d", name="d", title=title, version=1, start=0, end=len(text), text=text, heading=heading
    )


@pytest.mark.parametrize(
    ("text", "periods"),
    [
        ("from Sep 2005 to Dec 2006", {(2005, 2005), (2006, 2006)}),
        ("FY2022, signed 31.12.2021, filed 2020-02-01", {(2022, 2022), (2021, 2021), (2020, 2020)}),
        ("the 1990s and the 1980’s, seit den 1970er Jahren", {(1990, 1999), (1980, 1989), (1970, 1979)}),
        ("the season of 2015/16", {(2015, 2016)}),
        ("served 2007–09, 1998-01", {(2007, 2009), (1998, 1998)}),
        ("2009–2014", {(2009, 2009), (2014, 2014)}),
        ("2021年", {(2021, 2021)}),
        ("port 8080, 12,000 pieces, order 120055, 1066, 1995s, E-10421", {(1995, 1995)}),
        ("", set()),
    ],
)
def test_years_are_found_as_people_write_them(text: str, periods: set[tuple[int, int]]) -> None:
    assert named(text) == periods


def test_a_year_within_a_decade_or_a_season_is_named_by_it() -> None:
    assert share_named(named("in 1994"), named("during the 1990s")) == 1
    assert share_named(named("in the 1990s"), named("founded in 1994")) == 1
    assert share_named(named("in 2016"), named("the season 2015/16")) == 1
    assert share_named(named("in 2016"), named("in 2017")) == 0
    assert share_named(named("from 2016 to 2018"), named("in 2016")) == 0.5
    assert share_named(named("when"), named("in 2016")) == 0


@given(st.text(), st.text())
def test_no_text_is_too_odd_to_be_read(one: str, other: str) -> None:
    assert 0 <= share_named(named(one), named(other)) <= 1


def test_passages_that_name_the_questions_years_go_first() -> None:
    said = EmbeddedReranker().rerank(
        "Who chaired the board from 2005 to 2006?",
        [passage("Ann did, from 2003 to 2005."), passage("Bob, 2005–2006."), passage("Cy, long ago.")],
    )
    assert said == [0.5, 1.0, 0.0]


def test_titles_and_headings_name_years_too() -> None:
    said = EmbeddedReranker().rerank(
        "revenue in 2022",
        [passage("It rose.", title="Report 2021"), passage("It fell.", title="Report 2022"),
         passage("It stood.", heading="Figures › 2022")],
    )  # fmt: skip
    assert said == [0.0, 1.0, 1.0]


def test_it_looks_at_no_question_without_a_year() -> None:
    assert EmbeddedReranker().looks("Who chaired the board in 2005?")
    assert not EmbeddedReranker().looks("Who chaired the board?")
    assert set(EmbeddedReranker().rerank("Who chaired the board?", [passage("In 2005."), passage("Cy.")])) == {0.0}
    assert EmbeddedReranker().rerank("Who in 2005?", []) == []


def test_a_year_outweighs_a_near_tie_and_not_a_clear_lead() -> None:
    near = blended([0.62, 0.61, 0.4, 0.3, 0.2], [0, 1, 0, 0, 0], EmbeddedReranker.share)
    assert near[1] > near[0]
    far = blended([0.95, 0.3, 0.29, 0.28, 0.27], [0, 0, 0, 0, 1], EmbeddedReranker.share)
    assert far[0] > far[4]


def test_the_setting_names_it() -> None:
    reranker = make_reranker("embedded")
    assert reranker is not None
    assert reranker.name == "embedded"
