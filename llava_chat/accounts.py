"""Who may sign in to a page, and what they may do there: names, roles and hashed passwords, a file.

For a host without another way to know people. Passwords are hashed by scrypt; the file is for the
server's own user, written whole, and read again when it has changed. Imports errors only.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from llava_chat.errors import LlavaChatError, UsageError

Role = Literal["annotator", "lead", "host"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may do what those before it may
MIN_PASSWORD_CHARS = 8  # NIST SP 800-63B, 5.1.1.2
MAX_PASSWORD_CHARS = 256
# 16 MiB and about 0.1 s a try: one of the choices in OWASP's Password Storage Cheat Sheet.
SCRYPT_COST, SCRYPT_BLOCK, SCRYPT_LANES = 2**14, 8, 5
SCRYPT_MEMORY_BYTES = 64 * 2**20  # what OpenSSL may take: twice what the costs below can ask for
_MAX_COST, _MAX_LANES = 2**15, 16  # of a hash in the file
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


def at_least(role: Role, least: Role) -> bool:
    """Whether a role may do what `least` may.

    >>> at_least("lead", "annotator"), at_least("annotator", "lead")
    (True, False)
    """
    return ROLES.index(role) >= ROLES.index(least)


@dataclass(frozen=True)
class Account:
    """Somebody who may sign in. hash: of the password, as `hash_password` writes it."""

    name: str
    role: Role
    hash: str


class AccountFile:
    """The people in `path`. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read_at: tuple[int, ...] | None = None
        self._accounts: dict[str, Account] = {}
        self._nobody = hash_password(secrets.token_urlsafe())

    def accounts(self) -> Mapping[str, Account]:
        """By name. Raises LlavaChatError when the file is not as it must be; none is nobody."""
        with self._lock:
            try:
                stat = self._path.stat()
                state = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
                if state != self._read_at:
                    self._accounts = _parsed(self._path.read_bytes(), self._path)
                    self._read_at = state
            except FileNotFoundError:
                self._accounts, self._read_at = {}, None
            except OSError as error:
                raise LlavaChatError(f"{self._path} cannot be read: {error.strerror}") from error
            return dict(self._accounts)

    def role_of(self, name: str) -> Role | None:
        """What somebody may do, None where they may not sign in."""
        account = self.accounts().get(name)
        return None if account is None else account.role

    def signs_in(self, name: str, password: str) -> bool:
        """Whether the password is that person's; a name that is not there takes as long."""
        account = self.accounts().get(name)
        right = password_fits(password, self._nobody if account is None else account.hash)
        return right and account is not None

    def put(self, name: str, role: Role, password: str) -> bool:
        """Add somebody, or give them this role and password; whether they are new.

        Raises UsageError for a name or a password that is not taken.
        """
        accounts = dict(self.accounts())
        check_name(name, accounts)
        check_password(password)
        new = name not in accounts
        self._write({**accounts, name: Account(name, role, hash_password(password))})
        return new

    def remove(self, name: str) -> None:
        """Let somebody sign in no more. Raises UsageError where there is nobody of that name."""
        accounts = dict(self.accounts())
        if accounts.pop(name, None) is None:
            raise UsageError(f"{self._path} has nobody called {name!r}")
        self._write(accounts)

    def _write(self, accounts: Mapping[str, Account]) -> None:
        rows = [vars(account) for _, account in sorted(accounts.items())]
        text = json.dumps({"people": rows}, indent=2) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # mkstemp makes the file with mode 0600.
            number, draft = tempfile.mkstemp(dir=self._path.parent, prefix=".people-")
            try:
                with open(number, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, self._path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise
        except OSError as error:
            raise LlavaChatError(f"{self._path} cannot be written: {error.strerror}") from error


def check_name(name: str, known: Iterable[str] = ()) -> None:
    """Raise UsageError for a name that is not taken.

    >>> check_name("ada@example.org")
    >>> check_name("../ada")
    Traceback (most recent call last):
    llava_chat.errors.UsageError: a name has up to 64 letters, digits and ._@+-, not '../ada'
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"a name has up to 64 letters, digits and ._@+-, not {name!r}")
    twin = next((one for one in known if one != name and one.lower() == name.lower()), None)
    if twin is not None:
        raise UsageError(f"{name!r} is too like {twin!r}, who is there already")


def check_password(password: str) -> None:
    """Raise UsageError for a password that is too short or too long."""
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise UsageError(
            f"a password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters, "
            f"this one has {len(password)}"
        )


def hash_password(password: str) -> str:
    """`scrypt$cost$block$lanes$salt$hash`, with a salt that is drawn.

    >>> password_fits("correct horse", hash_password("correct horse"))
    True
    >>> hash_password("the same") == hash_password("the same")
    False
    """
    salt = secrets.token_bytes(16)
    made = _scrypt(password, salt, SCRYPT_COST, SCRYPT_BLOCK, SCRYPT_LANES)
    words = (SCRYPT_COST, SCRYPT_BLOCK, SCRYPT_LANES, _text(salt), _text(made))
    return "$".join(["scrypt", *map(str, words)])


def password_fits(password: str, hash: str) -> bool:
    """Whether `hash` was made of this password; compared in constant time."""
    _, cost, block, lanes, salt, made = hash.split("$")
    given = _scrypt(password, base64.b64decode(salt), int(cost), int(block), int(lanes))
    return hmac.compare_digest(given, base64.b64decode(made))


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    words = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(
        words, salt=salt, n=cost, r=block, p=lanes, maxmem=SCRYPT_MEMORY_BYTES, dklen=32
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _parsed(text: bytes, path: Path) -> dict[str, Account]:
    try:
        rows = json.loads(text)["people"]
        accounts = [_account(row) for row in rows]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LlavaChatError(
            f"{path} is not a file of people as `llava_chat people add` writes it ({error})"
        ) from error
    return {account.name: account for account in accounts}


def _account(row: Mapping[str, Any]) -> Account:
    account = Account(row["name"], row["role"], row["hash"])
    if not isinstance(account.name, str) or not _NAME.fullmatch(account.name):
        raise ValueError(f"name: {account.name!r}")
    if account.role not in ROLES:
        raise ValueError(f"role of {account.name}: {account.role!r}")
    kind, cost, block, lanes, salt, made = account.hash.split("$")
    costs_fit = 2 <= int(cost) <= _MAX_COST and int(block) == SCRYPT_BLOCK
    if kind != "scrypt" or not costs_fit or not 1 <= int(lanes) <= _MAX_LANES:
        raise ValueError(f"hash of {account.name}")
    for part in (salt, made):
        base64.b64decode(part, validate=True)
    return account
