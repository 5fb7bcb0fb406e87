"""What a person may ask of super-resolution; the form, the command line and the docs read this."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_serializer, model_validator

from core.families.names import FamilyName
from core.refusal import Refusal
from core.request import Backend, DiskPath, Request
from core.training import request as training
from core.training.plan import check_control, check_lora, check_parts, check_space
from core.training.request import Memory, TrainingRequest

Spacing = Annotated[float, Field(ge=0.2, le=20.0)]
PROCESS_GB = 0.75  # with the libraries
ROW_GB = {"tiny": 0.023, "base": 0.086}
READING_GB, KEPT_GB, LABELS_GB = 0.006, 0.002, 0.004  # of a million voxels of heads
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class SuperResolutionRequest(Request):
    """A thick-slice scan to be restored to finer voxels."""

    scan: DiskPath = Field(
        min_length=1,
        description="NIfTI file (.nii, .nii.gz) with one 3-D image, or folder of a DICOM series.",
        json_schema_extra={"position": 0},
    )
    spacing_mm: tuple[Spacing, Spacing, Spacing] = Field(
        default=(1.0, 1.0, 1.0),
        description="Largest voxel size wanted along the file's three axes, 0.2 to 20 mm. An "
        "axis that is as fine already, to half a voxel in all, keeps its own spacing.",
        json_schema_extra={"position": 1},
    )
    samples: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Restorations to draw, 1 to 64. Their mean is the result; where the model "
        "has no head that predicts its error, their standard deviation is the uncertainty map.",
        json_schema_extra={"position": 2},
    )
    steps: int = Field(
        default=2,
        ge=1,
        le=50,
        description="Sampling steps of each restoration, 1 to 50.",
        json_schema_extra={"position": 3},
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        description="Same seed, same result; 0 to 2147483647.",
        json_schema_extra={"position": 4},
    )
    slice_thickness_mm: float = Field(
        default=0.0,
        ge=0.0,
        le=20.0,
        description="Full width at half maximum of the slice profile; 0 estimates it from the "
        "scan, or takes the file's slice spacing less the gap where that is told.",
        json_schema_extra={"position": 5},
    )
    slice_gap_mm: float = Field(
        default=0.0,
        ge=0.0,
        le=20.0,
        description="Distance between neighboring slices; 0 takes the file's slice spacing "
        "less the thickness.",
        json_schema_extra={"position": 6},
    )
    profile: Literal["gaussian", "box"] = Field(
        default="gaussian",
        title="Slice profile",
        description="Shape of a slice along its thickness.",
        json_schema_extra={"position": 7},
    )
    noise_std: float = Field(
        default=-1.0,
        ge=-1.0,
        le=0.2,
        title="Noise",
        description="Noise of the scan as a share of its brightest tissue, 0 to 0.2; below 0 it "
        "is estimated. Above 0 the scan is cleaned first and need not be repeated exactly.",
        json_schema_extra={"position": 8},
    )
    protect: DiskPath = Field(
        default="",
        title="Protected mask",
        description="NIfTI mask on the scan's or the result's grid. Where it is above 0 the "
        "result is the scan itself, interpolated. Empty for none.",
        json_schema_extra={"position": 9},
    )
    model: str = Field(
        default="heads-1mm",
        min_length=1,
        description="Name of a super-resolution model; `lamina models list` shows them.",
        json_schema_extra={"position": 10},
    )
    edition: Literal[1, 2, 3, 4, 5] = Field(
        default=5,
        description="How scans are understood. 1 makes results of earlier releases again: every "
        "voxel sets the intensity scale, and planes are taken for stacks of slices. 1 and 2 take "
        "untold slices for as thick as they are far apart; 1 to 3 draw no sample in a mirror; 1 "
        "to 4 take one axis for that of slices where two or three are the longest, and follow a "
        "noisy scan more closely.",
        json_schema_extra={"position": 11},
    )
    lora: DiskPath = Field(
        default="",
        max_length=400,
        description="LoRA file in safetensors that lamina train wrote for this model; empty for "
        "none.",
        json_schema_extra={"position": 12},
    )
    lora_scale: float = Field(
        default=1.0,
        ge=-4,
        le=4,
        description="How strongly the LoRA file counts.",
        json_schema_extra={"position": 13},
    )
    adapt_minutes: float = Field(
        default=0.0,
        ge=0.0,
        le=60.0,
        title="Minutes of learning from the scan",
        description="The model first learns from the scan's own plane, for so many minutes of "
        "one core, 0 to 60: for contrasts, skulls, lesions and scanners it was not trained on. "
        "0 takes it as it is.",
        json_schema_extra={"position": 14},
    )
    control: DiskPath = Field(
        default="",
        max_length=400,
        description="Control file in safetensors, as lamina train mri --control edges or labels "
        "writes one: the result follows control_scan; empty for none.",
        json_schema_extra={"position": 15},
    )
    control_scan: DiskPath = Field(
        default="",
        max_length=400,
        description="NIfTI image of the same head on the result's grid that the control file is "
        "shown: a sharp one of any contrast for edges, or a map of tissues for labels.",
        json_schema_extra={"position": 16},
    )
    control_scale: float = Field(
        default=1.0,
        ge=-4,
        le=4,
        description="How strongly control_scan counts.",
        json_schema_extra={"position": 17},
    )
    backend: Backend = Field(default="usual", json_schema_extra={"position": 18})

    before: ClassVar[dict[str, Any]] = {"edition": 1}
    spoken: ClassVar[dict[str, dict[Any, str]]] = {
        "slice_thickness_mm": {0: "read off the scan or its file"},
        "slice_gap_mm": {0: "what the thickness leaves"},
        "noise_std": {-1: "estimated"},
        "adapt_minutes": {0: "none"},
    }

    @model_serializer(mode="wrap")
    def _without_what_is_not_asked(self, plain: Any) -> dict[str, Any]:
        """Requests without what came later are told, and addressed, as they always were."""
        told = plain(self)
        unsaid = set() if self.lora else {"lora", "lora_scale"}
        unsaid |= set() if self.adapt_minutes else {"adapt_minutes"}
        unsaid |= {"backend"} if self.backend == "usual" else set()
        if not (self.control or self.control_scan):
            unsaid |= {"control", "control_scan", "control_scale"}
        return {name: value for name, value in told.items() if name not in unsaid}


class SegmentRequest(Request):
    """A head of which every voxel is to be labeled."""

    scan: DiskPath = Field(
        min_length=1,
        description="NIfTI file (.nii, .nii.gz) or DICOM folder of one head.",
    )
    labels: Literal["tissues", "structures"] = Field(
        default="tissues",
        description="tissues: CSF, gray and white matter of a T1-weighted, skull-stripped head, "
        "by a rule. structures: 15 parts of a head in any contrast, with or without skull, by "
        "a network that sees 2 mm.",
    )


class MRITrainingRequest(TrainingRequest):
    """One training run of the MRI super-resolution model on your own high-resolution heads."""

    kind = "mri"
    trained_by = "medical.training.training:train"
    private = True

    name: training.Name = "my-heads"
    heads: DiskPath = Field(
        min_length=1,
        description="BIDS folder with sub-*/anat/sub-*_T1w.nii.gz, sharp along every axis. Every "
        "sixth subject is kept for validation.",
    )
    contrast_share: Share = Field(
        default=0.0,
        title="Random contrasts",
        description="Share of patches, 0 to 1, in which every tissue gets a random intensity, for "
        "scans that are not T1-weighted. Tissues come from sub-*_dseg.nii.gz beside a head, or "
        "from its own intensities where there is none.",
    )
    lesion_share: Share = Field(
        default=0.0,
        title="Lesions",
        description="Share of patches, 0 to 1, into which lesions are put, brighter or darker "
        "than the tissue around them.",
    )
    deformation_share: Share = Field(
        default=0.0,
        title="Deformations",
        description="Share of patches, 0 to 1, in which the head is bent smoothly by up to 5 mm "
        "along each axis.",
    )
    synthetic: bool = Field(
        default=False,
        title="Synthetic heads",
        description="Train on heads, too, that a mark in header, sidecar or participants.tsv says "
        "are drawn; else they are left out, and said.",
    )
    preset: training.Preset = "base"
    network: training.Network = "unet"
    space: Literal["pixels", "latents"] = Field(
        default="pixels",
        description="Where the network works: pixels, or latents, which makes a model that draws "
        "whole heads at 2 mm: an autoencoder is trained first, then the network on what it makes "
        "of them.",
    )
    family: FamilyName = Field(
        default="usual",
        description="What the network is taught: usual is flow matching and then average "
        "velocities; the others take steps alone and are described by lamina families list.",
    )
    start: str = Field(
        default="",
        description="Name of an installed MRI model whose weights training begins from, of this "
        "size or without its finest level; empty to begin anew.",
    )
    lora: training.Rank = 0
    control: Literal["", "edges", "labels"] = Field(
        default="",
        description="Learn a branch that is shown the edges of sharp heads, or labels of fluid, "
        "gray and white matter, beside the weights of start, which stay as they are: a file that "
        "leads restorations by another image; empty for none.",
    )
    steps: training.Steps = 2500
    jump_steps: training.JumpSteps = 1000
    batch_size: int = Field(default=8, ge=1, le=4096, description="Patches per step.")
    accumulation: training.Accumulation = 1
    learning_rate: training.LearningRate = 2e-3
    minutes: training.Minutes = 0.0
    compile: training.Compiled = False
    seed: int = Field(default=0, ge=0, description="Same seed, same weights on a CPU.")

    @property
    def model_kind(self) -> str:
        """In latents whole heads are learned."""
        return "whole-head" if self.space == "latents" else self.kind

    def data_size(self) -> int:
        """Voxels of all heads, from the heads of their files; 0 where there are none."""
        from medical.training.heads import count_voxels

        return count_voxels(self.heads, synthetic=self.synthetic)

    def memory(self, data_size: int) -> Memory:
        """Reading takes three times what the heads keep."""
        millions = data_size / 1e6
        kept = millions * (KEPT_GB + (LABELS_GB if self.contrast_share else 0.0))
        return Memory(PROCESS_GB, ROW_GB[self.preset], millions * READING_GB, kept)

    @model_validator(mode="after")
    def _parts_are_equal(self) -> MRITrainingRequest:
        check_parts(self.batch_size, self.accumulation)
        check_lora(self.lora, self.start)
        check_control(self.control, self.start, self.network, self.family)
        shares = {"contrast_share", "lesion_share", "deformation_share"}
        check_space(self.space, **self.model_dump(include={"control", "lora", *shares}))
        if self.control and self.lora:
            raise Refusal(
                f"control={self.control} with lora={self.lora}: a branch is learned beside "
                "weights that stay as they are; leave one of the two out."
            )
        return self
