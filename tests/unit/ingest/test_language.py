"""The language of a text is told from its prose, and not told where there is too little of it."""

from __future__ import annotations

import pytest

from ingest.language import UNDETERMINED, language_of
from ingest.tags import LONGEST, normal, normalised
from kernel.errors import UserError

GERMAN = "Ein Paket kann innerhalb von dreißig Tagen zurückgeschickt werden. Der Tag der Zustellung zählt nicht mit."
ENGLISH = "A parcel can be sent back within thirty days of delivery. The day of delivery does not count."
CODE = (
    "```python\n"
    + "\n".join(f"def handler_{n}(request): return request.response(status={n})" for n in range(50))
    + "\n```"
)
TABLE = "\n".join(f"| {n} | 12.5 | net sales | total | yes | {n * 3} |" for n in range(80))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"),
        (GERMAN, "de"),
        ("Un colis peut être renvoyé dans les trente jours suivant la livraison. Le jour même ne compte pas.", "fr"),
        ("Un paquete puede devolverse dentro de los treinta días siguientes a la entrega del mismo.", "es"),
        ("荷物は配達日から三十日以内に返送することができます。配達日は数えません。", "ja"),
        ("Посылку можно вернуть в течение тридцати дней со дня доставки. День доставки не считается.", "ru"),
    ],
)
def test_the_language_of_a_few_sentences_is_told(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize("around", [CODE, TABLE])
def test_code_and_tables_do_not_outvote_the_prose(around: str) -> None:
    assert language_of(f"{around}\n\n{GERMAN}\n\n{around}") == "de"


@pytest.mark.parametrize(
    "text", ["", "Hello", "12.50 | 17 | 3", CODE, "x" * 500, "\ud800" * 30, "https://example.org/a/b/c"]
)
def test_what_is_no_prose_has_no_language(text: str) -> None:
    assert language_of(text) == UNDETERMINED


def test_most_of_a_long_text_decides_and_not_its_beginning() -> None:
    assert language_of("\n".join([ENGLISH] * 3 + [GERMAN] * 100)) == "de"


def test_a_tag_has_one_form() -> None:
    assert normal("  Human \t Resources ") == "human resources"
    assert normalised(["HR", "hr", "ＨＲ", "Straße", "STRASSE"]) == ("hr", "strasse")


@pytest.mark.parametrize("tag", ["", "  ", "a,b", "a\x00b", "x" * (LONGEST + 1)])
def test_what_cannot_be_a_tag_is_refused(tag: str) -> None:
    with pytest.raises(UserError) as refused:
        normal(tag)
    assert refused.value.code == "bad_tag"
