"""What every engine of the `Embedder` port promises: the packaged model, any folder, and the one tests use."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from kernel.embedder import SentenceTransformerEmbedder, model_path
from kernel.errors import Failed, UserError
from kernel.ports import Embedder
from kernel.precision import fastest, has_bfloat16, has_openvino
from kernel.settings import DEFAULT_EMBEDDER
from tests.house import WordEmbedder, minilm

TEXTS = [
    "Expenses over 50 euros need a receipt.",
    "a",
    "The zebra is a striped horse of the African plains.",
    "",
    "Travel costs are paid back within a month. " * 30,
    "Ein Satz mit Umlauten: äöüß, and emoji 🎉.",
]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder as anybody could have it: a BERT of a few thousand weights."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789.,:"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=64, **sizes))
    model.save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"), max_seq_length=48)
    SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu").save(str(folder / "model"))
    return folder / "model"


@pytest.fixture(params=["packaged", "folder", "words"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    makers: dict[str, Callable[[], Embedder]] = {
        "packaged": minilm,
        "folder": lambda: SentenceTransformerEmbedder(str(request.getfixturevalue("tiny_folder")), "float32"),
        "words": WordEmbedder,
    }
    return makers[request.param]()


def test_vectors_are_unit_rows_of_the_promised_shape(embedder: Embedder) -> None:
    for embed in (embedder.embed_documents, embedder.embed_queries):
        vectors = embed(TEXTS)
        assert vectors.shape == (len(TEXTS), embedder.dimension)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_are_no_rows(embedder: Embedder) -> None:
    assert embedder.embed_documents([]).shape == (0, embedder.dimension)
    assert embedder.count_tokens([]) == []


def test_rows_are_in_the_order_of_the_texts(embedder: Embedder) -> None:
    together = embedder.embed_documents(TEXTS)
    alone = np.concatenate([embedder.embed_documents([text]) for text in TEXTS])
    assert np.allclose(together, alone, atol=1e-4)


def test_progress_ends_at_the_number_of_texts(embedder: Embedder) -> None:
    told: list[int] = []
    embedder.embed_documents(TEXTS, told.append)
    assert told == sorted(told)
    assert told[-1] == len(TEXTS)


def test_tokens_are_counted_without_special_ones_and_without_a_limit(embedder: Embedder) -> None:
    one, empty, long = embedder.count_tokens(["a", "", "a " * 1000])
    assert (one, empty, long) == (1, 0, 1000)
    assert 0 < embedder.max_tokens < 1000


def test_the_fingerprint_is_stable(embedder: Embedder) -> None:
    assert embedder.fingerprint == embedder.fingerprint
    assert str(embedder.dimension) in embedder.fingerprint


# --- the packaged model -------------------------------------------------------------------------------


def test_the_packaged_model_has_its_published_shape_and_meaning() -> None:
    embedder = minilm()
    assert (embedder.dimension, embedder.max_tokens) == (384, 254)
    receipts, zebra = embedder.embed_documents([TEXTS[0], TEXTS[2]])
    (question,) = embedder.embed_queries(["Do I have to keep the bill?"])
    assert question @ receipts > question @ zebra


def test_a_tampered_packaged_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path(model_path(DEFAULT_EMBEDDER))
    copy = tmp_path / real.parent.name / "model"
    shutil.copytree(real, copy)
    (copy.parent / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, real.parent.name, raising=False)  # another test may have imported the real one
    monkeypatch.syspath_prepend(str(tmp_path))
    assert model_path(DEFAULT_EMBEDDER) == str(copy)
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(Failed) as refusal:
        SentenceTransformerEmbedder().load()
    assert refusal.value.code == "model_tampered"


def test_half_precision_points_where_full_precision_does() -> None:
    if not has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    half = SentenceTransformerEmbedder(precision="bfloat16").embed_documents(TEXTS)
    full = minilm().embed_documents(TEXTS)
    assert (half * full).sum(axis=1).min() > 0.999


def test_openvino_points_where_pytorch_does(tiny_folder: Path) -> None:
    if not has_openvino():
        pytest.skip("the extra `openvino` is not installed")
    for name in (DEFAULT_EMBEDDER, str(tiny_folder)):
        compiled = SentenceTransformerEmbedder(name, "openvino")
        full = SentenceTransformerEmbedder(name, "float32")
        texts = [text for text in TEXTS if text]
        assert (compiled.embed_documents(texts) * full.embed_documents(texts)).sum(axis=1).min() > 0.999
        assert compiled.fingerprint == full.fingerprint


def test_the_fastest_engine_is_measured_once_and_remembered(tmp_path: Path) -> None:
    calls: list[str] = []

    def encoder(name: str, seconds: float) -> Callable[..., np.ndarray]:
        def encode(texts: object) -> np.ndarray:
            calls.append(name)
            Event().wait(seconds)
            return np.zeros((0, 1), dtype=np.float32)

        return encode

    candidates = {"slow": encoder("slow", 0.02), "quick": encoder("quick", 0.0)}
    memory = tmp_path / "precision.json"
    assert fastest(candidates, memory, "a model") == "quick"
    assert {"slow", "quick"} == set(calls)
    calls.clear()
    assert fastest(candidates, memory, "a model") == "quick"
    assert not calls, "it was measured again"
    memory.write_text("not JSON")
    assert fastest(candidates, memory, "a model") == "quick"
    assert calls, "a damaged memory must not stop it from measuring"


# --- any other ----------------------------------------------------------------------------------------


def test_two_models_have_two_fingerprints(tiny_folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    other = tmp_path / "model"
    shutil.copytree(tiny_folder, other)
    (weights,) = other.rglob("model.safetensors")
    save_file({name: value + 0.1 for name, value in load_file(weights).items()}, weights, {"format": "pt"})
    first, second = (SentenceTransformerEmbedder(str(folder), "float32") for folder in (tiny_folder, other))
    assert first.dimension == second.dimension == 32
    assert first.max_tokens == 46
    assert first.fingerprint.split(":")[-3] != second.fingerprint.split(":")[-3]


def test_a_folder_that_holds_no_model_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(json.dumps([]))
    with pytest.raises(UserError) as refusal:
        SentenceTransformerEmbedder(str(tmp_path)).load()
    assert refusal.value.code == "bad_embedder"
    assert str(tmp_path) in refusal.value.message


# --- prompts ------------------------------------------------------------------------------------------


def prompted(tiny: Path, folder: Path, **said: object) -> SentenceTransformerEmbedder:
    shutil.copytree(tiny, folder)
    file = folder / "config_sentence_transformers.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | said))
    return SentenceTransformerEmbedder(str(folder), "float32")


def test_a_model_that_wants_prompts_reads_them_and_its_fingerprint_says_so(tiny_folder: Path, tmp_path: Path) -> None:
    plain = SentenceTransformerEmbedder(str(tiny_folder), "float32")
    wants = {"query": "query: ", "passage": "text: "}
    with_prompts = prompted(tiny_folder, tmp_path / "any", prompts=wants, default_prompt_name="query")
    assert np.allclose(with_prompts.embed_queries(["a"]), plain.embed_queries(["query: a"]), atol=1e-6)
    assert np.allclose(with_prompts.embed_documents(["a"]), plain.embed_documents(["text: a"]), atol=1e-6)
    assert "query: " in with_prompts.fingerprint
    assert with_prompts.max_tokens < plain.max_tokens
    bare = with_prompts.unprompted()
    assert np.allclose(bare.embed_queries(["a"]), plain.embed_queries(["a"]), atol=1e-6)
    assert ": " not in bare.fingerprint


def test_a_prompt_by_default_is_for_documents_too_unless_it_is_the_question_s(
    tiny_folder: Path, tmp_path: Path
) -> None:
    every = prompted(tiny_folder, tmp_path / "any", prompts={"all": "x: "}, default_prompt_name="all")
    assert (every.prompts.query, every.prompts.document) == ("x: ", "x: ")
    asked = prompted(tiny_folder, tmp_path / "other", prompts={"query": "x: "}, default_prompt_name="query")
    assert (asked.prompts.query, asked.prompts.document) == ("x: ", "")


def test_well_known_families_have_their_prompts_where_the_configuration_is_silent(
    tiny_folder: Path, tmp_path: Path
) -> None:
    e5 = prompted(tiny_folder, tmp_path / "e5-small-v2")
    assert (e5.prompts.query, e5.prompts.document) == ("query: ", "passage: ")
    assert prompted(tiny_folder, tmp_path / "mine").prompts.fingerprint == ""


def test_an_adapter_s_base_reads_the_same_prompt(tiny_folder: Path, tmp_path: Path) -> None:
    from retrieval.encoder import QueryEncoder

    embedder = prompted(tiny_folder, tmp_path / "any", prompts={"query": "query: ", "document": ""})
    encoder = QueryEncoder(embedder.path)
    assert np.allclose(encoder.encode(["zebra"]), embedder.embed_queries(["zebra"]), atol=1e-5)
