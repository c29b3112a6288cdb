"""llava_chat: a chatbot that sees, for LLaVA and its line of models."""

from pathlib import Path

__version__ = "0.1.0"

_PACKAGE = Path(__file__).resolve().parent
ASSETS = next(
    (folder for folder in (_PACKAGE / "assets", _PACKAGE.parent / "assets") if folder.is_dir()),
    _PACKAGE.parent / "assets",
)
"""The bundled model, examples, style sheets: beside the package in a checkout, inside a wheel's."""
