"""Dependencies point one way: every import of the package is read and held against the design."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "llava_chat"

# From the top down: a module imports from its own line and from those below it, never upwards.
LAYERS = (
    ("app", "__main__"),
    ("web", "commands", "training", "evaluation"),
    ("assembly",),
    ("engine",),
    ("feedback",),
    ("store", "model"),
    ("tokens",),
    ("conversation", "templates", "image"),
    ("settings", "accounts", "errors", "imported", "progress", "__init__"),
)
# Who alone may import a package from outside, by the beginning of the module's name.
OWNERS = {
    "gradio": ("web",),
    "gradio_client": ("web",),
    "torch": ("model", "engine.local", "training", "evaluation"),
    "sqlalchemy": ("store",),
    "alembic": ("store",),
    "pydantic": ("settings", "web"),
    "pydantic_settings": ("settings",),
}
# What trains and runs a model has to work where no other package is installed.
# The engine whose model is elsewhere runs none: it has an HTTP client, and so has what asks a
# server for instruction data or for a judgement.
NOT_LEAN = ("engine.remote", "training.generation", "evaluation.judging")
# Imported where `train adapter` takes something of the page, or where a judge is asked, and only
# then.
WHEN_ASKED = ("commands.feedback_rows", "evaluation.judging")
LEAN_AREAS = (
    "errors",
    "progress",
    "image",
    "conversation",
    "tokens",
    "model",
    "engine",
    "training",
    "evaluation",
    "commands.train",
    "commands.evaluate",
)
LEAN_PACKAGES = {
    "accelerate",
    "huggingface_hub",
    "numpy",
    "peft",
    "PIL",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
}
# Imported only where a setting or an option asks for it, which says so where it is missing.
OPTIONAL = {"bitsandbytes", "pyarrow", "spacy", "wandb"}

Sources = Mapping[str, str]  # "engine.base" -> its text; a package's __init__ is "engine"


def read_sources() -> dict[str, str]:
    sources = {"app": (ROOT / "app.py").read_text(encoding="utf-8")}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        sources[name] = path.read_text(encoding="utf-8")
    return sources


def imported(module: str, source: str) -> Iterator[str]:
    """Full dotted names of everything imported, anywhere in the file, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                above = [PACKAGE, *module.split(".")][: -node.level]
                start = ".".join([*above, start]).rstrip(".")
            yield from (f"{start}.{alias.name}" for alias in node.names)


def inner_imports(module: str, sources: Sources) -> set[str]:
    """The modules of this package that `module` imports: `engine.base`, not the name in it."""
    found = set()
    for name in imported(module, sources[module]):
        if name != PACKAGE and not name.startswith(PACKAGE + "."):
            continue
        parts = name.split(".")[1:]
        while parts and ".".join(parts) not in sources:
            parts.pop()
        found.add(".".join(parts) or "__init__")
    return found - {module}


def outer_imports(module: str, sources: Sources) -> set[str]:
    """The packages from outside that `module` needs: no standard library, nothing optional."""
    tops = {name.split(".")[0] for name in imported(module, sources[module])}
    return tops - {PACKAGE, "", *OPTIONAL} - sys.stdlib_module_names


def layer(module: str) -> int:
    area = module.split(".")[0]
    return next(rank for rank, names in enumerate(LAYERS) if area in names)


def within(module: str, areas: tuple[str, ...]) -> bool:
    return any(module == area or module.startswith(area + ".") for area in areas)


def problems(sources: Sources) -> list[str]:
    """Every broken rule, as a sentence."""
    arrows = {module: inner_imports(module, sources) for module in sources}
    return [*_upward(arrows), *_cycles(arrows), *_owners(sources), *_lean(sources, arrows)]


def _upward(arrows: Mapping[str, set[str]]) -> Iterator[str]:
    for module, targets in arrows.items():
        for target in sorted(targets):
            if layer(target) < layer(module):
                yield f"{module} imports {target}, which is above it"


def _cycles(arrows: Mapping[str, set[str]]) -> Iterator[str]:
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        yield "a cycle: " + " -> ".join(reversed(error.args[1]))


def _owners(sources: Sources) -> Iterator[str]:
    for module in sources:
        for package in sorted(outer_imports(module, sources) & OWNERS.keys()):
            if not within(module, OWNERS[package]):
                yield f"{module} imports {package}, which belongs to {', '.join(OWNERS[package])}"


def _lean(sources: Sources, arrows: Mapping[str, set[str]]) -> Iterator[str]:
    lean = (m for m in sources if within(m, LEAN_AREAS) and not within(m, NOT_LEAN))
    for start in lean:
        reached, pending = set[str](), {start}
        while pending:
            module = pending.pop()
            reached.add(module)
            pending |= {arrow for arrow in arrows[module] - reached if arrow not in WHEN_ASKED}
        for module in sorted(reached):
            for package in sorted(outer_imports(module, sources) - LEAN_PACKAGES):
                yield f"{start} needs {package} (through {module}), which a GPU machine may lack"


def environment_readers(sources: Sources) -> list[str]:
    names = {"environ", "getenv", "putenv"}
    return [
        module
        for module, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.alias) and node.name in names)
    ]


def test_every_import_follows_the_design() -> None:
    assert problems(read_sources()) == []


def test_only_settings_reads_the_environment() -> None:
    readers = environment_readers(read_sources())
    assert {module.partition(".")[0] for module in readers} == {"settings"}


def test_every_module_has_a_layer() -> None:
    assert [layer(module) for module in read_sources()]


WRONG = {
    "upwards": ({"engine.base": "from llava_chat.web import page", "web.page": ""}, "above it"),
    "upwards, relative": (
        {"model.llava": "from ..engine import base", "engine.base": "", "engine": ""},
        "model.llava imports engine.base, which is above it",
    ),
    "upwards, inside a function": (
        {"tokens": "def f():\n    import llava_chat.model.llava", "model.llava": ""},
        "tokens imports model.llava",
    ),
    "a cycle": (
        {
            "model.a": "from llava_chat.model import b",
            "model.b": "from llava_chat.model.a import x",
        },
        "a cycle",
    ),
    "gradio outside the page": ({"commands.chat": "import gradio as gr"}, "belongs to web"),
    "torch in what stands on the store": ({"feedback.export": "import torch"}, "imports torch"),
    "sqlalchemy in what stands on the store": (
        {"feedback.rows": "from sqlalchemy import select"},
        "belongs to store",
    ),
    "feedback in the store": (
        {"store.opinions": "from llava_chat.feedback import REASONS", "feedback": ""},
        "store.opinions imports feedback, which is above it",
    ),
    "the engine in feedback": (
        {"feedback.rows": "from llava_chat.engine import base", "engine.base": ""},
        "feedback.rows imports engine.base, which is above it",
    ),
    "torch in the engine's interface": ({"engine.base": "from torch import nn"}, "imports torch"),
    "torch below the model": ({"tokens": "import torch.nn"}, "imports torch"),
    "sqlalchemy in the page": ({"web.chat": "from sqlalchemy import text"}, "imports sqlalchemy"),
    "settings where pydantic may be missing": (
        {
            "training.align": "from llava_chat.settings import Settings",
            "settings": "import pydantic",
        },
        "training.align needs pydantic (through settings)",
    ),
    "an HTTP client where the model is in this process": (
        {"engine.local": "from ..engine import remote", "engine.remote": "import httpx2"},
        "engine.local needs httpx2 (through engine.remote)",
    ),
    "torch where the model is on a server": (
        {"engine.remote.reply": "import torch"},
        "engine.remote.reply imports torch",
    ),
    "a package that a GPU machine lacks": (
        {"evaluation.vqa": "from datasets import x"},
        "evaluation.vqa needs datasets",
    ),
}


@pytest.mark.parametrize(("sources", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_the_check_sees_a_wrong_arrow(sources: Sources, sentence: str) -> None:
    assert any(sentence in problem for problem in problems(sources))


def test_the_check_lets_right_arrows_through() -> None:
    sources = {
        "app": "from llava_chat.__main__ import main",
        "__main__": "import importlib",
        "web.page": "import gradio\nfrom llava_chat.engine.base import ChatEngine",
        "engine.base": "from llava_chat.conversation import Turn",
        "engine.remote": "import httpx2\nfrom .base import ChatEngine",
        "engine.local": "import torch\nfrom .base import ChatEngine",
        "conversation": "from llava_chat.image import Picture",
        "image": "from PIL import Image",
    }
    assert problems(sources) == []


@pytest.mark.parametrize("line", ["os.environ['A']", "os.getenv('A')", "from os import environ"])
def test_the_check_sees_a_reader_of_the_environment(line: str) -> None:
    assert environment_readers({"web.page": f"import os\n{line}"}) == ["web.page"]


# Imported here, installed because a requirement needs them, and part of what it promises.
COME_ALONG = {
    "numpy": "transformers",
    "pydantic": "pydantic-settings",
    "pydantic_core": "pydantic-settings",
    "safetensors": "transformers",
    "python_multipart": "gradio",
    "starlette": "gradio",
    "tokenizers": "transformers",
}
NAMED_OTHERWISE = {"PIL": "pillow", "markdown_it": "markdown-it-py"}
# By transformers, for a checkpoint that holds only a tokenizer.model; by sqlalchemy, which the
# database's address tells; by torch, to write what TensorBoard shows.
NOT_IMPORTED = {"sentencepiece", "protobuf", "psycopg", "tensorboard"}


def test_what_is_imported_is_what_is_required() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = {re.split(r"[\[<>=]", line)[0] for line in lines}
    sources = read_sources()
    packages = set[str]().union(*(outer_imports(module, sources) for module in sources))
    needed = {
        COME_ALONG.get(name, NAMED_OTHERWISE.get(name, name.replace("_", "-"))) for name in packages
    }
    assert required - NOT_IMPORTED == needed - NOT_IMPORTED
