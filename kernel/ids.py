"""Identities and instants: what names a thing, and when it was.

Ids that must be the same on every attempt are derived (uuid5); the others are random.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from kernel.errors import UserError

_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://reprise.dev/ids")


def derived(*parts: object) -> str:
    """A UUID that depends on `parts` alone: the same parts give the same id on every machine."""
    return str(uuid.uuid5(_SPACE, "\x1f".join(map(str, parts))))


def fresh(prefix: str) -> str:
    """A new short id such as `run-9f2c61d0a4b7`, unique for every practical purpose (48 random bits)."""
    return f"{prefix}-{secrets.token_hex(6)}"


def digest(content: bytes | str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values have equal digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def now_ms() -> int:
    """UTC milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def iso(ms: int | None) -> str | None:
    """UTC milliseconds as ISO 8601 with a `Z`; None stays None."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> int:
    """An ISO 8601 date or time as UTC milliseconds. A time without a zone is UTC.

    Raises:
        UserError: it is not a time.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UserError(
            f"{text!r} is not a time",
            hint="give ISO 8601, e.g. 2026-03-01 or 2026-03-01T09:00:00Z",
            code="bad_time",
        ) from None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)  # exactly: a float of seconds is not
