"""What a file may cost: the limits of one parse, and the error that names the one that was exceeded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from kernel.errors import FileRefused

if TYPE_CHECKING:
    from kernel.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Each field is set by `REPRISE_<FIELD>`; `docs/guide/settings.md` lists them."""

    max_upload_mb: int = 250
    """Size of the file, MiB."""
    parse_seconds: int = 120
    """Wall clock of one parse."""
    parse_memory_mb: int = 2048
    """Memory the parsing process may take, MiB."""
    max_text_mb: int = 64
    """Text that a file may parse to, millions of characters."""
    max_pages: int = 5000
    """Pages, slides or sheets."""
    max_ratio: int = 200
    """Size of an archive's content over its own size, counted above 50 MiB of content."""
    max_members: int = 10_000
    """Files in an archive."""
    max_nesting: int = 3
    """Archives within archives, and messages attached to messages."""

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(**{name: getattr(settings, name) for name in asdict(cls())})

    def check(self, name: str, limit: str, found: float, what: str) -> None:
        """Raise if `found` is over the limit, e.g. `check("a.pdf", "max_pages", 10_000, "pages")`.

        Raises:
            FileRefused: code `limit_<limit>`; the message names the file, the limit and what was found.
        """
        most = getattr(self, limit)
        if found > most:
            raise self.exceeded(name, limit, f"{found:,.0f} {what}")

    def exceeded(self, name: str, limit: str, found: str) -> FileRefused:
        """The error for a limit that was exceeded; `found` says by what, as a person would: `10,000 pages`."""
        most = getattr(self, limit)
        return FileRefused(
            f"{name!r} has {found}; the limit is {most:,} (REPRISE_{limit.upper()})",
            hint=f"Split the file, or set REPRISE_{limit.upper()} to more than {most} and start Reprise again.",
            code=f"limit_{limit}",
        )


DEFAULT = Limits()
