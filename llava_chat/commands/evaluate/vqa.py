"""`evaluate vqa`: VQAv2, short answers to questions about photographs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from llava_chat.commands.checks import check_file_to_write
from llava_chat.commands.evaluate import answering, options
from llava_chat.errors import BenchmarkError, UsageError
from llava_chat.evaluation.answers import say, spoken
from llava_chat.evaluation.looking import write_page
from llava_chat.evaluation.vqa import files, report
from llava_chat.evaluation.vqa.accuracy import Annotation

TITLE = "evaluate vqa"
MAX_NEW_TOKENS = 128
"""As LLaVA's own evaluation has it (haotian-liu/LLaVA, llava/eval/model_vqa_loader.py)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the official files, and what is handed in."""
    options.add_model(parser)
    parser.add_argument(
        "--questions",
        type=Path,
        required=True,
        help="v2_OpenEnded_mscoco_..._questions.json, or LLaVA's lines of questions",
    )
    parser.add_argument(
        "--annotations", type=Path, help="v2_mscoco_..._annotations.json; none for the test splits"
    )
    parser.add_argument("--images", type=Path, help="the folder of COCO's pictures of that split")
    parser.add_argument(
        "--upload", type=Path, metavar="FILE", help="write what the evaluation server takes"
    )
    answering.add_suffix(parser)
    options.add_answers(parser)


def run(args: argparse.Namespace) -> int:
    """Answer or read the answers, score them where there are annotations, write the upload."""
    if args.annotations is None and args.upload is None:
        raise UsageError(
            "--annotations FILE is needed to score the answers, or --upload FILE to write them for "
            "the evaluation server"
        )
    if args.upload is not None:
        check_file_to_write("--upload", args.upload)
    answering.check(args, "questions", "annotations")
    questions = options.limited(args, files.read_questions(args.questions, args.suffix))
    annotations = _annotations(args, questions)
    asked = [(question.id, question.prompt, question.image) for question in questions]
    answers = answering.answers_to(args, TITLE, asked, MAX_NEW_TOKENS)
    said = files.handed_in(answers, args.answers)
    if args.upload is not None:
        files.write_results(args.upload, questions, said)
    if args.annotations is not None:
        _show(args, report.score(questions, annotations, said))
    return 0


def _annotations(
    args: argparse.Namespace, questions: Sequence[files.VqaQuestion]
) -> dict[str, Annotation]:
    """What people answered; none without --annotations. Tells which questions they did not."""
    if args.annotations is None:
        return {}
    found = files.read_annotations(args.annotations)
    missing = [question.id for question in questions if question.id not in found]
    if len(missing) == len(questions):
        raise BenchmarkError(f"{args.annotations} is of other questions than {args.questions}")
    if missing:
        say(
            f"{args.annotations}: no people's answers to {spoken(missing)} of {len(questions)} "
            "questions; they are left out of the figures"
        )
    return found


def _show(args: argparse.Namespace, scored: Sequence[report.Scored]) -> None:
    found = report.summary(scored)
    options.show(args, report.table(found), report.results(found), report.details(scored))
    if args.output is not None:
        overall = f"{100 * found.overall.accuracy:.2f} % of {found.overall.questions} questions"
        write_page(
            args.output / options.WRONG,
            "VQAv2",
            list(report.cards(scored, args.images)),
            facts=[("accuracy", overall)],
        )
