"""Files of a run's folder: written aside, brought to the disk and renamed, so that nobody ever finds half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write(file: Path, text: str) -> None:
    """A reader finds the old text or the new one, also after a power cut."""
    aside = file.with_name(f".{file.name}.tmp")
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(file)


def write_json(file: Path, value: Any) -> None:
    """Likewise, a value that JSON can hold."""
    write(file, json.dumps(value, ensure_ascii=False, indent=1))


def read_lines(file: Path) -> list[Any]:
    """The value of each line; a text within one may hold U+2028, which is no end of a line here."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def drop_lines(file: Path, gone: Callable[[Any], bool]) -> int:
    """Take the lines whose value is `gone` out of a file; how many. A file that is not there has none.

    One after the other, whichever processes want to: none brings back what another took out meanwhile.
    """
    import fcntl

    if not file.exists():
        return 0
    place = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)  # it ends when `place` is closed
        lines = [line for line in file.read_text(encoding="utf-8").split("\n") if line]
        kept = [line for line in lines if not gone(json.loads(line))]
        if len(kept) < len(lines):
            write(file, "".join(f"{line}\n" for line in kept))
    finally:
        os.close(place)
    return len(lines) - len(kept)


def read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
