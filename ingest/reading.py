"""How this process reads files: in child processes, which also cut them where they can count as the embedder does.

The embedder that serves may change; children that count as it does are started when they are first needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from ingest.layout import chunker_for
from ingest.parse.limits import Limits
from ingest.parse.sandbox import ChunkerSpec, Sandbox
from kernel.errors import Failed
from kernel.ports import Embedder
from kernel.settings import Settings
from kernel.types import ChunkDraft, Parsed


class Reading:
    """A sandbox of children, kept in step with the embedder. Safe from several threads."""

    def __init__(self, embedder: Embedder, settings: Settings, workers: int = 1) -> None:
        self._embedder, self._settings, self._workers = embedder, settings, workers
        self._limits = Limits.of(settings)
        self._lock = Lock()
        self._sandbox: Sandbox | None = None
        self._spec: ChunkerSpec | None = None

    def read(self, content: bytes, name: str) -> tuple[Parsed, Sequence[ChunkDraft]]:
        """A file's text and its chunks, in order.

        Raises:
            FileRefused: as `ingest.parse.parse`, and where reading it costs more than the limits allow.
        """
        while True:
            spec = self._wanted()
            sandbox = self._ready(spec)
            try:
                if spec is not None:
                    return sandbox.read(content, name)
                parsed = sandbox.parse(content, name)
                return parsed, chunker_for(self._embedder, self._settings).chunk(parsed)
            except Failed:
                if self._sandbox is None or self._sandbox is sandbox:
                    raise  # else it was closed because another embedder serves

    def close(self) -> None:
        """End the children."""
        with self._lock:
            if self._sandbox is not None:
                self._sandbox.close()
            self._sandbox = None

    def _wanted(self) -> ChunkerSpec | None:
        """None where the embedder's tokenizer is in no file that a child could load."""
        tokenizer = Path(str(getattr(self._embedder, "path", ""))) / "tokenizer.json"
        if not tokenizer.is_file():
            return None
        most = min(self._settings.chunk_tokens, self._embedder.max_tokens)
        return ChunkerSpec(tokenizer=str(tokenizer), max_tokens=most)

    def _ready(self, spec: ChunkerSpec | None) -> Sandbox:
        with self._lock:
            if self._sandbox is None or spec != self._spec:
                if self._sandbox is not None:
                    self._sandbox.close()
                self._sandbox, self._spec = Sandbox(self._limits, self._workers, spec), spec
            return self._sandbox
