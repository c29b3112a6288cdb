"""`evaluate science-qa`: school questions with choices, to a model or from a file of answers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from llava_chat.commands.checks import check_above_0
from llava_chat.commands.evaluate import options
from llava_chat.commands.evaluate.answering import check_files
from llava_chat.errors import BenchmarkError, UsageError
from llava_chat.evaluation.asking import ask
from llava_chat.evaluation.looking import write_page
from llava_chat.evaluation.science_qa.answered import (
    GREEDY,
    Answered,
    Way,
    read_answered,
    report,
    taken,
    wrong_cards,
)
from llava_chat.evaluation.science_qa.problems import Problem, check_pictures, read_problems
from llava_chat.evaluation.science_qa.prompts import FORMS, training_rows
from llava_chat.evaluation.science_qa.published import TEST_PROBLEMS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The questions, how they are asked, and whose answers are scored."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="the folder of problems.json and pid_splits.json",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="the folder of test/ID/image.png; else `images` beside the data, or that folder",
    )
    parser.add_argument("--split", default="test", help="a list of pid_splits.json")
    parser.add_argument(
        "--prompt",
        choices=FORMS,
        default="QCM-LEA",
        metavar="FORM",
        help=f"how questions are put, and answers in --write-training: {', '.join(FORMS)}",
    )
    parser.add_argument(
        "--letter-only",
        action="store_true",
        help="ask for the letter alone, as LLaVA-1.5 is (with --prompt CQM-A)",
    )
    parser.add_argument(
        "--pictures-only", action="store_true", help="only the questions that have a picture"
    )
    parser.add_argument(
        "--complement",
        type=Path,
        metavar="FILE",
        help="another model's answers, such as GPT-4's: score those too, ours where it has none",
    )
    parser.add_argument(
        "--judge",
        type=Path,
        metavar="FILE",
        help="answers of a judge that saw both: score those too, ours where it has none",
    )
    parser.add_argument(
        "--write-training",
        type=Path,
        metavar="FILE",
        help="write the split as instruction JSON for `train finetune`, and ask nothing",
    )
    options.add_model(parser)
    options.add_answers(parser)


def run(args: argparse.Namespace) -> int:
    """Ask or read, score, and print the table; or write the data for training."""
    for name in ("data", "images"):
        folder = getattr(args, name)
        if folder is not None and not folder.is_dir():
            raise UsageError(f"--{name}: there is no folder {folder}")
    check_above_0(args, "limit")
    if args.write_training is None:
        check_files(args, "complement", "judge")
        options.check(args)
    problems = read_problems(args.data, args.split)
    if args.pictures_only:
        problems = [problem for problem in problems if problem.image is not None]
        if not problems:
            raise UsageError(f"--pictures-only: no question of split {args.split!r} has a picture")
    problems = list(options.limited(args, problems))
    if args.write_training is not None:
        return _write_training(args, problems)
    return _evaluate(args, problems)


def _write_training(args: argparse.Namespace, problems: list[Problem]) -> int:
    if args.images is not None:
        check_pictures(problems, args.images)
    document = json.dumps(training_rows(problems, args.prompt, args.images), indent=2)
    try:
        args.write_training.write_text(document + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"--write-training: {args.write_training} cannot be written ({error.strerror})"
        ) from error
    print(args.write_training)
    return 0


def _evaluate(args: argparse.Namespace, problems: list[Problem]) -> int:
    way = Way(args.prompt, args.letter_only, _images(args, problems))
    if args.answers is not None:
        answered = read_answered(problems, args.answers)
    else:
        answered = _asked(args, problems, way)
    found = report(
        problems,
        answered,
        complement=args.complement,
        judge=args.judge,
        published=args.split == "test" and len(problems) == TEST_PROBLEMS,
    )
    options.show(args, found.table, found.results, found.details)
    if args.output is not None:
        facts = [("answers of", answered.name), ("split", args.split), ("right", found.headline)]
        cards = wrong_cards(problems, answered, way)
        write_page(args.output / options.WRONG, "ScienceQA", cards, facts=facts)
    return 0


def _asked(args: argparse.Namespace, problems: list[Problem], way: Way) -> Answered:
    questions = [way.question(problem) for problem in problems]
    with options.opened(args, "evaluate science-qa") as engine:
        answers = ask(
            engine,
            questions,
            args.output / options.ANSWERS,
            settings=GREEDY,
            at_once=args.at_once,
            title="evaluate science-qa",
        )
        name = engine.model.id
    return taken(problems, {id_: answer.text for id_, answer in answers.items()}, name)


def _images(args: argparse.Namespace, problems: list[Problem]) -> Path | None:
    """The folder of pictures; None where none are needed or, to score answers, none are there."""
    inside: Path = args.data / "images"
    folder: Path = args.images or (inside if inside.is_dir() else args.data)
    try:
        check_pictures(problems, folder)
    except BenchmarkError:
        if args.answers is None or args.images is not None:
            raise
        return None
    return folder
