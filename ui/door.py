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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from kernel.errors import Conflict, RepriseError, UserError

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
            say(json.dumps(value, ensure_ascii=False))
        else:
            people(value)

    def progress(self) -> Callable[[str, int, int], None]:
        """Reports to standard error, on a terminal only."""
        if self.as_json or not sys.stderr.isatty():
            return lambda _stage, _done, _total: None
        from rich.console import Console

        from kernel.pace import Pace, people

        status, pace = Console(stderr=True).status("starting"), Pace()
        status.start()
        self._still = status.stop

        def report(stage: str, done: int, total: int) -> None:
            status.update(people(pace.tell(stage, done, total)))

        return report

    def close(self) -> None:
        self._still()
        while self._close:
            self._close.pop()()

    def _open(self) -> Any:
        from ui.remote import Remote

        settings = self.settings
        node = settings.api or (self._hold() if settings.embedded else None)
        if node:
            remote = Remote(node, settings.api_key)
            self._close.append(remote.close)
            return remote
        from ui.platform import Platform
        from ui.wiring import Wired

        wired = Wired(settings)
        self._close.append(wired.close)
        wired.recover()
        return Platform(wired)

    def _hold(self, patience: float = 10.0) -> str | None:
        """Take the home folder, or the URL of the node that has it; a node that is still starting is waited for."""
        from ui.home import HomeLock, running_node

        deadline = time.monotonic() + patience
        while True:
            note = running_node(self.settings.home)
            if note:
                return str(note["api"])
            try:
                lock = HomeLock(self.settings.home, wait=0.2)
            except Conflict:
                if time.monotonic() > deadline:
                    raise
            else:
                self._close.append(lock.release)
                return None


class Front(TyperGroup):
    """The command line as a whole: a mistake in the words of a command is told like every other mistake."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        self._as_json = "--json" in args
        with self._told():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        with self._told():
            return super().invoke(ctx)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except TyperException as error:
            if error.message.startswith("Usage:"):  # the help of a group that was called without a command
                raise
            context = getattr(error, "ctx", None)
            where = context.command_path if context else "reprise"
            hint = f"`{where} --help` shows how"
            report(UserError(error.format_message(), hint=hint, code="usage"), self._as_json)
            raise typer.Exit(UserError.exit_code) from error


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
            except BrokenPipeError:  # whoever read our output has enough, as `head` does
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                door.exit_code = 1
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
        say(json.dumps({"error": error.as_json()}, ensure_ascii=False))
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
    wide = None if sys.stdout.isatty() else 10_000  # whoever searches our output must find whole words
    Console(highlight=False, markup=False, width=wide).print(shown)


def say(text: str) -> None:
    """A line on standard output. Bytes of a file name that are no text show as escapes."""
    print(text.encode("utf-8", "backslashreplace").decode(), flush=True)  # noqa: T201
