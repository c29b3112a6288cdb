"""`evaluate pope`: yes-or-no questions about things that are in a photograph, or are not."""

from __future__ import annotations

import argparse
from pathlib import Path

from llava_chat.commands.evaluate import answering, options
from llava_chat.evaluation.looking import write_page
from llava_chat.evaluation.pope import report
from llava_chat.evaluation.pope.figures import by_split, mean
from llava_chat.evaluation.pope.files import read_questions

TITLE = "evaluate pope"
MAX_NEW_TOKENS = 128
"""As LLaVA's own evaluation has it (haotian-liu/LLaVA, llava/eval/model_vqa_loader.py)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model and the questions of the splits."""
    options.add_model(parser)
    parser.add_argument(
        "--questions",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="coco_pope_random.json, coco_pope_popular.json, coco_pope_adversarial.json",
    )
    parser.add_argument(
        "--asked",
        type=Path,
        metavar="FILE",
        help="llava_pope_test.jsonl, by whose ids LLaVA's own answers go",
    )
    parser.add_argument("--images", type=Path, help="the folder of COCO's val2014 pictures")
    answering.add_suffix(parser)
    options.add_answers(parser)


def run(args: argparse.Namespace) -> int:
    """Answer or read the answers, and show the five figures of each split."""
    answering.check(args, "questions", "asked")
    questions = options.limited(args, read_questions(args.questions, args.asked, args.suffix))
    asked = [(question.id, question.prompt, question.image) for question in questions]
    answers = answering.answers_to(args, TITLE, asked, MAX_NEW_TOKENS)
    replies = {id_: answer.text for id_, answer in answers.items()}
    splits = by_split(questions, replies)
    options.show(
        args, report.table(splits), report.results(splits), report.details(questions, replies)
    )
    if args.output is not None:
        overall = mean(splits)
        write_page(
            args.output / options.WRONG,
            "POPE",
            list(report.cards(questions, replies, args.images)),
            facts=[("mean F1", f"{100 * overall.f1:.1f} % of {overall.questions} questions")],
        )
    return 0
