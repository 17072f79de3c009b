"""`reprise chat`: a conversation in the terminal, and for programs that speak to one through a pipe.

A line is a question, or a command that begins with a slash. What was said before goes along with a question, so that
"and from abroad?" is understood; how much of it is bounded, and `/history` shows it. Nothing is prompted where
nobody types, and under `--json` every line that says something is answered by exactly one JSON value.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernel.errors import RepriseError, UserError
from ui.spoken import MOST_EXCHANGES, exchange, spoken

if TYPE_CHECKING:
    from ui.door import Door

AROUND = 700
"""Characters shown on either side of an opened quote."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
HELP = """\
/history            what was said, and what of it goes along with the next question
/new                forget it and begin again
/scope DOC          look in one document only; `/scope off` looks everywhere, `/scope auto` also lets a question say
/as-of TIME         answer from what counted in the world then; `/as-of off` is now
/open N             the passage behind the mark [N] of the last answer
/up                 the last answer was good
/down [CORRECTION]  it was not; what it should have said
/quit               end, as Ctrl-D does"""


@dataclass
class Chat:
    """One conversation: what was said, and where it looks."""

    door: Door
    where: dict[str, Any] = field(default_factory=dict)
    """workspace, document, as_of, generator and whatever else `ask` takes; None leaves it open."""
    said: list[dict[str, Any]] = field(default_factory=list)
    """What `ask` returned for each question, under `asked` the question as it was understood; oldest first."""

    def hold(self) -> None:
        """Read lines to the end of the input and answer each. A line that fails does not end it."""
        for line in _lines():
            try:
                if line.startswith("/"):
                    self._obey(line)
                else:
                    self._ask(line)
            except RepriseError as error:
                from ui.door import report

                report(error, self.door.as_json)
                self.door.exit_code = 0 if _typed() else 1
            except EOFError:
                return
            except KeyboardInterrupt:  # enough of this answer
                if not _typed():
                    raise
                print()  # noqa: T201

    def history(self) -> list[dict[str, str]]:
        """The exchanges that go along with the next question, oldest first. A refusal answered nothing."""
        return [exchange(t["asked"], "" if t["abstained"] else t["answer"]) for t in self.said[-MOST_EXCHANGES:]]

    def _ask(self, question: str) -> None:
        events = self.door.platform.ask_stream(question, history=self.history(), **self._where())
        done: dict[str, Any] = {}
        scope: dict[str, Any] = {}
        meant = question
        for words, event in spoken(events):
            if event["type"] == "searched":
                meant, scope = event["question"], event.get("scope") or {}
                self._understood(question, meant, scope)
            elif event["type"] == "done":
                done = {name: value for name, value in event.items() if name != "type"}
            if words and not self.door.as_json:
                print(_safe(words), end="", flush=True)  # noqa: T201
        self.said.append({**done, "asked": meant})
        self.door.out({"asked": question, "question": meant, "scope": scope, **done}, _people_sources)

    def _where(self) -> dict[str, Any]:
        return {name: value for name, value in self.where.items() if value is not None}

    def _understood(self, asked: str, meant: str, scope: dict[str, Any]) -> None:
        """Say what was made of the question, before its answer: somebody may have meant something else."""
        if self.door.as_json:
            return
        if meant.strip() != asked.strip():
            _aside(f"understood as: {meant}")
        inferred = scope.get("inferred")
        if inferred and not scope.get("widened"):
            names, more = [d["name"] for d in inferred["documents"]], len(inferred["documents"]) - 3
            shown = ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
            _aside(f"looking in {shown}, since the question says “{inferred['phrase']}”; `/scope off` looks everywhere")

    # --- commands --------------------------------------------------------------------------------

    def _obey(self, line: str) -> None:
        name, _, rest = line[1:].partition(" ")
        commands: dict[str, Callable[[str], None]] = {
            "history": self._history,
            "new": self._new,
            "scope": self._scope,
            "as-of": self._as_of,
            "open": self._open,
            "up": self._up,
            "down": self._down,
            "help": self._help,
            "quit": self._quit,
        }
        if name not in commands:
            raise UserError(f"no command {'/' + name!r}", hint="`/help` lists them", code="usage")
        commands[name](rest.strip())

    def _tell(self, command: str, people: str, **more: Any) -> None:
        from ui.door import say

        self.door.out({"command": command, **more}, lambda _: say(people))

    def _history(self, _rest: str) -> None:
        along = self.history()
        lines = [f"{n}. {turn['asked']}\n   {_short(turn['answer'])}" for n, turn in enumerate(self.said, 1)]
        lines.append(f"{len(along)} of {len(self.said)} go along with the next question.")
        self._tell("history", "\n".join(lines), said=[t["asked"] for t in self.said], history=along)

    def _new(self, _rest: str) -> None:
        self.said.clear()
        self._tell("new", "Forgotten.")

    def _scope(self, document: str) -> None:
        if document in ("off", "auto"):
            self.where |= {"document": None, "filters": None, "scope": document}
        elif document:
            self.door.platform.history(document)  # raises where there is none
            self.where |= {"document": document, "filters": None}
        now, filters = self.where.get("document"), self.where.get("filters")
        people = f"Looking in {now}." if now else "Looking in all documents." if not filters else f"Only {filters}."
        self._tell("scope", people, document=now, filters=filters, scope=self.where.get("scope"))

    def _as_of(self, at: str) -> None:
        from kernel.ids import parse_time

        if at == "off":
            self.where["as_of"] = None
        elif at:
            parse_time(at)
            self.where["as_of"] = at
        now = self.where.get("as_of")
        self._tell("as-of", f"Answering from what counted at {now}." if now else "Answering from now.", as_of=now)

    def _open(self, number: str) -> None:
        citations = self._last()["citations"]
        cited = next((c for c in citations if str(c["n"]) == number.strip("[]")), None)
        if cited is None:
            hint = f"give 1 to {len(citations)}" if citations else "it cites nothing"
            raise UserError(f"the last answer has no mark {number!r}", hint=hint)
        start, end = cited["start"], cited["end"]
        found = self.door.platform.section(cited["document"], start, cited["version"])
        text, begins = found["text"], found["start"]
        before, after = text[: start - begins][-AROUND:], text[end - begins :][:AROUND]
        page = f", page {cited['page']}" if cited["page"] else ""
        head = f"{cited['name']} version {cited['version']}{page}"
        quote = text[start - begins : end - begins] or cited["quote"]
        people = f"{head}\n\n{_safe(before)}{_marked(_safe(quote))}{_safe(after)}"
        self._tell("open", people, n=cited["n"], document=cited["document"], name=cited["name"],
                   version=cited["version"], page=cited["page"], start=start, end=end,
                   before=before, quote=quote, after=after)  # fmt: skip

    def _up(self, _rest: str) -> None:
        self._vote("up", None)

    def _down(self, correction: str) -> None:
        self._vote("down", correction or None)

    def _vote(self, vote: str, correction: str | None) -> None:
        kept = self.door.platform.feedback(self._last()["turn"], vote, correction)
        example = f", example {kept['example']}" if kept["example"] else ""
        self._tell(vote, f"Kept as {kept['feedback']}{example}.", **kept)

    def _help(self, _rest: str) -> None:
        self._tell("help", HELP, text=HELP)

    def _quit(self, _rest: str) -> None:
        raise EOFError

    def _last(self) -> dict[str, Any]:
        if not self.said:
            raise UserError("nothing was answered yet", hint="ask a question first")
        return self.said[-1]


def _people_sources(shown: dict[str, Any]) -> None:
    from ui.door import say

    lines = [""]
    for c in shown["citations"]:
        page = f", page {c['page']}" if c["page"] else ""
        lines.append(f"[{c['n']}] {c['name']} version {c['version']}{page}, characters {c['start']}-{c['end']}")
    say("\n".join([*lines, ""]))


def _lines() -> Iterator[str]:
    """Lines that say something. On a terminal they are asked for, and can be edited and called back."""
    if not _typed():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401
    _aside("ask a question; /help lists the commands, Ctrl-D ends")
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            print()  # noqa: T201
            return
        if line:
            yield line


def _typed() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _aside(text: str) -> None:
    print(f"({_safe(text)})", file=sys.stderr, flush=True)  # noqa: T201


def _safe(text: str) -> str:
    """Words of a document without what a terminal would obey."""
    return _CONTROL.sub("", text)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 100 else words[:99] + "…"


def _marked(quote: str) -> str:
    return f"\033[1;7m{quote}\033[0m" if sys.stdout.isatty() else f"»{quote}«"
