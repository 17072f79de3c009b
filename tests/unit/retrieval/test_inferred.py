"""A scope is inferred where a question says where it looks, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retrieval.catalogue import Catalogue, Entry, card_of
from retrieval.inferred import FEW, Inferred, infer
from retrieval.naming import words_of


def catalogue(*named: str | tuple[str, str] | tuple[str, str, str]) -> Catalogue:
    """A catalogue of names, of names and titles, or with a tag as well. Ids are the names."""
    entries = []
    for one in named:
        name, title, *tags = (one, "") if isinstance(one, str) else one
        entries.append(Entry(id=name, name=name, title=title, tags=tuple(tags)))
    return Catalogue(map(card_of, entries))


COMPANY = catalogue(
    ("policies/travel-policy.md", "Travel policy"),
    ("policies/privacy.md", "Privacy policy"),
    ("handbook.pdf", "Employee handbook"),
    ("Reiserichtlinie.docx", "Reiserichtlinie"),
    ("Remote work.md", "Remote work"),
    ("minutes/2021-05-04.md", "Board meeting", "finance"),
    ("minutes/2021-06-01.md", "Board meeting", "finance"),
    ("oxygen.md", "Oxygen"),
    ("guides/quickstart.md", "QuickStart"),
    ("monetary policy.md", "Monetary policy"),
)
FILINGS = catalogue(
    *(f"{who}_{year}_10K.pdf" for who in ("ACME", "GLOBEX") for year in (2019, 2020, 2021, 2022)),
    "ACME_2023Q1_EARNINGS.pdf",
    "ACME_2023_8K_dated-2023-05-05.pdf",
    "Initech annual report 2022 (final).pdf",
    "hooli-inc-2022-10-q.pdf",
    "BIGSTORES_2022_10K.pdf",
    "BIGSTORES_2023_10K.pdf",
)


def meant(question: str, among: Catalogue) -> set[str] | None:
    """The documents a question is surely about."""
    found = infer(question, among)
    return set(found.documents) if found and found.sure else None


@pytest.mark.parametrize(
    ("question", "documents"),
    [
        ("How long is parental leave in handbook.pdf?", {"handbook.pdf"}),
        ("What does policies/privacy.md say of cookies?", {"policies/privacy.md"}),
        ("What does 2021-06-01.md decide?", {"minutes/2021-06-01.md"}),
        ("In minutes/2021-06-01.md, who voted?", {"minutes/2021-06-01.md"}),
        ("Does Remote work.md allow a desk at home?", {"Remote work.md"}),
        ("According to the travel policy, who pays for trains?", {"policies/travel-policy.md"}),
        ("Who pays for trains according to our travel policy?", {"policies/travel-policy.md"}),
        ("Which hotels are allowed as described in the travel policies?", {"policies/travel-policy.md"}),
        ("What does the privacy policy say about cookies?", {"policies/privacy.md"}),
        ("Is overtime paid, as stated in the employee handbook?", {"handbook.pdf"}),
        ("Is overtime paid according to the handbook?", {"handbook.pdf"}),
        ("Was gilt laut der Reiserichtlinie für Hotels?", {"Reiserichtlinie.docx"}),
        ("Was steht in der Reiserichtlinie über Hotels?", {"Reiserichtlinie.docx"}),
        (
            "How does the travel policy differ from the privacy policy?",
            {"policies/travel-policy.md", "policies/privacy.md"},
        ),
        ("Is it in handbook.pdf and in the travel policy?", {"handbook.pdf", "policies/travel-policy.md"}),
        (
            "Who pays according to the travel policy and the privacy policy?",
            {"policies/travel-policy.md", "policies/privacy.md"},
        ),
        ("In the quickstart guide, how is a request sent?", {"guides/quickstart.md"}),
        ("Who may stay at home in the Remote Work document?", {"Remote work.md"}),
        ("Which days does “Remote work” name?", {"Remote work.md"}),
        ("Who voted in the finance documents?", {"minutes/2021-05-04.md", "minutes/2021-06-01.md"}),
    ],
)
def test_a_question_that_says_where_it_looks_is_taken_at_its_word(question: str, documents: set[str]) -> None:
    assert meant(question, COMPANY) == documents


@pytest.mark.parametrize(
    "question",
    [
        "Who pays for trains?",
        "What is the atomic number of oxygen?",
        "How much oxygen is in the air of 2021?",
        "Is there a privacy policy?",
        "How does monetary policy work?",
        "Can travel be booked by an employee?",
        "May I work in the evening?",
        "Who works according to plan?",
        "Does the policy apply to travel in the EU?",
        "Is 'travel' a word?",
        "What happened in 2021?",
        "Wer zahlt die Reise im Jahr 2021?",
        "",
        "???",
    ],
)
def test_a_question_that_only_has_words_of_a_title_is_asked_of_all_documents(question: str) -> None:
    assert meant(question, COMPANY) is None


@pytest.mark.parametrize(
    ("question", "documents"),
    [
        ("In the 2022 10-K of Acme, what was revenue?", {"ACME_2022_10K.pdf"}),
        ("In the 2022 10K of Acm, what was revenue?", None),
        ("What was revenue in Acme's 10-K for 2021?", {"ACME_2021_10K.pdf"}),
        ("What is the FY2022 capital expenditure of Acme?", {"ACME_2022_10K.pdf"}),
        ("what was acme's revenue in fiscal 2022", {"ACME_2022_10K.pdf"}),
        ("What was Acme's revenue in FY22?", {"ACME_2022_10K.pdf"}),
        ("Is Globex capital intensive based on 2022 data?", {"GLOBEX_2022_10K.pdf"}),
        ("Did Acme earn more than Globex in FY2021?", {"ACME_2021_10K.pdf", "GLOBEX_2021_10K.pdf"}),
        ("What is Acme's average margin from FY2019 to FY2021?", {f"ACME_{y}_10K.pdf" for y in (2019, 2020, 2021)}),
        ("Has Acme's debt grown between 2021 and 2022?", {"ACME_2021_10K.pdf", "ACME_2022_10K.pdf"}),
        ("As of FY2023Q1, why did Acme raise its guidance?", {"ACME_2023Q1_EARNINGS.pdf"}),
        (
            "How did shareholders of Acme vote in May 2023?",
            {"ACME_2023Q1_EARNINGS.pdf", "ACME_2023_8K_dated-2023-05-05.pdf"},
        ),
        ("What did Acme earn in the first quarter of FY2023?", {"ACME_2023Q1_EARNINGS.pdf"}),
        ("What did Acme announce in its 8-K of 2023?", {"ACME_2023_8K_dated-2023-05-05.pdf"}),
        ("What was paid out in Initech's 2022 annual report?", {"Initech annual report 2022 (final).pdf"}),
        ("Is Big Stores capital intensive based on FY2022 data?", {"BIGSTORES_2022_10K.pdf"}),
        ("In the 2023 10-K of Big Stores, what was revenue?", {"BIGSTORES_2023_10K.pdf"}),
        ("Did Hooli hire in FY2022?", {"hooli-inc-2022-10-q.pdf"}),
    ],
)
def test_a_yearly_document_is_known_by_whom_and_which_year(question: str, documents: set[str] | None) -> None:
    assert meant(question, FILINGS) == documents


@pytest.mark.parametrize(
    "question",
    [
        "What was revenue in 2022?",  # whose?
        "What was the revenue of Acme?",  # when?
        "Did Acme earn more in FY2023 than Initech?",  # of one of them that year is not there
        "What was acme's revenue of 2022?",  # no sign that acme is a name
        "Was Acme founded in 1905?",
    ],
)
def test_half_a_name_is_no_scope(question: str) -> None:
    assert meant(question, FILINGS) is None


def test_a_plain_year_is_no_sign_where_something_else_is_about_them_too() -> None:
    mixed = catalogue("Acme annual report 2021.pdf", "Acme annual report 2022.pdf", "Acme opens a shop.md", "other.md")
    assert meant("How many shops of Acme opened in 2022?", mixed) is None
    assert meant("How many shops of Acme opened in FY2022?", mixed) == {"Acme annual report 2022.pdf"}


def test_what_is_less_than_sure_is_suggested() -> None:
    found = infer("what was acme's revenue of 2022?", FILINGS)
    assert isinstance(found, Inferred)
    assert not found.sure
    assert found.names == ("ACME_2022_10K.pdf",)


def test_too_many_documents_are_no_scope() -> None:
    many = catalogue(*(f"ACME_{year}_10K.pdf" for year in range(2000, 2024)), "other.md")
    assert meant("What was Acme's margin from FY2001 to FY2004?", many) is not None
    assert meant(f"What was Acme's margin from FY2001 to FY{2001 + FEW}?", many) is None


def test_a_scope_of_everything_and_of_the_only_document_is_none() -> None:
    assert infer("What is in handbook.pdf?", catalogue("handbook.pdf")) is None
    assert infer("What is in a.pdf and b.pdf?", catalogue("a.pdf", "b.pdf")) is None
    assert meant("What is in a.pdf and b.pdf?", catalogue("a.pdf", "b.pdf", "c.pdf")) == {"a.pdf", "b.pdf"}


def test_no_question_about_the_guide_is_kept_from_the_page_with_its_answer() -> None:
    docs = Path(__file__).resolve().parents[3] / "docs"
    titled = {page.name: page.read_text(encoding="utf-8").splitlines()[0] for page in (docs / "guide").glob("*.md")}
    pages = catalogue(*titled.items())
    rows = [json.loads(line) for line in (docs / "demo" / "examples.jsonl").read_text(encoding="utf-8").splitlines()]
    found = {row["question"]: meant(row["question"], pages) for row in rows}
    wrong = [row["question"] for row in rows if row["document"] not in (found[row["question"]] or {row["document"]})]
    assert len(rows) > 200
    assert wrong == []


def test_the_phrase_that_is_told_stands_in_the_question() -> None:
    question = "Who pays for trains according to the Travel Policy of 2021?"
    found = infer(question, COMPANY)
    assert found is not None
    assert found.phrase in question
    assert found.reason == "named"


def test_a_catalogue_that_was_changed_is_the_one_made_anew() -> None:
    before, after = ("a_2021_10K.pdf", "b.md", "c report.md"), ("b.md", "c report.md", "d policy 2022.md")
    of = {name: card_of(Entry(id=name, name=name)) for name in {*before, *after}}
    changed = Catalogue(of[name] for name in before).changed([of["a_2021_10K.pdf"]], [of["d policy 2022.md"]])
    anew = Catalogue(of[name] for name in after)
    for what in ("cards", "by_word", "by_file", "by_title", "by_tag", "by_subject"):
        assert getattr(changed, what) == getattr(anew, what)
    assert len(Catalogue(of[name] for name in before)) == 3


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("PEPSICO_2022_10K", ["pepsico", "2022", "10k"]),
        ("the 10-K, the 10K and the 8-K", ["the", "10k", "the", "10k", "and", "the", "8k"]),
        ("FY2023Q1", ["fy", "2023", "q1"]),
        ("FY22, 22 people", ["fy", "2022", "22", "people"]),
        ("Nike's policies and taxes", ["nike", "policy", "and", "tax"]),
        ("Löhne, Straße, Crème", ["lohne", "strasse", "creme"]),
        ("123k 2022A covid-19", ["123", "2022", "covid", "19"]),
    ],
)
def test_names_and_questions_are_cut_alike(text: str, keys: list[str]) -> None:
    words = words_of(text)
    assert [word.key for word in words] == keys
    assert all(text[word.start : word.end] for word in words)
