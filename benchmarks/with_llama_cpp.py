"""llama-cpp-python, where it is installed and is given the model as GGUF files.

llama.cpp's own scripts make these of a folder in the llava-hf layout. Its chat handler for
LLaVA-1.5 writes the prompt of Vicuna, as ours does. Imports llama_cpp, if it is there.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import torch

from benchmarks.openai_http import messages
from benchmarks.ways import Timing
from llava_chat.conversation import Conversation

NOT_MEASURED = (
    "llama-cpp-python was not measured: it has to be installed, and given the weights "
    "(--gguf FILE --mmproj FILE)"
)


def installed() -> bool:
    """Whether it is."""
    return find_spec("llama_cpp") is not None


@dataclass(frozen=True)
class LlamaCpp:
    """A model in its hands."""

    model: Any

    @classmethod
    def opened(cls, gguf: Path, mmproj: Path, context_tokens: int) -> Self:
        """gguf: the decoder. mmproj: tower and projector."""
        library = importlib.import_module("llama_cpp")
        formats = importlib.import_module("llama_cpp.llama_chat_format")
        return cls(
            library.Llama(
                model_path=str(gguf),
                chat_handler=formats.Llava15ChatHandler(str(mmproj), verbose=False),
                n_ctx=context_tokens,
                n_threads=torch.get_num_threads(),
                n_gpu_layers=-1 if torch.cuda.is_available() else 0,
                verbose=False,
            )
        )

    def reply(self, conversation: Conversation, max_new_tokens: int) -> Timing:
        """A greedy reply, streamed."""
        asked = messages(conversation)
        words: list[str] = []
        times: list[float] = []
        began = time.perf_counter()
        for chunk in self.model.create_chat_completion(
            messages=asked, max_tokens=max_new_tokens, temperature=0, stream=True
        ):
            if content := chunk["choices"][0]["delta"].get("content"):
                times.append(time.perf_counter() - began)
                words.append(content)
        first_s, last_s = (times[0], times[-1]) if times else [time.perf_counter() - began] * 2
        return Timing(first_s, last_s, len(words), "".join(words))
