"""The further part of the scenes world: turned and overlapping shapes, printed words, boxes."""

import random
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from llava_chat.evaluation.meaning import BOX_OVERLAP, means
from llava_chat.evaluation.scenes import held_out
from llava_chat.model.checkpoint import load_checkpoint
from llava_chat.training.checkpoints import STATE, Checkpoints, read
from llava_chat.training.scenes import phrases as say
from llava_chat.training.scenes.boxes import apart, shared
from llava_chat.training.scenes.dialogue import random_dialogue
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.exchange import Meaning
from llava_chat.training.scenes.printed import LETTERS, PrintedText, letter_boxes, random_word
from llava_chat.training.scenes.recipe import RECIPES, train_scenes
from llava_chat.training.scenes.regions import (
    aspects_of,
    letter_halves,
    scene_labels,
)
from llava_chat.training.scenes.talk import outside_question, scene_talk
from llava_chat.training.scenes.word_grid import (
    GridBatch,
    GridWriter,
    cell_embeddings,
    grid_embeddings,
)
from llava_chat.training.scenes.wording import brief_description, full_description
from llava_chat.training.scenes.world import CORE, FURTHER, Scene, SceneObject, random_scene
from tests.training.scenes.test_recipe import TINY

SCENES = [random_scene(random.Random(seed), FURTHER) for seed in range(400)]
PRINTED = [scene for scene in SCENES if scene.printed is not None]
TALKS = [scene_talk(scene, random.Random(n), 12, FURTHER) for n, scene in enumerate(SCENES)]
SIGN = Scene(200, 200, (), PrintedText("ABC", 100, 40, 90, 30))


def test_shapes_are_turned_and_overlap_a_little() -> None:
    pairs = [pair for scene in SCENES for pair in combinations(scene.objects, 2)]
    covered = [
        shared(a.drawn_box, b.drawn_box) for a, b in pairs if not apart(a.drawn_box, b.drawn_box, 0)
    ]
    assert len(covered) > 20 and max(covered) <= FURTHER.overlap
    assert all(a.colour != b.colour for a, b in pairs if not apart(a.drawn_box, b.drawn_box, 0))
    tilts = {shape: [0.0] for shape in ("square", "diamond", "star")}
    for scene in SCENES:
        for item in scene.objects:
            tilts.setdefault(item.shape, []).append(abs(item.tilt))
    assert max(tilts["square"]) <= 10 and max(tilts["diamond"]) <= 10 < max(tilts["star"]) <= 30


def test_the_core_has_nothing_of_it() -> None:
    for seed in range(100):
        scene = random_scene(random.Random(seed), CORE)
        assert scene.printed is None
        assert all(apart(a.drawn_box, b.drawn_box, 0) for a, b in combinations(scene.objects, 2))
    talk = [e for seed in range(100) for e in held_out(seed, 1, 6).talk]
    assert {e.kind for e in talk}.isdisjoint({"reading", "no text", "box"})


def test_words_stand_clear_of_shapes_and_edges() -> None:
    assert 80 < len(PRINTED) < 160
    for scene in PRINTED:
        assert scene.printed is not None
        left, top, right, bottom = scene.printed.box
        assert left > 0 and top > 0 and right < scene.width and bottom < scene.height
        assert all(apart(scene.printed.box, item.drawn_box, 0) for item in scene.objects)


def test_words_and_numbers_are_many_and_spelled_with_known_letters() -> None:
    words = {random_word(random.Random(seed)) for seed in range(600)}
    assert len(words) > 350
    assert sum(word.isdigit() for word in words) > 80
    assert all(set(word) <= set(LETTERS) and len(word) <= 7 for word in words)


def test_letters_stand_side_by_side_in_their_box() -> None:
    assert SIGN.printed is not None
    boxes = letter_boxes(SIGN.printed)
    assert [letter for letter, _ in boxes] == list("ABC")
    assert boxes[0][1][0] == 55 and boxes[-1][1][2] == pytest.approx(145)
    for (_, one), (_, other) in pairwise(boxes):
        assert one[2] == other[0] and one[2] > one[0]


@pytest.mark.parametrize("seed", range(8))
def test_a_printed_word_is_really_there(seed: int) -> None:
    bare = draw_scene(replace(SIGN, printed=None), random.Random(seed))
    signed = draw_scene(SIGN, random.Random(seed))
    changed = np.abs(np.asarray(signed, int) - np.asarray(bare, int)).max(-1) > 40
    rows, columns = np.nonzero(changed[20:60, 50:150])
    assert len(rows) > 300
    assert np.ptp(columns) > 60 and np.ptp(rows) > 20


@pytest.mark.parametrize("grid", [9, 14])
def test_every_letter_has_its_centre_in_one_half_of_a_patch(grid: int) -> None:
    for scene in PRINTED:
        assert scene.printed is not None
        halves = letter_halves(scene, grid)
        spots = np.argwhere(halves.centred)
        assert "".join(LETTERS[halves.covering[tuple(s)]] for s in spots) == scene.printed.text
        assert len({patch // grid for patch, _ in spots}) == 1
        assert halves.centred.sum() <= (halves.covering >= 0).sum()


def test_patches_know_their_letters() -> None:
    labels, halves = scene_labels(SIGN, 14, FURTHER), letter_halves(SIGN, 14)
    ground = aspects_of(FURTHER)["ground"]
    assert set(labels["ground"][halves.shown]) == {ground.index("text")}
    seen = {*labels["left letter"][halves.shown], *labels["right letter"][halves.shown]}
    assert seen >= {LETTERS.index(letter) for letter in "ABC"}
    centres = labels["letters"][halves.shown]
    assert ((centres & 1) + (centres >> 1)).sum() == 3
    assert (labels["letters"][~halves.shown] == -100).all()


def test_a_grid_of_words_spells_what_is_printed(scenes_tokenizer: PreTrainedTokenizerFast) -> None:
    told = replace(random_dialogue(random.Random(3), 1, drawn=False), other_kind=None)
    vocabulary, writer = scenes_tokenizer.get_vocab(), GridWriter(scenes_tokenizer, 9)
    names = {vocabulary[letter]: letter for letter in LETTERS}
    names |= {vocabulary[f"<0x{0x90 + n:02X}>"]: letter for n, letter in enumerate(LETTERS)}
    for number, scene in enumerate(PRINTED[:40]):
        cells = writer.cells(replace(told, scene=scene), random.Random(number))
        assert cells is not None and scene.printed is not None
        # The first two ids of a cell are its row and its column.
        spelled = [names[i] for cell in cells for i in cell[2:] if i in names]
        assert "".join(spelled) == scene.printed.text


def test_a_box_is_told_beside_the_words_and_does_not_drown_them() -> None:
    torch.manual_seed(0)
    words, table = torch.full((1, 4, 12), -1), torch.nn.Embedding(50, 64)
    words[..., :3] = torch.randint(0, 50, (1, 4, 3))
    boxes = torch.full((1, 4, 4), float("nan"))
    boxes[0, 1] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    ids = torch.tensor([[1, 49, 49, 49, 49, 2]])
    told = grid_embeddings(GridBatch(ids, ids, words, boxes), table, 49)
    changed = (told[0, 1:5] - cell_embeddings(words, table)[0]).square().mean(-1).sqrt()
    assert changed[1] > 2 * changed[[0, 2, 3]].max()
    assert 0.3 < changed[1] / table.weight.std() < 0.7
    assert torch.equal(told[0, [0, 5]], table(ids[0, [0, 5]]))


def test_what_is_printed_is_read_and_described() -> None:
    answers = [(scene, e) for scene, t in zip(SCENES, TALKS, strict=True) for e in t]
    read = [(scene, e) for scene, e in answers if e.kind in ("reading", "no text")]
    assert len(read) > 150
    for scene, exchange in read:
        assert means(exchange.answer, exchange.meaning)
        assert (scene.printed is None) == exchange.meaning.denied == (exchange.kind == "no text")
    described = [(s, e) for s, e in answers if e.kind in ("list", "describe") and s.printed]
    assert len(described) > 50
    for scene, exchange in described:
        assert scene.printed is not None and scene.printed.text in exchange.answer
        assert means(exchange.answer, exchange.meaning)
    assert brief_description(SIGN) == full_description(SIGN) == "There are no objects. It says ABC."


def test_a_box_is_that_of_the_shape_as_it_is_drawn() -> None:
    asked = [e for talk in TALKS for e in talk if e.kind == "box"]
    assert len(asked) > 150
    assert all(means(e.answer, e.meaning) for e in asked)
    item = SceneObject("rectangle", "red", "large", 100, 100, 80, 40, tilt=25)
    picture = draw_scene(Scene(200, 200, (item,)), random.Random(2))
    left, top, right, bottom = (200 * edge for edge in Scene(200, 200, (item,)).box_shares(item))
    assert right - left > 80 and bottom - top > 40
    bare = np.asarray(draw_scene(Scene(200, 200, ()), random.Random(2)), int)
    rows, columns = np.nonzero(np.abs(np.asarray(picture, int) - bare).max(-1) > 60)
    found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert np.abs(np.array(found) - (left, top, right, bottom)).max() <= 3


def test_a_box_that_is_off_is_judged_wrong() -> None:
    right = Meaning(box=(0.2, 0.2, 0.4, 0.4))
    assert means("It is at [0.21, 0.2, 0.4, 0.41].", right)
    assert not means("[0.3, 0.2, 0.5, 0.4]", right)
    assert not means("[0.4, 0.4, 0.2, 0.2]", right)
    assert 0 < BOX_OVERLAP < 1


def test_reading_never_lies_outside() -> None:
    outside = {outside_question(random.Random(seed)) for seed in range(900)}
    assert len(outside) > 100 and outside.isdisjoint(say.READING_QUESTIONS)


def test_a_miniature_learns_the_further_part(tmp_path: Path) -> None:
    recipe = replace(TINY, turns=2, vocabulary=900)
    train_scenes(
        recipe, work=tmp_path / "work", output=tmp_path / "model", device=torch.device("cpu")
    )
    newest = Checkpoints(tmp_path / "work" / "encoder").newest()
    assert newest is not None
    learned = read(newest / STATE)["modules"]
    assert {"box.weight", "views.left letter.weight"} <= set(learned)
    assert load_checkpoint(str(tmp_path / "model"), device="cpu").template == "vicuna_v1"
    assert {recipe.world for recipe in RECIPES.values()} == {FURTHER}
