"""The flow ``approve_batch``: a person looks at a batch and says what becomes of it.

While it waits, no process stands and no GPU is held: the run is suspended, and the answer starts
it anew from the top. What was asked and shown stands in the batch's folder, so it is found there
and not made again.
"""

from typing import Any, Literal

from prefect import get_run_logger
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from core.progress import counted
from flows.batches.approval import Answer, Question, ask, decide, sheet_path
from flows.batches.flow import start_again
from flows.batches.ledger import Batch
from flows.batches.sheet import is_private
from flows.batches.start import renew_budgets
from flows.jobs.stages import patient_stage, run_id
from flows.pages.artifacts import batch_page, show_result
from flows.pages.failures import explained_flow
from flows.pages.run_log import join_run_log
from flows.requests.flow_requests import ApprovalRequest
from flows.requests.parameters import Asked, Project
from flows.settings.settings import read_settings
from flows.storage.files import DEFAULT_PROJECT

LONGEST_TITLE = 80


class ScanApproval(RunInput):
    """The form that is shown when a person presses Resume."""

    decision: Literal["accept", "reject"] = Field(description="On the batch as a whole.")
    by: str = Field(min_length=1, max_length=100, description="Your name.")
    rejected: str = Field(
        default="",
        pattern=r"^[0-9a-f,; -]*$",
        description="Items to reject though the batch is accepted, by number: 3, 5-7.",
    )
    note: str = Field(default="", max_length=2000, description="Why; it is kept.")


class ClipApproval(ScanApproval):
    """The form for clips, which can be drawn again with another seed."""

    afterwards: Literal["leave out", "draw again"] = Field(
        default="leave out", description="What becomes of rejected clips."
    )
    picked: str = Field(
        default="",
        pattern=r"^[0-9a-f,; -]*$",
        description="Such as of drafts: the items to keep, by number; all others are rejected.",
    )


@patient_stage
def show(batch: Batch) -> Question:
    """Number the results and draw their sheet, once."""
    return ask(batch, run_id())


@patient_stage
def apply(batch: Batch, question: Question, answer: Answer) -> dict[str, Any]:
    """Take rejected items out of the results and write the decision down."""
    return decide(batch, run_id(), question, answer)


@explained_flow(lambda asked: f"Approve {asked.batch}")
def approve_batch(
    request: Asked[ApprovalRequest], project: Project = DEFAULT_PROJECT
) -> dict[str, Any]:
    """Ask a person to accept or reject a batch.

    The run waits, suspended; press Resume in its menu to see the sheet and to answer.

    Args:
        request: Which batch.
        project: Project of the batch: lower case letters, digits and dashes.
    """
    join_run_log()
    batch = Batch.named(read_settings(), project, request.batch)
    question = show(batch)
    answer = _answer(batch, question, request.hours)
    said = apply(batch, question, answer)
    facts = _facts(batch, said)
    if said["again"] and said["rejected"]:
        renew_budgets(batch)
        facts["drawn again in run"] = start_again(batch, f"approval/{run_id()}")
    title = f"Batch {request.batch}: {said['decision']}ed by {said['by']}"
    show_result(title, _sheet(batch), facts, _page(batch))
    return facts


def _answer(batch: Batch, question: Question, hours: float) -> Answer:
    """What the person says; asked anew until every item that is named exists."""
    clips = batch.read()["kind"] == "video"
    form, complaint = ClipApproval if clips else ScanApproval, ""
    turn = 0
    while True:
        turn += 1
        said: Any = suspend_flow_run(
            wait_for_input=form.with_initial_data(description=_words(batch, question, complaint)),
            timeout=round(hours * 3600),
            key=f"answer-{turn}",
        )
        try:
            rejected = rejected_by(question, said.rejected, getattr(said, "picked", ""))
        except ValueError as error:
            complaint = str(error)
            get_run_logger().warning(complaint)
            continue
        again = clips and said.afterwards == "draw again"
        return Answer(said.decision, said.by, said.note, rejected, again)


def rejected_by(question: Question, rejected: str, picked: str) -> list[str]:
    """Addresses that a person rejects: those named, and all that are not picked where some are.

    Raises:
        Refusal: There is no such item.
    """
    named, kept = question.named(rejected), question.named(picked, "picked")
    left = [item for item in question.items if item not in kept] if kept else []
    return list(dict.fromkeys([*named, *left]))


def _words(batch: Batch, question: Question, complaint: str) -> str:
    """What stands above the form, in markdown."""
    titles = question.items if is_private(batch) else question.titles
    shown = "\n".join(f"| {number} | {_cell(titles[number - 1])} |" for number in question.shown)
    picture = f"![Contact sheet]({sheet})\n\n" if (sheet := _sheet(batch)) else ""
    count, seen = len(question.items), len(question.shown)
    which = "all are shown" if seen == count else f"{seen} of them are shown, evenly spread"
    warning = f"**{_cell(complaint)}**\n\n" if complaint else ""
    return (
        f"{warning}**{batch.root.name}**: {counted(count, 'result')}, {which}. "
        f"[All in the gallery]({_page(batch)})\n\n"
        f"{picture}| | |\n|---|---|\n{shown}\n"
    )


def _sheet(batch: Batch) -> str:
    """The sheet as a data URI; empty where Prefect's pages show nothing of the batch."""
    if is_private(batch):
        return ""
    return sheet_path(batch, run_id()).read_text(encoding="ascii")


def _facts(batch: Batch, said: dict[str, Any]) -> dict[str, Any]:
    return {
        "decision": said["decision"],
        "by": said["by"],
        "note": said["note"],
        "accepted": len(said["accepted"]),
        "rejected": len(said["rejected"]),
        "written to": batch.root / "approval.json",
    }


def _page(batch: Batch) -> str:
    return batch_page(batch.root.parent.parent.name, batch.root.name)


def _cell(text: str) -> str:
    kept = "".join(f"\\{sign}" if sign in "|<>`*_[]" else sign for sign in text)
    return " ".join(kept.split())[:LONGEST_TITLE]
