"""The card of an adapter: what it was made of and how, why the gate said what it said, what it cost.

The same facts as JSON, as Markdown for people, and as a README.md beside the weights in the form of a Hugging Face
model card, so that an adapter that leaves the platform takes them along. A card names documents and quotes nothing of
them; when one is deleted its name goes from the cards as well, and its id stays.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from finetune.cost import told
from finetune.files import read_json, write
from finetune.lineage import Lineage
from finetune.quoted import Quoted
from finetune.registry import chain
from finetune.runs import RUNS, Runs
from finetune.tables import Adapter, Run
from kernel.database import Database
from kernel.errors import NotFound
from kernel.ids import iso
from rehearsal.tables import Example, MixRow

FILE = "README.md"
_TASKS = {"retriever": "sentence-similarity", "reranker": "text-ranking", "generator": "text-generation"}
_SHOWN = 50
"""Documents that the Markdown names."""


class Cards:
    """Makes cards of what SQL and the run folders know."""

    def __init__(self, db: Database, lineage: Lineage, home: Path) -> None:
        self._db, self._lineage, self._home = db, lineage, home
        self._runs, self._quoted = Runs(db, home), Quoted(db, home)

    def of(self, adapter: str) -> dict[str, Any]:
        """The JSON of `reprise card`.

        Raises:
            NotFound: no such adapter.
        """
        with self._db.read() as session:
            row = session.get(Adapter, adapter)
            if row is None:
                raise NotFound(f"no adapter {adapter!r}", hint="`reprise adapters` lists them")
            behind = chain(session, adapter)
            run = session.get(Run, row.run)
            assert run is not None
            folder, cycle = self._home / RUNS / run.id, self._runs.result(run.id)
            manifest, mix = _read(self._home / row.path / "manifest.json"), _read(folder / "manifest.json")
            earlier = [a.run for a in behind[1:]]
            return {
                "adapter": row.name,
                "kind": row.kind,
                "state": row.state,
                "accepted": bool(row.accepted),
                "created": iso(row.created),
                "run": run.id,
                **{name: cycle[name] for name in ("sibling", "preferred", "beside")},
                "workspace": run.workspace,
                "base": manifest.get("base"),
                "sha256": (manifest.get("adapter") or {}).get("sha256"),
                "parents": [{"adapter": a.name, "run": a.run, "state": a.state} for a in behind[1:]],
                "data": {
                    "epoch": run.epoch,
                    **_counts(session, run.id),
                    "excluded": mix.get("excluded", {}),
                    "documents": self._lineage.documents_of(session, [run.id]),
                    "documents_through_parents": self._lineage.documents_of(session, earlier),
                },
                "options": run.options,
                "recipe": manifest.get("recipe"),
                "seed": manifest.get("seed", run.options.get("seed")),
                "metrics": run.metrics,
                "verdict": run.verdict,
                "seconds": {
                    "training": run.metrics.get("train_seconds", manifest.get("seconds")),
                    "from_request_to_verdict": round((run.finished - run.created) / 1000, 1) if run.finished else None,
                },
                "cost": run.metrics.get("cost"),
                "energy": _energy(run.metrics.get("cost") or {}),
                "versions": manifest.get("versions"),
            }

    def markdown(self, adapter: str) -> str:
        """The card as a Hugging Face model card: a block of YAML, then text."""
        return render(self.of(adapter))

    def write(self, adapter: str) -> Path | None:
        """Write the card beside the weights of an adapter; None where those are gone.

        And that of the other challenger of its cycle, which says which of the two is preferred.
        """
        with self._db.read() as session:
            row = session.get(Adapter, adapter)
        sibling = self._runs.result(row.run)["sibling"] if row is not None else None
        other = self._runs.result(sibling)["adapter"] if sibling else None
        if other is not None:
            self._write(other)
        return self._write(adapter)

    def _write(self, adapter: str) -> Path | None:
        with self._db.read() as session:
            row = session.get(Adapter, adapter)
        if row is None:
            return None
        self._quoted.catch_up(row.run)
        folder = self._home / row.path
        if not folder.is_dir():
            return None
        write(folder / FILE, self.markdown(adapter))
        return folder / FILE

    def complete(self) -> list[str]:
        """Write the cards of adapters that have none, as somebody died before; whose they are.

        For a start that has the home to itself. It does not fail for want of a card.
        """
        with self._db.read() as session:
            rows = session.execute(select(Adapter.name, Adapter.path).join(Run, Run.id == Adapter.run))
            without = [name for name, path in rows if not (self._home / path / FILE).exists()]
        with suppress(OSError):
            return [name for name in without if self.write(name)]
        return []


def _counts(session: Session, run: str) -> dict[str, Any]:
    """How many rows there were by part, and of which origin, slice and licence."""
    mine = select(MixRow, Example).join(Example, Example.id == MixRow.example).where(MixRow.run == run)
    rows = session.execute(mine).all()
    parts = session.execute(select(MixRow.part, func.count()).where(MixRow.run == run).group_by(MixRow.part))

    def by(name: str) -> dict[str, int]:
        return dict(Counter(getattr(e, name) or "none given" for _, e in rows).most_common())

    return {
        "rows": len(rows),
        "parts": dict(parts.all()),
        "origins": by("origin"),
        "slices": by("stratum"),
        "licences": by("licence"),
    }


def _energy(cost: dict[str, Any]) -> dict[str, Any] | None:
    """Watt-hours of the training; null where nobody said what a core draws."""
    if cost.get("energy_wh_estimate") is None:
        return None
    how = f"estimated: {cost['cpu_seconds']:g} processor seconds at {cost['watts_per_core']:g} W for a busy core"
    return {"watt_hours": cost["energy_wh_estimate"], "how": how}


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    found: dict[str, Any] = read_json(file)
    return found


# --- as text --------------------------------------------------------------------------------------


def render(card: dict[str, Any]) -> str:
    data, verdict = card["data"], card["verdict"] or {}
    base = (card["base"] or {}).get("name", "unknown")
    said = "The gate accepted it." if card["accepted"] else "The gate did not accept it."
    lines = [*_front(card, base), "", f"# {card['adapter']}", ""]
    lines.append(f"A LoRA adapter of the {card['kind']} on `{base}`, made by Reprise on {card['created']}. {said}")
    if card["beside"]:
        lines += ["", f"{card['beside'][:1].upper()}{card['beside'][1:]}."]
    lines += ["", "## Data", "", f"Drawn at epoch {data['epoch']}, with the policy {card['options'].get('policy')!r}, "
              f"rho {card['options'].get('rho')} and seed {card['seed']}.", ""]  # fmt: skip
    for name in ("parts", "origins", "slices", "licences"):
        lines.append(f"- {name}: " + (", ".join(f"{key} {n}" for key, n in data[name].items()) or "none"))
    lines += ["", *_documents("Documents", data["documents"])]
    lines += _documents("Documents that its parents saw", data["documents_through_parents"])
    lines += [
        "## Parents",
        "",
        *([f"- {p['adapter']}" for p in card["parents"]] or ["None: trained from the base model."]),
    ]
    lines += ["", "## Verdict", "", *[f"- {_plain(reason)}" for reason in verdict.get("reasons", ())], ""]
    if verdict.get("slices"):
        lines += [
            "| slice | n | metric | base | champion | adapter | low | high |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_row(name, s) for name, s in _called(verdict["slices"])] + [""]
    spent = told(card["cost"] or {"train_seconds": card["seconds"]["training"]})
    lines += ["## Cost", "", *([f"- {name}: {said}" for name, said in spent] or ["Not measured."])]
    lines += ["", f"Energy {card['energy']['how']}.", ""] if card["energy"] else [""]
    lines += ["## Recipe", "", "```json", json.dumps(card["recipe"], indent=1), "```", "", "## Versions", ""]
    lines += [f"- {name} {version}" for name, version in (card["versions"] or {}).items()]
    return "\n".join(lines) + "\n"


def _front(card: dict[str, Any], base: str) -> list[str]:
    """YAML whose values are JSON, which YAML reads as it stands."""
    licences = [name for name in card["data"]["licences"] if name != "none given"]
    fields: dict[str, Any] = {
        "base_model": base,
        "library_name": "peft",
        "pipeline_tag": _TASKS.get(card["kind"], "other"),
        "tags": ["reprise", "lora", card["kind"]],
        "license": licences[0].lower() if len(licences) == 1 else "other",
        "model-index": _index(card),
    }
    return ["---", *(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()), "---"]


def _index(card: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures per slice, as the hub reads them."""
    task = {"type": _TASKS.get(card["kind"], "other")}
    results = [
        {
            "task": task,
            "dataset": {"type": "held-out", "name": name},
            "metrics": [{"type": s["metric"], "value": round(s["challenger"], 4)}],
        }
        for name, s in _called((card["verdict"] or {}).get("slices", ()))
        if s["challenger"] is not None
    ]
    return [{"name": card["adapter"], "results": results}]


def _documents(title: str, documents: list[dict[str, Any]]) -> list[str]:
    if not documents:
        return []
    lines = [
        f"## {title}",
        "",
        "| document | versions | examples | chunks as contrast | source |",
        "|---|---|---|---|---|",
    ]
    for d in documents[:_SHOWN]:
        name = _plain(d["name"] or f"{d['document']} (deleted)")
        versions = ", ".join(map(str, d["versions"]))
        lines.append(f"| {name} | {versions} | {d['examples']} | {d['contrasts']} | {_plain(d['source'] or '')} |")
    if len(documents) > _SHOWN:
        lines.append(f"| and {len(documents) - _SHOWN} more | | | | |")
    return [*lines, ""]


def _called(slices: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a verdict with names that tell them apart: a slice may have one of what is new and one of what is old."""
    rows = Counter(s["slice"] for s in slices if s.get("part") != "origin")
    for s in slices:
        if s.get("part") == "origin":
            yield f"origin: {s['slice']}", s
        else:
            yield (f"{s['slice']}, {s['part']}" if rows[s["slice"]] > 1 else s["slice"]), s


def _row(name: str, s: dict[str, Any]) -> str:
    means = [_figure(s[name]) for name in ("base", "champion", "challenger")]
    figures = " | ".join([*means, *(_figure(s[name], "+") for name in ("low", "high"))])
    return f"| {_plain(name)} | {s['n']} | {s['metric']} | {figures} |"


def _figure(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.3f}"


def _plain(text: str) -> str:
    """A name or a sentence in a table's cell, where it must not end the cell or the line."""
    return " ".join(text.replace("|", "\\|").split())
