"""Operations of a person's own things: conversations, preferences, everything about them, and its erasure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel import audit
from kernel.ids import iso, now_ms
from retrieval.preferences import key_of, user_name
from retrieval.turns import LOCAL
from ui.operations.seat import Seat

UNREACHABLE = [
    "backups and exports made earlier",
    "copies that left through answers or the HTTP API",
    "adapters that were trained on examples which went now",
]


class People(Seat):
    def conversations(self, user: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        return self.w.conversations.listing(user_name(user or LOCAL), limit)

    def conversation(self, conversation: str, user: str | None = None) -> dict[str, Any]:
        return self.w.conversations.show(conversation, user_name(user or LOCAL))

    def rename_conversation(self, conversation: str, title: str, user: str | None = None) -> dict[str, Any]:
        return self.w.conversations.rename(conversation, title, user_name(user or LOCAL))

    def delete_conversation(self, conversation: str, user: str | None = None) -> dict[str, Any]:
        """Delete it with its turns and their feedback; the receipt names the examples that stay.

        Those that only consent allowed go first: with the feedback goes what leads from the person to them, and neither
        a consent that is taken back nor an erasure would find them. What a vote makes meanwhile goes when it is found,
        and so do rows of a run that was written meanwhile.
        """
        name = user_name(user or LOCAL)
        turns = self.w.conversations.turns(name, conversation=conversation)
        withdrawn, rows = self._take_back_personal(name, "conversation deleted", conversation)
        gone = self.w.conversations.delete(conversation, name)
        late = self._take_back(gone.pop("examples_personal"), "conversation deleted", turns)
        return gone | {"examples": withdrawn + late[0], "training_rows_redacted": rows + late[1]}

    def me(self, user: str | None = None) -> dict[str, Any]:
        return self.w.preferences.show(user_name(user or LOCAL))

    def set_me(self, changes: Mapping[str, Any], user: str | None = None) -> dict[str, Any]:
        """Change preferences. Consent that is taken back takes the examples away that were made by it."""
        name = user_name(user or LOCAL)
        before = self.w.preferences.of(name)
        now = self.w.preferences.set(name, changes)
        withdrawn = 0
        if before.consent and not now["consent"]:
            withdrawn, _ = self._take_back(self.w.conversations.examples(name, personal=True), "consent withdrawn")
        return now | {"examples_withdrawn": withdrawn}

    def export_me(self, user: str | None = None) -> dict[str, Any]:
        """Everything that is kept about a user."""
        name = user_name(user or LOCAL)
        return {
            "user": name,
            "exported": iso(now_ms()),
            "preferences": self.w.preferences.show(name),
            **self.w.conversations.export(name),
        }

    def erase_me(self, user: str | None = None) -> dict[str, Any]:
        """Delete everything that is kept about a user; the receipt.

        Examples of history or preferences go with it. Those of feedback on questions that stood alone are named and
        stay, as they hold nothing but a question, documents' words and what the person sent in to be learnt.
        """
        name = user_name(user or LOCAL)
        turns = self.w.conversations.turns(name)
        withdrawn, rows = self._take_back_personal(name, "user erased")
        with self.w.db.write() as session:
            gone = self.w.conversations.forget(session, name)
            preferences = self.w.preferences.forget(session, name)
            late = gone.pop("examples_personal")
            counts = {"preferences": preferences, **gone, "examples": withdrawn, "training_rows_redacted": rows}
            audit.record(
                session, "user.erase", key_of(name), **{k: v for k, v in counts.items() if k != "examples_kept"}
            )
        for what, more in zip(
            ("examples", "training_rows_redacted"), self._take_back(late, "user erased", turns), strict=True
        ):
            counts[what] += more
        self.w.db.erase_traces()
        return {"user": name, "key": key_of(name), **counts, "unreachable": UNREACHABLE}

    def _take_back_personal(self, name: str, reason: str, conversation: str | None = None) -> tuple[int, int]:
        """Take away what only consent allowed, before what leads from the person to it goes, and the rows of all turns.

        Looked for again until there is no more: votes may come meanwhile. What comes after the last look is named in
        the receipt of what is deleted.
        """

        def personal() -> set[str]:
            return set(self.w.conversations.examples(name, personal=True, conversation=conversation))

        there = personal()
        examples, rows = self._take_back(there, reason, self.w.conversations.turns(name, conversation=conversation))
        while more := personal() - there:
            there |= more
            late = self._take_back(more, reason)
            examples, rows = examples + late[0], rows + late[1]
        return examples, rows
