"""Training or held out: by a hash, in two halves, so that the exam can tell what was learnt from what was practised.

    of all passages   1 in 10, by a hash of its text: whatever is asked about it is held out, nothing is practised on it
    of the others     of the questions about them 1 in 9, by a hash of its words: a new wording of what was practised

Together one in five. The first half says whether an adapter got better, or worse, where it was never trained; the
second whether it learnt what it was shown. By words alone, as before, nearly every exam question had a sister in
training: on the demo's questions the gain so measured was four times what it is on passages nobody practised. By
passages alone no correction about one in five of them would ever reach an adapter. Decision 0022.

A side depends on an example's own words and passages: it is the same on every machine, in every order, and for any
part of the rows. Examples that are there keep theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ingest.tables import Chunk
from kernel.database import listed
from kernel.ids import digest
from rehearsal.tables import Example, Ground

Split = Literal["train", "held-out"]

PASSAGES_HELD_OUT_OF, QUESTIONS_HELD_OUT_OF = 10, 9
"""One passage in the first, and of the questions about other passages one in the second: 1/10 + 9/10 * 1/9 = 1/5."""
SMALL = 5
"""So many examples that come together bring something for either side, whatever their hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A new example as its side sees it: its question's key, and the chunks it stands on."""

    key: str
    points: tuple[str, ...]


def question_key(question: str) -> str:
    """Equal for questions that differ in case, spacing or closing punctuation alone."""
    return digest(" ".join(question.casefold().split()).rstrip(" ?.!"))


def sides(session: Session, workspace: str, new: Sequence[Asking]) -> list[Split]:
    """The side of each new example of a workspace."""
    held = _held_passages(session, workspace, {point for n in new for point in n.points})
    found: list[Split] = ["held-out" if not held.isdisjoint(n.points) or _by_question(n.key) else "train" for n in new]
    if len(new) >= SMALL and len({n.key for n in new}) > 1:
        have = set(found) | _there(session, workspace)
        by_hash = sorted(range(len(new)), key=lambda place: new[place].key)
        if "held-out" not in have:
            found[by_hash[0]] = "held-out"
        elif "train" not in have:
            found[by_hash[-1]] = "train"
    return found


def kept_back(session: Session, workspace: str, asked: Sequence[Asking]) -> list[bool]:
    """Whether each of these questions is the exam's: it is asked there, or an example of it would be held out.

    For what is practised without being an example, as a vote on an answer is.
    """
    exam = select(Example.question_key).where(Example.workspace == workspace, Example.split == "held-out")
    known = set(session.scalars(exam.where(Example.question_key.in_({a.key for a in asked}))))
    held = _held_passages(session, workspace, {point for a in asked for point in a.points})
    return [a.key in known or _by_question(a.key) or not held.isdisjoint(a.points) for a in asked]


def practised(session: Session, held_out: Collection[str], trained: Collection[str]) -> set[str]:
    """Those of the examples `held_out` that ask about a passage on which one of `trained` stands: new wordings.

    What is left asks about passages nobody practised.
    """
    shown = select(Ground.point).where(Ground.example.in_(listed(trained)))
    asked = select(Ground.example).where(Ground.example.in_(listed(held_out)), Ground.point.in_(shown))
    return set(session.scalars(asked.distinct()))


def _by_question(key: str) -> bool:
    return int(key[:8], 16) % QUESTIONS_HELD_OUT_OF == 0


def _held_passages(session: Session, workspace: str, points: set[str]) -> set[str]:
    """Passages about which everything is held out. An example in training on one has spoilt it for that; one that is
    held out though its words alone would not be keeps it so, when the text around has changed its hash since.
    """
    standing = select(Ground.point, Example.split, Example.question_key).join(Example, Example.id == Ground.example)
    mine = standing.where(Ground.point.in_(listed(points)), Example.workspace == workspace)
    spoilt, kept = set(), set()
    for point, split, key in session.execute(mine):
        if split == "train":
            spoilt.add(point)
        elif not _by_question(key):
            kept.add(point)
    chunks = session.execute(select(Chunk.point, Chunk.digest).where(Chunk.point.in_(listed(points))))
    by_hash = {point for point, found in chunks if int(found[:8], 16) % PASSAGES_HELD_OUT_OF == 0}
    return (by_hash | kept) - spoilt


def _there(session: Session, workspace: str) -> set[str]:
    mine = (Example.workspace == workspace, Example.status == "approved")
    rows = session.execute(select(Example.split, func.count()).where(*mine).group_by(Example.split))
    return {split for split, n in rows if n}
