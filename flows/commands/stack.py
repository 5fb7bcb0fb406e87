"""``lamina up``, ``demo`` and ``run``: the same jobs as flows, on the embedded stack."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from core.progress import Clock, duration
from core.refusal import Refusal
from core.request import Asked, Request
from core.wording import LONGEST_NAME, shortened
from flows.commands.demonstration import scan_parameters, video_parameters
from flows.commands.watch import watch
from flows.jobs.operations import OPERATIONS
from flows.requests.flow_requests import MODELS
from flows.requests.forms import flat
from flows.requests.uploads import PREFIX, with_uploads
from flows.settings.settings import Settings, read_settings
from flows.settings.webhooks import read_webhooks
from flows.stack.api import Run, Server
from flows.stack.stack import STARTING, Stack, borrowed, ended_by_signals
from flows.storage.delivery import check_store
from flows.storage.files import DEFAULT_PROJECT

LOOK_EVERY_S = 0.5

Flow = Annotated[str, Parameter(help=f"One of {', '.join(sorted(MODELS))}.")]


def up() -> None:
    """Start the server, the workers and all deployments, and stay up until Ctrl-C.

    It prints the addresses of Prefect's pages and of the gallery. Ports, folders and the rest are
    set in the environment, as docs/reference/settings.md lists them.
    """
    settings, clock = read_settings(), Clock()
    check_store()
    read_webhooks()
    sys.stderr.write(STARTING)
    with ended_by_signals(), Stack(settings) as stack:
        print(f"Lamina is up after {duration(clock.passed())}. Ctrl-C ends it.")
        for line in _addresses(stack.server, settings):
            print(line)
        _stay(stack)


def demo(*, stay: bool = False) -> int:
    """Run both main flows on real input and say where the results are.

    A sentence becomes a clip; a head scanned in 4 mm slices becomes a 1 mm volume.

    Args:
        stay: Keep the stack up afterwards, until Ctrl-C.
    """
    settings, clock = read_settings(), Clock()
    sys.stderr.write(STARTING)
    with ended_by_signals(), Stack(settings) as stack:
        print(f"Lamina is up after {duration(clock.passed())}.", flush=True)
        server = stack.server
        video, scan = video_parameters(), scan_parameters(settings.home / "demo")
        print(f"  a clip of       {video['request']['prompt']!r}")
        print(f"  a 1 mm head of  {scan['request']['scan']}", flush=True)
        video, mri = server.start("text_to_video", video), server.start("super_resolve_mri", scan)
        ended = watch(server, [video, mri], stack.check)
        for run_ in ended:
            _tell(server, settings, run_)
        for line in _addresses(server, settings):
            print(line)
        print(f"Finished after {duration(clock.passed())}.", flush=True)
        if stay:
            _stay(stack)
    print("The addresses answer again while `lamina up` runs.")
    return max(map(_code, ended))


def run(flow: Flow, /, *, request: Path) -> int:
    """Run a deployed flow, on the running stack or on one that is started for it.

    Args:
        flow: Its name, which is also its deployment's.
        request: A JSON file with the fields of the flow's form, such as docs/examples/clip.json.
    """
    settings = read_settings()
    asked = with_uploads(read_request(model_of(flow), request), DEFAULT_PROJECT, settings)
    with ended_by_signals(), borrowed(settings, sys.stderr.write) as (server, check):
        _check_offers(asked, settings)
        parameters = {"request": asked.model_dump(mode="json")}
        started = server.start(flow, parameters, _name(flow, asked, settings))
        (ended,) = watch(server, [started], check)
        _tell(server, settings, ended)
    if check:
        sys.stderr.write("The address answers again while `lamina up` runs.\n")
    return _code(ended)


def _name(flow: str, asked: Request, settings: Settings) -> str:
    """What the run is called while it waits, which is what it is called when it runs."""
    operation = OPERATIONS.get(flow)
    if operation is None or (operation.private and settings.private):
        return ""
    return shortened(operation.title(asked).removeprefix(PREFIX), LONGEST_NAME)


def _check_offers(asked: Request, settings: Settings) -> None:
    """Refuse now what no worker that is up could ever do; a form learns it from its run."""
    from flows.batches.needs import check_single, offers

    check_single(asked, offers(settings))


def model_of(flow: str) -> type[Request]:
    """What a flow may be asked.

    Raises:
        Refusal: There is no such flow.
    """
    if flow not in MODELS:
        raise Refusal(f"{flow}: there is no such flow; choose one of {', '.join(sorted(MODELS))}.")
    return MODELS[flow]


def read_request(model: type[Asked], path: Path) -> Asked:
    """The request in a JSON file.

    Raises:
        Refusal: There is no such file, it is not JSON, or a field is refused.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(
            f"{path} cannot be read ({error.strerror}): a request is a JSON file; check the path."
        ) from error
    except ValueError as error:
        raise Refusal(
            f"{path} is not JSON ({error}): a request is one JSON object with the fields of "
            f"{model.__name__}; correct it there."
        ) from error
    return model.model_validate(flat(fields) if isinstance(fields, dict) else fields)


def _stay(stack: Stack) -> None:
    sys.stdout.flush()
    while True:
        time.sleep(LOOK_EVERY_S)
        for name in stack.mend():
            sys.stderr.write(f"{name} had ended by itself and was started again.\n")


def _tell(server: Server, settings: Settings, run_: Run) -> None:
    """Results on standard output; what went wrong on standard error."""
    if run_.state == "COMPLETED":
        for path in _files(settings, run_):
            print(path)
    else:
        sys.stderr.write(f"{run_.flow} {run_.name.lower()}: {run_.message}\n")
    print(f"  {server.page(run_)}", flush=True)


def _files(settings: Settings, run_: Run) -> Iterator[Path]:
    for folder in settings.outputs.glob(f"*/{run_.flow}/*-{run_.id[:8]}"):
        yield from sorted(folder.iterdir())


def _code(run_: Run) -> int:
    """0 for a verified result, 2 for input that the run refused, 1 for a fault."""
    if run_.state == "COMPLETED":
        return 0
    return 2 if run_.refused else 1


def _addresses(server: Server, settings: Settings) -> Iterator[str]:
    yield f"  user interface  {server.address}"
    yield f"  gallery         {server.address}/gallery/"
    yield f"  API             {server.address}/api"
    yield f"  results         {settings.outputs}"
    yield f"  logs            {settings.logs}"
