"""Fields of requests by which other clips and pictures lead a clip."""

from typing import Annotated

from pydantic import Field

from core.request import DiskPath

ControlFile = Annotated[
    DiskPath,
    Field(
        max_length=400,
        description="Control file in safetensors, as lamina train video --control writes one: "
        "the clip follows the edges of control_clip, or takes over what reference shows; empty "
        "for none.",
    ),
]
ControlClip = Annotated[
    DiskPath,
    Field(
        max_length=400,
        description="Clip whose edges the control file is shown, of as many frames and pixels.",
    ),
]
ReferencePicture = Annotated[
    DiskPath,
    Field(
        max_length=400,
        description="Picture that the control file is shown, of any size: what the prompt leaves "
        "open is taken from it, as far as the file learned to.",
    ),
]
ControlScale = Annotated[
    float,
    Field(
        ge=-4, le=4, description="How strongly what the control file is shown counts; 1 as taught."
    ),
]
