"""Commands of running the platform."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kernel.errors import Conflict
from kernel.pace import people
from ui.door import Door, command, say, table

Port = Annotated[int | None, typer.Option(help="Port of the HTTP API; 0 takes a free one (default: 8321).")]
JobId = Annotated[str, typer.Argument(metavar="JOB")]
WebPort = Annotated[int | None, typer.Option(help="Port of the web app; 0 takes a free one (default: 8322).")]


def register(app: typer.Typer) -> None:
    @command(app)
    def up(
        door: Door,
        port: Port = None,
        web_port: WebPort = None,
        no_web: Annotated[bool, typer.Option("--no-web", help="Only the node, no web app.")] = False,
        no_guide: Annotated[bool, typer.Option("--no-guide", help="Start with an empty home.")] = False,
    ) -> None:
        """Start the platform here: node and web app. Runs until interrupted."""
        from kernel.settings import load
        from ui.node import serve

        settings = load(home=door.settings.home, api_port=port, web_port=web_port)
        serve(settings, web=not no_web, guide=not no_guide, announce=_announce)

    @command(app)
    def api(door: Door, port: Port = None) -> None:
        """Serve the HTTP API of a cluster; workers and beat are processes of their own."""
        from kernel.settings import load
        from ui.cluster import serve_api

        serve_api(load(home=door.settings.home, api_port=port), _announce)

    @command(app)
    def worker(
        door: Door,
        queues: Annotated[
            str, typer.Option("--queues", "-Q", help="Comma-separated: default, ingest, train.")
        ] = "default,ingest,train",
        concurrency: Annotated[int, typer.Option(help="Jobs at a time.")] = 2,
    ) -> None:
        """Work on a cluster's jobs."""
        from ui.cluster import run_worker

        run_worker(door.settings, queues.split(","), concurrency)

    @command(app)
    def beat(door: Door) -> None:
        """Send a cluster's ticks: schedules and recovery. Several may run; one at a time is active."""
        from ui.cluster import run_beat

        run_beat(door.settings)

    @command(app)
    def web(door: Door, web_port: WebPort = None) -> None:
        """Serve the web app alone, for a node at REPRISE_API."""
        from kernel.settings import load
        from ui.node import start_web

        settings = load(home=door.settings.home, web_port=web_port)
        process, url = start_web(settings, settings.api or f"http://{settings.api_host}:{settings.api_port}")
        say(url)
        door.exit_code = process.wait()

    @command(app)
    def doctor(door: Door) -> None:
        """Check this installation and home; says what to do about what is wrong."""
        found = door.platform.doctor()
        door.out(found, lambda f: table(f["checks"], ["ok", "name", "detail", "hint"], ""))
        door.exit_code = 0 if found["ok"] else 1

    @command(app)
    def jobs(
        door: Door,
        follow: Annotated[
            str | None, typer.Option("--follow", metavar="JOB", help="Watch one job to its end, then print it.")
        ] = None,
    ) -> None:
        """The ledger of jobs, newest first, with how far each is."""
        if follow is None:
            door.out(door.platform.jobs(), _people_jobs)
        else:
            job = _followed(door, follow)
            door.out(job, _people_job)
            door.exit_code = 0 if job["state"] == "done" else 1

    job = typer.Typer(help="One job of the ledger.", no_args_is_help=True)
    app.add_typer(job, name="job")

    @command(job)
    def show(door: Door, job_id: JobId) -> None:
        """How far a job is, and what became of each of its files."""
        door.out(door.platform.job(job_id), _people_job)

    @command(job)
    def cancel(door: Door, job_id: JobId) -> None:
        """Stop a job between two files; what is published stays."""
        door.out(door.platform.cancel_job(job_id), _people_job)

    @command(job)
    def retry(door: Door, job_id: JobId) -> None:
        """Queue a failed or cancelled job again, or the files of a job that failed; what is published stays."""
        door.out(door.platform.retry_job(job_id), _people_job)

    @command(job, "remove")
    def remove_job(door: Door, job_id: JobId) -> None:
        """Take a job that ended out of the ledger, and the files that were kept for its retry."""
        door.out(door.platform.remove_job(job_id), lambda found: say(f"{found['job']} is no longer in the ledger."))

    @command(app)
    def audit(
        door: Door,
        verify: Annotated[bool, typer.Option("--verify", help="Exit 1 if the chain is broken.")] = False,
    ) -> None:
        """The audit log, newest first, and whether its chain is intact."""
        found = door.platform.audit()
        door.out(found, _people_audit)
        if verify and not found["intact"]:
            door.exit_code = 1

    @command(app)
    def backup(door: Door, file: Path) -> None:
        """Write documents, index, examples, adapters and settings of the platform to one file."""
        door.out(door.platform.backup(str(file.absolute())), _people_backup)

    @command(app, "restore-backup")
    def restore_backup(door: Door, file: Path) -> None:
        """Restore a backup into a new or empty home folder."""
        from ui.transfer import restore

        door.out(restore(door.settings, file), _people_backup)

    @command(app)
    def demo(
        door: Door,
        keep: Annotated[
            Path | None, typer.Option(help="Folder for the demo's home and report (default: a new one).")
        ] = None,
    ) -> None:
        """The whole loop on the project's own guide, with a report at the end. Takes about three minutes."""
        from ui.demo import run

        result = run(keep, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
        door.out(result, lambda r: say(f"Report: {r['report']}"))
        door.exit_code = 0 if result["ok"] else 1


def _followed(door: Door, job: str) -> dict[str, Any]:
    """The job at its end.

    Raises:
        Conflict: it is under way, and nobody is there to work on it.
    """
    found: dict[str, Any] = door.platform.job(job)
    if found["state"] not in ("queued", "running"):
        return found
    if not door.remote:
        raise Conflict(f"job {job!r} is {found['state']}, and no node runs", hint="start one with `reprise up`")
    ended: dict[str, Any] = door.platform.wait_job(job, door.progress())
    return ended


def _announce(api_url: str, web_url: str | None) -> None:
    import json

    say(json.dumps({"api": api_url, "web": web_url}))
    lines = [
        f"Reprise is up. Open {web_url}" if web_url else "Reprise is up.",
        f"API and its documentation: {api_url}/docs",
    ]
    lines.append("Ctrl-C stops it; everything is kept.")
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201


def _people_jobs(rows: list[dict[str, Any]]) -> None:
    def progress(row: dict[str, Any]) -> str:
        return people(row["progress"]) if row["state"] == "running" else ""

    columns = ["job", "kind", "state", "progress", "attempt", "enqueued_by", "created", "finished"]
    table([row | {"progress": progress(row)} for row in rows], columns, "No jobs yet.")


def _people_job(job: dict[str, Any]) -> None:
    say(f"{job['job']} ({job['kind']}): {job['state']}, attempt {job['attempt']}. {people(job['progress'])}")
    for row in (job["result"] or {}).get("documents", []):
        told = f"  {row['error']['message']} — {row['error']['hint']}" if row["error"] else ""
        say(f"  {row['status']:<9}  {row['path']}{told}")
    if job["error"]:
        say(f"  {job['error']['message']} — {job['error']['hint']}")


def _people_audit(found: dict[str, Any]) -> None:
    table(found["entries"], ["seq", "at", "actor", "action", "subject", "detail"], "Nothing yet.")
    say("The chain is intact." if found["intact"] else "THE CHAIN IS BROKEN: an entry was changed or removed.")


def _people_backup(done: dict[str, Any]) -> None:
    counts = f"epoch {done['epoch']}, {done['documents']} documents, {done['adapters']} adapters"
    say(f"{done['file']}: {done['bytes']:,} bytes, {counts}.")
