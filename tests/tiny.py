"""Causal language models of a few kilobytes, built where they are needed: real weights, real tokenizers, no download.

`save_model` is random and stubborn, to see whether floats, padding and adapters change what is written. `save_chain`
writes a text that is known: each character is followed by the one that follows it there, so no character may repeat.
Nothing here is imported by the platform.
"""

from __future__ import annotations

import string
from itertools import pairwise
from pathlib import Path
from typing import Any

from retrieval.encoder import quiet_peft

CONTEXT = 1600

_CHARACTERS = {"<unk>": 0, "<s>": 1, "</s>": 2} | {c: n for n, c in enumerate(string.printable, 3)}


def _tokenizer(chat: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel(_CHARACTERS, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>", model_max_length=CONTEXT
    )
    if chat:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}assistant: {% endif %}"
        )
    return tokenizer


def _llama(hidden: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(_CHARACTERS),
            hidden_size=hidden,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=CONTEXT,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
        )
    )


def save_model(folder: Path, *, chat: bool = False) -> str:
    """A Llama of 2 layers that reads characters, with random weights from a fixed seed."""
    _llama(32).save_pretrained(folder)
    _tokenizer(chat).save_pretrained(folder)
    return str(folder)


def save_chain(folder: Path, text: str) -> str:
    """A Llama that writes `text` over and over behind a colon. No character of `text` may repeat; it ends at `$`."""
    import torch

    model = _llama(128)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "o_proj" in name or "down_proj" in name or "lm_head" in name:
                weight.zero_()  # nothing but the last character counts
            elif "embed" in name:
                weight.copy_(torch.eye(len(_CHARACTERS), 128))
        for before, after in zip(":" + text, text + text[0], strict=True):
            model.lm_head.weight[_id(after), _id(before)] = 1.0
    model.save_pretrained(folder)
    _tokenizer(chat=False).save_pretrained(folder)
    return str(folder)


def save_turn(model: str, folder: Path, links: str) -> str:
    """An adapter for a chain: from each character of `links` it goes on with the next one there."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    config = LoraConfig(r=len(links) - 1, lora_alpha=len(links) - 1, target_modules=["lm_head"], task_type="CAUSAL_LM")
    with quiet_peft():
        adapted = get_peft_model(LlamaForCausalLM.from_pretrained(model), config)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" not in name:
                continue
            weight.zero_()
            for n, (before, after) in enumerate(pairwise(links)):
                if "lora_A" in name:
                    weight[n, _id(before)] = 1.0
                else:
                    weight[_id(after), n] = 9.0
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return str(folder)


def _id(character: str) -> int:
    return 2 if character == "$" else _CHARACTERS[character]


def save_adapter(model: str, folder: Path, seed: int) -> str:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj", "o_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    with quiet_peft():
        adapted = get_peft_model(LlamaForCausalLM.from_pretrained(model), config)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.mul_(20)  # a random model is stubborn: small steps do not change its greedy path
    adapted.save_pretrained(folder)
    return str(folder)


def save_reader(folder: Path, texts: list[str], *, hidden: int = 64, layers: int = 2, context: int = 512) -> str:
    """A Llama that reads the words of `texts` and of our prompt, with random weights from a fixed seed.

    What it has not seen is one token each, so that any question can be asked of it.
    """
    import re

    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from transformers.utils import logging

    from retrieval.generators import prompt

    logging.disable_progress_bar()
    pattern = r" ?\w+| ?[^\w\s]|\s"
    read = (prompt.SYSTEM, "Passages: Question: Answer:", *texts)
    words = [form for text in read for w in re.findall(pattern, text) for form in (w, f" {w.strip(' ')}", w.strip(" "))]
    marks = [f" [{n}" for n in range(10)] + [str(n) for n in range(10)] + [f" {n}" for n in range(10)]
    known = [*words, *marks, " [", "]", "[", ".", " .", " NO_ANSWER", "NO_ANSWER", "\n"]
    vocabulary = {w: n for n, w in enumerate(dict.fromkeys(["<unk>", "<s>", "</s>", *known]))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    inner.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>", model_max_length=context
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=context,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
            initializer_range=0.1,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
