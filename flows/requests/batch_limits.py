"""When a batch ends before its items do."""

from typing import Any

from pydantic import Field, model_serializer, model_validator

from core.refusal import Refusal
from core.request import Request

NEWER = ("until", "least_steps")


class BatchLimits(Request):
    """When a batch ends before its items do, and how patient it is."""

    deadline_minutes: float = Field(
        default=0.0,
        ge=0,
        description="Stop this many minutes after the batch was begun, whoever starts it again; "
        "0 for no deadline.",
    )
    until: str = Field(
        default="",
        pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]( [A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*)?)?$",
        description="Begin nothing that would not be ready by this time of day, such as 07:00 or "
        "07:00 Europe/Berlin, the next after each start; what is missing is made when the batch "
        "is started again. Empty for any time.",
    )
    least_steps: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="With a deadline, draw items in fewer steps than asked, so many at least, as "
        "far as it takes to have all ready in time; records say so. 0 for never fewer.",
    )
    gpu_minutes: float = Field(
        default=0.0,
        ge=0,
        description="Stop after this many minutes of sampling in all, retries and redraws "
        "included; 0 for no limit.",
    )
    items: int = Field(
        default=0,
        ge=0,
        description="Stop when this many items are made in all; 0 for all of them.",
    )
    tries: int = Field(
        default=3,
        ge=1,
        le=20,
        description="How often a shard may be started while items are missing.",
    )
    retry_delay_s: float = Field(
        default=30.0, ge=0, le=3600, description="Seconds to wait before a shard is started again."
    )
    shard_minutes: float = Field(
        default=10.0, ge=0.001, le=20, description="Length of a shard; 5 to 20 minutes are usual."
    )
    shards_at_once: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Shards handed to the workers at once; 2 to 3 for each GPU.",
    )
    item_minutes: float = Field(
        default=0.0,
        ge=0,
        description="End a shard that shows no sign of life for so long; 0 for 20 times what an "
        "item should take.",
    )
    reserve_gb: float = Field(
        default=1.0,
        ge=0,
        description="Disk space that is left free whatever happens, in gigabytes.",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, plain: Any) -> dict[str, Any]:
        """Without what is newer, where it is left at rest: batches stay what they were."""
        told = plain(self)
        return {name: value for name, value in told.items() if name not in NEWER or value}

    @model_validator(mode="after")
    def _steps_follow_a_deadline(self) -> "BatchLimits":
        if self.least_steps and not (self.deadline_minutes or self.until):
            raise Refusal(
                f"least_steps={self.least_steps} without a deadline: steps are chosen so that all "
                "is ready by one; set limits.until or limits.deadline_minutes, or leave it out."
            )
        return self
