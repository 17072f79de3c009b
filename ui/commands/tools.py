"""The command that gives models tools: `mcp`."""

from __future__ import annotations

from typing import Annotated

import typer

from ui.door import Door, command, say


def register(app: typer.Typer) -> None:
    @command(app)
    def mcp(
        door: Door,
        http: Annotated[
            int | None,
            typer.Option("--http", metavar="PORT", help="Serve HTTP on this machine at PORT; 0 takes a free one."),
        ] = None,
    ) -> None:
        """Give language models tools: search, ask, open_citation, list_documents (Model Context Protocol).

        A chat program starts this command and speaks to it over standard input and output. It asks the running
        node where there is one, and opens the home folder when it is asked something where there is none.
        """
        from ui.serve_tools import over_http, over_stdio

        if http is None:
            over_stdio(door)
        else:
            over_http(door, http, lambda url: say(f'{{"mcp": "{url}"}}'))
