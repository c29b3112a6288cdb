"""A LLaVA of a few thousand random weights, and transformers' own class holding the same.

And a Hub on this machine that has nothing yet.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import close_session, constants
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig as TransformersConfig,
    LlavaForConditionalGeneration as TransformersLlava,
    PreTrainedTokenizerFast,
)

from llava_chat.model.checkpoint import Checkpoint, save_checkpoint
from llava_chat.model.llava import LlavaConfig, LlavaModel
from llava_chat.model.preprocessing import Preprocessing
from tests.model.hub_server import Hub, served

VOCABULARY = 70
IMAGE_TOKEN = 64


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """A second thread would only wait: the matrices here are tiny."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny_config(**changes: Any) -> LlavaConfig:
    """Four CLIP layers on 3 x 3 patches, three LLaMA layers with grouped heads."""
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=24,
        patch_size=8,
    )
    text = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    settings: dict[str, Any] = {
        "vision": vision,
        "text": text,
        "image_token_id": IMAGE_TOKEN,
    } | changes
    return LlavaConfig(**settings)


def random_llava(config: LlavaConfig, seed: int = 0) -> LlavaModel:
    """Weights large enough that a wrong layer or a wrong row shows in the logits."""
    torch.manual_seed(seed)
    model = LlavaModel(config).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.08
    return model


def transformers_twin(model: LlavaModel) -> TransformersLlava:
    """transformers' LLaVA with the weights of `model`; its unread CLIP layers stay random."""
    config = model.config
    twin: TransformersLlava = TransformersLlava(
        TransformersConfig(
            vision_config=config.vision,
            text_config=config.text,
            image_token_index=config.image_token_id,
            vision_feature_layer=config.select_layer,
            vision_feature_select_strategy=(
                "default" if config.select_feature == "patch" else "full"
            ),
        )
    ).eval()
    twin.model.vision_tower.load_state_dict(model.tower.vision.state_dict(), strict=False)
    twin.model.language_model.load_state_dict(model.language_model.model.state_dict())
    twin.lm_head.load_state_dict(model.language_model.lm_head.state_dict())
    first, _, second = model.projector.children()
    projector = twin.model.multi_modal_projector
    projector.linear_1.load_state_dict(first.state_dict())
    projector.linear_2.load_state_dict(second.state_dict())
    return twin


@pytest.fixture
def make_llava() -> Callable[..., LlavaModel]:
    """Build a tiny random model; keyword arguments change its LlavaConfig."""
    return lambda seed=0, **changes: random_llava(tiny_config(**changes), seed)


@pytest.fixture
def make_twin() -> Callable[[LlavaModel], TransformersLlava]:
    """Build transformers' model with a model's weights."""
    return transformers_twin


@pytest.fixture
def tiny(make_llava: Callable[..., LlavaModel]) -> LlavaModel:
    """The tiny random model with LLaVA-1.5's settings."""
    return make_llava()


def checkpoint_for(tokenizer: PreTrainedTokenizerFast, tied: bool, **changes: Any) -> Checkpoint:
    """A random model for a tokenizer, its table of words a few rows longer than that needs."""
    text = tiny_config().text
    text.vocab_size = len(tokenizer) + 5
    text.max_position_embeddings = 512
    text.tie_word_embeddings = tied
    image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    model = random_llava(tiny_config(text=text, image_token_id=image_token_id, **changes))
    pixels = Preprocessing.of(model.config)
    return Checkpoint(model, tokenizer, "tiny", "0", "vicuna_v1", "a tiny model", pixels)


@pytest.fixture
def make_checkpoint(llama_like: PreTrainedTokenizerFast) -> Callable[..., Checkpoint]:
    """Build a tiny checkpoint; keyword arguments change its LlavaConfig, its tokenizer, its tie."""

    def make(
        tokenizer: PreTrainedTokenizerFast = llama_like, tied: bool = False, **changes: Any
    ) -> Checkpoint:
        return checkpoint_for(tokenizer, tied, **changes)

    return make


@pytest.fixture
def saved(make_checkpoint: Callable[..., Checkpoint], tmp_path: Path) -> Path:
    """A folder with a tiny checkpoint in several shards."""
    save_checkpoint(make_checkpoint(), tmp_path / "tiny", max_shard_bytes=200_000)
    return tmp_path / "tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub without repositories, the only one that huggingface_hub knows, and an empty cache."""
    with served() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        yield hub
        close_session()
