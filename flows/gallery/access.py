"""Who may see what: names and digests of tokens in a file, sessions signed by this process.

Without a file the gallery asks for what the server beside it asks for; where that asks nobody, it
is open, as Prefect itself is, and answers on this machine alone. With a file, every page needs a
token, or a name that a trusted proxy gives, and a project that is not listed for a person does
not exist for that person. The file is read anew when it changes, so a token that is taken out
ends its sessions at once.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from core.refusal import Refusal

COOKIE = "lamina_gallery"
SESSION_S = 12 * 3600
EVERY, OPERATOR = "*", "operator"
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9@_-][A-Za-z0-9.@_-]{0,99}$")]


class UserEntry(BaseModel):
    """One person in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Digest = Field("", description="Of the token; empty for who comes by the proxy only.")
    projects: list[str] = Field(description='Names of projects, or ["*"] for all.')


class TokenFile(BaseModel):
    """The file that ``LAMINA_GALLERY_TOKENS`` names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: dict[Name, UserEntry]


@dataclass(frozen=True)
class User:
    """Someone who looks, and the projects that exist for them."""

    name: str
    projects: frozenset[str]

    def sees(self, project: str) -> bool:
        """Whether the project exists for this person."""
        return EVERY in self.projects or project in self.projects


ANYONE = User("", frozenset({EVERY}))


class Access:
    """The doorkeeper of one gallery."""

    def __init__(self, tokens: Path | None, user_header: str = "", password: str = "") -> None:
        """Take the file and the header's name.

        Args:
            tokens: The file of users, or None for an open gallery.
            user_header: Header in which a proxy says who asks; empty to trust none.
            password: What the server beside it asks for, ``name:password``: the token of its
                operator where there is no file. Empty for none.

        Raises:
            Refusal: The file cannot be read or is not of the form it should have.
        """
        self._path = tokens
        self._header = user_header
        self._key = secrets.token_bytes(32)
        self._read_at = -1
        self._users: dict[str, UserEntry] = {}
        self._password = password if tokens is None else ""
        if self._password:
            digest = hashlib.sha256(password.strip().encode()).hexdigest()
            self._users[OPERATOR] = UserEntry(sha256=digest, projects=[EVERY])
        self._refresh()

    @property
    def open(self) -> bool:
        """Whether everybody who reaches the gallery may see all of it."""
        return self._path is None and not self._header and not self._password

    def user(self, request: Request) -> User | None:
        """Who asks, or None for a stranger."""
        if self.open:
            return ANYONE
        self._refresh()
        if self._header and (name := request.headers.get(self._header, "")):
            return self._named(name)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.login(token)
        if scheme.lower() == "basic" and self._password:
            return self.login(_decoded(token))
        return self._session_user(request.cookies.get(COOKIE, ""))

    def login(self, token: str) -> User | None:
        """Whose token it is. Every digest is compared, so that time says nothing."""
        found = None
        digest = hashlib.sha256(token.strip().encode()).hexdigest()
        for name, entry in self._users.items():
            if hmac.compare_digest(digest, entry.sha256):
                found = self._known(name)
        return found

    def session(self, user: User) -> str:
        """A cookie's value that says who logged in, for twelve hours or until a restart."""
        content = f"{user.name}|{int(time.time()) + SESSION_S}"
        return f"{content}|{self._sign(content, user.name)}"

    def _session_user(self, cookie: str) -> User | None:
        name, _, rest = cookie.partition("|")
        until, _, signature = rest.partition("|")
        if name not in self._users or not re.fullmatch(r"\d{1,12}", until, re.ASCII):
            return None
        genuine = hmac.compare_digest(
            self._sign(f"{name}|{until}", name).encode(), signature.encode()
        )
        return self._known(name) if genuine and int(until) > time.time() else None

    def _sign(self, content: str, name: str) -> str:
        """Signed with the token's digest, too: another token for the name ends its sessions."""
        text = f"{content}|{self._users[name].sha256}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _named(self, name: str) -> User | None:
        """Whom the proxy names; without a file the proxy alone decides who may come."""
        if self._path is None:
            return User(name, ANYONE.projects)
        return self._known(name) if name in self._users else None

    def _known(self, name: str) -> User:
        return User(name, frozenset(self._users[name].projects))

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            changed = self._path.stat().st_mtime_ns
        except OSError as error:
            self._users = {}
            raise _unusable(self._path, error.strerror or "unreadable") from error
        if changed != self._read_at:
            self._users = {}  # until the file is found to be whole
            self._users = read_tokens(self._path).users
            self._read_at = changed


def _decoded(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError:
        return ""


def read_tokens(path: Path) -> TokenFile:
    """The users in the file.

    Raises:
        Refusal: The file cannot be read or is not of the form it should have.
    """
    try:
        return TokenFile.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise _unusable(path, error.strerror or "unreadable") from error
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(map(str, found["loc"]))
        raise _unusable(path, f"{where}: {found['msg']}") from error
    except ValueError as error:
        raise _unusable(path, f"no JSON: {error}") from error


def _unusable(path: Path, reason: str) -> Refusal:
    return Refusal(
        f"LAMINA_GALLERY_TOKENS={path}: {reason}: it is a JSON file of the form "
        '{"users": {"NAME": {"sha256": "HEX OF THE TOKEN\'S SHA-256", "projects": ["NAME"]}}}; '
        "correct it."
    )
