"""Near-duplicates: documents of a workspace that say the same, reported and never dropped.

A document's sketch is a MinHash (Broder 1997) of the five-word shingles of the version that counts. Sketches are made
when a report is asked for, and by beat a few at a time, so that publishing costs nothing more. They only propose pairs
(by locality-sensitive hashing, Leskovec et al., Mining of Massive Datasets, ch. 3); what is reported was compared word
by word.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from ingest.library import Library
from ingest.place import PUBLISHED
from ingest.tables import Document, Sketch, Version
from kernel.database import Database, alone
from kernel.errors import NotFound, UserError
from kernel.ids import now_ms

if TYPE_CHECKING:
    from datasketch import MinHash

THRESHOLD = 0.8
LEAST = 0.3
"""Below this, proposals are too many to compare and too many of them are wrong."""
SHINGLE, PERMUTATIONS, SEED, SCHEME = 5, 128, 1, "affine32"
"""Sketches are stored: a change of any of these makes them nonsense. The scheme is that of datasketch 2."""
_SLACK = 0.15
"""Proposals are made from so much below the threshold on, as a sketch errs by about .04."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counting:
    """A document and the version of it that counts."""

    document: str
    name: str
    version: int
    sha256: str
    text_key: str
    workspace: str

    def told(self) -> dict[str, Any]:
        return {"document": self.document, "name": self.name, "version": self.version}


class Near:
    """Finds documents that are copies of each other, or nearly. Safe from several threads."""

    def __init__(self, db: Database, library: Library) -> None:
        self._db, self._library = db, library

    def duplicates(self, workspace: str, threshold: float = THRESHOLD) -> list[dict[str, Any]]:
        """Groups of documents that are alike, the likest and largest first.

        A group is `{"documents": [{"document", "name", "version"}], "similarity", "kind"}`; `kind` is `same bytes`,
        `same text` or `near`, and `similarity` the Jaccard similarity of five-word shingles, for a group of several the
        lowest of the links that hold it together.

        Raises:
            UserError: a threshold outside .3 to 1.
        """
        if not LEAST <= threshold <= 1:
            raise UserError(
                f"the threshold is {threshold}", hint=f"give a share from {LEAST} to 1; {THRESHOLD} is usual"
            )
        self.sketch(workspace)
        with self._db.read() as session:
            found = _counting(session, workspace)
            rows = session.scalars(select(Sketch).where(Sketch.workspace == workspace))
            signatures = {row.document: row.signature for row in rows}
        groups = [*_same(found, "sha256", "same bytes"), *_same(found, "text_key", "same text")]
        by_text: dict[str, list[_Counting]] = defaultdict(list)
        for one in found:
            by_text[one.text_key].append(one)
        texts = {key: signatures[some[0].document] for key, some in by_text.items() if some[0].document in signatures}
        for keys, similarity in self._near(texts, threshold):
            members = [one for key in keys for one in by_text[key]]
            groups.append(_group(members, similarity, "near"))
        return sorted(groups, key=lambda g: (-g["similarity"], -len(g["documents"]), g["documents"][0]["name"]))

    def sketch(self, workspace: str | None = None, seconds: float | None = None) -> int:
        """Make the sketches that are missing, or those that `seconds` are enough for; how many."""
        deadline = time.monotonic() + seconds if seconds is not None else None
        with self._db.read() as session:
            missing = _counting(session, workspace, unsketched=True)
        done = 0
        for one in missing:
            if deadline is not None and time.monotonic() > deadline:
                break
            try:
                signature = _signature(self._library.text_of(one.text_key))
            except NotFound:  # deleted since we looked
                continue
            with self._db.write() as session:
                alone(session, "library")
                document = session.get(Document, one.document)
                if document is not None and document.state == "live":
                    session.merge(
                        Sketch(document=one.document, workspace=one.workspace, version=one.version, signature=signature)
                    )
                    done += 1
        return done

    def _near(self, signatures: dict[str, bytes], threshold: float) -> Iterator[tuple[list[str], float]]:
        """Groups of texts, by key, that links of at least `threshold` hold together, and their weakest link."""
        from datasketch import MinHashLSH

        lsh = MinHashLSH(threshold=max(0.1, threshold - _SLACK), num_perm=PERMUTATIONS)
        sketches = {key: _minhash(signature) for key, signature in signatures.items() if signature}
        pairs = []
        for key, sketch in sketches.items():
            pairs += [(other, key) for other in lsh.query(sketch)]
            lsh.insert(key, sketch, check_duplication=False)
        parent: dict[str, str] = {}
        weakest: dict[str, float] = {}

        def root(key: str) -> str:
            while parent.setdefault(key, key) != key:
                key = parent[key]
            return key

        for a, b in pairs:
            ra, rb = root(a), root(b)
            if ra == rb:
                continue  # held together already; among a thousand copies there are half a million pairs
            similarity = self._jaccard(a, b)
            if similarity >= threshold:
                lowest = min(similarity, weakest.pop(ra, 1.0), weakest.pop(rb, 1.0))
                parent[rb] = ra
                weakest[ra] = lowest
        groups: dict[str, list[str]] = defaultdict(list)
        for key in parent:
            groups[root(key)].append(key)
        yield from ((keys, weakest[top]) for top, keys in groups.items() if len(keys) > 1)

    def _jaccard(self, a: str, b: str) -> float:
        try:
            mine, other = (shingles(self._library.text_of(key)) for key in (a, b))
        except NotFound:  # deleted since we looked
            return 0.0
        return len(mine & other) / len(mine | other)


def same_bytes(session: Session, workspace: str, sha256: str, except_document: str | None = None) -> list[str]:
    """Names of other documents of the workspace whose newest version has these very bytes."""
    found = (
        select(Document.name)
        .join(Version, Version.document == Document.id)
        .where(
            Version.sha256 == sha256,
            Version.state == "live",
            Document.workspace == workspace,
            Document.state == "live",
        )
        .order_by(Document.name)
    )
    if except_document is not None:
        found = found.where(Document.id != except_document)
    return list(session.scalars(found))


def shingles(text: str) -> set[str]:
    """Every five words in a row, in one case; a shorter text is one shingle, a text without words none."""
    words = _WORD.findall(text.casefold())
    if not words:
        return set()
    return {" ".join(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))}


# --- sketches -------------------------------------------------------------------------------------------


def _signature(text: str) -> bytes:
    """128 minima as uint32, little-endian; empty for a text without words."""
    from datasketch import MinHash

    found = shingles(text)
    if not found:
        return b""
    sketch = MinHash(num_perm=PERMUTATIONS, seed=SEED, scheme=SCHEME)
    sketch.update_batch([shingle.encode() for shingle in found])
    return sketch.hashvalues.astype("<u4").tobytes()


def _minhash(signature: bytes) -> MinHash:
    import numpy as np
    from datasketch import MinHash

    values = np.frombuffer(signature, dtype="<u4")
    return MinHash(num_perm=PERMUTATIONS, seed=SEED, scheme=SCHEME, hashvalues=values)


def _counting(session: Session, workspace: str | None, *, unsketched: bool = False) -> list[_Counting]:
    """Live documents with the version of each that counts now, in order of name."""
    now = now_ms()
    rows = (
        select(Document, Version)
        .join(Version, Version.document == Document.id)
        .where(Document.state == "live", Version.state.in_(PUBLISHED))
        .where(Version.valid_from <= now, Version.valid_until > now)
        .order_by(Document.workspace, Document.name)
    )
    if workspace is not None:
        rows = rows.where(Document.workspace == workspace)
    if unsketched:
        made = and_(Sketch.document == Document.id, Sketch.version == Version.number)
        rows = rows.outerjoin(Sketch, made).where(Sketch.document.is_(None))
    return [
        _Counting(
            document=document.id,
            name=document.name,
            version=version.number,
            sha256=version.sha256,
            text_key=version.text_key,
            workspace=document.workspace,
        )
        for document, version in session.execute(rows)
    ]


def _same(found: Sequence[_Counting], field: str, kind: str) -> Iterator[dict[str, Any]]:
    """Groups of documents that are the same in `field`. A group of the same text is more than one set of bytes."""
    groups: dict[str, list[_Counting]] = defaultdict(list)
    for one in found:
        groups[getattr(one, field)].append(one)
    for group in groups.values():
        if len(group) > 1 and (field == "sha256" or len({one.sha256 for one in group}) > 1):
            yield _group(group, 1.0, kind)


def _group(members: Sequence[_Counting], similarity: float, kind: str) -> dict[str, Any]:
    told = [one.told() for one in sorted(members, key=lambda one: one.name)]
    return {"documents": told, "similarity": round(similarity, 4), "kind": kind}
