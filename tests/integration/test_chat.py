"""`reprise chat`, piped: a conversation with its history, its commands and its sources; and the same for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kernel.errors import Upstream
from tests.doors import LIBRARY, Terminal, doors, memory_folder, opened, served, written
from ui.chat import Chat
from ui.door import Door
from ui.spoken import MOST_CHARACTERS, MOST_EXCHANGES

pytestmark = pytest.mark.integration

QUESTION = "Within how many days can a parcel be sent back?"
UNKNOWN = "Who won the football world cup in Uruguay?"


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    with doors(), memory_folder(tmp_path_factory.mktemp("chat")) as folder:
        terminal = Terminal(folder / "home")
        terminal.json("ingest", str(written(folder / "in", LIBRARY)))
        yield terminal


@pytest.fixture(scope="module")
def there(terminal: Terminal) -> Iterator[dict[str, str]]:
    """A node on the home, and the environment in which the command line speaks to it."""
    with opened(terminal.home) as platform, served(platform) as url:
        yield {"REPRISE_API": url, "REPRISE_HOME": str(terminal.home / "elsewhere")}


def talk(terminal: Terminal, there: dict[str, str], *lines: str, code: int = 0) -> list[dict[str, Any]]:
    """Say lines to `chat --json`; what it answers, one value for each."""
    done = terminal.type("chat", "--json", stdin="".join(f"{line}\n" for line in lines), env=there)
    assert done.exit_code == code, (done.stdout, done.stderr)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len([line for line in lines if line.strip()])
    return answers


def test_people_see_the_answer_its_sources_and_no_prompt(terminal: Terminal) -> None:
    """On a home without a node. A blank line is skipped, and a refusal is no failure: exit code 3 belongs to `ask`."""
    done = terminal.type("chat", stdin=f"{QUESTION}\n\n{UNKNOWN}\n")
    assert done.exit_code == 0
    assert done.stderr == ""
    first, refused = done.stdout.split("\n\nThe documents do not answer", 1)
    assert "30 days" in first
    assert "\n[1] returns.md version 1, characters " in first
    assert "> " not in done.stdout
    assert "[1]" not in refused  # nothing is cited for what is not answered


def test_a_program_says_a_line_and_reads_a_line(terminal: Terminal, there: dict[str, str]) -> None:
    answers = talk(
        terminal,
        there,
        QUESTION,
        "/open 1",
        "/up",
        "/down It is 30 days, not counting the day of delivery.",
        "/history",
        "/scope summer camp.md",
        QUESTION,
        "/scope off",
        "/as-of 2001-01-01",
        QUESTION,
        "/as-of off",
        "/new",
        "/history",
        "/help",
    )
    asked, opened_, up, down, history, scope, scoped, off, as_of, earlier, now, new, empty, told = answers
    assert asked["asked"] == asked["question"] == QUESTION
    cited = asked["citations"][0]
    assert cited["quote"] in LIBRARY["returns.md"]
    assert (opened_["quote"], opened_["document"]) == (cited["quote"], cited["document"])
    assert opened_["before"] + opened_["quote"] + opened_["after"] in LIBRARY["returns.md"]
    assert (up["command"], down["command"]) == ("up", "down")
    assert down["example"]
    assert history["said"] == [QUESTION]
    assert history["history"][0]["answer"] == asked["answer"].replace(" [1]", "").replace("[2]", "").strip()
    assert (scope["document"], off["document"]) == ("summer camp.md", None)
    assert (as_of["as_of"], now["as_of"]) == ("2001-01-01", None)
    assert scoped["abstained"]
    assert earlier["abstained"]
    assert new == {"command": "new"}
    assert (empty["said"], empty["history"]) == ([], [])
    assert "/open N" in told["text"]


def test_a_line_that_fails_is_told_and_the_conversation_goes_on(terminal: Terminal, there: dict[str, str]) -> None:
    lines = ["/open 1", "/nonsense", "/scope no such.md", "/as-of yesterday", QUESTION, "/open 9", "", "/up"]
    answers = talk(terminal, there, *lines, code=1)
    codes = [a["error"]["code"] if "error" in a else "" for a in answers]
    assert codes == ["bad_request", "usage", "not_found", "bad_time", "", "bad_request", ""]
    said = terminal.type("chat", stdin="/nonsense\n/help\n", env=there)
    assert "reprise: no command '/nonsense'" in said.stderr
    assert "/open N" in said.stdout


class Script:
    """A platform that tells what it was asked, and answers as it is told to."""

    def __init__(self, *events: dict[str, Any], breaks: Exception | None = None) -> None:
        self.events, self.breaks, self.heard = events, breaks, list[dict[str, Any]]()

    def ask_stream(self, question: str, **given: Any) -> Iterator[dict[str, Any]]:
        self.heard.append({"question": question, **given})
        yield from self.events
        if self.breaks:
            raise self.breaks


def held(script: Script, lines: str, monkeypatch: pytest.MonkeyPatch, *, as_json: bool = False) -> Door:
    import io

    door = Door(None, as_json)
    door._platform = script
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    Chat(door).hold()
    return door


DONE = {"answer": "It is \x1b[31mfree. [1]", "abstained": False, "citations": [], "turn": "turn-1"}


def test_it_says_how_a_question_was_understood_and_where_it_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [{"document": "doc-1", "name": "10-K 2022.pdf"}]
    inferred = {"documents": named, "phrase": "2022 10-K", "reason": "named"}
    scope = {"documents": named, "count": 1, "inferred": inferred, "suggested": None, "widened": False}
    script = Script(
        {"type": "searched", "question": "Who pays the postage?", "scope": scope, "passages": 3},
        {"type": "sentence", "text": DONE["answer"], "citations": []},
        {"type": "done", **DONE},
    )
    held(script, "And the postage?\n", monkeypatch)
    told = capsys.readouterr()
    assert "understood as: Who pays the postage?" in told.err
    assert "looking in 10-K 2022.pdf" in told.err
    assert told.out == "It is [31mfree. [1]\n\n"  # a document cannot speak to the terminal


def test_history_is_bounded_and_holds_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "x" * 5000
    script = Script(
        {"type": "searched", "question": "As it was meant?", "passages": 1},
        {"type": "done", **DONE, "answer": answer, "asked": "Short?", "question": "As it was meant?"},
    )
    held(script, "Short?\n" * 15, monkeypatch)
    assert [len(h["history"]) for h in script.heard] == [min(n, MOST_EXCHANGES) for n in range(15)]
    assert script.heard[-1]["history"][0] == {"question": "As it was meant?", "answer": answer[:MOST_CHARACTERS]}


def test_an_answer_that_breaks_off_is_told_and_is_no_history(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(
        {"type": "searched", "question": "Why?", "passages": 1},
        breaks=Upstream("the model server went away", hint="start it again"),
    )
    door = held(script, "Why?\nWhy?\n", monkeypatch)
    assert door.exit_code == 1
    assert "the model server went away — start it again" in capsys.readouterr().err
    assert script.heard[1]["history"] == []


def test_an_interrupt_at_a_terminal_stops_the_answer_and_not_the_conversation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = iter(["Why?", "Why not?"])

    def typed(_prompt: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("ui.chat._typed", lambda: True)
    monkeypatch.setattr("builtins.input", typed)
    script = Script(breaks=KeyboardInterrupt())  # type: ignore[arg-type]
    door = Door(None, as_json=False)
    door._platform = script
    Chat(door).hold()
    assert [h["question"] for h in script.heard] == ["Why?", "Why not?"]
    assert "/help" in capsys.readouterr().err
