"""Questions by rule: what is asked of a section, in three languages, and what is left alone."""

from __future__ import annotations

import pytest

from ingest.parse import markdown
from ingest.sections import sections
from rehearsal.drafts import Draft, Section, drafts, small_words


def asked(text: str, language: str = "en") -> tuple[str, dict[str, Draft]]:
    parsed = markdown.read(text.encode(), "page.md")
    found = {}
    for section in sections(parsed):
        whole = Section(
            text=parsed.text[section.start : section.end],
            start=section.start,
            heading=" › ".join(section.path),
            title=parsed.title,
            language=language,
            small=small_words(parsed.text),
        )
        found |= {draft.question: draft for draft in drafts(whole)}
    return parsed.text, found


PAGES = {
    "en": (
        """# Manual

## What is a leave?

A leave is a number of days on which nobody has to work.

## Booking a trip

Trips are booked in the portal, at the latest a week ahead. A **trip** is a journey of more than one day.

| item | price | meaning |
|---|---|---|
| hotel | 120 euros | a night at the place |
| train | second class | the way to the place |
""",
        {
            "What is a leave?": "A leave is a number of days on which nobody has to work.",
            "How do I go about booking a trip?": "",
            "What is a trip?": "A trip is a journey of more than one day.",
            "What is the price of hotel?": "120 euros",
            "What does train mean?": "the way to the place",
        },
    ),
    "de": (
        """# Handbuch

## Wie lange dauert die Prüfung?

Die Prüfung dauert höchstens fünf Arbeitstage.

## Urlaub beantragen

Der Antrag wird über das Portal gestellt. Ein Antrag ist eine schriftliche Bitte um freie Tage.

| Posten | Höchstbetrag |
|---|---|
| Hotel | 120 Euro |
""",
        {
            "Wie lange dauert die Prüfung?": "Die Prüfung dauert höchstens fünf Arbeitstage.",
            "Wie kann ich Urlaub beantragen?": "",
            "Was ist ein Antrag?": "Ein Antrag ist eine schriftliche Bitte um freie Tage.",
            "Was steht unter Höchstbetrag bei Hotel?": "120 Euro",
        },
    ),
    "es": (
        """# Manual

## ¿Cuánto dura la revisión?

La revisión dura como máximo cinco días laborables.

## Solicitar vacaciones

La solicitud se presenta en el portal del personal. Una solicitud es una petición por escrito de días libres.

| Concepto | Importe |
|---|---|
| Hotel | 120 euros |
""",
        {
            "¿Cuánto dura la revisión?": "La revisión dura como máximo cinco días laborables.",
            "¿Cómo puedo solicitar vacaciones?": "",
            "¿Qué es una solicitud?": "Una solicitud es una petición por escrito de días libres.",
            "¿Qué figura como importe en Hotel?": "120 euros",
        },
    ),
}


@pytest.mark.parametrize("language", PAGES)
def test_headings_definitions_and_rows_are_asked_about(language: str) -> None:
    page, wanted = PAGES[language]
    text, found = asked(page, language)
    wanted = {q.replace("importe", "Importe"): a for q, a in wanted.items()}
    assert {question: draft.answer for question, draft in found.items()} == wanted
    for draft in found.values():
        quote = text[draft.start : draft.end]
        assert quote.strip() == quote != ""
        words = draft.answer.replace("*", "").split()
        assert all(word in quote.replace("*", "") for word in words)


@pytest.mark.parametrize(
    ("sentence", "language"),
    [
        ("This is a sentence about something else.", "en"),
        ("The price is the part that hurts the most.", "en"),
        ("The steps are the same in both of the profiles.", "en"),
        ("The list is empty when nobody has asked.", "en"),
        ("A good example is the house across the street.", "en"),
        ("There is a house across the street from here.", "en"),
        ("Darüber hinaus ist die Miete eine Ausgabe des Amts.", "de"),
        ("Ein Beispiel für ein solches Recht ist die Zulassung.", "de"),
        ("Una causa creciente son los ataques a docentes.", "es"),
        ("La colección de trajes es la más completa del país.", "es"),
    ],
)
def test_a_sentence_that_defines_nothing_is_left_alone(sentence: str, language: str) -> None:
    assert asked(sentence, language)[1] == {}


def test_a_language_without_rules_gives_only_what_is_asked_already() -> None:
    _, found = asked(
        "# Käsikirja\n\n## Kuinka kauan tarkastus kestää?\n\nTarkastus kestää enintään viisi päivää.\n", "fi"
    )
    assert list(found) == ["Kuinka kauan tarkastus kestää?"]


def test_headings_that_name_nothing_and_tables_without_columns_are_left_alone() -> None:
    text = "# Page\n\n## Overview\n\nThis page has what you need to begin.\n\n| a | b |\n| c | d |\n"
    assert asked(text)[1] == {}


def test_lines_of_names_and_values_are_asked_about_where_there_are_several() -> None:
    text = "# Terms\n\n- **Lease**: a right to act that runs out.\n- **Flip**: the step that shows it.\n- Owner: Ann\n"
    _, found = asked(text)
    assert found["What does Lease mean?"].answer == "a right to act that runs out."
    assert found["What is given as Owner for Terms?"].answer == "Ann"
    assert asked("# Terms\n\nNote: this is one line with a colon in it.\n")[1] == {}


def test_of_lines_that_were_joined_no_name_is_asked_about() -> None:
    joined = "Person: Maria Lopez\nStreet: Long Lane in town"
    _, found = asked(f"# Staff\n\n{joined}\n\nCity: Bonn on the river\n\nBadge: the card that opens doors\n")
    assert {question: draft.answer for question, draft in found.items()} == {
        "What does City mean?": "Bonn on the river",
        "What does Badge mean?": "the card that opens doors",
    }


def test_what_several_places_answer_is_a_draft_for_each_of_them() -> None:
    rows = "| Berlin | 10 euros | a day |\n| Berlin | 20 euros | a week |\n| Bonn | 30 euros | a month |\n"
    table = f"| City | Fee | Term |\n|---|---|---|\n{rows}"
    found = drafts(Section(text=table, start=0, heading="Terms", language="en"))
    assert [(draft.question, draft.answer) for draft in found] == [
        ("What is given as Fee for Berlin?", "10 euros"),
        ("What is given as Fee for Berlin?", "20 euros"),
        ("What is given as Fee for Bonn?", "30 euros"),
    ]


@pytest.mark.parametrize(
    ("heading", "language", "question"),
    [
        ("Booking a room", "en", "How do I go about booking a room?"),
        ("Opening your account", "en", "How do I go about opening your account?"),
        ("Printing and scanning", "en", "How do I go about printing and scanning?"),
        ("Logging in", "en", "How do I go about logging in?"),
        ("Opening hours", "en", "What should I know about Opening hours?"),
        ("Billing address", "en", "What should I know about Billing address?"),
        ("Request a day off", "en", "How do I request a day off?"),
        ("Konto schließen", "de", "Wie kann ich Konto schließen?"),
        ("Geld zurückgeben", "de", "Wie kann ich Geld zurückgeben?"),
        ("Termin verschieben", "de", "Wie kann ich Termin verschieben?"),
        ("Passwort vergessen", "de", "Was sollte ich über Passwort vergessen wissen?"),
        ("Karte verloren", "de", "Was sollte ich über Karte verloren wissen?"),
        ("Antrag angenommen", "de", "Was sollte ich über Antrag angenommen wissen?"),
        ("Neues von gestern", "de", "Was sollte ich über Neues von gestern wissen?"),
        ("Reservar una sala", "es", "¿Cómo puedo reservar una sala?"),
        ("Taller de prensa", "es", "¿Qué debería saber sobre Taller de prensa?"),
        ("Alquiler vacacional", "es", "¿Qué debería saber sobre Alquiler vacacional?"),
        ("Líder del equipo", "es", "¿Qué debería saber sobre Líder del equipo?"),
    ],
)
def test_a_heading_is_asked_about_as_a_deed_only_where_it_is_one(heading: str, language: str, question: str) -> None:
    _, found = asked(f"# Page\n\n## {heading}\n\nThe desk answers from nine to five every day.\n", language)
    assert list(found) == [question]
