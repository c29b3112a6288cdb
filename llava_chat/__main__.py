"""`python -m llava_chat COMMAND`: which commands there are.

Each command is a module with `add_arguments(parser)` and `run(args) -> int`. It is imported when
it is asked for and not before, so that `train` works where nothing of the page is installed.
Results go to stdout, everything else to stderr; the exit code is 0, 1 for a failure with one
sentence, 2 for wrong usage, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from llava_chat import __version__
from llava_chat.errors import LlavaChatError

COMMANDS = (
    ("serve", "llava_chat.web.command", "start the chat page"),
    ("chat", "llava_chat.commands.chat", "one conversation about pictures, without a browser"),
    ("prompt", "llava_chat.commands.prompt", "the exact prompt text of a conversation"),
    ("templates", "llava_chat.commands.templates", "the names of the conversation templates"),
    ("models", "llava_chat.commands.models", "known models, their needs, whether they are here"),
    ("inspect", "llava_chat.commands.inspect", "what a checkpoint holds, without loading it"),
    ("convert", "llava_chat.commands.convert", "a checkpoint in another layout, or made whole"),
    ("train", "llava_chat.commands.train", "align, finetune, an adapter, or the bundled model"),
    (
        "generate-data",
        "llava_chat.commands.generate_data",
        "instruction data of captions, by a model",
    ),
    ("filter-captions", "llava_chat.commands.filter_captions", "captions that cover the concepts"),
    ("evaluate", "llava_chat.commands.evaluate", "how well a model answers"),
    ("feedback", "llava_chat.commands.feedback", "what people said of replies, as files"),
    ("people", "llava_chat.commands.people", "who may sign in to the page, and as what"),
    ("replay", "llava_chat.commands.replay", "make a reply again from its record"),
)


class CommandParser(argparse.ArgumentParser):
    """A parser that imports the module of its command when it is first used."""

    def __init__(self, *, module: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._module = module
        self.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks"
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, once the command's own arguments are there."""
        if self._module is not None:
            module = importlib.import_module(self._module)
            self._module = None
            self.description = module.__doc__
            self.formatter_class = argparse.RawDescriptionHelpFormatter
            module.add_arguments(self)
            self.set_defaults(run=module.run)
        return super().parse_known_args(args, namespace)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; the commands' own arguments come when they are asked for."""
    parser = CommandParser(prog="llava_chat", description="A chatbot that sees.")
    parser.add_argument("--version", action="version", version=f"llava_chat {__version__}")
    commands = parser.add_subparsers(
        metavar="COMMAND", required=True, title="commands", parser_class=CommandParser
    )
    for name, module, summary in COMMANDS:
        commands.add_parser(name, module=module, help=summary)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Wrong usage leaves through SystemExit(2)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = build_parser().parse_args(arguments)
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader left (`| head`). Python flushes stdout once more at exit: give it a sink.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if "--debug" in arguments:
            raise
        print(f"llava_chat: error: {_sentence(error)}", file=sys.stderr)
        return error.exit_code if isinstance(error, LlavaChatError) else 1


def _sentence(error: Exception) -> str:
    if isinstance(error, LlavaChatError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return (
            f"the package {error.name} is not installed; run `pip install -r requirements.txt` "
            "in the folder of llava_chat"
        )
    return f"unexpected {type(error).__name__}: {error} (run it again with --debug to see where)"


if __name__ == "__main__":
    sys.exit(main())
