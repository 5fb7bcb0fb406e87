"""An object replaced only if it is still what the writer saw, so that hosts take turns.

S3 itself compares (``If-Match``, ``If-None-Match``). A folder and this process's memory are
locked while one compares and writes. Other kinds are compared just before the write.
"""

import errno
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.storage.faults import StoreRefusedError
from core.storage.journal import held
from core.storage.objects import tag_of
from core.storage.place import replace

COMPARES = ("s3", "s3a")
FOLDERS = ("file", "local")
OTHER_NOW = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409", "404"}
LOCK = ".turns.lock"
_memory = threading.RLock()
Tagged = tuple[bytes, str]


def read_tagged(files: Any, kind: str, place: str) -> Tagged:
    """An object's bytes, and a tag that stands for them or for what stood there just before.

    Raises:
        FileNotFoundError: There is no such object.
    """
    if kind in COMPARES:  # the tag first: one that is too old is refused later, and no harm done
        tag = tag_of(files.info(place, refresh=True))
        return files.cat_file(place), tag
    content = files.cat_file(place)
    return content, hashlib.sha256(content).hexdigest()


def swap(files: Any, kind: str, root: str, place: str, content: bytes, tag: str) -> str:
    """Write an object if it still has this tag; its new one, or nothing if it is another now.

    Args:
        files: The filesystem of fsspec.
        kind: Of store.
        root: Where the store begins.
        place: Where the object is.
        content: Its new bytes.
        tag: From ``read_tagged``; empty if there must be no such object.
    """
    if kind in COMPARES:
        return _swapped_by_store(files, place, content, tag)
    with _alone(kind, root):
        try:
            _, now = read_tagged(files, kind, place)
        except FileNotFoundError:
            now = ""
        if now != tag:
            return ""
        if kind in FOLDERS:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            replace(Path(place), content)
        else:
            files.pipe_file(place, content)
        return hashlib.sha256(content).hexdigest()


def _swapped_by_store(files: Any, place: str, content: bytes, tag: str) -> str:
    bucket, key, _ = files.split_path(place)
    rule = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
    try:
        made = files.call_s3("put_object", Bucket=bucket, Key=key, Body=content, **rule)
        return str(made["ETag"])
    except OSError as error:
        told = getattr(error.__cause__ or error, "response", {}).get("Error", {}).get("Code", "")
        if told in OTHER_NOW or isinstance(error, FileExistsError):
            return ""
        if error.errno == errno.ENOSYS:
            raise StoreRefusedError(
                f"{bucket} does not know If-Match: hosts take turns by conditional writes; use a "
                "store that has them, as Amazon's, MinIO and Ceph do."
            ) from error
        raise


@contextmanager
def _alone(kind: str, root: str) -> Iterator[None]:
    """Nobody else compares and writes, as far as this kind of store has a lock."""
    if kind in FOLDERS:
        with held(Path(root) / LOCK):
            yield
    elif kind == "memory":
        with _memory:
            yield
    else:
        yield
