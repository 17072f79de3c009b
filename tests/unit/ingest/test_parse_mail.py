"""A message is read with its headers, its body and what is attached, as deep as the limits allow."""

from __future__ import annotations

import json
from email.message import EmailMessage

import pytest

from ingest.parse import parse
from ingest.parse.limits import Limits
from kernel.errors import FileRefused
from kernel.types import Parsed

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)


def message(subject: str = "Plan", body: str = "Hello Ada,\n\nsee below.") -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Bob <bob@example.com>", "ada@example.com", subject
    mail["Date"] = "Mon, 16 Dec 2024 10:30:00 -0500"
    mail.set_content(body)
    return mail


def read(mail: EmailMessage, limits: Limits = Limits()) -> Parsed:
    return parse(mail.as_bytes(), "a.eml", limits)


def test_a_message_is_its_headers_and_its_body_under_its_subject() -> None:
    parsed = read(message("Übersicht für März"))
    assert parsed.text == (
        "Übersicht für März\n\nFrom: Bob <bob@example.com>\nTo: ada@example.com\n"
        "Date: Mon, 16 Dec 2024 10:30:00 -0500\nSubject: Übersicht für März\n\nHello Ada,\n\nsee below."
    )
    assert [(h.level, h.title, h.start) for h in parsed.headings] == [(1, "Übersicht für März", 0)]
    assert parsed.title == "Übersicht für März"


def test_plain_text_is_preferred_and_html_is_read_where_it_is_alone() -> None:
    both = message(body="the plain words")
    both.add_alternative("<p>the <b>rich</b> words", subtype="html")
    assert read(both).text.endswith("\n\nthe plain words")
    rich = message()
    rich.set_content("<h1>Top</h1><p>rich</p><table><tr><td>a<td>b</table>", subtype="html")
    parsed = read(rich)
    assert parsed.text.endswith("Top\n\nrich\n\n| a | b |\n| --- | --- |")
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "Plan"), (2, "Top")]


def test_attachments_that_can_be_read_are_parts_and_others_are_noted() -> None:
    mail = message()
    mail.add_attachment(b"# Notes\n\nText.\n", maintype="text", subtype="markdown", filename="notes.md")
    mail.add_attachment(
        json.dumps([{"a": 1, "b": 2}]).encode(), maintype="application", subtype="json", filename="d.json"
    )
    mail.add_attachment(b"\x7fELF\0\0", maintype="application", subtype="octet-stream", filename="tool")
    mail.add_attachment(PNG, maintype="image", subtype="png", filename="logo.png", disposition="inline")
    parsed = read(mail)
    assert parsed.text.endswith("notes.md\n\n# Notes\n\nText.\n\nd.json\n\n| a | b |\n| --- | --- |\n| 1 | 2 |")
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "Plan"), (2, "notes.md"), (3, "Notes"), (2, "d.json")]
    assert [parsed.text[start:end].count("\n") for start, end in parsed.blocks] == [2]
    assert any("'tool' was left out" in note for note in parsed.notes)
    assert any("'logo.png' in the message was left out" in note for note in parsed.notes)


def nested(depth: int) -> EmailMessage:
    mail = message("Innermost", "The core.")
    for n in range(depth):
        outer = message(f"Forward {n}")
        outer.add_attachment(mail)
        mail = outer
    return mail


def test_messages_within_messages_are_read_as_deep_as_the_limit() -> None:
    parsed = read(nested(2), Limits(max_nesting=2))
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "Forward 1"), (2, "Forward 0"), (3, "Innermost")]
    assert parsed.text.endswith("The core.")
    with pytest.raises(FileRefused) as caught:
        read(nested(3), Limits(max_nesting=2))
    assert caught.value.code == "limit_max_nesting"


def test_a_charset_that_nobody_knows_is_guessed() -> None:
    raw = b"From: a@b.c\r\nSubject: s\r\nContent-Type: text/plain; charset=x-unknown\r\n\r\nGr\xfc\xdfe aus K\xf6ln\r\n"
    assert parse(raw, "a.eml").text.endswith("Grüße aus Köln")


def test_broken_headers_harm_nothing() -> None:
    raw = b"From: =?utf-8?B?!!!?= <@@>\r\nTo: ;;,,\r\nDate: never\r\n"
    raw += b"Subject: =?x?y?z?=\r\nContent-Type: a/b/c;;=\r\n\r\nBody.\r\n"
    assert parse(raw, "a.eml").text.endswith("Body.")


def test_a_message_is_recognised_without_its_name() -> None:
    assert parse(message().as_bytes(), "download").media_type == "message/rfc822"
    assert parse(message().as_bytes(), "a.txt").media_type == "text/plain"


def test_a_file_without_headers_is_no_message() -> None:
    with pytest.raises(FileRefused) as caught:
        parse(b"Just some words.\n\nAnd more.\n", "a.eml")
    assert caught.value.code == "broken_eml"


def test_a_damaged_outlook_message_is_refused() -> None:
    with pytest.raises(FileRefused) as caught:
        parse(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "__properties_version1.0".encode("utf-16-le"), "a.msg")
    assert caught.value.code == "broken_msg"
