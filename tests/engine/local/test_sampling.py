"""Replies written at once draw what each would alone; what is kept is what transformers keeps."""

import math
from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from hypothesis import assume, given, settings as examples, strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llava_chat.engine.generation import GREEDY_BELOW_TEMPERATURE, GenerationSettings
from llava_chat.engine.local.sampling import (
    NOT_A_NUMBER,
    RowSampler,
    choose,
    greedy_ids,
    kept_shares,
    limits_of,
    penalise,
)

GREEDY = GenerationSettings(temperature=0)
FREE = GenerationSettings(temperature=1, top_p=1)
ANY_SETTINGS = st.builds(
    GenerationSettings,
    temperature=st.sampled_from([0, 0.2, 0.7, 1, 2]),
    top_p=st.sampled_from([0.01, 0.3, 0.7, 0.9, 1]),
    top_k=st.sampled_from([0, 1, 3, 20, 10**6]),
    repetition_penalty=st.sampled_from([1, 1.1, 2]),
)


def nothing(logits: Tensor) -> Tensor:
    return torch.zeros(logits.shape[-1], dtype=torch.bool)


def draws(settings: GenerationSettings, seed: int, logits: Tensor, count: int) -> list[int]:
    sampler = RowSampler(settings, seed, nothing(logits))
    return [choose(logits[None], [sampler])[0] for _ in range(count)]


def kept(logits: Tensor, settings: GenerationSettings, width: int = 4) -> Tensor:
    """Probabilities (V,) that are drawn from. width: so narrow that most nuclei need more."""
    while True:
        limits = limits_of([RowSampler(settings, 0, nothing(logits))], logits.device)
        shares, wider = kept_shares(logits[None], limits, width)
        if not wider:
            return shares[0] / shares.sum()
        assert width < len(logits)
        width *= 2


def processed(logits: Tensor, said: Sequence[int], settings: GenerationSettings) -> Tensor:
    """The scores (V,) that transformers draws from, after its own processors."""
    steps = LogitsProcessorList()
    if settings.repetition_penalty != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(float(settings.repetition_penalty)))
    if not settings.greedy:
        steps.append(TemperatureLogitsWarper(float(settings.temperature)))
        if settings.top_k:
            steps.append(TopKLogitsWarper(settings.top_k))
        steps.append(TopPLogitsWarper(float(settings.top_p)))
    return steps(torch.tensor([list(said)], dtype=torch.long), logits[None].clone())[0]


# A nucleus that ends within float32's rounding of top_p has two right answers.
NEAR = 1e-5


@examples(max_examples=300, deadline=None)
@given(
    eighths=st.lists(st.integers(-80, 80), min_size=2, max_size=60, unique=True),
    settings=ANY_SETTINGS.filter(lambda chosen: not chosen.greedy),
    data=st.data(),
)
def test_what_is_kept_is_what_transformers_keeps(
    eighths: list[int], settings: GenerationSettings, data: st.DataObject
) -> None:
    logits = torch.tensor(eighths) / 8
    said = data.draw(st.lists(st.integers(0, len(eighths) - 1), max_size=5))
    theirs = processed(logits, said, settings).softmax(dim=-1)
    marked = nothing(logits)
    marked[said] = True
    scores = penalise(logits, marked, settings.repetition_penalty)
    assume(len(set(scores.tolist())) == len(eighths))
    top = sorted((scores / settings.temperature).tolist(), reverse=True)
    top = top[: settings.top_k or None]
    sums = (torch.tensor(top, dtype=torch.float64).softmax(dim=-1)).cumsum(dim=-1)
    assume(settings.top_p == 1 or (sums - settings.top_p).abs().min() > NEAR)
    ours = kept(scores, settings)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    visible = theirs > 1e-9  # an id of less than a share of 2**-36 is never drawn
    assert (ours > 0)[visible].all()
    assert not ours[theirs == 0].any()


def test_the_penalised_greedy_reply_is_that_of_transformers() -> None:
    torch.manual_seed(0)
    penalties = (1, 1.2, 2)
    rows = [GenerationSettings(temperature=0, repetition_penalty=each) for each in penalties]
    samplers = [RowSampler(each, 0, torch.zeros(12, dtype=torch.bool)) for each in rows]
    said: list[list[int]] = [[], [], []]
    for _ in range(20):
        logits = torch.randn(3, 12) * 2
        expected = [processed(*each).argmax() for each in zip(logits, said, rows, strict=True)]
        chosen = choose(logits, samplers)
        assert chosen == [int(each) for each in expected]
        for ids, token in zip(said, chosen, strict=True):
            ids.append(token)


@examples(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ANY_SETTINGS, st.integers(0, 99)), min_size=2, max_size=6), st.data())
def test_a_reply_is_the_same_alone_and_among_others(
    replies: list[tuple[GenerationSettings, int]], data: st.DataObject
) -> None:
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    scale = data.draw(st.sampled_from([0.1, 2, 8]))
    steps = torch.randn(4, len(replies), 700, generator=generator) * scale
    forbidden = nothing(steps)
    forbidden[::7] = True
    together = [RowSampler(*reply, forbidden) for reply in replies]
    apart = [RowSampler(*reply, forbidden) for reply in replies]
    for logits in steps:
        alone = [choose(row[None], [each])[0] for row, each in zip(logits, apart, strict=True)]
        assert choose(logits, together) == alone
        assert not any(token % 7 == 0 for token in alone)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("settings", [GREEDY, FREE, GenerationSettings(repetition_penalty=1.5)])
def test_logits_that_are_no_numbers_fail_their_row_alone(
    bad: float, settings: GenerationSettings
) -> None:
    logits = torch.randn(4, 50)
    rows = [GREEDY, settings, settings, FREE]
    expected = [choose(row[None], [RowSampler(each, 1, nothing(logits))])[0]
                for row, each in zip(logits, rows, strict=True)]  # fmt: skip
    logits[1, 3] = bad
    logits[3] = -math.inf
    chosen = choose(logits, [RowSampler(each, 1, nothing(logits)) for each in rows])
    assert chosen == [expected[0], NOT_A_NUMBER, expected[2], NOT_A_NUMBER]


def test_a_forbidden_id_may_be_no_number() -> None:
    forbidden = torch.tensor([False, True, False])
    logits = torch.tensor([[1.0, math.nan, 0.0]])
    assert greedy_ids(logits, forbidden).tolist() == [0]
    assert choose(logits, [RowSampler(FREE, 0, forbidden)])[0] in (0, 2)


def test_greedy_takes_the_likeliest_allowed_id_of_any_dtype() -> None:
    forbidden = torch.tensor([False, False, True, False])
    logits = torch.tensor([[0.0, 2.0, 9.0, 1.0], [3.0, 2.0, 9.0, 1.0]])
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        samplers = [RowSampler(GREEDY, 0, forbidden) for _ in logits]
        assert choose(logits.to(dtype), samplers) == [1, 0]


class Operations(TorchDispatchMode):
    """The names of what torch was asked for."""

    names: ClassVar[set[str]] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def test_nothing_waits_for_a_value_but_the_ids_at_the_end() -> None:
    rows = [GREEDY, FREE, GenerationSettings(top_k=5), GenerationSettings(repetition_penalty=1.5)]
    logits = torch.randn(4, 300) * 9
    samplers = [RowSampler(each, 0, nothing(logits)) for each in rows]
    with Operations():  # type: ignore[no-untyped-call]
        choose(logits, samplers)
    assert "aten::topk" in Operations.names
    waiting = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select"}
    assert not waiting & Operations.names


def test_a_seed_gives_the_same_draws_and_another_gives_others() -> None:
    logits = torch.zeros(50)
    torch.manual_seed(1)
    first = draws(FREE, 7, logits, 20)
    torch.manual_seed(2)  # the global generator plays no part
    assert draws(FREE, 7, logits, 20) == first
    assert draws(FREE, 8, logits, 20) != first
    assert len(set(draws(FREE, 2**63 - 1, logits, 20))) > 1


@pytest.mark.parametrize(
    ("limits", "shares"),
    [
        ({"top_p": 1}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_p": 0.8}, [4 / 9, 3 / 9, 2 / 9, 0]),
        ({"top_p": 1, "top_k": 2}, [4 / 7, 3 / 7, 0, 0]),
        # Of the two that top_k leaves, the first has 4/7 of the mass: enough for a top_p of 0.5.
        ({"top_p": 0.5, "top_k": 2}, [1, 0, 0, 0]),
    ],
)
def test_draws_follow_the_probabilities(limits: dict[str, float], shares: list[float]) -> None:
    settings = GenerationSettings(temperature=1, **limits)
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().expand(64, 4)
    samplers = [RowSampler(settings, seed, nothing(logits)) for seed in range(64)]
    drawn = [token for _ in range(100) for token in choose(logits, samplers)]
    found = [drawn.count(token) / len(drawn) for token in range(4)]
    # Four standard deviations of a share of one half in 6,400 draws.
    assert found == pytest.approx(shares, abs=0.025)
    assert [share == 0 for share in found] == [share == 0 for share in shares]


def test_a_nucleus_of_thousands_of_ids_is_drawn_from_whole() -> None:
    logits = torch.linspace(0.1, 0, 5000)
    settings = GenerationSettings(temperature=1, top_p=0.5)
    probabilities = kept(logits, settings)
    assert 2300 < (probabilities > 0).sum() < 2500
    drawn = draws(settings, 0, logits, 100)
    assert all(probabilities[token] > 0 for token in drawn)
    assert max(drawn) > 2048 and min(drawn) < 128


def test_ids_that_are_as_likely_as_the_last_one_stay_with_it() -> None:
    logits = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.0])
    for limits in ({"top_p": 0.6}, {"top_p": 1, "top_k": 2}):
        probabilities = kept(logits, GenerationSettings(temperature=1, **limits))
        assert (probabilities > 0).tolist() == [True, True, True, True, False]


@pytest.mark.parametrize("temperature", [5e-324, 1e-46, 1e-30, 1e-4])
def test_temperature_sharpens_and_the_smallest_is_greedy(temperature: float) -> None:
    logits = torch.tensor([1.0, 1.1, 0.0])
    assert set(draws(GenerationSettings(temperature=temperature, top_p=1), 0, logits, 50)) == {1}


def test_a_temperature_that_changes_nothing_is_greedy() -> None:
    just_below = math.nextafter(GREEDY_BELOW_TEMPERATURE, 0)
    assert GenerationSettings(temperature=just_below).greedy
    assert not GenerationSettings(temperature=GREEDY_BELOW_TEMPERATURE).greedy


@pytest.mark.parametrize("limits", [{"top_p": 5e-324}, {"top_p": 1e-46}, {"top_p": 1, "top_k": 1}])
def test_the_smallest_nucleus_holds_the_likeliest_id(limits: dict[str, float]) -> None:
    logits = torch.tensor([1.0, 1.1, 0.0])
    assert set(draws(GenerationSettings(temperature=1, **limits), 0, logits, 50)) == {1}


def test_whole_numbers_written_as_floats_are_whole() -> None:
    settings = GenerationSettings(max_new_tokens=5.0, seed=7.0, top_k=3.0)
    assert (repr(settings.max_new_tokens), repr(settings.seed)) == ("5", "7")
    assert settings == GenerationSettings(max_new_tokens=5, seed=7, top_k=3)


def test_what_the_reply_has_said_becomes_less_likely() -> None:
    settings = GenerationSettings(temperature=0, repetition_penalty=2)
    assert draws(settings, 0, torch.tensor([3.0, 2.0, 1.0, -1.0]), 3) == [0, 1, 0]
    scores = penalise(torch.tensor([-1.0, 4.0]), torch.tensor([True, True]), 2)
    assert scores.tolist() == [-2, 2]
