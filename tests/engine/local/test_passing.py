"""Loading and asking leave no threads of torch's behind: only the inference thread has any."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch

from llava_chat.engine.local.passing import in_passing

# How many threads this process has; then how many more this thread's first product brings along.
COUNTS = """
import os, torch
from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, GenerationSettings
from llava_chat.engine.local import open_engine
from llava_chat.image import picture_from_image
from tests.drawings import three_shapes

def threads():
    return len(os.listdir("/proc/self/task"))

if __name__ == "__main__":
    torch.set_num_threads(2)
    engine = open_engine("scenes", device="cpu", dtype="float32")
    picture = picture_from_image(three_shapes())
    asked = Conversation((Turn("user", "Describe the picture.", (picture,)),))
    *_, done = engine.stream(asked, GenerationSettings(temperature=0))
    assert isinstance(done, Done) and done.token_ids, done
    before = threads()
    product = torch.ones(512, 512) @ torch.ones(512, 512)
    print(threads() - before)
    engine.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.skipif("OpenMP" not in torch.__config__.parallel_info(), reason="torch without OpenMP")
def test_whoever_loaded_a_model_and_asked_has_computed_nothing() -> None:
    counted = subprocess.run(
        [sys.executable, "-c", COUNTS], capture_output=True, text=True, timeout=120
    )
    assert counted.returncode == 0, counted.stderr
    # Its first product brings the second thread: until then it had none that waits.
    assert counted.stdout.strip() == "1"


def test_what_it_raises_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        in_passing(divmod, 1, 0)


def test_its_thread_has_ended() -> None:
    thread = in_passing(threading.current_thread)
    assert thread is not threading.current_thread()
    assert not thread.is_alive()
