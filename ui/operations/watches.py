"""Operations on what is followed: folders, pages and sitemaps. A look is a job of a running node."""

from __future__ import annotations

from typing import Any

from ingest.watch import JOB, key
from kernel.errors import NotFound
from kernel.jobs import Running
from kernel.types import Progress, silent
from ui.operations.seat import Seat

EVERY_SECONDS = 600


class Watches(Seat):
    def watches(self) -> list[dict[str, Any]]:
        return self.w.watches.listing()

    def add_watch(
        self, location: str, workspace: str | None = None, every_seconds: int = EVERY_SECONDS
    ) -> dict[str, Any]:
        """Watch a folder by its full path, a page or a sitemap by its URL; its row."""
        return self.w.watches.add(location, workspace or self.settings.workspace, every_seconds)

    def remove_watch(self, watch: str) -> dict[str, Any]:
        """Watch it no longer; its row as it was. Its documents stay."""
        return self.w.watches.remove(watch)

    def pause_watch(self, watch: str) -> dict[str, Any]:
        """Pause, or go on; its row."""
        return self.w.watches.pause(watch)

    def look(self, watch: str, progress: Progress = silent) -> dict[str, Any]:
        """Look now, here, and follow what has changed; the outcome."""
        return self.w.watches.look(watch, progress, asked=True)

    def enqueue_look(self, watch: str, by: str = "person") -> dict[str, Any]:
        """Accept a look; its job."""
        if watch not in {row["watch"] for row in self.w.watches.listing()}:
            raise NotFound(f"no watch {watch!r}", hint="`reprise watch list` shows them")
        return self.job(self._start_look(watch, by))

    # --- a node's part ---------------------------------------------------------------------------

    def _register_watches(self) -> None:
        self.w.ledger.register(JOB, self._look_job, "ingest")

    def _look_job(self, running: Running) -> dict[str, Any]:
        return self.w.watches.look(running.args["watch"], running.progress, asked=running.args["asked"])

    def _start_look(self, watch: str, by: str) -> str:
        return self.w.ledger.enqueue(JOB, {"watch": watch, "asked": by == "person"}, keys=[key(watch)], by=by)

    def _fire_looks(self) -> list[str]:
        """What a tick of beat does: start the looks that are due; their jobs."""
        return self.w.watches.fire(lambda watch: self._start_look(watch, "beat"))

    def hint_look(self, watch: str) -> None:
        """A watched folder changed. A look that runs may have been there before; one that waits was not."""
        if not self.w.watches.has_job(watch, ("queued",)):
            self._start_look(watch, "event")
