"""`reprise demo`: the whole loop on the project's own guide, and a report of what happened.

Nothing here is scripted to succeed. Every step does what a person would do through the same operations, records what
came back, and the report shows it: also a gate that refuses.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingest import sources
from ingest.incoming import Incoming
from kernel.errors import Refused
from kernel.settings import load
from ui.platform import Platform
from ui.report import render
from ui.wiring import Wired, demo_folder, guide_folder

Say = Callable[[str], None]
WORKSPACE = "demo"
FIRST = ("documents", "answers")
"""Slices the first adapter learns from; the others are new afterwards, so that there is something old to rehearse."""


def run(keep: Path | None, say: Say) -> dict[str, Any]:
    """Run the loop in a home of its own under `keep`; the JSON of `reprise demo`."""
    folder = keep or Path(tempfile.mkdtemp(prefix="reprise-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    wired = Wired(load(home=folder / "home", workspace=WORKSPACE))
    try:
        return Demo(Platform(wired), folder, say).run()
    finally:
        wired.close()


class Demo:
    """The steps, in order. Each leaves what it saw in `self.seen` for the report."""

    def __init__(self, platform: Platform, folder: Path, say: Say) -> None:
        self.platform, self.folder, self.say = platform, folder, say
        self.steps: list[dict[str, Any]] = []
        self.seen: dict[str, Any] = {}
        self.examples = [json.loads(line) for line in (demo_folder() / "examples.jsonl").read_text().splitlines()]
        self.change = json.loads((demo_folder() / "change.json").read_text())

    def run(self) -> dict[str, Any]:
        for name, work in (
            ("ingest the guide, some pages as they were before", self._ingest),
            ("ask before the change", self._ask_before),
            ("publish today's pages", self._update),
            ("ask after the change, and as of before", self._ask_after),
            ("take feedback", self._feedback),
            ("first retrain", self._first),
            ("bring new examples and preview the mix", self._second_examples),
            ("rehearsal retrain", self._second),
            ("promote", self._promote),
            ("roll back", self._roll_back),
            ("a run with shuffled labels", self._shuffled),
        ):
            self._step(name, work)
            if not self.steps[-1]["ok"]:
                break
        ok = len(self.steps) == 11 and all(step["ok"] for step in self.steps)
        report = self.folder / "report.html"
        report.write_text(render(self.steps, self.seen))
        self.say(f"report: {report}")
        return {"ok": ok, "steps": self.steps, "report": str(report)}

    def _step(self, name: str, work: Callable[[], str]) -> None:
        started = time.perf_counter()
        self.say(f"{name} …")
        try:
            ok, detail = True, work()
        except Exception as error:
            ok, detail = False, f"{type(error).__name__}: {error}"
        seconds = round(time.perf_counter() - started, 1)
        self.steps.append({"name": name, "ok": ok, "seconds": seconds, "detail": detail})
        self.say(f"  {detail} ({seconds} s)")

    # --- the loop --------------------------------------------------------------------------------

    def _ingest(self) -> str:
        earlier = {p.name: p.read_bytes() for p in sorted((demo_folder() / "earlier").glob("*.md"))}
        today = list(sources.read([str(guide_folder())], workspace=WORKSPACE))
        files = [_with(f, earlier.get(f.name, f.content)) for f in today]
        result = self.platform.ingest(files)
        self.seen["ingest"] = result
        chunks = sum(row["chunks_total"] for row in result["documents"])
        return f"{len(result['documents'])} pages, {chunks} chunks; {len(earlier)} of them in an earlier version"

    def _ask_before(self) -> str:
        self.seen["asked"] = self.change["question"]
        self.seen["before"] = shown = self.platform.ask(self.change["question"])
        self.seen["before_text"] = _quoted(self.platform, shown)
        return shown["answer"]

    def _update(self) -> str:
        self.seen["update"] = result = self.platform.ingest(sources.read([str(guide_folder())], workspace=WORKSPACE))
        changed = [row for row in result["documents"] if row["status"] == "published"]
        new, kept = (sum(row[name] for row in changed) for name in ("chunks_new", "chunks_kept"))
        unchanged = len(result["documents"]) - len(changed)
        return f"{len(changed)} pages changed ({new} chunks embedded, {kept} kept), {unchanged} unchanged"

    def _ask_after(self) -> str:
        epoch = self.seen["before"]["epoch"]
        self.seen["after"] = self.platform.ask(self.change["question"])
        self.seen["as_of"] = self.platform.ask(self.change["question"], epoch=epoch)
        same = _quoted(self.platform, self.seen["before"]) == self.seen["before_text"]
        if not same:
            raise AssertionError("an old citation does not open the text it cited")
        return f"{self.seen['after']['answer']} — at epoch {epoch}: {self.seen['as_of']['answer']}"

    def _feedback(self) -> str:
        shown = self.platform.ask(self.change["wrong_question"])
        kept = self.platform.feedback(shown["turn"], "down", self.change["correction"])
        rows = [e for e in self.platform.examples() if e["example"] == kept["example"]]
        self.seen["feedback"] = {
            "question": self.change["wrong_question"],
            "shown": shown,
            "kept": kept,
            "example": rows[0],
        }
        return f"correction kept as example {kept['example']} ({rows[0]['status']})"

    def _first(self) -> str:
        self._import(FIRST)
        self.seen["first"] = run = self._retrain()
        return self._served(run)

    def _second_examples(self) -> str:
        self._import(tuple({row["slice"] for row in self.examples} - set(FIRST)))
        self.seen["preview"] = mix = self.platform.preview()
        return f"{mix['new']} new and {mix['recalled']} recalled examples, about {mix['cost']['seconds_estimate']} s"

    def _second(self) -> str:
        self.seen["second"] = run = self._retrain()
        self.seen["mix"] = self.platform.mix(run["run"])
        return _said(run)

    def _promote(self) -> str:
        self.seen["promote"] = moved = self._promote_or_override(self.seen["second"])
        self.seen["promoted_answer"] = self.platform.ask(self.change["question"])
        return moved["told"]

    def _roll_back(self) -> str:
        self.seen["rollback"] = moved = self.platform.rollback()
        return f"{moved['champion'] or 'the base model'} serves again after {moved['ms']:.1f} ms"

    def _shuffled(self) -> str:
        self.seen["shuffled"] = run = self._retrain(control="shuffled")
        self.seen["audit"] = self.platform.audit()
        if run["verdict"]["accepted"]:
            raise AssertionError("the gate accepted a run with shuffled labels")
        return "refused, as it must be: " + run["verdict"]["reasons"][0]

    # --- parts -----------------------------------------------------------------------------------

    def _import(self, slices: tuple[str, ...]) -> None:
        rows = [row for row in self.examples if row["slice"] in slices]
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        taken = self.platform.import_examples(content)
        self.seen.setdefault("imports", []).append(taken)
        self.say(f"  {taken['imported']} examples imported, {taken['skipped']} known, {len(taken['errors'])} errors")

    def _retrain(self, **options: Any) -> dict[str, Any]:
        last = ""

        def progress(stage: str, done: int, total: int) -> None:
            nonlocal last
            line = f"  {stage}" + (f" {100 * done // total // 25 * 25} %" if total else "")
            if line != last:
                self.say(line)
                last = line

        return self.platform.retrain(progress, **options)

    def _served(self, run: dict[str, Any]) -> str:
        moved = self._promote_or_override(run)
        return f"{_said(run)}; {moved['told']}"

    def _promote_or_override(self, run: dict[str, Any]) -> dict[str, Any]:
        """Promote; where the gate refused, show that, and do it by a named override that the audit log keeps."""
        try:
            moved = self.platform.promote(run["adapter"])
            return moved | {"told": f"promoted {run['adapter']}", "refused": None}
        except Refused as refusal:
            reason = "demonstration: shows that an override is named and kept"
            moved = self.platform.promote(run["adapter"], reason)
            return moved | {
                "told": f"promote refused, then overridden: {refusal.message}",
                "refused": refusal.message,
            }


def _said(run: dict[str, Any]) -> str:
    verdict = run["verdict"]
    word = "accepted" if verdict["accepted"] else "refused"
    return f"{word} after {run['seconds']:.0f} s: {verdict['reasons'][0]}"


def _quoted(platform: Platform, shown: dict[str, Any]) -> list[str]:
    """What the citations of an answer open, read anew from the versions they name."""
    return [platform.text(c["document"], c["version"])["text"][c["start"] : c["end"]] for c in shown["citations"]]


def _with(file: Incoming, content: bytes) -> Incoming:
    return Incoming(path=file.path, name=file.name, source=file.source, workspace=file.workspace, content=content)
