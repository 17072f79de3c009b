"""Operations of lineage: cards of adapters, who saw a document, and runs that leave the platform whole."""

from __future__ import annotations

from typing import Any

from finetune.card import render
from ui.operations.seat import Seat


class Lineage(Seat):
    def card(self, adapter: str) -> dict[str, Any]:
        """What an adapter was made of and how, why the gate said what it said, what it cost."""
        card = self.w.cards.of(adapter)
        return card | {"markdown": render(card)}

    def lineage(self, doc: str) -> dict[str, Any]:
        """The adapters that saw a document, directly or through those they go on from."""
        return self.w.lineage.of_document(doc)

    def export_run(self, run: str, folder: str, with_base: bool = False) -> dict[str, Any]:
        """Write a run as a folder that reproduces its metrics by itself, on the machine of the platform."""
        return self.w.exporter.export(run, folder, with_base=with_base)
