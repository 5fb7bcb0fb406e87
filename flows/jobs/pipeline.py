"""One job from its request to verified, recorded files, whatever the operation.

A command, a shard and ``reproduce`` take the steps in one process; ``stages.py`` has a flow take
the same ones with files between them.
"""

import mimetypes
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.operations.operation import AnyOperation, Facts, Model, OnStep, Paths
from core.progress import timed
from core.records import atomic_path, model_facts, write_record
from core.request import Request
from flows.jobs.signing import said_of_signature, sign_outputs
from flows.requests.policy import write_lawful
from flows.storage.files import check_apart, check_target, plain_name
from video.provenance.unsigned import is_signed, media_sha256

SUFFIXES = {"preview": ".webp", "sheet": ".png", "picture": ".png"}  # of pictures, by role
DERIVED = ("preview", "sheet")  # pictures that show nothing the result does not


@dataclass(frozen=True)
class Begun:
    """What was done of a job before it is made.

    Attributes:
        prepared: What ``prepare`` returned.
        timings: Step to seconds; what is done next is added.
        facts: For the record.
    """

    prepared: Any
    timings: dict[str, float]
    facts: Facts = field(default_factory=dict)


def record_path(output: Path) -> Path:
    """Where the record of a main output stands: ``OUT.json`` for ``OUT.mp4``, ``OUT.nii.gz``."""
    return output.with_name(output.name.removesuffix(".gz")).with_suffix(".json")


def ending_of(operation: AnyOperation, name: str) -> str:
    """The ending by which a file is known as such an operation's output; empty for none."""
    return next((end for end in operation.endings if name.lower().endswith(end)), "")


def usual_ending(operation: AnyOperation, request: Request) -> str:
    """The ending of a main output that nobody named."""
    told = getattr(operation, "usual_ending", None)
    return told(request) if told else operation.endings[0]


def for_file(operation: AnyOperation, request: Request, name: str) -> Any:
    """The request with what the name of its main output says of it, such as one frame."""
    told = getattr(operation, "for_file", None)
    return told(request, name) if told else request


def picture_path(output: Path, role: str) -> Path:
    """Where a picture of a main output stands: under its name, if it does not have that itself."""
    usual = record_path(output).with_suffix(SUFFIXES[role])
    return usual.with_stem(f"{usual.stem}_{role}") if usual == output else usual


def main_output(paths: Mapping[str, Path]) -> Path:
    """The first of an operation's outputs."""
    return next(iter(paths.values()))


def name_and_ending(
    operation: AnyOperation, request: Request, output_name: str
) -> tuple[str, str]:
    """The plain name of a main output that a person named so, and its ending.

    Args:
        operation: What will be done.
        request: What is asked; gives the name where ``output_name`` is empty.
        output_name: Anything a person typed; an ending of the operation's says the kind of file.

    Raises:
        Refusal: Files of that kind are not written.
    """
    asked = ending_of(operation, output_name)
    kind = "" if asked else mimetypes.guess_type(output_name)[0] or ""
    if kind.startswith(("video/", "image/")):
        operation.outputs(Path(output_name))
    ending = asked or usual_ending(operation, request)
    stem = output_name[: len(output_name) - len(asked)]
    name = plain_name(stem or operation.title(request), operation.noun)
    operation.outputs(Path(f"{name}{ending}"), request)
    return name, ending


def check_targets(
    operation: AnyOperation, request: Request, target: Path, *, overwrite: bool
) -> None:
    """Refuse names that cannot be written, or that an input has, before anything is made.

    Raises:
        Refusal: With the name.
    """
    inputs = [str(path) for path in operation.inputs(request).values()]
    for path in (*operation.outputs(target, request).values(), record_path(target)):
        check_target(path, overwrite=overwrite)
        check_apart(path, *inputs)


def make(
    operation: AnyOperation,
    request: Request,
    target: Path,
    model: Model,
    *,
    on_step: OnStep | None = None,
    overwrite: bool = False,
    begun: Begun | None = None,
    sign: bool = True,
) -> Paths:
    """Everything in one process: draw, write, verify, sign, record; the outputs by role.

    Args:
        operation: What to do.
        request: What was asked.
        target: The main output; the others and the record go beside it.
        model: Loaded, on the device that shall draw.
        on_step: Called after each step with steps done, steps in all, the estimate so far.
        overwrite: Replace files that already stand there.
        begun: What was done before; by default the request is prepared here.
        sign: Whether clips are signed, where the settings do not say otherwise.
    """
    if begun is None:
        timings: dict[str, float] = {}
        with timed(timings, "prepare"):
            begun = Begun(operation.prepare(request), timings)
    timings = begun.timings
    with timed(timings, "sample"):
        drawn = operation.draw(request, begun.prepared, model, on_step or _no_op)
    with named_once_good(target, overwrite=overwrite) as hidden:
        with timed(timings, "encode"):
            made, looked_into = write_lawful(operation, request, drawn, hidden, overwrite=False)
        with timed(timings, "verify"):
            found = operation.numbers(drawn)
            del drawn  # files are read back in the room that it took
            facts = begun.facts | looked_into | found | operation.verify(request, made)
        if sign:
            sign_outputs(operation, request, made, timings)
    paths = beside(target, made)
    record(
        operation, request, paths, model.record, facts=facts, timings=timings, overwrite=overwrite
    )
    return paths


@contextmanager
def named_once_good(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """The name of a main output in a hidden folder beside it, whose files move up at last.

    If the block raises, they are gone, and what stands beside the folder is as it was.

    Args:
        target: The main output.
        overwrite: Replace files that already stand there.

    Raises:
        Refusal: Files stand there and may not be replaced.
    """
    check_target(target, overwrite=overwrite)
    with TemporaryDirectory(prefix=".part-", dir=target.parent) as folder:
        yield Path(folder, target.name)
        made = {path.name: path for path in Path(folder).iterdir()}
        for path in beside(target, made).values():
            check_target(path, overwrite=overwrite)
        for name, path in made.items():
            path.replace(target.with_name(name))


def beside(target: Path, made: Mapping[str, Path]) -> Paths:
    """Where files that were made have their place, beside the main output.

    Args:
        target: The main output.
        made: The files by role.
    """
    return {role: target.with_name(path.name) for role, path in made.items()}


def save_pictures(operation: AnyOperation, prepared: Any, drawn: Any, output: Path) -> Paths:
    """Write what a person looks at beside the main output; the files by role."""
    paths = {}
    for role, image in operation.pictures(prepared, drawn).items():
        paths[role] = picture_path(output, role)
        with atomic_path(paths[role], overwrite=True) as temporary:
            temporary.write_bytes(image)
    return paths


def record(
    operation: AnyOperation,
    request: Request,
    paths: Mapping[str, Path],
    model: Mapping[str, Any],
    *,
    facts: Facts,
    timings: Mapping[str, float],
    overwrite: bool,
) -> Path:
    """Write the record beside the outputs; its path.

    Args:
        operation: What was done.
        request: What was asked.
        paths: The files by role, the main output first.
        model: What is known of the model.
        facts: What was found.
        timings: Step to seconds.
        overwrite: Replace a record that stands there.
    """
    asked, inputs = operation.settled(request).model_dump(), operation.inputs(request)
    return write_record(
        record_path(main_output(paths)),
        task=operation.name,
        request=asked,
        inputs=inputs,
        outputs=_without(paths, DERIVED),
        model=model_facts(model),
        seeds=asked.get("seed"),
        timings=timings,
        extra=facts | said_of_signature(operation, main_output(paths)),
        media={
            path: media_sha256(path)
            for path in (*inputs.values(), *paths.values())
            if is_signed(path)
        },
        overwrite=overwrite,
    )


def _without(paths: Mapping[str, Path], roles: Iterable[str]) -> Paths:
    return {role: path for role, path in paths.items() if role not in roles}


def _no_op(done: int, total: int, estimate: object) -> None:
    """Tell nobody."""
