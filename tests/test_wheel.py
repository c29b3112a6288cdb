"""What `pip install .` brings: the whole package with its assets, and a command that answers."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEFT_BEHIND = {"__pycache__"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, unpacked as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", str(folder)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    site_packages = folder / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)
    return site_packages


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not LEFT_BEHIND & set(path.parts)
    }


def test_the_wheel_holds_the_package_and_its_assets(installed: Path) -> None:
    assets = {f"assets/{name}" for name in files_below(ROOT / "assets")}
    assert files_below(installed / "llava_chat") == files_below(ROOT / "llava_chat") | assets


def test_the_installed_command_answers_with_the_model_that_came_along(
    installed: Path, tmp_path: Path
) -> None:
    entry_points = ConfigParser()
    entry_points.read(next(installed.glob("*.dist-info")) / "entry_points.txt")
    module, function = entry_points["console_scripts"]["llava-chat"].split(":")
    picture = installed / "llava_chat" / "assets" / "examples" / "count.png"
    start = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); "
        f"from {module} import {function}; sys.exit({function}())"
    )
    question = ["chat", "--image", str(picture), "--message", "How many objects are there?"]
    told = subprocess.run(
        [sys.executable, "-I", "-c", start, *question, "--json"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(told.stdout)["model"] == "scenes"
    assert "five" in json.loads(told.stdout)["replies"][0]["text"]
