"""Which index and embedder serve a home: what the database says; settings name the embedder of a new home only.

An embedder's name is kept with its fingerprint. The same name with other weights is an error, never silent nonsense.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from kernel.database import Database
from kernel.embedder import SentenceTransformerEmbedder
from kernel.errors import IndexMismatch
from kernel.index.physical import Collections
from kernel.index.terms import TERMS
from kernel.serving import EMBEDDER, LocalEmbedder, Pair, Serving, record_of
from kernel.settings import DEFAULT_EMBEDDER, Settings
from kernel.tables import Fact

log = logging.getLogger(__name__)

Make = Callable[[str], LocalEmbedder]
"""An embedder by the name of its model."""
_NAME = re.compile(r"(.*):[0-9a-f]{16}:\d+:")


class Pairing:
    """Opens what serves."""

    def __init__(self, settings: Settings, db: Database, collections: Collections, make: Make) -> None:
        self._settings, self._db, self._collections, self.make = settings, db, collections, make

    def serving(self) -> Serving:
        """What serves this home, open.

        Raises:
            IndexMismatch: the embedder's weights are not those that made the index.
        """
        with self._db.read() as session:
            record = record_of(session)
        if not record:
            record = self._begin()
        elif "collection" not in record:
            record = self._complete(record)
        message = advice(self._settings, record)
        if message:
            log.warning("%s", message)
        return Serving(self._db, self.open(record), self.open)

    def open(self, record: dict[str, Any]) -> Pair:
        """The pair that a record names.

        Raises:
            IndexMismatch: the embedder's weights are not those that made the index.
        """
        embedder = self.make(record["name"])
        if isinstance(embedder, SentenceTransformerEmbedder) and embedder.fingerprint != record["fingerprint"]:
            plain = embedder.unprompted()
            if plain.fingerprint == record["fingerprint"]:
                log.warning(
                    "the index of %r was made without the prompts that model wants; `reprise embedder switch %s` makes "
                    "it anew with them",
                    record["name"],
                    record["name"],
                )
                embedder = plain
        if embedder.fingerprint != record["fingerprint"]:
            raise IndexMismatch(
                f"the index was made by {record['fingerprint']!r}, and that model's weights are now "
                f"{embedder.fingerprint!r}",
                hint="put its earlier weights back; keep others under another name, for `reprise embedder switch`",
            )
        index = self._collections.open(record["collection"], embedder.dimension)
        return Pair(serial=record["serial"], collection=record["collection"], index=index, embedder=embedder)

    def _begin(self) -> dict[str, Any]:
        """The record of a new home; another process that starts now may be first."""
        record = self._record(self.make(self._settings.embedder))
        with self._db.write() as session:
            found = record_of(session)
            if not found:
                session.add(Fact(key=EMBEDDER, value=record))
        return found or record

    def _complete(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record of a home that release 0.1 made, which kept the fingerprint alone."""
        old = str(record["fingerprint"])
        named = _NAME.match(old)
        record = self._record(self.make(named[1] if named else self._settings.embedder))
        record["terms"] = None  # that release had others
        if (
            record["name"] == DEFAULT_EMBEDDER
        ):  # of other models it was made of one text's vector, and cannot be compared
            record["fingerprint"] = old
        with self._db.write() as session:
            found = record_of(session)
            if "collection" in found:
                return found
            session.merge(Fact(key=EMBEDDER, value=record))
        return record

    def _record(self, embedder: LocalEmbedder) -> dict[str, Any]:
        return {
            "name": embedder.name,
            "fingerprint": embedder.fingerprint,
            "dimension": embedder.dimension,
            "collection": self._collections.first,
            "serial": 0,
            "epoch": 0,
            "job": None,
            "previous": [],
            "terms": TERMS,
        }


def advice(settings: Settings, record: dict[str, Any]) -> str | None:
    """What to tell who set another embedder than the one that serves; None if nobody did."""
    if "embedder" not in settings.model_fields_set or settings.embedder == record["name"]:
        return None
    return (
        f"REPRISE_EMBEDDER is {settings.embedder!r}, but this home's index is made by {record['name']!r}, and that "
        f"serves: `reprise embedder switch {settings.embedder}` makes the index anew"
    )
