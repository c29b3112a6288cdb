"""A checkpoint of some thousand random weights, to be trained."""

from collections.abc import Callable

import pytest
import torch
from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedTokenizerFast

from llava_chat.model.checkpoint import Checkpoint
from llava_chat.model.llava import LlavaConfig, LlavaModel
from llava_chat.model.preprocessing import Preprocessing


@pytest.fixture(scope="session")
def new_checkpoint(llama_like: PreTrainedTokenizerFast) -> Callable[[], Checkpoint]:
    """Build CLIP 32x2 at 28/14 and LLaMA 32x2, always with the same random weights."""

    def make() -> Checkpoint:
        vision = CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=28,
            patch_size=14,
        )
        text = LlamaConfig(
            vocab_size=len(llama_like),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=512,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
        config = LlavaConfig(vision, text, image_token_id=llama_like.get_vocab()["<image>"])
        torch.manual_seed(0)
        model = LlavaModel(config).eval()
        pixels = Preprocessing.of(config)
        return Checkpoint(model, llama_like, "tiny", "1", "vicuna_v1", "random weights", pixels)

    return make
