"""The stored policies of the gate: what a person set for a kind of adapter, for all workspaces or for one.

    default  <  the kind's  <  the kind's in the run's workspace

Only what was set is stored, so a default that a later release measures anew reaches everybody who did not choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from finetune.policy import GatePolicy
from finetune.tables import StoredPolicy
from kernel.audit import record
from kernel.database import Database, alone
from kernel.ids import iso, now_ms

_ALL = ""


class GatePolicies:
    """Policies by kind and workspace. Safe from several threads and processes: every change is one transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def of(self, kind: str, workspace: str | None) -> GatePolicy:
        """What a run of `kind` in `workspace` (None: all of them) is judged by."""
        with self._db.read() as session:
            return GatePolicy.from_json(_layers(session, kind, workspace))

    def show(self, kind: str, workspace: str | None = None) -> dict[str, Any]:
        """The policy, what of it was set for this very kind and workspace, and when."""
        with self._db.read() as session:
            row = session.get(StoredPolicy, (kind, workspace or _ALL))
            return {
                "kind": kind,
                "workspace": workspace,
                "policy": GatePolicy.from_json(_layers(session, kind, workspace)).to_json(),
                "set": dict(row.policy) if row else {},
                "changed": iso(row.changed) if row else None,
            }

    def set(
        self, kind: str, changes: Mapping[str, Any], workspace: str | None = None, *, reset: bool = False, by: str = ""
    ) -> dict[str, Any]:
        """Change some thresholds, or with `reset` set these alone; the policy. All of them, or none.

        Raises:
            UserError: thresholds or values that make no sense; all of them are named at once.
        """
        with self._db.write() as session:
            alone(session, "gate policies")  # or of two changes at once one is lost
            row = session.get(StoredPolicy, (kind, workspace or _ALL))
            before = dict(row.policy) if row else {}
            wanted = dict(changes) if reset else before | dict(changes)
            GatePolicy.from_json((_layers(session, kind, None) if workspace else {}) | wanted)
            if row is None:
                row = StoredPolicy(kind=kind, workspace=workspace or _ALL)
                session.add(row)
            row.policy, row.changed = wanted, now_ms()
            record(session, "gate policy", kind, by or "local", workspace=workspace, before=before, after=wanted)
        return self.show(kind, workspace)


def _layers(session: Session, kind: str, workspace: str | None) -> dict[str, Any]:
    """What was set, the nearer over the farther."""
    wanted: dict[str, Any] = {}
    for place in dict.fromkeys((_ALL, workspace or _ALL)):
        row = session.get(StoredPolicy, (kind, place))
        wanted |= row.policy if row else {}
    return wanted
