"""Operation of advice: where what is new belongs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from finetune.advice import decide
from kernel.errors import NotFound
from ui.operations.seat import Seat


class Advice(Seat):
    def advise(
        self, document: str | None = None, slice_name: str | None = None, workspace: str | None = None
    ) -> list[dict[str, Any]]:
        """Whether what is new belongs in the index, in an adapter or in neither, with the facts that say so.

        Raises:
            NotFound: no such document or slice.
        """
        chosen = workspace or (self.w.library.find(document).workspace if document else self.settings.workspace)
        found = self.w.evidence.gather(chosen, document, slice_name)
        if slice_name is not None and not found:
            raise NotFound(f"no slice {slice_name!r} in {chosen!r}", hint="`reprise examples list` shows the slices")
        rows = []
        for facts in found:
            advice = asdict(decide(facts))
            if facts.subject == "workspace" and advice["verdict"] != "index":
                continue  # of a workspace there is only to be said what it lacks
            told = {name: value for name, value in asdict(facts).items() if name not in _NAMES}
            told["changes_per_month"] = round(facts.changes_per_month, 2)
            rows.append({name: getattr(facts, name) for name in _NAMES} | advice | {"facts": told})
        return rows


_NAMES = ("subject", "name", "document", "workspace")
