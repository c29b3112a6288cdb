"""The options about what is seen of a run, as every stage takes them."""

import argparse

import pytest

from llava_chat.commands.train.watching_options import add_watching, check_watching, log_every
from llava_chat.errors import UsageError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_watching(parser)
    return parser.parse_args(words)


def test_tensorboard_is_written_and_wandb_asked_only_by_name() -> None:
    assert parsed().tensorboard and parsed().wandb is None
    assert not parsed("--no-tensorboard").tensorboard
    assert parsed("--wandb").wandb == "llava_chat"
    assert parsed("--wandb", "mine").wandb == "mine"


@pytest.mark.parametrize(("steps", "every"), [(1, 1), (100, 5), (5197, 50)])
def test_a_run_has_some_twenty_lines_at_least(steps: int, every: int) -> None:
    assert log_every(parsed(), steps) == every
    assert log_every(parsed("--log-every", "7"), steps) == 7


@pytest.mark.parametrize("words", [("--log-every", "0"), ("--samples", "-1")])
def test_numbers_that_make_no_sense_are_named(words: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=words[0]):
        check_watching(parsed(*words))
    check_watching(parsed(words[0], "3"))
