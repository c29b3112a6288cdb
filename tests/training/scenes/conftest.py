"""The tokenizer of the bundled model, learned once."""

import pytest
from transformers import PreTrainedTokenizerFast

from llava_chat.training.scenes.tokenizer import learn_tokenizer

VOCABULARY = 1024


@pytest.fixture(scope="session")
def scenes_tokenizer() -> PreTrainedTokenizerFast:
    """With as many pieces as the bundled model's."""
    return learn_tokenizer(VOCABULARY)
