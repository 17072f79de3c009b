"""Files of rows that a person names or uploads: their text, the same by every door, and how one is written."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kernel.errors import NotFound, UserError


def read_lines(file: Path) -> str:
    """The text of a file of rows that a person named.

    Raises:
        NotFound: no such file.
        UserError: it is not UTF-8 text.
    """
    if not file.is_file():
        raise NotFound(f"no file {str(file)!r}", hint="give a file of rows", code="missing_path")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _unreadable(str(file), error) from error
    return lines_in(content, str(file))


def lines_in(content: bytes, name: str) -> str:
    """The text of a file of rows of this name, a line of it ending as lines do here.

    Raises:
        UserError: it is not UTF-8 text. No letter is guessed: it would be practised.
    """
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise _unreadable(name, error) from error


def write_lines(file: Path, lines: Iterator[str]) -> int:
    """Write lines to a file that a person named; how many. What stood there stays until all of them are written.

    Raises:
        UserError: it cannot be written there.
    """
    aside, count = file.with_name(f".{file.name}.part"), 0
    try:
        with aside.open("w", encoding="utf-8") as out:
            for line in lines:
                out.write(line)
                count += 1
        aside.replace(file)
    except OSError as error:
        raise UserError(
            f"{str(file)!r} cannot be written: {error.strerror or error}",
            hint="give a file in a folder that exists and that you may write",
            code="unwritable_file",
        ) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
    return count


def _unreadable(name: str, error: Exception) -> UserError:
    hint = "give a file of rows in UTF-8 (of a spreadsheet: CSV UTF-8)"
    return UserError(f"{name!r} cannot be read: {error}", hint=hint, code="unreadable_file")
