import math

import pytest
import torch

from llava_chat.engine.base import GREEDY_BELOW_TEMPERATURE, GenerationSettings
from llava_chat.engine.local.sampling import Sampler, nucleus, penalise
from llava_chat.errors import EngineError

NOTHING = torch.zeros(4, dtype=torch.bool)


def draws(settings: GenerationSettings, seed: int, logits: torch.Tensor, count: int) -> list[int]:
    sampler = Sampler(settings, seed, torch.zeros_like(logits, dtype=torch.bool))
    return [sampler.choose(logits) for _ in range(count)]


def test_greedy_takes_the_likeliest_allowed_id() -> None:
    forbidden = torch.tensor([False, False, True, False])
    sampler = Sampler(GenerationSettings(temperature=0), 0, forbidden)
    assert sampler.choose(torch.tensor([0.0, 2.0, 9.0, 1.0])) == 1


def test_a_forbidden_id_is_never_drawn() -> None:
    forbidden = torch.tensor([False, True, False, False])
    sampler = Sampler(GenerationSettings(temperature=2, top_p=1), 0, forbidden)
    drawn = {sampler.choose(torch.tensor([0.0, 5.0, 0.0, 0.0])) for _ in range(200)}
    assert drawn == {0, 2, 3}


def test_a_seed_gives_the_same_draws_and_another_gives_others() -> None:
    settings = GenerationSettings(temperature=1, top_p=1)
    logits = torch.zeros(50)
    torch.manual_seed(1)
    first = draws(settings, 7, logits, 20)
    torch.manual_seed(2)  # the global generator plays no part
    assert draws(settings, 7, logits, 20) == first
    assert draws(settings, 8, logits, 20) != first


def test_draws_follow_the_probabilities() -> None:
    settings = GenerationSettings(temperature=1, top_p=1)
    drawn = draws(settings, 3, torch.tensor([0.5, 0.3, 0.2]).log(), 4000)
    shares = [drawn.count(token) / len(drawn) for token in range(3)]
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


@pytest.mark.parametrize("temperature", [5e-324, 1e-46, 1e-30, 1e-4])
def test_temperature_sharpens_and_the_smallest_is_greedy(temperature: float) -> None:
    logits = torch.tensor([1.0, 1.1, 0.0])
    assert set(draws(GenerationSettings(temperature=temperature, top_p=1), 0, logits, 50)) == {1}


def test_a_temperature_that_changes_nothing_is_greedy() -> None:
    just_below = math.nextafter(GREEDY_BELOW_TEMPERATURE, 0)
    assert GenerationSettings(temperature=just_below).greedy
    assert not GenerationSettings(temperature=GREEDY_BELOW_TEMPERATURE).greedy


@pytest.mark.parametrize("top_p", [5e-324, 1e-46, 1e-9])
def test_the_smallest_nucleus_holds_the_likeliest_id(top_p: float) -> None:
    logits = torch.tensor([1.0, 1.1, 0.0])
    assert set(draws(GenerationSettings(temperature=1, top_p=top_p), 0, logits, 50)) == {1}


def test_whole_numbers_written_as_floats_are_whole() -> None:
    settings = GenerationSettings(max_new_tokens=5.0, seed=7.0)
    assert (repr(settings.max_new_tokens), repr(settings.seed)) == ("5", "7")
    assert settings == GenerationSettings(max_new_tokens=5, seed=7)


def test_the_nucleus_holds_the_fewest_ids_that_reach_its_mass() -> None:
    settings = GenerationSettings(temperature=1, top_p=0.7)
    drawn = draws(settings, 1, torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), 300)
    assert set(drawn) == {0, 1}
    assert nucleus(torch.tensor([0.9, 0.1]), 1e-9).tolist() == pytest.approx([0.9, 0])


def test_what_the_reply_has_said_becomes_less_likely() -> None:
    settings = GenerationSettings(temperature=0, repetition_penalty=2)
    sampler = Sampler(settings, 0, NOTHING)
    logits = torch.tensor([3.0, 2.0, 1.0, -1.0])
    assert [sampler.choose(logits) for _ in range(3)] == [0, 1, 0]
    scores = penalise(torch.tensor([-1.0, 4.0]), torch.tensor([True, True]), 2)
    assert scores.tolist() == [-2, 2]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_an_error(bad: float, temperature: float) -> None:
    sampler = Sampler(GenerationSettings(temperature=temperature), 0, NOTHING)
    with pytest.raises(EngineError, match="not a number"):
        sampler.choose(torch.tensor([0.0, bad, 0.0, 0.0]))
