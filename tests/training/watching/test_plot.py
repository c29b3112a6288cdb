"""The plot is a picture of the run, whatever the run was."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from llava_chat.training.watching.metrics import Row, read_metrics
from llava_chat.training.watching.plot import COLOURS, svg
from tests.training.watching.tiny_run import STEPS, Watched

NAMESPACE = "{http://www.w3.org/2000/svg}"


def rows(count: int, **changed: float | None) -> list[Row]:
    base = {"loss": 1.0, "learning_rate/projector": 1e-3, "gradient_norm": 2.0}
    return [{"step": step, **base, **changed} for step in range(1, count + 1)]


def curves(drawn: str) -> list[list[tuple[float, float]]]:
    """The points of every curve, in pixels."""
    paths = [e.attrib["d"] for e in ElementTree.fromstring(drawn).iter(f"{NAMESPACE}path")]
    number = r"-?[\d.]+"
    points = [re.findall(rf"[ML]({number}) ({number})", path) for path in paths if "h" not in path]
    return [[(float(x), float(y)) for x, y in each] for each in points]


def texts(drawn: str) -> list[str]:
    found = ElementTree.fromstring(drawn).iter(f"{NAMESPACE}text")
    return [element.text or "" for element in found]


def test_a_real_run_is_drawn_into_checkpoints_and_output(watched: Watched) -> None:
    drawn = (watched.output / "plot.svg").read_text(encoding="utf-8")
    assert drawn == svg("finetune of llava-hf/llava-1.5-7b-hf", read_metrics(watched.output))
    assert (watched.output / "step-12" / "plot.svg").read_text(encoding="utf-8") == drawn
    half = (watched.output / "step-6" / "plot.svg").read_text(encoding="utf-8")
    raw, smooth, projector, language, norm, norm_smooth = curves(drawn)
    assert [len(each) for each in (raw, smooth, projector, language, norm, norm_smooth)] == [12] * 6
    assert [len(each) for each in curves(half)] == [6] * 6
    assert raw[0][1] < raw[-1][1]  # it falls, and y counts downwards
    by_height = sorted(range(STEPS), key=lambda place: raw[place][1])
    assert by_height == sorted(range(STEPS), key=lambda place: -watched.losses[place + 1])


def test_a_long_run_is_drawn_small_and_loses_no_extreme() -> None:
    many = rows(20_000)
    many[12_345]["loss"] = 7.5
    drawn = svg("run", many)
    assert len(drawn) < 60_000
    raw = curves(drawn)[0]
    highest = min(raw, key=lambda point: point[1])
    assert highest[0] == pytest.approx(64 + 680 * 12_345 / 20_000, abs=1)


def test_a_norm_beyond_the_axis_is_named() -> None:
    some = rows(200)
    some[49]["gradient_norm"] = 812.0
    title = next(text for text in texts(svg("run", some)) if "norm" in text)
    assert title.endswith("the highest is 812, at step 50")
    assert "highest" not in " ".join(texts(svg("run", rows(200))))


@pytest.mark.parametrize(
    "some",
    [
        [],
        rows(1),
        rows(3, loss=0.0, gradient_norm=0.0),
        rows(3, loss=None, gradient_norm=None),
        rows(3, loss=-2.5),
        rows(3, **{"loss/lessons": 0.5, "loss/old": 0.25}),
        [{"step": 4, "loss": 1.0, "gradient_norm": 1e-9}],
    ],
    ids=["none", "one", "zeros", "no numbers", "negative", "several", "no rates"],
)
def test_any_run_can_be_drawn(some: list[Row]) -> None:
    for points in curves(svg("<run> & more", some)):
        assert all(math.isfinite(x) and 0 <= x <= 760 and 0 <= y <= 540 for x, y in points)


def test_several_losses_are_told_apart() -> None:
    drawn = svg("run", rows(3, **{"loss/lessons": 0.5, "loss/old": 0.25}))
    assert {"loss", "lessons", "old"} <= {*texts(drawn)}
    assert all(colour in drawn for colour in COLOURS[:3])
