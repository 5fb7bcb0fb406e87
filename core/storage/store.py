"""Results in an object store, for hosts that share no disk: ``LAMINA_STORE``.

A file ``<outputs>/project/...`` of this host is the object ``<store>/project/...`` of all. Objects
are whole or absent; a host works on its own disk and says in the store what it has done. Only this
file knows fsspec, and only where a store is named. Rights come from the environment (for S3 what
every AWS program reads) and are never part of a request, a record or a line of a log.
"""

import errno
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar, runtime_checkable

from core.refusal import Refusal
from core.storage.faults import StoreRefusedError, patiently
from core.storage.objects import Held, digest_of, held_of, same
from core.storage.swaps import Tagged, read_tagged, swap

PATIENCE_S = 20.0  # a person or a coordinator waits; shards and runs are given longer
LONG_S = 900.0
AT_ONCE = 64  # objects that are under way together
UNFINISHED = ".part-"
PUTS_WHOLE = {"s3", "gs", "gcs", "az", "abfs", "memory"}  # others write under a hidden name first
EXTRAS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
Answer = TypeVar("Answer")


@runtime_checkable
class Places(Protocol):
    """What settings say of a store."""

    @property
    def store(self) -> str:
        """Its address; empty for none."""
        ...

    @property
    def outputs(self) -> Path:
        """Root of what is kept on this host."""
        ...


def open_store(places: Places, patience_s: float = PATIENCE_S) -> "Store | None":
    """The store of these places, asked so long if it does not answer; None if none is named.

    Raises:
        StoreRefusedError: What this kind of store needs is not installed.
    """
    if not places.store:
        return None
    return Store(places.store, places.outputs, patience_s)


class Store:
    """The store and this host's folder of outputs, file by file.

    >>> store = Store("memory://shown", Path("outputs"))
    >>> store.key(Path("outputs/default/a.mp4"))
    'default/a.mp4'
    """

    def __init__(self, url: str, outputs: Path, patience_s: float = PATIENCE_S) -> None:
        """Ask nothing yet.

        Args:
            url: As fsspec reads it, such as ``s3://bucket/prefix``.
            outputs: Root of what is kept here.
            patience_s: How long to ask a store that does not answer.
        """
        self.url, self.outputs, self.patience_s = url, outputs, patience_s
        self.kind = url.partition("://")[0]
        try:
            from fsspec.core import url_to_fs

            self._files, root = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            package = EXTRAS.get(self.kind, "the fsspec package of that kind")
            raise StoreRefusedError(
                f"LAMINA_STORE={url}: {error}: a store needs its fsspec package on every host; "
                f"install {package} (the extra `cluster` brings s3fs) or name another store."
            ) from error
        self._files: Any
        self.root = str(root).rstrip("/")

    def key(self, path: Path) -> str:
        """The name of the object that a file under the outputs is."""
        return path.relative_to(self.outputs).as_posix()

    def path(self, key: str) -> Path:
        """Where an object stands on this host.

        Raises:
            Refusal: Its name, which anyone with rights may have chosen, leads elsewhere.
        """
        parts = PurePosixPath(key).parts
        path = self.outputs.joinpath(*parts)
        bad = not parts or key.startswith("/") or {"..", "."} & set(key.split("/")) or "\\" in key
        if bad or not path.parent.resolve().is_relative_to(self.outputs.resolve()):
            raise Refusal(
                f"{key!r}: an object's name is a path below {self.outputs}; remove it from "
                f"{self.url}."
            )
        return path

    def names(self, folder: str) -> dict[str, Held]:
        """Name to object, of those right below a folder."""
        return {name: held_of(facts) for name, facts in self._listed(folder, "file").items()}

    def folders(self, folder: str) -> list[str]:
        """Names of the folders right below a folder."""
        return sorted(self._listed(folder, "directory"))

    def walk(self, folder: str = "") -> dict[str, Held]:
        """Key to object, of all below a folder."""
        place = self._at(folder)

        def find() -> Mapping[str, Mapping[str, Any]]:
            return self._files.find(place, detail=True)

        found = self._asked(find, {}, "list")
        known = {str(name)[len(self.root) + 1 :]: each for name, each in found.items()}
        return {
            key: held_of(each)
            for key, each in known.items()
            if not any(part.startswith(".") for part in key.split("/"))
        }

    def read(self, key: str) -> bytes | None:
        """The bytes of a small object; None if there is none."""
        place = self._at(key)
        return self._asked(lambda: self._files.cat_file(place), None, "read")

    def write(self, key: str, content: bytes) -> None:
        """Write a small object, whole or not at all."""

        def act() -> None:
            target = self._target(key)
            self._files.pipe_file(target, content)
            self._finish(target, key)

        self._patiently(act, "write")

    def tagged(self, key: str) -> Tagged | None:
        """The bytes of a small object and a tag for ``swap``; None if there is none."""
        place = self._at(key)
        return self._asked(lambda: read_tagged(self._files, self.kind, place), None, "read")

    def swap(self, key: str, content: bytes, tag: str) -> str:
        """Write a small object if it is still the one that was seen, whoever else writes.

        Args:
            key: Its name.
            content: Its new bytes.
            tag: That ``tagged`` gave; empty if there was no such object.

        Returns:
            Its new tag; empty if it is another now, and nothing was written.
        """
        place = self._at(key)

        def act() -> str:
            return swap(self._files, self.kind, self.root, place, content, tag)

        if made := self._patiently(act, "write"):
            return made
        there = self.tagged(key)  # a write whose answer was lost is found here
        return there[1] if there and there[0] == content else ""

    def put(self, paths: Iterable[Path], held: Mapping[str, Held] | None = None) -> int:
        """Write files; how many were not there yet.

        Args:
            paths: Files under the outputs. One that has gone is left out.
            held: Name to object of their folder, to leave out those that are there.
        """
        known = held or {}
        new = [path for path in paths if path.is_file() and not same(path, known.get(path.name))]
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            self._patiently(lambda some=some: self._put(some), "write")
        return len(new)

    def fetch(self, keys: Sequence[str], digests: Mapping[str, str] | None = None) -> list[Path]:
        """Bring objects here, each whole or not at all; those that were there.

        Args:
            keys: Their names.
            digests: Key to the SHA-256 that it must have, as far as known.

        Raises:
            StoreRefusedError: One has another digest.
        """
        found: list[Path] = []
        for start in range(0, len(keys), AT_ONCE):
            some = {key: self.path(key) for key in keys[start : start + AT_ONCE]}
            found += self._patiently(lambda some=some: self._get(some, digests or {}), "read")
        return found

    def remove(self, key: str) -> None:
        """Remove an object, if it is there."""
        place = self._at(key)
        self._asked(lambda: self._files.rm_file(place), None, "delete")

    def _put(self, paths: Sequence[Path]) -> None:
        there = [path for path in paths if path.is_file()]
        keys = [self.key(path) for path in there]
        targets = [self._target(key) for key in keys]
        if there:
            self._files.put([str(path) for path in there], targets)
        for target, key in zip(targets, keys, strict=True):
            self._finish(target, key)

    def _get(self, wanted: Mapping[str, Path], digests: Mapping[str, str]) -> list[Path]:
        try:
            return self._get_all(wanted, digests)
        except FileNotFoundError:
            self._check_place()
            there = {key: to for key, to in wanted.items() if self._files.exists(self._at(key))}
            return self._get_all(there, digests)

    def _get_all(self, there: Mapping[str, Path], digests: Mapping[str, str]) -> list[Path]:
        parts = [path.with_name(UNFINISHED + secrets.token_hex(6)) for path in there.values()]
        for path in there.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if there:
                self._files.get([self._at(key) for key in there], [str(part) for part in parts])
            for (key, path), part in zip(there.items(), parts, strict=True):
                self._check(key, part, digests.get(key, ""))
                part.replace(path)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)
        return list(there.values())

    def _check(self, key: str, path: Path, digest: str) -> None:
        if digest and (found := digest_of(path, "sha256")) != digest:
            raise StoreRefusedError(
                f"{self.url}/{key} holds sha256 {found[:12]} instead of {digest[:12]}: an object "
                "must be what its manifest says; remove it, and it is made again."
            )

    def _listed(self, folder: str, kind: str) -> dict[str, Mapping[str, Any]]:
        place = self._at(folder)

        def ls() -> Sequence[Mapping[str, Any]]:
            return self._files.ls(place, detail=True, refresh=True)

        found = self._asked(ls, [], "list")
        of_kind = (each for each in found if each["type"] == kind)
        named = {str(each["name"]).rstrip("/").rpartition("/")[2]: each for each in of_kind}
        return {name: each for name, each in named.items() if not name.startswith(".")}

    def _asked(self, act: Callable[[], Answer], otherwise: Any, what: str) -> Answer:
        """What a store answers that may be away; another answer where the object is missing."""
        return self._patiently(lambda: self._unless_missing(act, otherwise), what)

    def _unless_missing(self, act: Callable[[], Answer], otherwise: Any) -> Answer:
        """The answer, or another where the object is missing; not where the whole place is."""
        try:
            return act()
        except FileNotFoundError:
            self._check_place()
            return otherwise

    def _check_place(self) -> None:
        """Raise ``FileNotFoundError`` if there is no such bucket or folder."""
        place = self.root if self.kind in ("file", "local") else self.root.partition("/")[0]
        if self.kind != "memory" and not self._files.exists(place):
            raise FileNotFoundError(errno.ENOENT, f"there is no {place}")

    def _is_missing(self) -> bool:
        try:
            self._check_place()
        except FileNotFoundError:
            return True
        except Exception:
            return False  # it does not answer
        return False

    def _at(self, key: str) -> str:
        return f"{self.root}/{key}" if key else self.root

    def _target(self, key: str) -> str:
        """Where to write: the object itself, or a hidden name where a write can be cut short."""
        place = self._at(key)
        if self.kind in PUTS_WHOLE:
            return place
        self._check_place()
        folder, _, name = place.rpartition("/")
        self._files.makedirs(folder, exist_ok=True)
        return f"{folder}/{UNFINISHED}{secrets.token_hex(6)}{name}"

    def _finish(self, target: str, key: str) -> None:
        if target != self._at(key):
            self._files.mv(target, self._at(key))

    def _patiently(self, act: Callable[[], Answer], what: str) -> Answer:
        return patiently(act, what, self.url, self.patience_s, self._is_missing)
