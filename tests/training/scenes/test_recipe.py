"""The whole road in miniature: from nothing to a checkpoint that answers."""

import copy
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    CLIPVisionModel,
    LlamaForCausalLM,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, GenerationSettings
from llava_chat.engine.local import LocalEngine
from llava_chat.errors import LlavaChatError
from llava_chat.image import picture_from_image
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint
from llava_chat.training.checkpoints import STATE, Checkpoints, read
from llava_chat.training.scenes.dialogue import (
    captioned_picture,
    dialogue_conversation,
    random_dialogue,
)
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.recipe import (
    RECIPES,
    Part,
    Recipe,
    assemble,
    train_scenes,
    train_scenes_further,
)
from llava_chat.training.scenes.regions import (
    aspects_of,
    object_patches,
    region_sample,
    scene_labels,
)
from llava_chat.training.scenes.word_grid import GridWriter, look_for_alike
from llava_chat.training.scenes.world import (
    COLOURS,
    CORE,
    FURTHER,
    SHAPES,
    Scene,
    SceneObject,
    World,
    random_scene,
)

TINY = Recipe(
    image_px=48, patch_px=16, vision_width=32, vision_layers=2,
    text_width=32, text_layers=1, head_width=16, vocabulary=1024,
    encoder=Part(2, 2, 1e-3, 1e-3), language=Part(2, 2, 1e-3, 1e-3),
    align=Part(2, 2, 1e-3), finetune=Part(2, 2, 1e-3, 1e-3),
    turns=1, max_tokens=200, workers=0, compile_decoder=False,
)  # fmt: skip
DOT = SceneObject("circle", "red", "small", 20, 20, 12, 12)
STAR = SceneObject("star", "blue", "large", 70, 75, 36, 36)
PAIR = Scene(100, 100, (DOT, STAR))


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, scenes_tokenizer: PreTrainedTokenizerFast
) -> Path:
    """Where the miniature was trained: `work`, and the checkpoint in `model`."""
    folder = tmp_path_factory.mktemp("scenes")
    scenes_tokenizer.save_pretrained(folder / "work" / "tokenizer")
    run(folder)
    return folder


def run(folder: Path, recipe: Recipe = TINY) -> Checkpoint:
    return train_scenes(
        recipe, work=folder / "work", output=folder / "model", device=torch.device("cpu")
    )


def test_it_loads_and_answers(folder: Path) -> None:
    checkpoint = load_checkpoint(str(folder / "model"), device="cpu")
    assert checkpoint.template == "vicuna_v1" and "demonstration" in checkpoint.description
    picture = picture_from_image(draw_scene(PAIR, random.Random(0)))
    engine = LocalEngine(checkpoint)
    asked = Conversation((Turn("user", "What is it?", (picture,)),))
    *_, last = engine.stream(asked, GenerationSettings(temperature=0, max_new_tokens=4))
    engine.close(grace_s=0)
    assert isinstance(last, Done) and 0 < len(last.token_ids) <= 4
    assert last.prompt_tokens > TINY.grid**2


def test_transformers_loads_it_whole(folder: Path) -> None:
    loaded: Any = LlavaForConditionalGeneration.from_pretrained(
        folder / "model", output_loading_info=True, dtype=torch.float32
    )
    model, report = loaded
    assert not report["unexpected_keys"] and not report["mismatched_keys"]
    ours = load_checkpoint(str(folder / "model"), device="cpu", dtype="float32").model
    ids = torch.tensor([[1, *[ours.config.image_token_id] * 9, 300, 400]])
    pixels = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = model(input_ids=ids, pixel_values=pixels).logits
        logits = ours(ours.embed(ids, ours.image_features(pixels)))
    assert torch.allclose(logits, theirs, atol=1e-5)


def test_a_finished_run_is_only_written_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_checkpoint(str(folder / "model"), device="cpu").model.state_dict()
    run(folder)
    after = load_checkpoint(str(folder / "model"), device="cpu").model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    said = capsys.readouterr().err
    parts = ("encoder", "language model", "align", "finetune")
    assert [f"{part}: going on from step 2" in said for part in parts] == [True] * 4


def test_it_goes_on_from_the_part_that_was_stopped(folder: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "tokenizer").mkdir(parents=True)
    for file in (folder / "work" / "tokenizer").iterdir():
        (work / "tokenizer" / file.name).write_bytes(file.read_bytes())
    for part in ("encoder", "language_model"):
        shutil.copytree(folder / "work" / part, work / part)
    run(tmp_path)
    wanted = load_checkpoint(str(folder / "model"), device="cpu").model.state_dict()
    found = load_checkpoint(str(tmp_path / "model"), device="cpu").model.state_dict()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_a_model_is_trained_further_in_stage_two_alone(folder: Path, tmp_path: Path) -> None:
    begun = load_checkpoint(str(folder / "model"), device="cpu", dtype="float32")
    before = copy.deepcopy(begun.model.state_dict())
    # In the folder of the run that made the model, whose own stage 2 is done.
    work = shutil.copytree(folder / "work", tmp_path / "work")
    train_scenes_further(TINY, begun, work=work, output=tmp_path / "model")
    after = load_checkpoint(str(tmp_path / "model"), device="cpu").model.state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"projector", "language_model"}
    another = load_checkpoint(str(tmp_path / "model"), device="cpu", dtype="float32")
    with pytest.raises(LlavaChatError, match=r"further was written by another run \(model"):
        train_scenes_further(TINY, another, work=work, output=tmp_path / "more")


@pytest.mark.parametrize(
    ("recipe", "seed", "difference"),
    [
        (TINY, 2, "encoder was written by another run (seed 1 there, 2 here)"),
        (replace(TINY, finetune=Part(1, 2, 1e-3, 1e-3)), 1, "(steps 2 there, 1 here)"),
        (replace(TINY, language=Part(2, 3, 1e-3, 1e-3)), 1, "(batch_size 2 there, 3 here)"),
        (replace(TINY, world=replace(FURTHER, tilted=0.4)), 1, "(world World("),
    ],
)
def test_the_states_of_another_recipe_or_seed_are_refused(
    folder: Path, tmp_path: Path, recipe: Recipe, seed: int, difference: str
) -> None:
    work = shutil.copytree(folder / "work", tmp_path / "work")
    with pytest.raises(LlavaChatError) as refused:
        train_scenes(
            recipe,
            work=work,
            output=tmp_path / "model",
            device=torch.device("cpu"),
            seed=seed,
        )
    assert difference in str(refused.value)
    assert not (tmp_path / "model").exists()


def test_the_stages_never_move_the_encoder(folder: Path) -> None:
    newest = Checkpoints(folder / "work" / "encoder").newest()
    assert newest is not None
    trained = read(newest / STATE)["modules"]
    tower = load_checkpoint(str(folder / "model"), device="cpu", dtype="float32").model.tower.vision
    for name, value in tower.state_dict().items():
        assert torch.equal(value, trained[f"tower.{name}"].bfloat16().float()), name


def test_the_parts_are_put_together_as_they_were_trained(
    scenes_tokenizer: PreTrainedTokenizerFast,
) -> None:
    tower, decoder = CLIPVisionModel(TINY.vision), LlamaForCausalLM(TINY.text)
    checkpoint = assemble(TINY, scenes_tokenizer, tower, decoder, torch.device("cpu"))
    ids, pixels = torch.tensor([[1, 300, 400]]), torch.randn(2, 3, 48, 48)
    model = checkpoint.model
    with torch.no_grad():
        assert torch.allclose(model(model.embed(ids)), decoder(ids).logits, atol=1e-5)
        seen = tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        assert torch.allclose(model.tower(pixels), seen, atol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_fit_their_pictures_and_context(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.image_px % recipe.patch_px == 0
    assert recipe.vision_width % recipe.head_width == recipe.text_width % recipe.head_width == 0
    assert recipe.grid**2 + 60 < recipe.max_tokens <= recipe.text.max_position_embeddings
    assert replace(recipe, image_px=48).grid == 48 // recipe.patch_px


def test_labels_lie_on_the_objects() -> None:
    labels = scene_labels(PAIR, 10)
    inside, central = object_patches(PAIR, STAR, 10)
    assert divmod(central, 10) in {(7, 6), (7, 7)}
    assert set(labels["colour"][inside]) == {COLOURS.index("blue")}
    assert set(labels["shape"][inside]) == {SHAPES.index("star")}
    assert labels["ground"][9] == aspects_of(CORE)["ground"].index("empty")
    assert (labels["part"] == 0).sum() == 2
    assert set(labels["colour"]) == {-100, COLOURS.index("red"), COLOURS.index("blue")}


@pytest.mark.parametrize("world", [CORE, FURTHER])
def test_a_region_sample_has_a_label_for_each_patch(world: World) -> None:
    kinds = set()
    for seed in range(40):
        sample = region_sample(random.Random(seed), size_px=48, grid=3, world=world)
        assert sample.pixels.shape == (3, 48, 48) and sample.pixels.dtype == np.float32
        assert set(sample.labels) == set(aspects_of(world))
        boxed = ~np.isnan(sample.boxes).any(1)
        assert (boxed == (sample.labels["colour"] >= 0)).all()
        assert (sample.boxes[boxed, :2] < sample.boxes[boxed, 2:]).all()
        for aspect, phrases in aspects_of(world).items():
            assert sample.labels[aspect].shape == (9,)
            assert set(sample.labels[aspect]) <= {-100, *range(len(phrases))}
        kinds |= set(sample.labels["ground"])
    assert len(kinds) >= 5


def test_a_grid_of_words_says_what_is_where(scenes_tokenizer: PreTrainedTokenizerFast) -> None:
    writer = GridWriter(scenes_tokenizer, 10)
    told = random_dialogue(random.Random(3), 1, drawn=False)
    cells = writer.cells(replace(told, scene=PAIR, other_kind=None), random.Random(0))
    assert cells is not None and cells.shape == (100, 12)
    texts = [str(scenes_tokenizer.decode([i for i in cell if i >= 259])) for cell in cells]
    _, central = object_patches(PAIR, STAR, 10)
    assert sum("star" in text for text in texts) >= 3
    assert "circle" not in texts[central] and "nothing" in " ".join(texts)
    assert len({tuple(cell[:2]) for cell in cells}) == 100
    assert writer.cells(replace(told, scene=None, other_kind=None), random.Random(0)) is None


def test_dialogues_come_in_their_shares() -> None:
    told = [random_dialogue(random.Random(seed), 2, drawn=False) for seed in range(250)]
    kinds = Counter("scene" if d.scene else "other" if d.other_kind else "nothing" for d in told)
    assert kinds["scene"] > 200 and kinds["other"] > 5 and kinds["nothing"] > 3
    for seed in range(12):
        dialogue = random_dialogue(random.Random(seed), 2)
        conversation = dialogue_conversation(copy.copy(dialogue))
        pictures = [len(turn.images) for turn in conversation.turns]
        assert pictures[0] == (dialogue.pixels is not None) and not any(pictures[1:])
        assert [turn.role for turn in conversation.turns] == ["user", "assistant"] * 2


def test_captions_name_what_is_drawn() -> None:
    captions = [captioned_picture(random.Random(seed)).turns[1].text for seed in range(60)]
    assert any("not a drawing" in caption for caption in captions)
    assert sum(caption.startswith("There ") for caption in captions) > 40
    assert random_scene(random.Random(0)) == random_scene(random.Random(0))


def test_a_decoder_starts_by_looking_for_its_like() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(replace(TINY, text_width=256, head_width=64).text)
    look_for_alike(model)
    words = model.model.embed_tokens(torch.arange(1, 201))
    normed = model.model.layers[0].input_layernorm(words)
    attention = model.model.layers[0].self_attn
    scores = attention.q_proj(normed) @ attention.k_proj(normed).T
    off = scores[~torch.eye(200, dtype=torch.bool)]
    assert scores.diagonal().min() > off.max()
