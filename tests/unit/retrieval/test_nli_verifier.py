from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kernel.embedder import SentenceTransformerEmbedder
from kernel.errors import UserError
from retrieval.verifiers import make_verifier
from retrieval.verifiers.nli import NliVerifier

WORDS = [
    "the",
    "pump",
    "weighs",
    "forty",
    "twenty",
    "kilograms",
    "it",
    "is",
    "green",
    "not",
    "an",
    "in",
    "berlin",
    "at",
    "six",
]
LONG = " ".join(f"The pump is green in berlin at six. It weighs {n} kilograms." for n in ("forty", "twenty") * 20)


def tiny_model(folder: Path, labels: list[str], biases: list[float]) -> str:
    """A sequence classifier with random weights whose outputs lean as told, saved as any other is."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    vocabulary = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64,
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, num_labels=len(labels), id2label=dict(enumerate(labels)),
        label2id={label: n for n, label in enumerate(labels)},
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor(biases))
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def neutral_second(tmp_path_factory: pytest.TempPathFactory) -> NliVerifier:
    folder = tiny_model(tmp_path_factory.mktemp("nli"), ["ENTAILMENT", "neutral", "contradiction"], [4.0, 0.0, 1.0])
    return NliVerifier(folder)


def test_which_output_is_entailment_is_read_from_the_model(neutral_second: NliVerifier, tmp_path: Path) -> None:
    evidence = [["The pump weighs forty kilograms."]]
    says = neutral_second.judge(["The pump is green."], evidence)[0]
    assert says.support > 0.8 > 0.2 > says.contradiction
    turned = NliVerifier(tiny_model(tmp_path, ["contradiction", "entailment", "neutral"], [4.0, 0.0, 1.0]))
    denies = turned.judge(["The pump is green."], evidence)[0]
    assert denies.contradiction > 0.8 > 0.2 > denies.support


def test_a_model_that_knows_no_contradiction_finds_none(tmp_path: Path) -> None:
    verifier = NliVerifier(tiny_model(tmp_path, ["entailment", "not_entailment"], [0.0, 4.0]))
    judged = verifier.judge(["The pump is green."], [["The pump weighs forty kilograms."]])[0]
    assert judged.support < 0.2
    assert judged.contradiction == 0.0


def test_long_evidence_is_read_to_its_end_in_windows_of_whole_sentences(neutral_second: NliVerifier) -> None:
    claim = "The pump weighs forty kilograms."
    windows = neutral_second._windows(claim, LONG)
    tokenizer: Any = neutral_second._loaded[0]
    assert len(windows) > 3
    assert all(len(tokenizer(window, claim)["input_ids"]) <= 64 for window in windows)
    assert all(window.endswith(".") and window[0].isupper() for window in windows)
    assert windows[0].startswith("The pump") and LONG.endswith(windows[-1])  # noqa: PT018
    assert all(b.startswith(a.rsplit(". ", 1)[-1]) for a, b in pairwise(windows))


def test_one_call_for_an_answer_judges_as_one_for_each_sentence(neutral_second: NliVerifier) -> None:
    claims = ["The pump is green.", "", "It weighs forty kilograms.", "The office closes at six."]
    evidence = [["The pump is green in berlin."], ["Anything."], [LONG, "It is not green."], []]
    together = neutral_second.judge(claims, evidence)
    alone = [neutral_second.judge([c], [e])[0] for c, e in zip(claims, evidence, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert one.support == pytest.approx(other.support, abs=1e-5)
        assert one.contradiction == pytest.approx(other.contradiction, abs=1e-5)
    assert (together[1].support, together[3].support) == (0.0, 0.0)


def test_what_is_no_model_for_inference_says_so(tmp_path: Path, embedder: SentenceTransformerEmbedder) -> None:
    ranker = NliVerifier(tiny_model(tmp_path, ["LABEL_0", "LABEL_1"], [0.0, 0.0]))
    with pytest.raises(UserError, match="no model for natural language inference"):
        ranker.judge(["The pump is green."], [["The pump is green."]])
    with pytest.raises(UserError, match="cannot be loaded"):
        NliVerifier(str(tmp_path / "nowhere")).judge(["The pump."], [["The pump."]])


def test_a_verifier_is_chosen_by_its_specification(embedder: SentenceTransformerEmbedder) -> None:
    assert make_verifier("embedded", embedder).name == "embedded"
    assert make_verifier("nli:/some/model", embedder).name == "nli:/some/model"
    for spec in ("", "nli:", "embedded:x", "bert"):
        with pytest.raises(UserError, match="there is no verifier"):
            make_verifier(spec, embedder)
