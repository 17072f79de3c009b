"""Names of documents as they come from outside: relative paths that cannot leave their folder."""

from __future__ import annotations

import unicodedata

from kernel.errors import UserError

_LONGEST = 500


def safe_name(name: str) -> str:
    """A document name in NFC.

    Raises:
        UserError: empty, absolute, with a part `.` or `..`, a backslash, a control character or line separator, or too
            long. It is refused rather than repaired: a repaired name could take another document's place.
    """
    clean = unicodedata.normalize("NFC", name).strip()
    parts = clean.split("/")
    control = any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in clean)
    drive = len(clean) > 1 and clean[1] == ":" and clean[0].isalpha()
    odd = {"", ".", ".."} & set(parts)  # an empty part is a leading, trailing or double slash
    if control or "\\" in clean or drive or odd or len(clean) > _LONGEST:
        raise UserError(
            f"{name[:80]!r} cannot be the name of a document",
            hint="use a plain file name or a relative path with / and without .. (at most 500 characters)",
            code="bad_name",
        )
    return clean


def plain_path(told: str) -> str | None:
    """A file's own name, if it is one: what tells Markdown from HTML when `as` names the document."""
    try:
        return safe_name(told)
    except UserError:
        return None
