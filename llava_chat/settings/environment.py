"""What the environment says that is no setting, and what the libraries read there."""

from __future__ import annotations

import importlib
import os
from pathlib import Path


def on_space() -> bool:
    """Whether this is a Hugging Face Space, whose page stands in a frame of huggingface.co."""
    return "SPACE_ID" in os.environ


def has_oauth() -> bool:
    """Whether this Space was given what signing in by Hugging Face needs (`hf_oauth: true`)."""
    return on_space() and "OAUTH_CLIENT_ID" in os.environ


def on_zero_gpu() -> bool:
    """Whether GPUs are lent by the call here, as ZeroGPU does on a Space."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def prepare_libraries(uploads: Path) -> None:
    """Tell the libraries what they read from the environment, some of it when they are imported.

    They report nothing to their makers, and Gradio keeps what is uploaded in `uploads`: in the
    system's temporary folder others might read them, and nobody would ever delete them. uvicorn
    takes nobody's word on where a request comes from: whose word counts is a setting here, and it
    would take the client's own where everybody on the way is trusted.
    """
    if on_zero_gpu():
        importlib.import_module("spaces")  # it replaces parts of torch, and wants to be the first
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    os.environ["PROMETHEUS_DISABLE_CREATED_SERIES"] = "True"  # as many lines again, of no use
