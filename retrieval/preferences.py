"""Preferences: how one person wants to be answered, where they look by default, and what they consent to.

A user is a name that the caller gives; nothing here proves who it is. What is set is validated here, so that what
reaches a prompt is a code, a choice or a few plain words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ingest.library import Library
from ingest.tags import normalised
from kernel.database import Database
from kernel.errors import NotFound, UserError
from kernel.ids import digest, now_ms
from kernel.types import Wishes
from retrieval.tables import PreferenceRow

NOBODY = ""
"""Who has no preferences and whose history is not kept apart: measurements ask as nobody."""
LENGTHS = ("short", "normal", "long")
FIELDS = ("language", "length", "tone", "workspace", "documents", "tags", "consent")
_TONE = re.compile(r"[^\W\d_][\w ,'’-]{0,59}")
_CODES = """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es
    et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki
    kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no
    nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te
    tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
_LANGUAGES = frozenset(_CODES.split())
_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What one person set. `workspace`, `documents` (ids) and `tags` are the scope of questions that give none.

    As `Preferences.of` gives it, the workspace of documents is theirs where no other was set.
    """

    wishes: Wishes = field(default_factory=Wishes)
    workspace: str | None = None
    documents: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    consent: bool = False
    """History and preferences may go into training examples."""

    @property
    def scoped(self) -> bool:
        return bool(self.workspace or self.documents or self.tags)


class Preferences:
    """Keeps preferences by user. Also an `Eraser` of `ingest`: a standing scope forgets a deleted document."""

    def __init__(self, db: Database, library: Library) -> None:
        self._db, self._library = db, library

    def of(self, user: str) -> Preference:
        """What the user set; everything open, and no consent, for who set nothing."""
        with self._db.read() as session:
            row = session.get(PreferenceRow, user)
        if row is None:
            return Preference()
        mine = _preference(row)
        with suppress(NotFound):  # a delete is under way, and will take it out of here
            if mine.documents and mine.workspace is None:
                return replace(mine, workspace=self._library.find(mine.documents[0]).workspace)
        return mine

    def show(self, user: str) -> dict[str, Any]:
        """For people and programs: documents with their names."""
        with self._db.read() as session:
            row = session.get(PreferenceRow, user)
        mine = Preference() if row is None else _preference(row)
        return {
            "user": user,
            **asdict(mine.wishes),
            "workspace": mine.workspace,
            "documents": self.named(mine.documents),
            "tags": list(mine.tags),
            "consent": mine.consent,
        }

    def set(self, user: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change the fields that are given; None, or an empty text or list, clears one. What is set afterwards.

        Raises:
            UserError: an unknown field or a value that does not fit; all of them in one message, nothing was changed.
        """
        problems: list[str] = []
        checked: dict[str, Any] = {}
        for name, value in changes.items():
            try:
                checked[name] = self._checked(name, value)
            except UserError as error:
                problems.append(f"{error.message} ({error.hint})")
        problems += self._elsewhere(user, checked)
        if problems or not checked:
            raise UserError(
                "; ".join(problems) or "nothing was given to change",
                hint=f"set any of {', '.join(FIELDS)}; an empty value clears one",
                code="bad_preference",
            )
        with self._db.write() as session:
            row = session.get(PreferenceRow, user, with_for_update=True)
            if row is None:
                row = PreferenceRow(user=user, documents=[], tags=[], consent=0)
                session.add(row)
            for name, value in checked.items():
                setattr(row, name, value)
            row.changed = now_ms()
        return self.show(user)

    def named(self, documents: Sequence[str]) -> list[dict[str, str]]:
        """Documents by id, with their names."""
        found = []
        for document in documents:
            with suppress(NotFound):  # a delete is under way, and will take it out of here
                found.append({"document": document, "name": self._library.find(document).name})
        return found

    @staticmethod
    def forget(session: Session, user: str) -> int:
        """Delete what a user set, in the caller's transaction; 1 if there was anything."""
        row = session.get(PreferenceRow, user)
        if row is not None:
            session.delete(row)
        return int(row is not None)

    # --- ingest.delete.Eraser --------------------------------------------------------------------

    def erase(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        """Take the document out of standing scopes. One that held nothing else is gone: questions look everywhere."""
        changed = 0
        with self._db.write() as session:
            for row in session.scalars(select(PreferenceRow)):
                if document in row.documents:
                    row.documents = [d for d in row.documents if d != document]
                    changed += 1
        return {"preferences_changed": changed}

    # --- checking --------------------------------------------------------------------------------

    def _checked(self, name: str, value: Any) -> Any:
        if name in ("documents", "tags"):
            given = [value] if isinstance(value, str) else list(value or [])
            given = [str(v).strip() for v in given if str(v).strip()]
            return self._documents(given) if name == "documents" else list(normalised(given))
        if name == "consent":
            return int(_yes(value))
        text = "" if value is None else str(value).strip()
        if name not in FIELDS:
            raise UserError(f"{name!r} is no preference", hint=f"there are: {', '.join(FIELDS)}")
        if not text:
            return None
        if name == "language":
            return _language(text)
        if name == "length" and text not in LENGTHS:
            raise UserError(f"length {text!r} is not known", hint=f"give {', '.join(LENGTHS)}")
        if name == "tone" and not _TONE.fullmatch(text):
            raise UserError(f"tone {text!r} does not fit", hint='give a few plain words, e.g. "plain" or "formal"')
        return text

    def _elsewhere(self, user: str, checked: Mapping[str, Any]) -> list[str]:
        """What is wrong if the documents that were set are not in the workspace that was."""
        with self._db.read() as session:
            row = session.get(PreferenceRow, user)
        workspace = checked.get("workspace", row.workspace if row else None)
        documents = checked.get("documents", row.documents if row else [])
        if not workspace or not documents or not checked.keys() & {"workspace", "documents"}:
            return []
        names = [d.name for d in map(self._library.find, documents) if d.workspace != workspace]
        return (
            [f"{', '.join(map(repr, names))} is not in workspace {workspace!r} (clear one of the two)"] if names else []
        )

    def _documents(self, given: Sequence[str]) -> list[str]:
        found, shelves = [], set()
        for name in given:
            try:
                document = self._library.find(name)
            except UserError as error:  # none, or several of that name
                raise UserError(error.message, hint="give ids or names that `reprise documents` lists") from None
            found.append(document.id)
            shelves.add(document.workspace)
        if len(shelves) > 1:
            raise UserError(
                f"the documents {given!r} are in several workspaces: {', '.join(sorted(shelves))}",
                hint="a question looks in one workspace; name documents of one",
            )
        return list(dict.fromkeys(found))


def user_name(given: str | None) -> str:
    """The name of a user as it is kept: without spaces around it, in one line.

    Raises:
        UserError: it is empty, longer than 200 characters, or holds control characters.
    """
    name = (given or "").strip()
    if not name or len(name) > 200 or not name.isprintable():
        raise UserError(
            f"{given!r} is not a user's name",
            hint="give up to 200 printable characters in REPRISE_USER or X-Reprise-User",
            code="bad_user",
        )
    return name


def key_of(user: str) -> str:
    """What stands for a user in records that outlive them, such as the audit log: no name, yet the same each time."""
    return f"user-{digest(user)[:12]}"


def _preference(row: PreferenceRow) -> Preference:
    length: Any = row.length  # checked when it was set
    return Preference(
        wishes=Wishes(language=row.language, length=length, tone=row.tone),
        workspace=row.workspace,
        documents=tuple(row.documents),
        tags=tuple(row.tags),
        consent=bool(row.consent),
    )


def _language(text: str) -> str:
    code = re.split(r"[-_]", text.casefold(), maxsplit=1)[0]
    if code not in _LANGUAGES:
        raise UserError(f"language {text!r} is not known", hint='give a code of ISO 639-1, e.g. "en" or "de"')
    return code


def _yes(value: Any) -> bool:
    told = str(value).strip().casefold()
    if told in _YES:
        return True
    if told in _NO or value is None or not told:
        return False
    raise UserError(f"consent {value!r} is neither", hint="give yes or no")
