"""Physical collections by name: folders of the home (Qdrant Edge), or collections of a server. Opens and removes them.

Which of them serves is one row in SQL; this module does not look there.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qdrant_client import QdrantClient

from kernel.index.edge import EdgeIndex, exists
from kernel.index.server import ServerIndex
from kernel.ports import VectorIndex
from kernel.settings import Settings


class Collections:
    """The collections of one platform."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self._settings, self._home = settings, home

    @property
    def first(self) -> str:
        """The collection of a new platform, and of one that never replaced it."""
        return "index" if self._settings.embedded else self._settings.collection

    def another(self) -> str:
        """A name that no collection ever had."""
        return f"{self.first}-{secrets.token_hex(4)}"

    def folder(self, collection: str) -> Path | None:
        """Where an embedded collection lies; None on a server."""
        return self._home / collection if self._settings.embedded else None

    def open(self, collection: str, dimension: int) -> VectorIndex:
        """The collection, made empty if there is none.

        Raises:
            Failed: it cannot be opened, or the server does not answer.
        """
        folder = self.folder(collection)
        if folder is not None:
            return EdgeIndex(folder, dimension)
        url = str(self._settings.qdrant_url)
        return ServerIndex.connect(url, self._settings.qdrant_api_key, collection, dimension)

    def exists(self, collection: str) -> bool:
        folder = self.folder(collection)
        if folder is not None:
            return exists(folder)
        with self._client() as client:
            return client.collection_exists(collection)

    def remove(self, collection: str) -> None:
        """Take a collection away, open nowhere; one that is not there does no harm."""
        folder = self.folder(collection)
        if folder is None:
            with self._client() as client:
                client.delete_collection(collection)
            return
        gone = folder.with_name(f"{folder.name}.gone")  # under its name it is whole or not there
        if folder.exists():
            shutil.rmtree(gone, ignore_errors=True)
            folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    @contextmanager
    def _client(self) -> Iterator[QdrantClient]:
        client = QdrantClient(url=str(self._settings.qdrant_url), api_key=self._settings.qdrant_api_key, timeout=60)
        try:
            yield client
        finally:
            client.close()
