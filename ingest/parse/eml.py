"""Mail as it travels (.eml, RFC 5322): read with the standard library's `email`."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import default

from ingest.parse import mail
from ingest.parse.encoding import decode
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import damaged
from kernel.errors import FileRefused
from kernel.types import Parsed

MEDIA_TYPE = "message/rfc822"

_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_NEEDED = ("From", "To", "Date", "Subject", "Message-ID", "Received", "MIME-Version", "Content-Type")


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The message under its subject, with what is attached to it.

    Raises:
        FileRefused: `broken_eml` for a file without headers, `limit_max_nesting`, or another limit.
    """
    return mail.compose(letter(content, name), name=name, media_type=MEDIA_TYPE, limits=limits)


def letter(content: bytes, name: str) -> mail.Letter:
    """The message in these bytes.

    Raises:
        FileRefused: `broken_eml`.
    """
    message = BytesParser(policy=default).parsebytes(content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"))
    if not any(_header(message, header) for header in _NEEDED):
        raise damaged(name, "mail message", "it has no headers", "broken_eml")
    return _letter(message)


def _letter(message: Message) -> mail.Letter:
    found: dict[str, str] = {}
    attachments: list[mail.Attachment] = []
    _collect(message, found, attachments)
    return mail.Letter(
        subject=_header(message, "Subject"),
        headers=tuple((header, _header(message, header)) for header in _SHOWN),
        text=found.get("plain", ""),
        html=found.get("html", ""),
        attachments=tuple(attachments),
    )


def _collect(message: Message, found: dict[str, str], attachments: list[mail.Attachment]) -> None:
    """Sort the leaves of a message into its body and what is attached; without recursion, since parts may nest."""
    pending: list[tuple[Message, bool]] = [(message, False)]
    while pending:
        part, alternative = pending.pop()
        subtype = part.get_content_subtype()
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            children = [child for child in part.get_payload() if isinstance(child, Message)]
            pending += [(child, subtype == "alternative") for child in reversed(children)]
        elif part.get_content_type() == "message/rfc822" and part.is_multipart():
            inner = part.get_payload(0)
            if isinstance(inner, Message):
                label = _header(inner, "Subject") or f"message {len(attachments) + 1}"
                attachments.append(mail.Attachment(name=label, letter=_opener(inner)))
        elif _is_body(part):
            text = _text(part)
            # The first of each kind is the body; a further one beside it (a list's footer) goes on.
            if subtype not in found:
                found[subtype] = text
            elif not alternative:
                found[subtype] += f"\n\n{text}"
        else:
            content = part.get_payload(decode=True)
            if isinstance(content, bytes) and content:
                suffix = mimetypes.guess_extension(part.get_content_type()) or ""
                label = mail.plain_name(_file_name(part), len(attachments) + 1, suffix)
                inline = part.get_content_disposition() != "attachment"
                attachments.append(mail.Attachment(name=label, content=content, inline=inline))


def _opener(message: Message) -> Callable[[], mail.Letter]:
    return lambda: _letter(message)


def _is_body(part: Message) -> bool:
    return (
        part.get_content_type() in ("text/plain", "text/html")
        and part.get_content_disposition() != "attachment"
        and not _file_name(part)
    )


def _text(part: Message) -> str:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes) or not content.strip():
        return ""
    try:
        charset = part.get_content_charset()
        if charset and charset not in ("us-ascii", "ascii"):
            return content.decode(charset)
    except (LookupError, UnicodeDecodeError):
        pass  # a charset that nobody knows, or that is not true
    try:
        return decode(content, "the message")
    except FileRefused:
        return content.decode("latin-1")


def _file_name(part: Message) -> str | None:
    try:
        return part.get_filename()
    except Exception:  # headers of spam make the standard library raise many kinds
        return None


def _header(message: Message, name: str) -> str:
    try:
        return str(message[name] or "")
    except Exception:
        if isinstance(message, EmailMessage):
            raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
            return str(raw)
        return ""
