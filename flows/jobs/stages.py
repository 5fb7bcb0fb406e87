"""How stages run: retried where another attempt may help, and never cached by Prefect.

Prefect's default cache key hashes every argument; stages hand on references, so their files are
the cache: a stage whose file already stands in the run's work folder (a run that was retried
after a crash) takes it as it is.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from core.operations.operation import AnyOperation
from core.refusal import Refusal
from core.request import Request
from flows.settings.settings import Settings, read_settings


def worth_retrying(_task: object, _task_run: object, state: Any) -> bool:
    """Whether a failure may pass by itself: not so for input that was refused."""
    try:
        state.result()
    except ValueError:
        return False
    except Exception:
        return True
    return False


def nameless(work: Callable[..., Any]) -> Callable[..., Any]:
    """The work, whose refusals name nobody where they can: others read a run's page and log."""

    @wraps(work)
    def naming_nobody(*arguments: Any, **options: Any) -> Any:
        try:
            return work(*arguments, **options)
        except Refusal as error:
            if error.unnamed:
                raise Refusal(error.unnamed) from None
            raise

    return naming_nobody


def stage(work: Callable[..., Any], **options: Any) -> Any:
    """A stage that is tried once: its work is long, or another attempt would end the same way."""
    made: Any = partial(task, cache_policy=NO_CACHE, persist_result=False, **options)
    return made(nameless(work))


def patient_stage(work: Callable[..., Any]) -> Any:
    """A stage that reads or writes files: a full disk or a slow share may pass."""
    return stage(work, retries=2, retry_delay_seconds=2, retry_condition_fn=worth_retrying)


def run_id() -> str:
    """The identity of the flow run; results and unfinished work are filed under it."""
    return str(flow_run.id)


def work_folder(settings: Settings | None = None) -> Path:
    """Where the stages of this run leave files for each other."""
    folder = (settings or read_settings()).work / run_id()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def clear_work() -> None:
    """Remove what the stages of this run left for each other, once its result stands."""
    shutil.rmtree(work_folder(), ignore_errors=True)


@contextmanager
def publishing(folder: Path) -> Iterator[None]:
    """Publish into a folder: files, a check of them, and last the record that commits them.

    If the block fails or is cancelled before that, what it published is withdrawn. Where the
    process is killed nothing can be; files without a record are then no result to any reader.
    Prefect's transactions do the same but roll back as soon as one stage fails once, and then the
    stage is tried again without its files.
    """
    try:
        yield
    except BaseException:  # a cancellation, too
        if not any(folder.glob("[!.]*.json")):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def refuse_another_result(work: AnyOperation, request: Request, folder: Path) -> None:
    """Refuse to publish into a folder that holds the result of another request.

    The same request's own is written anew: a run that was killed after its record is run again.

    Raises:
        Refusal: With what stands there.
    """
    asked = json.loads(work.settled(request).model_dump_json())
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            said = {}
        if said.get("task") != work.name or said.get("request") != asked:
            raise Refusal(
                f"{folder.name} holds the result of another request ({path.name}): a folder "
                "holds one result, which is not written over; move that folder away, or give the "
                "result another name."
            )
