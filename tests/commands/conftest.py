"""A checkpoint of random weights on disk: the commands load it as they load any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedTokenizerFast

from llava_chat.model.checkpoint import Checkpoint, save_checkpoint
from llava_chat.model.llava import LlavaConfig, LlavaModel
from llava_chat.model.preprocessing import Preprocessing


@pytest.fixture(scope="session")
def tiny_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, llama_like: PreTrainedTokenizerFast
) -> Path:
    """The folder of a LLaVA of some ten thousand random weights, context 1024 tokens."""
    tokenizer = llama_like
    config = LlavaConfig(
        vision=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=24,
            patch_size=8,
        ),
        text=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=48,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=0,
        ),
        image_token_id=tokenizer.get_vocab()["<image>"],
    )
    torch.manual_seed(0)
    model = LlavaModel(config).eval()
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(
        Checkpoint(
            model=model,
            tokenizer=tokenizer,
            id="tiny",
            revision="0",
            template="vicuna_v1",
            description="random weights",
            pixels=Preprocessing.of(config),
        ),
        folder,
    )
    return folder


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red circle would be too much to ask of random weights: a red square."""
    path = tmp_path_factory.mktemp("pictures") / "red.png"
    Image.new("RGB", (40, 30), "red").save(path)
    return path
