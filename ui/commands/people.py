"""Commands of a person's own things: conversations, and `me`, the preferences."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from kernel.errors import UserError
from ui.door import Door, Home, Json, command, say, table

COLUMNS = ["conversation", "title", "workspace", "turns_count", "updated"]
Id = Annotated[str, typer.Argument(metavar="ID", help="A conversation's id, as `reprise conversations` shows it.")]


def register(app: typer.Typer) -> None:
    _register_conversations(app)
    _register_me(app)


def _register_conversations(app: typer.Typer) -> None:
    @command(app)
    def conversations(door: Door, limit: Annotated[int, typer.Option(help="The last so many.", min=1)] = 50) -> None:
        """Your conversations, the one that was last spoken in first."""
        empty = "No conversations. `reprise ask QUESTION --conversation new` opens one."
        rows = door.platform.conversations(user=door.settings.user, limit=limit)
        door.out(rows, lambda found: table(found, COLUMNS, empty))

    group = typer.Typer(help="One of your conversations.", no_args_is_help=True)
    app.add_typer(group, name="conversation")

    @command(group)
    def show(door: Door, conversation_id: Id) -> None:
        """Its questions, as they were understood, and its answers."""
        door.out(door.platform.conversation(conversation_id, user=door.settings.user), _people_conversation)

    @command(group)
    def rename(door: Door, conversation_id: Id, title: str) -> None:
        """Give it another title."""
        renamed = door.platform.rename_conversation(conversation_id, title, user=door.settings.user)
        door.out(renamed, lambda c: say(f"{c['conversation']}: {c['title']}"))

    @command(group)
    def delete(door: Door, conversation_id: Id) -> None:
        """Delete it with its turns and what was said of them."""
        door.out(door.platform.delete_conversation(conversation_id, user=door.settings.user), _people_deleted)


def _register_me(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Your preferences. You are the name in REPRISE_USER; that is a name, not a login.",
        invoke_without_command=True,
    )
    app.add_typer(group, name="me")

    @group.callback()
    def alone(context: typer.Context, home: Home = None, as_json: Json = False) -> None:
        """`reprise me` by itself shows."""
        if context.invoked_subcommand is not None:
            if home is not None or as_json:
                raise typer.BadParameter("--home and --json stand behind the command", ctx=context)
            return
        shown = context.command.get_command(context, "show")  # type: ignore[attr-defined]
        context.invoke(shown.callback, home=home, as_json=as_json)

    @command(group)
    def show(door: Door) -> None:
        """What you prefer and consent to."""
        door.out(door.platform.me(user=door.settings.user), _people_me)

    @command(group, "set")
    def set_(
        door: Door,
        changes: Annotated[
            list[str],
            typer.Argument(
                metavar="NAME=VALUE…",
                help="Any of language, length, tone, workspace, documents, tags, consent. An empty value clears one; "
                "documents and tags may be given several times.",
            ),
        ],
    ) -> None:
        """Change preferences: `language=de length=short tone=plain documents=returns.md consent=yes`."""
        door.out(door.platform.set_me(_parsed(changes), user=door.settings.user), _people_me)

    @command(group)
    def export(door: Door) -> None:
        """Everything that is kept about you, as JSON."""
        found = door.platform.export_me(user=door.settings.user)
        door.out(found, lambda f: say(json.dumps(f, ensure_ascii=False, indent=2)))

    @command(group)
    def erase(
        door: Door,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    ) -> None:
        """Delete your preferences, conversations, questions and feedback; prints the receipt."""
        if not yes and not door.as_json:
            typer.confirm(f"Delete everything that is kept about {door.settings.user!r}?", abort=True)
        door.out(door.platform.erase_me(user=door.settings.user), _people_erased)


def _parsed(changes: list[str]) -> dict[str, Any]:
    """`name=value` words as a change of preferences.

    Raises:
        UserError: a word without `=`.
    """
    found: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        name = name.strip().lower()
        if not equals:
            raise UserError(f"{change!r} sets nothing", hint="write NAME=VALUE, e.g. language=de", code="usage")
        if name in ("documents", "tags"):
            found.setdefault(name, []).extend([value] if value.strip() else [])
        else:
            found[name] = value
    return found


def _people_conversation(found: dict[str, Any]) -> None:
    say(f"{found['title']}  ({found['workspace']}, {found['conversation']})")
    for turn in found["turns"]:
        say(f"\n> {turn['question']}")
        if turn["rewritten"]:
            say(f"  understood as: {turn['standalone']}")
        say(turn["shown"]["answer"])
        say(f"{turn['turn']}  {' '.join(turn['votes'])}".rstrip())


def _people_deleted(receipt: dict[str, Any]) -> None:
    say(f"Deleted with {receipt['turns']} turn(s) and {receipt['feedback']} feedback(s).")
    if receipt["examples"]:
        say(f"{receipt['examples']} example(s) made by your consent are gone.")
    _kept(receipt["examples_kept"])


def _people_me(mine: dict[str, Any]) -> None:
    say(f"You are {mine['user']!r}: a name, not a login.")
    rows = [{"preference": name, "value": mine[name]} for name in ("language", "length", "tone", "workspace")]
    rows.append({"preference": "documents", "value": ", ".join(d["name"] for d in mine["documents"]) or None})
    rows.append({"preference": "tags", "value": ", ".join(mine["tags"]) or None})
    rows.append({"preference": "consent", "value": "yes" if mine["consent"] else "no"})
    table([row | {"value": row["value"] or "–"} for row in rows], ["preference", "value"], "")
    if mine.get("examples_withdrawn"):
        say(f"{mine['examples_withdrawn']} example(s) made by your consent are gone.")


def _people_erased(receipt: dict[str, Any]) -> None:
    counts = ", ".join(
        f"{receipt[name]} {name}" for name in ("preferences", "conversations", "turns", "feedback", "examples")
    )
    say(f"Erased {counts}. The audit log knows it as {receipt['key']}.")
    _kept(receipt["examples_kept"])
    for what in receipt["unreachable"]:
        say(f"  not reached: {what}")


def _kept(examples: list[str]) -> None:
    for example in examples:
        say(f"  made by your feedback, and kept: {example} (`reprise examples retire {example}`)")
