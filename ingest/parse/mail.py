"""A message as text, whatever file it came in: who wrote to whom, what was written, and what was attached.

Attachments that can be read are parts of the text below a heading; those that cannot are named in a note. Messages
within messages are followed as deep as the limits allow. It knows nothing of the files themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from ingest.parse.compose import Composer
from ingest.parse.limits import Limits
from ingest.parse.titles import one_line, stem
from kernel.errors import FileRefused
from kernel.types import Parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file within a message; `letter` opens it where it is a message itself."""

    name: str
    content: bytes = b""
    letter: Callable[[], Letter] | None = None
    inline: bool = False
    """Part of how the body looks: a logo, a picture in a signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message. `headers` are the ones that a reader looks at, in order; empty ones are left out."""

    subject: str
    headers: tuple[tuple[str, str], ...]
    text: str = ""
    html: str = ""
    attachments: tuple[Attachment, ...] = ()
    notes: tuple[str, ...] = ()


def compose(letter: Letter, *, name: str, media_type: str, limits: Limits) -> Parsed:
    """The message as a text under its subject; the title is the subject, else the file's stem.

    Raises:
        FileRefused: `limit_max_nesting`, `limit_max_members` or `limit_max_text_mb`.
    """
    composer = Composer(name, limits)
    title = one_line(letter.subject)[:200]
    composer.heading(1, title)
    _write(letter, composer, name, limits, depth=0)
    return composer.finish(title=title or stem(name), media_type=media_type)


def _write(letter: Letter, composer: Composer, name: str, limits: Limits, *, depth: int) -> None:
    composer.paragraph("\n".join(f"{label}: {one_line(value)}" for label, value in letter.headers if value.strip()))
    if letter.text.strip():
        for paragraph in letter.text.replace("\r\n", "\n").split("\n\n"):
            composer.paragraph(paragraph)
    elif letter.html.strip():
        from ingest.parse import html

        composer.part(html.fragment(letter.html, name, limits), below=1 + depth)
    for note in letter.notes:
        composer.note(note)
    limits.check(name, "max_members", len(letter.attachments), "attachments")
    for attachment in letter.attachments:
        _attached(attachment, composer, name, limits, depth=depth + 1)


def _attached(attachment: Attachment, composer: Composer, name: str, limits: Limits, *, depth: int) -> None:
    from ingest.parse import parse
    from ingest.parse.detect import detect

    called = one_line(attachment.name)[:200] or "attachment"
    try:
        letter = attachment.letter
        kind = "eml" if letter else detect(attachment.content, called)
        if kind == "image" and attachment.inline:
            composer.note(f"The picture {called!r} in the message was left out.")
            return
        if letter is None and kind in ("eml", "msg"):
            content, suffix = attachment.content, kind
            letter = lambda: _opened(content, called, suffix)  # noqa: E731 a def would hide the two cases
        if letter is not None:
            limits.check(name, "max_nesting", depth, "messages, each attached to the one before")
            inner = letter()
            composer.heading(depth + 1, one_line(inner.subject)[:200] or called)
            _write(inner, composer, name, limits, depth=depth)
            return
        parsed = parse(attachment.content, called, limits)
    except FileRefused as refused:
        if refused.code == "limit_max_nesting":
            raise
        composer.note(f"The attachment {called!r} was left out: {refused.message}.")
        return
    composer.heading(depth + 1, called)
    composer.part(parsed, below=depth + 1)


def _opened(content: bytes, name: str, kind: str) -> Letter:
    from ingest.parse import eml, msg

    return eml.letter(content, name) if kind == "eml" else msg.letter(content, name)


def plain_name(name: str | None, number: int, suffix: str = "") -> str:
    """The name of an attachment without folders, or one that counts."""
    return PurePath((name or "").replace("\\", "/")).name or f"attachment {number}{suffix}"
