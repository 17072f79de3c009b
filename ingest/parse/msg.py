"""Mail as Outlook keeps it (.msg): read with python-oxmsg."""

from __future__ import annotations

import mimetypes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from io import BytesIO
from typing import TYPE_CHECKING

from ingest.parse import mail
from ingest.parse.encoding import decode
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import damaged
from kernel.errors import FileRefused
from kernel.types import Parsed

if TYPE_CHECKING:
    from oxmsg import Message
    from oxmsg.recipient import Recipient

MEDIA_TYPE = "application/vnd.ms-outlook"

_HTML, _RTF, _ATTACH_METHOD, _SHORT_NAME, _DISPLAY_NAME = 0x1013, 0x1009, 0x3705, 0x3704, 0x3001
_CONTENT_ID, _EMBEDDED = 0x3712, 5


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The message under its subject, with what is attached to it.

    Raises:
        FileRefused: `broken_msg`, `limit_max_nesting`, or another limit.
    """
    return mail.compose(letter(content, name), name=name, media_type=MEDIA_TYPE, limits=limits)


def letter(content: bytes, name: str) -> mail.Letter:
    """The message in these bytes.

    Raises:
        FileRefused: `broken_msg`.
    """
    from oxmsg import Message

    try:
        message = Message.load(BytesIO(content))
        return _letter(message)
    except FileRefused:
        raise
    except Exception as exc:
        raise damaged(name, "Outlook message", f"{type(exc).__name__}: {exc}", "broken_msg") from exc


def _letter(message: Message) -> mail.Letter:
    headers = {key.lower(): _words(value) for key, value in message.message_headers.items()}
    people = [_person(person) for person in message.recipients]
    sent = message.sent_date
    text, markup, notes = message.body or "", "", []
    if not text.strip():
        markup = _markup(message)
    if not text.strip() and not markup.strip():
        text = _rich_text(message)
    attachments = []
    for number, attachment in enumerate(message.attachments, 1):
        properties = attachment.properties
        called = (
            attachment.file_name or properties.str_prop_value(_SHORT_NAME) or properties.str_prop_value(_DISPLAY_NAME)
        )
        if properties.int_prop_value(_ATTACH_METHOD) == _EMBEDDED or attachment.file_bytes is None:
            notes.append(f"{called or 'An attachment'!r} is embedded in Outlook's own way and was left out.")
            continue
        suffix = mimetypes.guess_extension(attachment.mime_type or "") or ""
        attachments.append(
            mail.Attachment(
                name=mail.plain_name(called, number, suffix),
                content=attachment.file_bytes,
                inline=properties.str_prop_value(_CONTENT_ID) is not None,
            )
        )
    return mail.Letter(
        subject=message.subject,
        headers=(
            ("From", headers.get("from") or _words(message.sender or "")),
            ("To", headers.get("to") or "; ".join(person for person in people if person)),
            ("Cc", headers.get("cc", "")),
            ("Date", headers.get("date") or (sent.strftime("%a, %d %b %Y %H:%M:%S %z") if sent else "")),
            ("Subject", message.subject),
        ),
        text=text,
        html=markup,
        attachments=tuple(attachments),
        notes=tuple(notes),
    )


def _words(header: str) -> str:
    """A header without its encoding for the wire."""
    try:
        return str(make_header(decode_header(header)))
    except (LookupError, ValueError, HeaderParseError):
        return header


def _person(recipient: Recipient) -> str:
    address = recipient.email_address or ""
    if address.startswith("/"):  # a place in a company's directory, which tells nobody anything
        address = ""
    if not recipient.name or recipient.name == address:
        return address
    return f"{recipient.name} <{address}>" if address else recipient.name


def _rich_text(message: Message) -> str:
    """The words of a body that Outlook keeps as packed RTF."""
    packed = message.properties.binary_prop_value(_RTF)
    if not packed:
        return ""
    from compressed_rtf import decompress  # type: ignore[import-untyped]

    from ingest.parse import rtf

    try:
        return rtf.read(decompress(packed), "the message").text
    except FileRefused as refused:
        if refused.code == "no_text":
            return ""
        raise


def _markup(message: Message) -> str:
    try:
        return message.html_body or ""
    except (LookupError, UnicodeDecodeError):
        content = message.properties.binary_prop_value(_HTML)
        return decode(content, "the message") if content and content.strip() else ""
