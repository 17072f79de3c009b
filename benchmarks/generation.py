"""Generation: the transformers generator beside the bare library, on one model and the same prompts in one run.

    python -m benchmarks.generation [--tokens 64] [--rounds 7] [--readers 8] [--threads N]

The model is a Llama of 34 million parameters with random weights and a tokenizer trained on the guide, built in a
temporary folder: speed does not depend on what the weights know. The peer is `model.generate` with a
`TextIteratorStreamer`, as the documentation of transformers has it, with tokenizing on both sides. Both must write the
same text. Rounds alternate; ratios are of medians, and above 1 we are better. The last line is what batches are for:
readers who ask at the same time, against the bare library answering one after the other.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from kernel.types import Ask, Passage
from retrieval.generators.transformers import TransformersGenerator

GUIDE = Path(__file__).parent.parent / "docs" / "guide"
QUESTIONS = [
    "How long is a deleted document kept?",
    "What does the gate compare?",
    "Which settings name the home folder?",
    "Why was my question refused?",
]


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    passages = [passage(file) for file in sorted(GUIDE.glob("*.md"))[:3]]
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder) / "model")
        adapter = str(Path(folder) / "adapter")
        add_lora(str(Path(folder) / "model"), adapter)
        for what, given in (("base model", None), ("with a LoRA adapter", adapter)):
            generator = TransformersGenerator(str(Path(folder) / "model"), given, asked.tokens, device="cpu")
            generator.load()
            compare(what, generator, passages, asked.rounds)
            if given is None:
                together(generator, passages, asked.readers)


def compare(what: str, generator: TransformersGenerator, passages: list[Passage], rounds: int) -> None:
    """Time to the first text and tokens per second of one request at a time, ours and bare."""
    ours, bare = [], []
    for n in range(rounds + 1):
        ask = Ask(question=QUESTIONS[n % len(QUESTIONS)])
        one = run_ours(generator, ask, passages)
        other = run_bare(generator, ask, passages)
        if one[2] != other[2]:
            raise SystemExit(f"the two wrote different texts: {one[2]!r} and {other[2]!r}")
        if n:  # the first round warms up
            ours.append(one)
            bare.append(other)
    first, bare_first = (statistics.median(r[0] for r in runs) for runs in (ours, bare))
    speed, bare_speed = (statistics.median(r[1] for r in runs) for runs in (ours, bare))
    print(
        f"{what}: first text {first * 1000:.0f} ms, bare {bare_first * 1000:.0f} ms ({bare_first / first:.2f}); "
        f"{speed:.1f} tokens/s, bare {bare_speed:.1f} ({speed / bare_speed:.2f})"
    )


def run_ours(generator: TransformersGenerator, ask: Ask, passages: list[Passage]) -> tuple[float, float, str]:
    """Seconds to the first text, tokens per second after it, and the text."""
    started = time.perf_counter()
    _, tokens, _ = generator._fit(ask, passages)
    row = generator._row(tokens, generator._reserve(), generator.adapter, lambda piece: False)
    return timed(started, row.read(), lambda: row.written)


def run_bare(generator: TransformersGenerator, ask: Ask, passages: list[Passage]) -> tuple[float, float, str]:
    from transformers import TextIteratorStreamer

    tokenizer, model = generator._model.tokenizer, generator._model._laid or generator._model._model
    text, _, _ = generator._fit(ask, passages)
    started = time.perf_counter()
    given = tokenizer(text, return_tensors="pt")
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    most, out = generator._reserve(), []
    options = {**given, "streamer": streamer, "max_new_tokens": most, "do_sample": False, "pad_token_id": 0}
    thread = threading.Thread(target=lambda: out.append(model.generate(**options)))
    thread.start()
    result = timed(started, streamer, lambda: most)
    thread.join()
    return result


def timed(started: float, pieces: Any, written: Any) -> tuple[float, float, str]:
    first, text = 0.0, ""
    for piece in pieces:
        if piece and not first:
            first = time.perf_counter()
        text += piece
    ended = time.perf_counter()
    return first - started, (written() - 1) / (ended - first), text


def together(generator: TransformersGenerator, passages: list[Passage], readers: int) -> None:
    """So many readers at once, against the bare library one after the other."""
    asks = [Ask(question=f"{QUESTIONS[n % len(QUESTIONS)]} ({n})") for n in range(readers)]
    alone = [run_bare(generator, ask, passages) for ask in asks]
    bare = sum(first + (generator._reserve() - 1) / speed for first, speed, _ in alone)
    texts: dict[int, str] = {}

    def read(n: int) -> None:
        texts[n] = run_ours(generator, asks[n], passages)[2]

    threads = [threading.Thread(target=read, args=(n,)) for n in range(readers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    same = sum(texts[n] == text for n, (_, _, text) in enumerate(alone))
    print(
        f"{readers} readers at once: {took:.1f} s, bare one by one {bare:.1f} s ({bare / took:.2f}); "
        f"{same} of {readers} texts as alone"
    )


def passage(file: Path) -> Passage:
    name, text = file.name, file.read_text()[:500]
    return Passage(chunk=name, document=name, name=name, title=name, version=1, start=0, end=len(text), text=text)


def build(folder: Path) -> None:
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    inner = ByteLevelBPETokenizer()
    inner.train([str(file) for file in GUIDE.glob("*.md")], vocab_size=8_000, special_tokens=["<pad>", "<s>", "</s>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner._tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=4_096
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8_000,
        hidden_size=512,
        intermediate_size=1_408,
        num_hidden_layers=8,
        num_attention_heads=8,
        max_position_embeddings=4_096,
        bos_token_id=1,
        eos_token_id=None,  # both write as many tokens as they may
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def add_lora(model: str, folder: str) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    from retrieval.encoder import quiet_peft

    torch.manual_seed(1)
    config = LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    with quiet_peft():
        adapted = get_peft_model(LlamaForCausalLM.from_pretrained(model), config)
    adapted.save_pretrained(folder, save_embedding_layers=False)


if __name__ == "__main__":
    main()
