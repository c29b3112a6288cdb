"""What is saved is loaded again, the same; and older names of the weights are read."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from llava_chat.errors import CheckpointError, SettingError
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from llava_chat.model.llava import LlavaModel, parameter_count

Make = Callable[..., Checkpoint]


def logits(model: LlavaModel) -> torch.Tensor:
    """Of a fixed prompt with a fixed picture."""
    pixels = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    picture = [model.config.image_token_id] * model.tokens_per_picture
    with torch.no_grad():
        return model(model.embed(torch.tensor([[1, 7, *picture, 9]]), model.image_features(pixels)))


def weights_of(model: LlavaModel) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters())


@pytest.mark.parametrize("max_shard_bytes", [200_000, 10**9])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("projector", ["mlp2x_gelu", "linear"])
def test_saved_and_loaded_is_the_same(
    make_checkpoint: Make, tmp_path: Path, projector: str, tied: bool, max_shard_bytes: int
) -> None:
    made = make_checkpoint(projector=projector, tied=tied, image_aspect="square")
    made = replace(made, template="llava_v1", padded_boxes=True)
    save_checkpoint(made, tmp_path, max_shard_bytes=max_shard_bytes)
    shards = list(tmp_path.glob("model-*.safetensors"))
    assert bool(shards) == (max_shard_bytes == 200_000)
    assert all(shard.stat().st_size < 220_000 for shard in shards)

    loaded = load_checkpoint(str(tmp_path), device="cpu")
    before, after = weights_of(made.model), weights_of(loaded.model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(logits(made.model), logits(loaded.model))
    assert parameter_count(loaded.model) == parameter_count(made.model)
    assert (loaded.template, loaded.description) == ("llava_v1", "a tiny model")
    assert loaded.pixels == made.pixels
    assert loaded.padded_boxes
    assert loaded.model.config.projector == projector
    assert not loaded.model.training


def test_the_cut_tower_is_saved_as_it_is(saved: Path) -> None:
    loaded = load_checkpoint(str(saved))
    assert loaded.model.config.vision.num_hidden_layers == 3
    assert loaded.model.config.select_layer == -1
    assert not any(weight.requires_grad for weight in loaded.model.tower.parameters())
    assert all(weight.requires_grad for weight in loaded.model.language_model.parameters())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_loaded_in_half_precision(saved: Path, dtype: str) -> None:
    whole, half = load_checkpoint(str(saved)), load_checkpoint(str(saved), dtype=dtype)
    assert {str(w.dtype) for w in half.model.parameters()} == {f"torch.{dtype}"}
    # Rotary frequencies in half precision would move the words of a long conversation.
    frequencies = dict(half.model.named_buffers())["language_model.model.rotary_emb.inv_freq"]
    assert frequencies.dtype == torch.float32
    expected = logits(whole.model)
    assert (logits(half.model).float() - expected).abs().max() < 0.1 * expected.std()


def test_saved_in_another_dtype(make_checkpoint: Make, tmp_path: Path) -> None:
    made = make_checkpoint()
    save_checkpoint(made, tmp_path, dtype="bfloat16")
    loaded = weights_of(load_checkpoint(str(tmp_path)).model)
    for name, weight in weights_of(made.model).items():
        assert torch.equal(loaded[name], weight.bfloat16().float())


def test_saving_over_another_keeps_what_is_not_the_model(
    make_checkpoint: Make, saved: Path
) -> None:
    (saved / "README.md").write_text("the model card")
    other = make_checkpoint(projector="linear")
    save_checkpoint(other, saved)
    assert (saved / "README.md").read_text() == "the model card"
    assert [path.name for path in saved.glob("*.safetensors*")] == ["model.safetensors"]
    assert not list(saved.glob(".saving*"))
    assert torch.equal(logits(load_checkpoint(str(saved)).model), logits(other.model))


def test_saving_over_the_folder_that_is_in_use(saved: Path) -> None:
    loaded = load_checkpoint(str(saved))
    expected = logits(loaded.model)
    save_checkpoint(loaded, saved, max_shard_bytes=100_000)
    assert torch.equal(logits(loaded.model), expected)
    assert torch.equal(logits(load_checkpoint(str(saved)).model), expected)


def in_memory_name(name: str) -> str:
    """transformers 5: what LlavaForConditionalGeneration.state_dict() calls it."""
    name = name.replace("language_model.lm_head", "lm_head")
    name = name.replace("language_model.model.", "model.language_model.")
    name = name.replace("vision_tower.vision_model.", "model.vision_tower.")
    return name.replace("multi_modal_projector.", "model.multi_modal_projector.")


def in_files_of_5(name: str) -> str:
    return name.replace("vision_tower.vision_model.", "vision_tower.")


@pytest.mark.parametrize("renamed", [in_memory_name, in_files_of_5])
def test_other_generations_of_names_are_read(
    make_checkpoint: Make, tmp_path: Path, renamed: Callable[[str], str]
) -> None:
    made = make_checkpoint()
    save_checkpoint(made, tmp_path, max_shard_bytes=10**9)
    path = tmp_path / "model.safetensors"
    stored = {renamed(name): weight.clone() for name, weight in load_file(path).items()}
    # Old files hold this buffer as well.
    stored["vision_tower.vision_model.embeddings.position_ids"] = torch.arange(10)
    save_file(stored, path)
    assert torch.equal(logits(load_checkpoint(str(tmp_path)).model), logits(made.model))


@pytest.mark.parametrize("files", [1, 2])
def test_weights_in_bin_files_are_the_same(saved: Path, files: int) -> None:
    expected = load_checkpoint(str(saved))
    weights: dict[str, torch.Tensor] = {}
    for path in saved.glob("model*.safetensors"):
        weights |= load_file(path)
        path.unlink()
    (saved / "model.safetensors.index.json").unlink()
    if files == 1:
        torch.save(weights, saved / "pytorch_model.bin")
    else:
        where: dict[str, str] = {}
        for number in range(files):
            shard = f"pytorch_model-{number + 1:05d}-of-{files:05d}.bin"
            names = list(weights)[number::files]
            torch.save({name: weights[name] for name in names}, saved / shard)
            where |= dict.fromkeys(names, shard)
        index = saved / "pytorch_model.bin.index.json"
        index.write_text(json.dumps({"weight_map": where}))
    loaded = load_checkpoint(str(saved))
    assert loaded.revision != expected.revision
    assert torch.equal(logits(loaded.model), logits(expected.model))
    assert weights_of(loaded.model).keys() == weights_of(expected.model).keys()


def test_what_transformers_saves_is_read(
    make_checkpoint: Make,
    make_twin: Callable[[LlavaModel], torch.nn.Module],
    saved: Path,
) -> None:
    made = make_checkpoint()
    for path in saved.glob("model*"):
        path.unlink()
    make_twin(made.model).save_pretrained(saved)  # its tower has the layer that nobody reads
    loaded = load_checkpoint(str(saved))
    assert loaded.model.config.select_layer == -2
    assert torch.equal(logits(loaded.model), logits(made.model))


def test_what_llava_hf_leaves_out_of_its_configuration_is_the_default(saved: Path) -> None:
    path = saved / "config.json"
    content = json.loads(path.read_text())
    del content["llava_chat"], content["vision_config"]["model_type"], content["architectures"]
    del content["text_config"]["model_type"]
    path.write_text(json.dumps(content))
    loaded = load_checkpoint(str(saved))
    assert (loaded.template, loaded.pixels.aspect, loaded.description) == ("vicuna_v1", "pad", "")
    assert loaded.padded_boxes


EMBEDDING = "language_model.model.embed_tokens.weight"
HEAD = "language_model.lm_head.weight"


def save_as_tied(made: Checkpoint, folder: Path, *, head: torch.Tensor | None, words: bool) -> None:
    """A folder whose config.json ties the words, holding either table of them, or both."""
    save_checkpoint(made, folder, max_shard_bytes=10**9)
    stored = load_file(folder / "model.safetensors")
    stored.pop(HEAD, None)
    if head is not None:
        stored[HEAD] = head.detach().clone()
    if not words:
        stored.pop(EMBEDDING)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))


@pytest.mark.parametrize("words", [False, True])
def test_tied_words_are_read_by_either_name(
    make_checkpoint: Make, tmp_path: Path, words: bool
) -> None:
    made = make_checkpoint(tied=True)
    save_as_tied(made, tmp_path, head=weights_of(made.model)[EMBEDDING], words=words)
    loaded = load_checkpoint(str(tmp_path)).model
    assert torch.equal(logits(loaded), logits(made.model))
    assert parameter_count(loaded) == parameter_count(made.model)


def test_two_tables_stay_two_whatever_the_configuration_says(
    make_checkpoint: Make, tmp_path: Path
) -> None:
    """As transformers does."""
    made = make_checkpoint(tied=False)
    save_as_tied(made, tmp_path / "a", head=weights_of(made.model)[HEAD], words=True)
    loaded = load_checkpoint(str(tmp_path / "a"))
    assert torch.equal(logits(loaded.model), logits(made.model))
    save_checkpoint(loaded, tmp_path / "b")
    assert not json.loads((tmp_path / "b" / "config.json").read_text())["tie_word_embeddings"]
    assert torch.equal(logits(load_checkpoint(str(tmp_path / "b")).model), logits(made.model))


def test_a_tied_model_without_words_is_refused(make_checkpoint: Make, tmp_path: Path) -> None:
    save_as_tied(make_checkpoint(tied=True), tmp_path, head=None, words=False)
    with pytest.raises(CheckpointError, match=f"missing {EMBEDDING}"):
        load_checkpoint(str(tmp_path))


def test_rows_that_are_no_words_are_suppressed(make_checkpoint: Make) -> None:
    checkpoint = make_checkpoint()
    words = len(checkpoint.tokenizer)
    assert checkpoint.model.config.text.vocab_size == words + 5
    assert checkpoint.suppressed_ids == (
        checkpoint.model.config.image_token_id,
        *range(words, words + 5),
    )


def test_a_tokenizer_of_another_model_is_refused(
    make_checkpoint: Make,
    llama_like: PreTrainedTokenizerFast,
    byte_level: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    save_checkpoint(make_checkpoint(tokenizer=byte_level), tmp_path)
    llama_like.save_pretrained(tmp_path)  # it has more words than the model has rows
    with pytest.raises(CheckpointError, match="they do not belong together"):
        load_checkpoint(str(tmp_path))


def test_the_revision_follows_the_weights(make_checkpoint: Make, saved: Path) -> None:
    first = load_checkpoint(str(saved))
    assert first.revision == load_checkpoint(str(saved)).revision
    with torch.no_grad():
        first.model.language_model.model.norm.weight[0] += 1
    save_checkpoint(first, saved, max_shard_bytes=200_000)
    assert load_checkpoint(str(saved)).revision != first.revision


@pytest.mark.parametrize(
    ("options", "field"), [({"device": "cuda:99"}, "device"), ({"dtype": "int3"}, "dtype")]
)
def test_device_and_dtype_that_are_not_there(
    saved: Path, options: dict[str, str], field: str
) -> None:
    with pytest.raises(SettingError) as error:
        load_checkpoint(str(saved), **options)
    assert error.value.field == field
