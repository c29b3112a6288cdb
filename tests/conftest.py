"""Small tokenizers, a checkpoint of random weights, pictures to talk about, a database server.

torch and transformers are imported when a test wants one of the former: many want none, and the
process that hands the tests out never does.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from llava_chat.image import Picture, picture_from_image
from tests import postgresql

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from llava_chat.model.checkpoint import Checkpoint


# Before torch is imported. Tests run side by side, with servers of their own: threads that wait for
# each other only slow them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What is compiled once is compiled for every server that the tests start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(hookwrapper=True)
def pytest_collection() -> Iterator[None]:
    """All that is imported for good is left alone by Python's collector."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def make_llama_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    """Build a tokenizer of LLaMA's kind: `tests.small_models.llama_like_tokenizer`."""
    from tests.small_models import llama_like_tokenizer

    return llama_like_tokenizer


@pytest.fixture(scope="session")
def llama_like(
    make_llama_tokenizer: Callable[..., PreTrainedTokenizerFast],
) -> PreTrainedTokenizerFast:
    """A tokenizer of LLaMA's kind."""
    return make_llama_tokenizer()


@pytest.fixture(scope="session")
def llama_with_marks(
    make_llama_tokenizer: Callable[..., PreTrainedTokenizerFast],
) -> PreTrainedTokenizerFast:
    """The same, with the marks that some models saw around pictures."""
    from tests.small_models import PICTURE_MARKS

    return make_llama_tokenizer(added=PICTURE_MARKS)


@pytest.fixture(scope="session")
def byte_level() -> PreTrainedTokenizerFast:
    """A tokenizer of Qwen's and Llama 3's kind."""
    from tests.small_models import qwen_like_tokenizer

    return qwen_like_tokenizer()


@pytest.fixture(scope="session")
def pictures() -> tuple[Picture, ...]:
    """Three different pictures, of different sizes."""
    return tuple(picture_from_image(Image.new("RGB", (n, 1))) for n in (1, 2, 3))


@pytest.fixture(scope="session")
def random_checkpoint(llama_like: PreTrainedTokenizerFast) -> Callable[..., Checkpoint]:
    """Build a LLaVA of random weights: `tests.small_models.random_checkpoint`."""
    from tests.small_models import random_checkpoint

    return partial(random_checkpoint, llama_like)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.PostgresqlServer]:
    """A real server for all tests that want one."""
    bin_folder = postgresql.programs()
    if bin_folder is None:
        pytest.skip(postgresql.HOW_TO_GET_ONE)
    with postgresql.running(bin_folder) as server:
        yield server
