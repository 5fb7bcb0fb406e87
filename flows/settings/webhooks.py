"""What the environment says of whom the server tells when work has ended; nobody by default."""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from core.refusal import Refusal

SECRET_PREFIX, LEAST_SECRET = "whsec_", 24


@dataclass(frozen=True)
class Webhooks:
    """Whom to tell.

    Attributes:
        urls: Where each event is sent.
        secret: What it is signed with.
    """

    urls: tuple[str, ...] = ()
    secret: bytes = field(default=b"", repr=False)


def read_webhooks(environment: Mapping[str, str] | None = None) -> Webhooks:
    """What ``LAMINA_WEBHOOKS`` and ``LAMINA_WEBHOOK_SECRET`` say.

    Args:
        environment: Variables to read; by default those of this process.

    Raises:
        Refusal: One holds something that cannot be what it names.
    """
    variables = os.environ if environment is None else environment
    urls = tuple(dict.fromkeys(variables.get("LAMINA_WEBHOOKS", "").split()))
    for place, url in enumerate(urls, 1):
        if not _is_address(url):
            raise Refusal(
                f"LAMINA_WEBHOOKS={_openly(url)} (address {place} of {len(urls)}): webhooks are "
                "addresses that begin with https:// or http:// and name no user, with spaces "
                "between; correct it."
            )
    if not urls:
        return Webhooks()
    return Webhooks(urls, _secret(variables.get("LAMINA_WEBHOOK_SECRET", "")))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _, _ = parts.hostname, parts.port, httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        return False
    return parts.scheme in ("http", "https") and bool(host) and "@" not in parts.netloc


def _openly(url: str) -> str:
    """Of an address, what is surely no secret: how it begins and its host."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if "@" not in url.replace(parts.netloc, "", 1) else None
    except ValueError:
        return "..."
    return f"{parts.scheme}://{host[:100]}" if host else "..."


def _secret(text: str) -> bytes:
    try:
        found = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        found = b""
    if len(found) < LEAST_SECRET or not text.startswith(SECRET_PREFIX):
        raise Refusal(
            f"LAMINA_WEBHOOK_SECRET of {len(text)} characters: what is sent is signed with "
            f"{SECRET_PREFIX} and at least {LEAST_SECRET} random bytes in base64; set it to "
            f"{SECRET_PREFIX}$(openssl rand -base64 32)."
        )
    return found
