"""New or old: the slices that a challenger was made for, as seen from the champion, and where that puts a question.

What a run calls new in its mix is another matter: one that begins from the base calls everything new, and has to keep
what the champion knows all the same.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import select

from finetune.kinds import Options
from finetune.registry import Registry
from finetune.tables import Run
from kernel.database import Database
from rehearsal.mix import Mix
from rehearsal.tables import Example, MixRow


def new_slices(db: Database, registry: Registry, run: Run, mix: Mix) -> set[str]:
    """Slices of which the challenger has practised something that the champion has not.

    Where nothing is new to the champion, the challenger has to gain wherever it can.
    """
    merged = Options.from_json(run.options).merged
    behind = {r for name in merged for r in registry.runs_behind(name)}
    champions = registry.runs_behind(run.parent)
    with db.read() as session:
        known = select(MixRow.example).where(MixRow.run.in_(champions))
        theirs = select(MixRow.example).where(MixRow.run.in_(behind or {run.id}))
        of = select(Example.stratum_column()).distinct().where(Example.id.in_(theirs))
        brought = set(session.scalars(of.where(Example.id.not_in(known))))
        every = set(session.scalars(of))
    return brought or every or {row.slice for row in mix.rows if row.part == "new"}


def judged_in(run: Run, slice_name: str, workspace: str, new: set[str]) -> tuple[str, Literal["new", "old"]]:
    """The slice and part that the gate judges a question in. Without a champion everything is new.

    In another workspace than the run's own nothing is new, and a slice of the same name there is judged for itself.
    """
    if run.workspace is not None and workspace != run.workspace:
        return f"{slice_name} ({workspace})", "old"
    return slice_name, "new" if run.parent is None or slice_name in new else "old"
