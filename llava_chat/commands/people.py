"""Who may sign in to a page that asks for it (`--sign-in people`), and what they may do there.

A password is asked for, or read as one line from stdin: other people on a machine can read its
command lines. A running server reads the file again when it has changed.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys

from llava_chat.accounts import ROLES, AccountFile
from llava_chat.errors import UsageError
from llava_chat.settings import add_arguments as add_settings, load_settings

FIELDS = ("data_dir", "people_file")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions, each with its own options."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    add = actions.add_parser("add", help="let somebody sign in, or change role and password")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", choices=ROLES, default="annotator", help="default: annotator")
    remove = actions.add_parser("remove", help="let somebody sign in no more")
    remove.add_argument("name", metavar="NAME")
    listed = actions.add_parser("list", help="who may sign in, and as what")
    listed.add_argument("--json", action="store_true", help="for a program")
    for action in (add, remove, listed):
        add_settings(action, FIELDS, "where they are kept")


def run(args: argparse.Namespace) -> int:
    """Add, remove or list."""
    accounts = AccountFile(load_settings(args).accounts)
    if args.action == "add":
        new = accounts.put(args.name, args.role, _password())
        print(f"{args.name}: {args.role}, {'added' if new else 'changed'}")
    elif args.action == "remove":
        accounts.remove(args.name)
        print(f"{args.name}: removed")
    else:
        people = sorted(accounts.accounts().items())
        if args.json:
            print(json.dumps([{"name": name, "role": one.role} for name, one in people]))
        else:
            print("".join(f"{name}\t{one.role}\n" for name, one in people), end="")
    return 0


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UsageError("the two passwords are not the same")
    return password
