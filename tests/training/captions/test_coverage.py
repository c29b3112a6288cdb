"""How often phrases occur before and after, as figures, a table and a plot."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from llava_chat.training.captions.choice import chosen_captions
from llava_chat.training.captions.coverage import HEIGHT, WIDTH, Coverage, coverage, plot, table
from llava_chat.training.captions.phrases import gathered

CAPTIONS = [["cat"]] * 1500 + [["dog"]] * 40 + [["owl"]] * 3 + [["emu"]]


@pytest.fixture
def found() -> Coverage:
    phrases = gathered(CAPTIONS)
    return coverage(phrases, chosen_captions(phrases), least=3, most=100)


def test_the_figures(found: Coverage) -> None:
    figures = found.figures()
    bands = {each.pop("frequency"): list(each.values()) for each in figures.pop("bands")}
    assert figures == {"captions": 1544, "kept": 143, "phrases": 4, "phrases_kept": 3}
    assert bands == {
        "1-2": [1, 0, 1, 0],
        "3-9": [1, 1, 3, 3],
        "10-100": [1, 1, 40, 40],
        "101-1,000": [0, 0, 0, 0],
        "1,001 or more": [1, 1, 1500, 100],
    }


def test_the_table(found: Coverage) -> None:
    assert table(found)[-1].split() == ["1,001", "or", "more", "1", "1", "1,500", "100"]
    assert len({len(line) for line in table(found)}) == 1


def test_the_plot_has_both_curves_within_its_frame(found: Coverage) -> None:
    drawn = ElementTree.fromstring(plot(found))
    curves = [each for each in drawn.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(curves) == 4  # and a key to each
    texts = [each.text or "" for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "all 1,544 captions: 4 phrases" in texts
    assert "the 143 kept: 3 phrases" in texts
    points = [
        (float(x), float(y))
        for curve in curves
        for x, y in re.findall(r"([\d.]+),([\d.]+)", curve.attrib["points"])
    ]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    whole = re.findall(r"[\d.]+,([\d.]+)", curves[0].attrib["points"])
    unit = (float(whole[-1]) - float(whole[0])) / math.log10(1500)
    assert float(whole[-1]) - float(whole[1]) == pytest.approx(unit * math.log10(40), abs=0.2)


@pytest.mark.parametrize("captions", [[], [[]], [["cat"]]])
def test_next_to_nothing_is_drawn_too(captions: list[list[str]]) -> None:
    phrases = gathered(captions)
    few = coverage(phrases, chosen_captions(phrases), least=3, most=100)
    assert ElementTree.fromstring(plot(few)).tag.endswith("svg")
    assert few.figures()["kept"] == 0
