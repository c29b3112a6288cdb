"""What the environment says that is no setting, and what the libraries read there."""

from __future__ import annotations

import os
from pathlib import Path


def on_space() -> bool:
    """Whether this is a Hugging Face Space, whose page stands in a frame of huggingface.co."""
    return "SPACE_ID" in os.environ


def prepare_libraries(uploads: Path) -> None:
    """Tell the libraries what they read from the environment, some of it when they are imported.

    They report nothing to their makers, and Gradio keeps what is uploaded in `uploads`: in the
    system's temporary folder others might read them, and nobody would ever delete them. uvicorn
    takes nobody's word on where a request comes from: whose word counts is a setting here, and it
    would take the client's own where everybody on the way is trusted.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    os.environ["PROMETHEUS_DISABLE_CREATED_SERIES"] = "True"  # as many lines again, of no use
