"""The program that decodes: it reads requests from stdin and answers on stdout until stdin ends.

A request is REQUEST and then the file's bytes. The answer is one line of JSON:
`{"width", "height", "notice"}` followed by width x height x 3 bytes of RGB, or `{"refused"}`, the
rest of a sentence that begins with the picture's name.
"""

from __future__ import annotations

import json
import math
import signal
import struct
import sys
import time
from typing import BinaryIO

from PIL import Image

from .decoding import decode
from .headers import Refused
from .rgb import strips

# bytes of the file, max_pixels, max_side_px, decode_memory_bytes, seconds of processor time
REQUEST = struct.Struct("<5Q")


def main() -> None:
    """Run as the child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    Image.MAX_IMAGE_PIXELS = None  # check_size decides, with the limits of the request
    serve(sys.stdin.buffer, sys.stdout.buffer)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the other side closes its end."""
    while len(header := requests.read(REQUEST.size)) == REQUEST.size:
        data_bytes, max_pixels, max_side_px, memory_bytes, processor_s = REQUEST.unpack(header)
        _limit_resources(memory_bytes, processor_s)
        image = None
        answer: dict[str, int | str | None]
        try:
            data = requests.read(data_bytes)
            image, notice = decode(data, max_pixels=max_pixels, max_side_px=max_side_px)
            answer = {"width": image.width, "height": image.height, "notice": notice}
        except Refused as error:
            answer = {"refused": str(error)}
        answers.write(json.dumps(answer).encode() + b"\n")
        if image is not None:
            for box in strips(image.size):
                answers.write(image.crop(box).tobytes())
        answers.flush()
        del image, data  # not held while waiting for the next


def _limit_resources(memory_bytes: int, processor_s: int) -> None:
    if sys.platform != "linux":
        return  # elsewhere RLIMIT_AS is missing or ignored; the clock still ends us
    import resource

    limits = {
        resource.RLIMIT_AS: memory_bytes,
        # Ends a busy child whose parent was killed and cannot end it any more.
        resource.RLIMIT_CPU: math.ceil(time.process_time()) + processor_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,  # the child has no file to write
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, hard))
