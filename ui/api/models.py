"""What a chat program can choose from: the platform by each of its generators, and by each of its adapters.

reprise                        as everywhere: the default generator, the adapter that serves
reprise:GENERATOR              another generator
reprise@ADAPTER                an adapter by its name, whatever its state: it is pinned for this answer
reprise@base                   no adapter at all, whatever serves
reprise@champion               the retriever adapter in that state now; so previous, canary and shadow
reprise:GENERATOR@ADAPTER      both
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from finetune.registry import BASE
from kernel.errors import NotFound
from retrieval.live import RETRIEVER
from ui.platform import Platform

MODEL = "reprise"
STATES = ("champion", "previous", "canary", "shadow")
"""States that one adapter of a kind is in at a time, so that each is a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Who answers. None leaves it to the platform."""

    generator: str | None = None
    adapter: str | None = None


def chosen(node: Platform, model: str) -> Chosen:
    """What a model's name stands for.

    Raises:
        NotFound: nothing has that name, or no adapter is in that state now.
    """
    kind, rest = model.removeprefix(MODEL)[:1], model.removeprefix(MODEL)[1:]
    if not model.startswith(MODEL) or kind not in ("", ":", "@"):
        raise _unknown(model)
    if kind == "@":
        return Chosen(adapter=_pinned(node, model, rest))
    generators = node.w.answerer.generators
    if kind == "" or rest in generators:
        return Chosen(generator=rest or None)
    for at, sign in enumerate(rest):  # an @ may also stand in a generator's name: a path, an address
        if sign == "@" and rest[:at] in generators:
            return Chosen(generator=rest[:at], adapter=_pinned(node, model, rest[at + 1 :]))
    raise _unknown(model)


def offered(node: Platform) -> list[dict[str, Any]]:
    """The models in OpenAI's shape, ours beside it. Retired adapters can be pinned, but are not listed."""
    plain = [_model(MODEL)] + [_model(f"{MODEL}:{name}", generator=name) for name in node.w.answerer.generators]
    adapters = [a for a in node.adapters() if a["state"] != "retired"]
    by_state = {a["state"]: a for a in reversed(adapters) if a["kind"] == RETRIEVER}
    states = [_of_adapter(state, by_state[state]) for state in STATES if state in by_state]
    base = [_model(f"{MODEL}@{BASE}", adapter=BASE)] if adapters else []
    return plain + base + states + [_of_adapter(a["adapter"], a) for a in adapters]


def named(node: Platform, model: str) -> dict[str, Any]:
    """One model, as `offered` lists it.

    Raises:
        NotFound: there is no such model.
    """
    for row in offered(node):
        if row["id"] == model:
            return row
    choice = chosen(node, model)
    return _model(model, generator=choice.generator, adapter=choice.adapter)


def _pinned(node: Platform, model: str, adapter: str) -> str:
    rows = node.adapters()
    if adapter == BASE:
        return BASE
    if adapter in STATES:
        found = next((a for a in rows if a["state"] == adapter and a["kind"] == RETRIEVER), None)
    else:
        found = next((a for a in rows if a["adapter"] == adapter), None)
    if found is None:
        raise _unknown(model)
    return str(found["adapter"])


def _of_adapter(name: str, adapter: dict[str, Any]) -> dict[str, Any]:
    more = {field: adapter[field] for field in ("adapter", "kind", "state", "accepted", "parent", "share")}
    created = int(datetime.fromisoformat(adapter["created"]).timestamp())
    return _model(f"{MODEL}@{name}", created, **more)


def _model(name: str, created: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": MODEL, "reprise": more}


def _unknown(model: str) -> NotFound:
    return NotFound(f"no model {model!r}", hint="`GET /v1/models` lists them", code="model_not_found")
