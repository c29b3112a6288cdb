"""Work of torch that leaves no threads behind.

What torch computes with several threads gets them from OpenMP, and they belong to whichever thread
asked, for as long as that lives. As soon as there are more of them than cores, those that wait for
work go to sleep at once (libgomp, `gomp_throttled_spin_count`), and then each of some hundred
products a token waits for one to wake up: a token of the bundled model took 7.4 ms where it takes
2.4 ms (two cores) because the thread that had loaded it was still there. So only the inference
thread keeps any. Imports nothing of the project and no torch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def in_passing(
    call: Callable[Arguments, Result], *args: Arguments.args, **more: Arguments.kwargs
) -> Result:
    """What `call` returns or raises, from a thread that ends with it.

    >>> in_passing(max, 3, 5)
    5
    """
    result: Future[Result] = Future()

    def run() -> None:
        try:
            result.set_result(call(*args, **more))
        except BaseException as error:
            result.set_exception(error)

    thread = threading.Thread(target=run, name="passing", daemon=True)
    thread.start()
    thread.join()  # `result` alone is there before the thread has ended
    return result.result()
