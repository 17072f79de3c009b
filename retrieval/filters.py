"""Filters: which documents a question may look in, and the one place that resolves them.

A filter narrows and never widens: what cannot be expressed is an error, and what matches nothing matches nothing. It is
resolved in SQL, at the epoch and time of the question, to ids of documents; the index then sees only those. Language,
media type and dates are those of the version that counts then, so a filter and `--as-of` agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from ingest.language import Languages
from ingest.place import PUBLISHED
from ingest.tables import Document, Tag, Version
from ingest.tags import normalised
from kernel.database import Database
from kernel.errors import NotFound, UserError
from kernel.ids import parse_time
from kernel.types import When

MOST = 200
"""Values of one filter."""
DAY_MS = 24 * 3600 * 1000
_DAY = re.compile(r"\s*\d{4}-?\d\d-?\d\d\s*")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_MEDIA_TYPE = re.compile(r"[\w.+*-]+/[\w.+*-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a document must be to be looked in: all of what is given. Nothing given: any document.

    Several values of one field are alternatives, but for `tags`, of which a document must have all.
    """

    documents: tuple[str, ...] = ()
    """Ids, exact names, or patterns of names: `*` is any run of characters, also with a slash, `?` is one."""
    sources: tuple[str, ...] = ()
    """A source, what lies below it, or a pattern."""
    tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    """ISO 639 codes; `und` where a language could not be told."""
    media_types: tuple[str, ...] = ()
    """Such as `application/pdf`, or a pattern such as `text/*`."""
    since: int | None = None
    until: int | None = None
    """First and last millisecond (UTC) at which the version may have begun to count."""

    @property
    def given(self) -> bool:
        return self != Filters()

    @classmethod
    def of(cls, asked: Mapping[str, Any] | None) -> Filters:
        """Filters from the JSON of a request: lists of strings, and ISO 8601 times. A day as `until` is all of it.

        Raises:
            UserError: a field there is none of, a value that does not fit, or `since` after `until`.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(asked or ()) - set(known))
        if unknown:
            raise UserError(f"no filter {unknown[0]!r}", hint=f"there are: {', '.join(known)}", code="bad_filter")
        told = {name: value for name, value in (asked or {}).items() if value is not None and value != []}
        made: dict[str, Any] = {name: _words(name, told[name]) for name in told if name not in ("since", "until")}
        for name in {"tags", "any_tags"} & made.keys():
            made[name] = normalised(made[name])
        if "languages" in made:
            made["languages"] = tuple(sorted({_language(code) for code in made["languages"]}))
        for media_type in made.get("media_types", ()):
            if not _MEDIA_TYPE.fullmatch(media_type):
                raise _unfit("media_types", media_type, "give a type such as application/pdf, or text/*")
        for name in {"since", "until"} & told.keys():
            made[name] = _time(name, told[name])
        if made.get("since", 0) > made.get("until", 2**63):
            raise UserError("the filter's `since` is after its `until`", hint="exchange them", code="bad_filter")
        return cls(**made)


class Filtering:
    """Resolves filters. Safe from several threads."""

    def __init__(self, db: Database, languages: Languages) -> None:
        self._db, self._languages = db, languages

    def documents(self, filters: Filters, workspace: str | None, when: When) -> frozenset[str]:
        """Ids of the documents in `workspace`, in any where it is None, that fit at `when`; often none.

        Raises:
            NotFound: a document that is named, without a pattern, is not there.
        """
        if filters.languages:
            self._languages.fill()  # versions of before languages were told must not be left out
        with self._db.read() as session:
            rows = session.execute(_relational(filters, workspace, when)).all()
            named = _any(filters.documents, _pattern)
            below = _any(filters.sources, _below)
            kind = _any(filters.media_types, _pattern)
            found = frozenset(
                row.id
                for row in rows
                if (not filters.documents or row.id in filters.documents or named(row.name))
                and (not filters.sources or below(row.source))
                and (not filters.media_types or kind(row.media_type))
            )
            _check_named(session, filters.documents, workspace)
        return found

    def counting(self, documents: Sequence[str], workspace: str | None, when: When) -> frozenset[str]:
        """Those of the documents (ids) that have a version which counts at `when`."""
        with self._db.read() as session:
            rows = session.execute(_counting(workspace, when).where(Document.id.in_(documents)))
            return frozenset(row.id for row in rows)


def _counting(workspace: str | None, when: When) -> Select[str, str, str, str]:
    """Documents, each with the version that counts at `when`, by the rule of `ingest.place.place`."""
    wanted = (
        select(Document.id, Document.name, Document.source, Version.media_type)
        .join(Version, Version.document == Document.id)
        .where(
            Document.state == "live",
            Version.state.in_(PUBLISHED),
            Version.born <= when.epoch,
            Version.valid_from <= when.at,
            or_(Version.died > when.epoch, Version.valid_until > when.at),
        )
    )
    return wanted if workspace is None else wanted.where(Document.workspace == workspace)


def _relational(filters: Filters, workspace: str | None, when: When) -> Select[str, str, str, str]:
    """Those of them that fit what SQL can say; patterns are left to the caller."""
    wanted = _counting(workspace, when)
    tagged = select(Tag.document)
    for tag in filters.tags:
        wanted = wanted.where(Document.id.in_(tagged.where(Tag.tag == tag)))
    if filters.any_tags:
        wanted = wanted.where(Document.id.in_(tagged.where(Tag.tag.in_(filters.any_tags))))
    if filters.languages:
        wanted = wanted.where(Version.language.in_(filters.languages))
    if filters.since is not None:
        wanted = wanted.where(Version.valid_from >= filters.since)
    if filters.until is not None:
        wanted = wanted.where(Version.valid_from <= filters.until)
    return wanted


def _check_named(session: Session, documents: Sequence[str], workspace: str | None) -> None:
    """A name without a pattern that no document has is a slip, and not a filter that fits nothing."""
    plain = {doc for doc in documents if not _is_pattern(doc)}
    if not plain:
        return
    live = select(Document.id, Document.name).where(Document.state == "live")
    live = live.where(or_(Document.id.in_(plain), Document.name.in_(plain)))
    if workspace is not None:
        live = live.where(Document.workspace == workspace)
    there = {word for row in session.execute(live) for word in row}
    for doc in sorted(plain - there):
        where = f" in workspace {workspace!r}" if workspace is not None else ""
        raise NotFound(
            f"no document {doc!r}{where}",
            hint="`reprise documents` lists them; give an id, an exact name, or a pattern such as policies/*",
        )


def _any(patterns: Iterable[str], compiled: Callable[[str], re.Pattern[str]]) -> Callable[[str], bool]:
    """Whether one of the patterns fits the whole of a text."""
    known = [compiled(pattern) for pattern in patterns]
    return lambda text: any(pattern.fullmatch(text) for pattern in known)


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def _pattern(text: str) -> re.Pattern[str]:
    """`*` and `?` only: a bracket is a letter like any other, as names and addresses have them."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in text)
    return re.compile("".join(parts), re.DOTALL)


def _below(source: str) -> re.Pattern[str]:
    """The source itself, or what lies below it: in a folder, under an address, in an archive."""
    if _is_pattern(source):
        return _pattern(source)
    return re.compile(re.escape(source.rstrip("/")) + "(?:/|(?:[/!].*))?", re.DOTALL)


def _words(name: str, value: Any) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) and word.strip() for word in words):
        raise _unfit(name, value, "give a list of texts, none of them empty")
    if any(unicodedata.category(c) in ("Cc", "Cs") for word in words for c in word):
        raise _unfit(name, value, "give texts without control characters")
    if len(words) > MOST:
        raise UserError(f"the filter {name!r} has {len(words)} values", hint=f"give {MOST} at most", code="bad_filter")
    return tuple(dict.fromkeys(words))


def _language(code: str) -> str:
    plain = re.split(r"[-_]", code.strip().casefold())[0]
    if not _LANGUAGE.fullmatch(plain):
        raise _unfit("languages", code, "give an ISO 639 code such as en or de, or und for what could not be told")
    return plain


def _time(name: str, value: Any) -> int:
    if not isinstance(value, str):
        raise _unfit(name, value, "give an ISO 8601 time, e.g. 2026-03-01")
    at = parse_time(value)
    return at + DAY_MS - 1 if name == "until" and _DAY.fullmatch(value) else at


def _unfit(name: str, value: Any, hint: str) -> UserError:
    return UserError(f"{value!r} does not fit the filter {name!r}", hint=hint, code="bad_filter")
