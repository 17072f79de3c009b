"""`reprise doctor`: what could be wrong with an installation or a home, each check with what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kernel import audit
from kernel.errors import RepriseError
from kernel.index.schema import keyword
from kernel.index.terms import TERMS
from ui.pairing import advice

if TYPE_CHECKING:
    from ui.wiring import Wired


def examine(wired: Wired) -> dict[str, Any]:
    """Run every check; one that breaks is a failed check, not an error."""
    checks = [_run(name, check, wired) for name, check in _CHECKS.items()]
    return {"ok": all(c["ok"] for c in checks), "checks": checks}


def _run(name: str, check: Callable[[Wired], tuple[bool, str, str]], wired: Wired) -> dict[str, Any]:
    try:
        ok, detail, hint = check(wired)
    except RepriseError as error:
        ok, detail, hint = False, error.message, error.hint
    except Exception as error:
        ok, detail, hint = False, f"{type(error).__name__}: {error}", "set REPRISE_DEBUG=1 and report this"
    return {"name": name, "ok": ok, "detail": detail, "hint": "" if ok else hint}


def _disk(w: Wired) -> tuple[bool, str, str]:
    from ui.wiring import free_mib

    free, needed = free_mib(w.home), w.settings.min_free_mb
    return (
        free >= needed,
        f"{free:,.0f} MiB free",
        f"publishing needs {needed} MiB free (REPRISE_MIN_FREE_MB)",
    )


def _database(w: Wired) -> tuple[bool, str, str]:
    epoch = w.epochs.committed()
    return True, f"{w.db.engine.dialect.name}, epoch {epoch}", ""


def _index(w: Wired) -> tuple[bool, str, str]:
    from qdrant_client import models

    chunks = w.index.count(models.Filter(must=[keyword("kind", "chunk")]))
    expected = w.library.counts()["chunks"]
    return (
        chunks >= expected,
        f"{chunks} chunk points, {expected} visible",
        "restore a backup: points are missing",
    )


def _terms(w: Wired) -> tuple[bool, str, str]:
    made = w.replacer.serves().get("terms")
    current = made == TERMS or w.index.count() == 0
    return (
        current,
        f"terms made by {made or 'an earlier release'}",
        "a node makes them anew by itself; `reprise maintain` does it now",
    )


def _embedder(w: Wired) -> tuple[bool, str, str]:
    told = advice(w.settings, w.replacer.serves())
    return told is None, w.embedder.fingerprint, told or ""


def _adapter(w: Wired) -> tuple[bool, str, str]:
    w.lending.warm()
    return (
        w.lending.trouble is None,
        w.lending.trouble or f"serving {w.live.champion() or 'the base model'}",
        "reprise rollback",
    )


def _audit(w: Wired) -> tuple[bool, str, str]:
    with w.db.read() as session:
        ok = audit.intact(session)
    return (
        ok,
        "the chain is intact" if ok else "the chain is broken",
        "an audit entry was changed outside Reprise",
    )


def _jobs(w: Wired) -> tuple[bool, str, str]:
    failed = [j for j in w.ledger.listing(200) if j["state"] == "failed"]
    return not failed, f"{len(failed)} failed", "`reprise jobs` lists them; the System page can retry them"


_CHECKS: dict[str, Callable[[Wired], tuple[bool, str, str]]] = {
    "disk": _disk,
    "database": _database,
    "index": _index,
    "search terms": _terms,
    "embedder": _embedder,
    "adapter": _adapter,
    "audit log": _audit,
    "jobs": _jobs,
}
