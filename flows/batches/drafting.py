"""A clip in fewer steps than it will have, for a person to pick from."""

from typing import Any

from core.progress import counted
from core.refusal import Refusal
from flows.requests.batch_requests import ClipBatchRequest
from video.request import VideoRequest

OF_STEPS = "draft_of_steps"  # what an item's facts say of a draft
SHARE = 4  # a draft takes one of so many steps


def draft_of(made: VideoRequest, steps: int) -> VideoRequest:
    """The first steps of the same clip, or the clip in fewer where it cannot go on from those.

    Args:
        made: What shall be drawn in the end.
        steps: Of a draft; 0 for a quarter.

    Raises:
        Refusal: It would take no fewer.
    """
    from video.operations.text_to_video import TextToVideo

    operation = TextToVideo()
    whole, engine = operation.settled(made).steps, operation.source(made)
    few = steps or max(1, whole // SHARE)
    goes_on = engine.goes_on(made.model_copy(update={"draft_after": few}))
    if not goes_on:
        few = steps or max(engine.rules.least_steps, few)
    if few >= whole:
        raise Refusal(
            f"steps={whole} with drafts of {counted(few, 'step')}: a draft takes fewer steps than "
            "what it is a draft of; ask for more steps, or leave drafts out."
        )
    return made.model_copy(update={"draft_after" if goes_on else "steps": few})


def drafted(made: VideoRequest, batch: ClipBatchRequest) -> tuple[VideoRequest, dict[str, Any]]:
    """A row's request as the batch draws it, and what its item says of that."""
    if not batch.drafts:
        return made, {}
    from video.operations.text_to_video import TextToVideo

    whole = TextToVideo().settled(made).steps
    return draft_of(made, batch.draft_steps), {OF_STEPS: whole}
