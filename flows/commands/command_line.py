"""The command ``lamina``: every job without Prefect, and the stack that runs them with it.

Exit codes: 0 for a verified result, 2 for input that was refused (one sentence on standard
error, nothing written), 1 with a sentence for what is broken, full or away, 130 after Ctrl-C, 141
when nobody reads on; anything else is a fault, with its traceback and 1.
"""

import os
import select
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from flows.commands.help_panels import FilledPanels
from flows.requests.complaints import complaint
from flows.requests.endings import BAD_INPUT, ending
from flows.settings.environment import adopt
from flows.settings.settings import read_settings

INTERRUPTED = 130
READER_GONE = 141
STOPPED = "Stopped; nothing unfinished was left behind."

app = App(
    name="lamina",
    help="Video and medical volumes from one spatiotemporal diffusion model.",
    help_format="plaintext",  # Markdown would swallow the asterisks of sub-*
    help_formatter=FilledPanels(),
    default_parameter=Parameter(negative=""),
    suppress_keyboard_interrupt=False,
)
for _name, _help in {
    "video": "Turn sentences into clips.",
    "mri": "Turn thick slices into volumes, and draw datasets of heads.",
    "models": "See which models there are, and merge small changes into one.",
    "families": "See how networks can be taught.",
    "engines": "See what else can draw clips, and what it takes.",
    "train": "Train a model on your own data.",
    "batch": "Make many clips or restore many scans, by night.",
    "provenance": "Say in clips who drew them.",
}.items():
    app.command(App(name=_name, help=_help))
app["video"].command("flows.commands.video:generate")
app["video"].command("flows.commands.video:upscale")
app["video"].command("flows.commands.video:interpolate")
app["video"].command("flows.commands.video:verify")
app["video"].command("flows.commands.video:extend")
app["video"].command("flows.commands.video:fill")
app["video"].command("flows.commands.video:edit")
app["video"].command("flows.commands.video:understand")
app["video"].command("flows.commands.video:vocabulary")
app["mri"].command("flows.commands.mri:super_resolve")
for _name in ("anomalies", "segment", "insert_lesions", "fill_lesions", "inpaint", "strip_skull"):
    app["mri"].command(f"flows.commands.mri:{_name}")
for _name in ("approve", "audit", "augment", "withdraw"):
    app["mri"].command(f"flows.commands.datasets:{_name}")
app["models"].command("flows.commands.models:list_models", name="list")
app["models"].command("flows.commands.models:show")
app["models"].command("flows.commands.models:merge")
app["families"].command("flows.commands.families:list_families", name="list")
app["families"].command("flows.commands.families:show")
app["engines"].command("flows.commands.engines:list_engines", name="list")
app["engines"].command("flows.commands.engines:check")
app["engines"].command("flows.commands.engines:show")
app["provenance"].command("flows.commands.provenance:init")
app["train"].command("flows.commands.train:video")
app["train"].command("flows.commands.train:mri")
for _name in ("plan", "run", "status", "retry", "cancel", "pause", "resume", "finish"):
    app["batch"].command(f"flows.commands.batch:{_name}")
for _name, _help in {  # said here, so that the first list loads none of them
    "stack:up": "Start server, worker and deployments, until Ctrl-C.",
    "worker:worker": "Serve a server elsewhere, until Ctrl-C.",
    "stack:demo": "Run both main flows and say where the results are.",
    "gallery:gallery": "Serve the gallery alone, until Ctrl-C.",
    "reproduce:reproduce": "Make an output again and compare it.",
    "stack:run": "Run one flow from a file with its request.",
    "export:export": "Write a model as a folder that runs without torch.",
}.items():
    app.command(f"flows.commands.{_name}", help=_help)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    Args:
        arguments: Words after ``lamina``; by default those of this process.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        adopt(read_settings())
        _describe(words)
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        command = " ".join(["lamina", *_commands(words)])
        sys.stderr.write(f"{_flat(error)} See {command} --help.\n")
        return BAD_INPUT
    except KeyboardInterrupt as error:
        sys.stderr.write(f"{str(error) or STOPPED}\n")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return READER_GONE
        if (told := ending(error)) is None:
            raise
        sys.stderr.write(f"{told[1]}\n")
        return told[0]
    return result if isinstance(result, int) else 0


def _describe(words: Sequence[str]) -> None:
    """Load the commands of a group whose list is asked for, so that each says what it does."""
    group = app
    for name in _commands(words):
        group = group[name]
    for name in group if group is not app else ():
        group[name]


def _reader_is_gone() -> bool:
    """Whether who read standard output, as in ``lamina models show X | head``, has seen enough.

    A pipe to a child or a server may break, too; that is a fault.
    """
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # no descriptor, or a closed one
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _flat(error: CycloptsError) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError) and error.argument is not None:
        name = error.argument.name
        return " ".join(complaint({**detail, "loc": (name,)}) for detail in cause.errors())
    return " ".join(str(error).split())


def _commands(words: Sequence[str]) -> list[str]:
    """The leading words that name a command."""
    found, here = [], app
    for word in words:
        if word.startswith("-") or word not in here:
            break
        found.append(word)
        if not isinstance(here := here[word], App):
            break
    return found


if __name__ == "__main__":
    sys.exit(main())
