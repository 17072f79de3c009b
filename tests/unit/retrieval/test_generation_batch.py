from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from kernel.errors import Conflict, Failed, NotFound, TryAgain, UserError
from kernel.types import BASE
from retrieval.generators.adapters import Adapters
from retrieval.generators.batch import Batches, Row


class Model:
    """Writes each row's number of prompt tokens; waits before each batch until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[Row]] = []
        self.entered, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def run(self, rows: Sequence[Row]) -> None:
        self.batches.append(list(rows))
        self.entered.release()
        assert self.go.acquire(timeout=30)
        for row in rows:
            row.put(str(len(row.prompt)))
            row.close()


def row(tokens: int = 1, apart: str = "") -> Row:
    return Row(prompt=[0] * tokens, limit=10, ends=lambda piece: False, apart=apart)


def test_who_comes_while_the_model_is_busy_shares_the_next_batch_in_order() -> None:
    model = Model()
    batches = Batches(model.run, rows=3, tokens=1_000)
    rows = [row(n + 1) for n in range(6)]
    batches.submit(rows[0])
    assert model.entered.acquire(timeout=30)
    for later in rows[1:]:
        batches.submit(later)
    for _ in range(3):
        model.go.release()
    assert ["".join(r.read()) for r in rows] == ["1", "2", "3", "4", "5", "6"]
    assert [[len(r.prompt) for r in batch] for batch in model.batches] == [[1], [2, 3, 4], [5, 6]]


def test_a_batch_takes_no_more_than_fits_and_keeps_apart_what_cannot_be_mixed() -> None:
    model = Model()
    batches = Batches(model.run, rows=9, tokens=220)
    rows = [row(), row(100), row(5, "dora"), row(100), row(100), row(5, "dora"), row(5_000)]
    batches.submit(rows[0])
    assert model.entered.acquire(timeout=30)
    for later in rows[1:]:
        batches.submit(later)
    for _ in range(6):
        model.go.release()
    assert ["".join(r.read()) for r in rows] == ["1", "100", "5", "100", "100", "5", "5000"]
    assert [[len(r.prompt) for r in batch] for batch in model.batches] == [[1], [100, 100], [5, 5], [100], [5_000]]


def test_who_left_before_it_began_is_not_run() -> None:
    model = Model()
    batches = Batches(model.run)
    first, gone, last = row(1), row(2), row(3)
    batches.submit(first)
    assert model.entered.acquire(timeout=30)
    batches.submit(gone)
    batches.submit(last)
    gone.left = True
    model.go.release()
    model.go.release()
    assert "".join(last.read()) == "3"
    assert [len(r.prompt) for r in model.batches[1]] == [3]


@pytest.mark.parametrize(("error", "kind"), [(ValueError("no memory"), Failed), (UserError("bad"), UserError)])
def test_an_error_reaches_every_reader_of_the_batch(error: Exception, kind: type[Exception]) -> None:
    def run(rows: Sequence[Row]) -> None:
        raise error

    batches = Batches(run)
    for _ in range(2):
        asked = row()
        batches.submit(asked)
        with pytest.raises(kind, match=r"no memory|bad"):
            list(asked.read())


def test_an_adapter_is_chosen_once_for_an_answer() -> None:
    adapters = Adapters()
    adapters.add("a")
    adapters.add("b")
    adapters.use("a")
    with adapters.chosen(None) as name:
        adapters.use("b")
        assert name == "a"
        with pytest.raises(TryAgain, match="1 answers"), adapters.drained("a", seconds=0):
            pass
        assert adapters.loaded == {"a", "b"}
    with adapters.chosen(None) as served, adapters.chosen(BASE) as base:
        assert (served, base) == ("b", None)
    with adapters.drained("a"):
        assert adapters.loaded == {"b"}
    with pytest.raises(NotFound), adapters.drained("a"):
        pass
    with pytest.raises(Conflict, match="used before"):
        adapters.add("a")
    with pytest.raises(Conflict):
        adapters.check_fresh(BASE)


def test_an_adapter_that_could_not_be_freed_is_still_there() -> None:
    adapters = Adapters()
    adapters.add("a")
    with pytest.raises(OSError, match="no"), adapters.drained("a"):
        raise OSError("no")
    assert adapters.loaded == {"a"}
