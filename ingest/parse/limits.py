"""What a file may cost: the limits of one parse, and the error that names the one that was exceeded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

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
    ocr: Literal["auto", "off"] = "auto"
    """Whether scanned pages and images are read with Tesseract, where it is installed."""
    ocr_languages: str = "eng"
    """Tesseract's languages, joined by `+`."""

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
            digits = 1 if found < 100 and found % 1 else 0
            raise self.exceeded(name, limit, f"{found:,.{digits}f} {what}")

    def exceeded(self, name: str, limit: str, found: str) -> FileRefused:
        """The error for a limit that was exceeded; `found` says by what, as a person would: `10,000 pages`."""
        most = getattr(self, limit)
        return FileRefused(
            f"{name!r} has {found}; the limit is {most:,} (REPRISE_{limit.upper()})",
            hint=f"Split the file, or set REPRISE_{limit.upper()} to more than {most} and start Reprise again.",
            code=f"limit_{limit}",
        )

    def check_size(self, name: str, size: int) -> None:
        """Raise if a file of `size` bytes is larger than may come in.

        Raises:
            FileRefused: code `too_large`.
        """
        if size > self.max_upload_mb * 2**20:
            raise FileRefused(
                f"{name!r} is larger than {self.max_upload_mb} MiB",
                hint="Split it, or raise REPRISE_MAX_UPLOAD_MB.",
                code="too_large",
            )

    def too_slow(self, name: str) -> FileRefused:
        """The error for a file whose reading did not come to an end in time."""
        return FileRefused(
            f"{name!r} takes more than {self.parse_seconds} s to read (REPRISE_PARSE_SECONDS)",
            hint="Split the file, or raise the limit: set REPRISE_PARSE_SECONDS higher and start again.",
            code="limit_parse_seconds",
        )

    def too_hungry(self, name: str) -> FileRefused:
        """The error for a file whose reading took all the memory it was given."""
        return FileRefused(
            f"{name!r} takes more than {self.parse_memory_mb:,} MiB of memory to read (REPRISE_PARSE_MEMORY_MB)",
            hint="Split the file, or raise the limit: set REPRISE_PARSE_MEMORY_MB higher and start again.",
            code="limit_parse_memory_mb",
        )


DEFAULT = Limits()
