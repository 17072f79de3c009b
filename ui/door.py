"""What every command shares: `--home`, `--json`, the platform behind it (a running node, or the home itself), errors.

A command talks to the node where one runs, and opens the home folder itself when none does. `--json` prints one JSON
value to standard output and nothing else; progress, tables of people and logs never mix with it.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel.errors import RepriseError

if TYPE_CHECKING:
    from kernel.settings import Settings

Home = Annotated[
    Path | None, typer.Option("--home", help="Folder of the platform (default: REPRISE_HOME, or ./.reprise).")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value to standard output and nothing else.")]


class Door:
    """One command's way to the platform and back to the person."""

    def __init__(self, home: Path | None, as_json: bool) -> None:
        self._home, self.as_json = home, as_json
        self._platform: Any = None
        self._close: list[Callable[[], None]] = []
        self._still: Callable[[], None] = lambda: None
        self.exit_code = 0

    @functools.cached_property
    def settings(self) -> Settings:
        from kernel.settings import load

        return load(home=self._home)

    @property
    def platform(self) -> Any:
        """`ui.platform.Platform` here, or `ui.remote.Remote` to a running node: the same methods."""
        if self._platform is None:
            self._platform = self._open()
        return self._platform

    @property
    def remote(self) -> bool:
        from ui.remote import Remote

        return isinstance(self.platform, Remote)

    def out(self, value: Any, people: Callable[[Any], None] | None = None) -> None:
        """The command's result: JSON under `--json`, else `people(value)`."""
        self._still()
        if self.as_json or people is None:
            print(json.dumps(value, ensure_ascii=False), flush=True)  # noqa: T201
        else:
            people(value)

    def progress(self) -> Callable[[str, int, int], None]:
        """Reports to standard error, on a terminal only."""
        if self.as_json or not sys.stderr.isatty():
            return lambda _stage, _done, _total: None
        from rich.console import Console

        status = Console(stderr=True).status("starting")
        status.start()
        self._still = status.stop

        def report(stage: str, done: int, total: int) -> None:
            status.update(f"{stage} {done}/{total}" if total else stage)

        return report

    def close(self) -> None:
        self._still()
        while self._close:
            self._close.pop()()

    def _open(self) -> Any:
        from ui.home import HomeLock, running_node
        from ui.remote import Remote

        settings = self.settings
        if settings.api:
            return Remote(settings.api, settings.api_key)
        note = running_node(settings.home) if settings.embedded else None
        if note:
            return Remote(note["api"], settings.api_key)
        if settings.embedded:
            lock = HomeLock(settings.home, wait=10.0)
            self._close.append(lock.release)
        from ui.platform import Platform
        from ui.wiring import Wired

        wired = Wired(settings)
        self._close.append(wired.close)
        wired.recover()
        return Platform(wired)


def command(group: typer.Typer, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function `(door, …)` as a command, with `--home` and `--json` beside its own parameters."""

    def decorate(work: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(work, eval_str=True)
        own = list(signature.parameters.values())[1:]
        shared = [
            inspect.Parameter("home", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Home),
            inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json),
        ]

        @functools.wraps(work)
        def run(*, home: Path | None = None, as_json: bool = False, **given: Any) -> None:
            door = Door(home, as_json)
            try:
                work(door, **given)
            except RepriseError as error:
                report(error, as_json)
                door.exit_code = error.exit_code
            except KeyboardInterrupt:
                door.exit_code = 130
            except Exception as error:
                if os.environ.get("REPRISE_DEBUG"):
                    raise
                hint = "this is a fault of Reprise; set REPRISE_DEBUG=1 to see where, and please report it"
                report(RepriseError(f"{type(error).__name__}: {error}", hint=hint, code="internal"), as_json)
                door.exit_code = 1
            finally:
                door.close()
            if door.exit_code:
                raise typer.Exit(door.exit_code)

        keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        run.__signature__ = signature.replace(parameters=[*keyword, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in (*keyword, *shared)} | {"return": None}
        group.command(name)(run)
        return work

    return decorate


def report(error: RepriseError, as_json: bool) -> None:
    """What was wrong and what to do: one JSON value, or one line."""
    if as_json:
        print(json.dumps({"error": error.as_json()}, ensure_ascii=False), flush=True)  # noqa: T201
    else:
        hint = f" — {error.hint}" if error.hint else ""
        print(f"reprise: {error.message}{hint}", file=sys.stderr, flush=True)  # noqa: T201


def table(rows: list[dict[str, Any]], columns: list[str], empty: str) -> None:
    """A plain table for people."""
    from rich.console import Console
    from rich.table import Table

    if not rows:
        say(empty)
        return
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*("" if row.get(c) is None else str(row[c]) for c in columns))
    Console(highlight=False, markup=False).print(shown)


def say(text: str) -> None:
    """A line for people on standard output."""
    print(text, flush=True)  # noqa: T201
