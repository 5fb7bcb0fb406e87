"""``lamina export``: a model as a folder that runs without torch."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from core.refusal import Refusal

Stored = Literal["float16", "float32", "int8"]
Form = Literal["openvino", "onnx"]
KINDS = ("video", "mri")


def export(
    model: str,
    out: Path,
    /,
    *,
    weights: Annotated[Stored, Parameter(negative="")] = "float16",
    form: Annotated[Form, Parameter(name="--format")] = "openvino",
    frames: int = 16,
    height: int = 64,
    width: int = 64,
) -> None:
    """Write a model as a folder that makes results without torch: `python OUT/run.py`.

    The folder holds graphs, what they need beside them, the code that runs them, and a record.

    Args:
        model: Its name, as `lamina models list` shows it, or a model folder with a slash.
        out: The folder to write; it must not exist.
        weights: How weights are stored. int8 is smallest, and loses a little.
        form: How graphs are written: for OpenVINO, or as ONNX, which ONNX Runtime computes.
        frames: Of every clip it will make; heads may have any size.
        height: Of every clip, in pixels.
        width: Of every clip, in pixels.
    """
    if find_spec("openvino") is None:
        raise Refusal(
            f"lamina export {model}: OpenVINO is not installed here, and graphs of both formats "
            f"are built by it; install the extra {form}."
        )
    import torch

    from core.backends.artefact import Artefact, write_artefact
    from core.models.checkpoints import find_folder, load_model
    from core.models.files import read_record
    from medical.export import exported as exported_heads
    from video.engines.export import check_size, exported

    check_size(frames, height, width)
    folder = find_folder(model)
    record = read_record(folder)
    if record["kind"] not in KINDS:
        raise Refusal(
            f"model {model} is of kind {record['kind']}: models of the kinds "
            f"{' and '.join(KINDS)} are exported; name one of those."
        )
    if record["kind"] == "mri" and (frames, height, width) != (16, 64, 64):
        raise Refusal(
            f"frames={frames}, height={height}, width={width} with {model}: they are those of "
            "clips, and an exported model of heads restores heads of any size; leave them out."
        )
    network, record = load_model(folder, dtype=torch.float32)
    size = (frames, height, width)

    def made() -> Artefact:
        if record["kind"] == "mri":
            return exported_heads(network, record)
        return exported(network, record, size)

    print(write_artefact(out, record, weights, made, form))
