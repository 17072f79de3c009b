"""`reprise`: the command line. Importing this module loads nothing heavy; each command imports what it needs."""

from __future__ import annotations

import logging
import os
import sys

import typer

from ui.commands import (
    adapters,
    advice,
    documents,
    examples,
    index,
    judging,
    lineage,
    merging,
    operations,
    people,
    questions,
    rehearsal,
    rejudging,
    rollout,
    runs,
    schedules,
    tools,
    tuning,
    versions,
    watches,
)
from ui.door import Front

app = typer.Typer(
    name="reprise",
    cls=Front,
    help="Versioned documents, cited answers, rehearsal from the same index, gated adapters.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    operations,
    documents,
    versions,
    watches,
    index,
    tuning,
    questions,
    tools,
    people,
    examples,
    rehearsal,
    rejudging,
    adapters,
    runs,
    merging,
    rollout,
    judging,
    schedules,
    lineage,
    advice,
):
    module.register(app)


def main() -> None:
    """Entry point of the console script."""
    # One machine, no network: never ask a hub for what is here, and never send usage data anywhere.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    logging.basicConfig(
        level=os.environ.get("REPRISE_LOG", "WARNING"),
        stream=sys.stderr,
        format="%(levelname)s %(name)s: %(message)s",
    )
    app()


if __name__ == "__main__":
    main()
