"""Answers to questions about pictures: a model's, which is asked here, or those of a file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from llava_chat.commands.evaluate import options
from llava_chat.engine.base import GenerationSettings
from llava_chat.errors import UsageError
from llava_chat.evaluation.answers import read_answers, tell_missing
from llava_chat.evaluation.asking import ask
from llava_chat.evaluation.pictured import pictured
from llava_chat.evaluation.question import Answer
from llava_chat.evaluation.vqa.files import SHORT_ANSWER

DEADLINE_S = 3600.0


def add_suffix(parser: argparse.ArgumentParser) -> None:
    """What is put under a question, so that the answer is short."""
    parser.add_argument(
        "--suffix",
        default=SHORT_ANSWER,
        help="a line under each question of an official file, '' for none; by default %(default)r",
    )


def check(args: argparse.Namespace, *files: str) -> None:
    """`options.check`, the pictures that a model needs, and the options `files`.

    Raises UsageError before anything is read or loaded.
    """
    check_files(args, *files)
    if args.images is not None and not args.images.is_dir():
        raise UsageError(f"--images: there is no folder {args.images}")
    if args.answers is None and args.images is None:
        raise UsageError("--images DIR is needed, the folder of the pictures that are asked about")
    options.check(args)


def check_files(args: argparse.Namespace, *names: str) -> None:
    """Raise UsageError where one of these options names a file that is not there."""
    for name in names:
        given = getattr(args, name)
        for file in given if isinstance(given, list) else [given]:
            if file is not None and not file.is_file():
                raise UsageError(f"--{name}: there is no file {file}")


def answers_to(
    args: argparse.Namespace,
    title: str,
    questions: Sequence[tuple[str, str, str]],
    max_new_tokens: int,
    missing: str = "they count as wrong",
) -> dict[str, Answer]:
    """The answers of --answers, or greedy ones of --model, to (id, prompt, picture's name).

    title: as `evaluate x`. Answers that are missing, or too many, are told on stderr; missing: what
    becomes of their questions.
    """
    if args.answers is not None:
        answers = read_answers(args.answers)
        tell_missing(answers, [id_ for id_, _, _ in questions], args.answers, counted=missing)
        return answers
    settings = GenerationSettings(
        temperature=0, max_new_tokens=max_new_tokens, deadline_s=DEADLINE_S
    )
    with options.opened(args, title) as engine:
        return ask(
            engine,
            [pictured(id_, prompt, args.images, image) for id_, prompt, image in questions],
            args.output / options.ANSWERS,
            settings=settings,
            at_once=args.at_once,
            title=title,
        )
