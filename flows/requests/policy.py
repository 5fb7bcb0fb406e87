"""An operator's rules at every door: ``LAMINA_PROMPT_POLICY`` is asked before anything is drawn.

``LAMINA_CLASSIFIER`` looks into what was drawn before it is a result.

Each refusal is a line of ``refused-prompts.jsonl`` in the state folder, which its owner alone may
read: when, where, by which rule. What was asked stands there as a digest, by which it is known
again by whoever has it.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.operations.operation import Facts, Paths, Reading
from core.progress import counted
from core.records import atomic_path
from core.refusal import Refusal
from core.request import Request
from core.storage.journal import now
from flows.settings.policy import classifier_threshold, prompt_policy
from flows.settings.settings import read_settings

if TYPE_CHECKING:
    from core.operations.operation import AnyOperation
    from video.policy.prompts import Policy

logger = logging.getLogger(__name__)

LOG = "refused-prompts.jsonl"
TEXTS = ("prompt", "negative")
DIGITS = 16


def read_lawful(
    operation: "AnyOperation", request: Request, door: str, *, strict: bool = False
) -> Reading:
    """The request as the operation reads it, held against the rules as it came and as it is read.

    Args:
        operation: What is asked.
        request: As it came.
        door: Where it came in, for the log.
        strict: Refuse what was understood in part alone.

    Raises:
        Refusal: A rule refuses it, or the operation does.
    """
    check_policy(request, door)
    reading = operation.read(request, strict=strict)
    if reading.request != request:
        check_policy(reading.request, door)
    return reading


def check_policy(request: Any, door: str) -> None:
    """Refuse what an operator's rule refuses; nothing where there are none.

    Args:
        request: What is asked; requests without words pass.
        door: Where it came in, for the log.

    Raises:
        PolicyRefusal: With the rule's reason, not with what it looked for.
        Refusal: The rules cannot be read.
    """
    if classifier_threshold() is not None:
        from video.policy.pictures import check_installed

        check_installed()
    path = prompt_policy()
    if path is None:
        return
    policy = _policy(path, *_stamp(path))
    for field in TEXTS:
        text = getattr(request, field, "")
        rule = policy.broken_by(text) if text else None
        if rule is not None:
            from video.policy.prompts import PolicyRefusal

            digest = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
            told = {"field": field, "rule": rule.number, "reason": rule.reason}
            _note({"time": now(), "door": door, **told, "sha256": digest})
            raise PolicyRefusal(
                f"{field}: rule {rule.number} of this machine's operator refuses it "
                f"({rule.reason}): what a rule refuses is not drawn, whoever asks; ask for "
                "something else, or speak to the operator."
            )


def write_lawful(
    operation: "AnyOperation", request: Any, drawn: Any, target: Path, *, overwrite: bool
) -> tuple[Paths, Facts]:
    """Write what was drawn; a clip or picture gets its name once the classifier let it pass.

    Args:
        operation: What was done.
        request: What was asked.
        drawn: What came of it.
        target: The main output; the others go beside it.
        overwrite: Replace files that already stand there, which stay if it is refused.

    Returns:
        The files by role, and what the record says of the look into them.

    Raises:
        PolicyRefusal: With the score; nothing is written.
    """
    if operation.kind != "video" or classifier_threshold() is None:
        return operation.write(request, drawn, target, overwrite=overwrite), {}
    with atomic_path(target, overwrite=overwrite) as hidden:
        paths = operation.write(request, drawn, hidden, overwrite=overwrite)
        facts = check_result(operation, request, paths)
    return {role: target if path == hidden else path for role, path in paths.items()}, facts


def check_result(operation: "AnyOperation", request: Any, paths: Mapping[str, Path]) -> Facts:
    """Refuse a clip or picture that the operator's classifier refuses; nothing of it is left.

    Args:
        operation: What was done.
        request: What was asked.
        paths: The files that were written, by role, the main output first.

    Returns:
        What the record says of it; nothing where none looks.

    Raises:
        PolicyRefusal: With the score.
    """
    threshold = classifier_threshold() if operation.kind == "video" else None
    if threshold is None:
        return {}
    from video.policy.pictures import NAME, look_into
    from video.policy.prompts import PolicyRefusal

    seen = look_into(next(iter(paths.values())))
    if seen.score < threshold:
        of = counted(seen.frames, "frame")
        return {"classifier": f"{NAME}: at most {seen.score:.3f} in {of}, {threshold:g} refused"}
    for path in paths.values():
        path.unlink(missing_ok=True)
    if forget := getattr(operation, "forget", None):  # a draft's state holds what it showed
        forget(request)
    text = str(getattr(request, "prompt", ""))
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
    reason = f"{NAME}: {seen.score:.3f} in frame {seen.frame}, {threshold:g} is refused"
    told = {"field": "result", "rule": "classifier", "reason": reason}
    _note({"time": now(), "door": operation.name, **told, "sha256": digest})
    raise PolicyRefusal(
        f"the result was refused by this machine's classifier ({reason}): what it refuses is not "
        "kept; ask for something else, or speak to the operator."
    )


def log_path() -> Path:
    """Where refusals are written down."""
    return read_settings().home / LOG


def _note(line: dict[str, Any]) -> None:
    logger.warning("refused by rule %s at %s: %s", line["rule"], line["door"], line["reason"])
    path = log_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        way = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(way, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:  # it is refused all the same
        logger.error("%s cannot be written: %s", path, error)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError as error:
        raise Refusal(
            f"LAMINA_PROMPT_POLICY={path}: {error.strerror}: nothing is drawn without the rules "
            "that an operator named; put the file back."
        ) from error
    return facts.st_mtime_ns, facts.st_size


@lru_cache(4)
def _policy(path: Path, _mtime_ns: int, _size: int) -> "Policy":
    from video.policy.prompts import read_policy

    return read_policy(path)
