"""What becomes of examples when their source changes.

An example dies in the epoch in which a quote that grounds it no longer stands, unless the same words stand exactly once
in the new version: then it is grounded on the chunk that holds them now. One of a whole document dies with the sentence
that said its answer (`said`), also while it waits: nobody could tell later what it had stood on. All of it is decided
under the flip lock, so no mix ever sees an example whose source is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import and_, false, or_, select, update
from sqlalchemy.orm import Session

from ingest.library import Library
from ingest.publish import live_version
from ingest.tables import Version
from kernel.database import listed
from kernel.ids import now_ms
from rehearsal.examples import retire
from rehearsal.ground import Place, places, reground
from rehearsal.history import note
from rehearsal.said import Said, answers, still_says
from rehearsal.standing import PUBLISH, REGROUNDED
from rehearsal.tables import Example, Ground


class ExampleFate:
    """`ingest.publish.Dependent`: what a publish or a delete does to the examples that stand on its chunks."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def settle(
        self, session: Session, document: str, retired: set[str], version: int | None
    ) -> tuple[list[str], dict[str, Any]]:
        hit = select(Ground, Example).join(Example, Example.id == Ground.example)
        waits = (
            and_(Example.status.in_(("quarantined", "staged")), Ground.quote == "") if version is not None else false()
        )
        hit = hit.where(Ground.document == document, or_(Example.status == "approved", waits))
        text: str | None = None
        positions: Sequence[Place] = ()
        says = None
        dying: dict[str, str] = {}
        moved: dict[str, str] = {}
        waiting: set[str] = set()
        for ground, example in session.execute(hit):
            chunk = None
            if version is not None:
                if text is None:
                    text = self._library.text_of(session.get_one(Version, (document, version)).text_key)
                    positions = places(session, document, version)
                if not ground.quote:
                    says = says or self._says(session, document, text)
                    if not all(says(example.question, answer) for answer in answers(example)):
                        dying[example.id] = example.point
                        if example.status != "approved":
                            waiting.add(example.id)
                        continue
                if example.status != "approved":
                    continue  # whoever approves it settles it on what is live then
                if ground.point not in retired and ground.quote in text:
                    continue  # a quote may reach beyond its chunk, so a chunk that stands is not enough
                chunk = reground(positions, text, ground.quote)
                if not ground.quote and positions:  # the document as a whole answers, and it still stands
                    chunk = positions[0].point
            if chunk is None:
                dying[example.id] = example.point
            else:
                moved[ground.id] = chunk
        notes = {
            "retired": sorted(dying),
            "moved": moved,
            "why": "deleted" if version is None else "superseded",
        }
        return sorted(point for example, point in dying.items() if example not in waiting), notes

    def _says(self, session: Session, document: str, text: str) -> Callable[[str, str], bool]:
        """Whether an answer to a question is still said by the new text, compared with the version that is live."""
        live = live_version(session, document)
        before = Said.of(self._library.text_of(live.text_key)) if live else Said.of("")
        return partial(still_says, before=before, after=Said.of(text))

    def commit(self, session: Session, epoch: int, notes: dict[str, Any]) -> None:
        at = now_ms()
        on_it: dict[str, list[str]] = {}
        for ground, chunk in notes["moved"].items():
            on_it.setdefault(chunk, []).append(ground)
        for chunk, grounds in on_it.items():
            session.execute(update(Ground).where(Ground.id.in_(listed(grounds))).values(point=chunk))
        moved = select(Ground.example).where(Ground.id.in_(listed(notes["moved"]))).distinct()
        regrounded = set(session.scalars(moved)) - set(notes["retired"])
        note(session, REGROUNDED, sorted(regrounded), at, PUBLISH, epoch=epoch)
        retire(session, notes["retired"], epoch, f"source {notes['why']}", at, PUBLISH)
