"""Names of documents as they come from outside: relative paths that cannot leave their folder."""

from __future__ import annotations

import unicodedata

from kernel.errors import UserError

_LONGEST = 500


def safe_name(name: str) -> str:
    """A document name in NFC.

    Raises:
        UserError: empty, absolute, with `..`, a backslash, a control character, or too long. It is refused rather than
            repaired: a repaired name could take another document's place.
    """
    clean = unicodedata.normalize("NFC", name).strip()
    parts = clean.split("/")
    control = any(unicodedata.category(c) in ("Cc", "Cs") for c in clean)
    drive = len(clean) > 1 and clean[1] == ":" and clean[0].isalpha()
    if not clean or control or "\\" in clean or drive or ".." in parts or "" in parts or len(clean) > _LONGEST:
        raise UserError(
            f"{name[:80]!r} cannot be the name of a document",
            hint="use a plain file name or a relative path with / and without .. (at most 500 characters)",
            code="bad_name",
        )
    return clean
