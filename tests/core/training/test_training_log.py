"""The log can be read with and without TensorBoard, and holds every step once."""

import json

import numpy as np
import pytest
import tiny_run
import torch
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog

from core.training.log import PICTURE, PROGRESS, TrainingLog, read_log
from core.training.pace import Pace, Spent, count_flops, named_peak, peak_flops
from core.training.validation import Validation, Validator
from core.training.watch import Watch

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")


def events(folder):
    """What TensorBoard reads: each file's records, a length and two checksums around each."""
    for path in sorted(folder.glob("events.*"), key=lambda p: int(p.name.rpartition(".")[2])):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            yield Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def scalars(folder, name):
    """Steps and values as TensorBoard shows them: a restart takes back what came later."""
    found = []
    for event in events(folder):
        if event.session_log.status == SessionLog.START:
            found = [point for point in found if point[0] < event.step]
        found += [(event.step, v.simple_value) for v in event.summary.value if v.tag == name]
    return found


def test_a_log_that_goes_on_from_a_checkpoint_has_no_step_twice(tmp_path):
    first = TrainingLog(tmp_path / "log", "flow")
    for step in (1, 2, 3, 4):
        first.record(step, {"loss": 1.0 / step})
    first.close()
    with (tmp_path / "log" / PROGRESS).open("a") as file:
        file.write('{"stage": "flow", "st')  # the run was killed while it wrote
    other = TrainingLog(tmp_path / "log", "jumps")
    other.record(4, {"loss": 9.0})
    other.close()
    again = TrainingLog(tmp_path / "log", "flow", 2)
    again.record(3, {"loss": 7.0})
    again.record(4, {"loss": float("nan")})
    again.close()
    flow = [(r["step"], r["loss"]) for r in read_log(tmp_path) if r["stage"] == "flow"]
    assert flow == [(1, 1.0), (2, 0.5), (3, 7.0), (4, None)]
    assert scalars(tmp_path / "log" / "flow", "loss") == [(1, 1.0), (2, 0.5), (3, 7.0)]
    assert scalars(tmp_path / "log" / "jumps", "loss") == [(4, 9.0)]
    assert len(read_log(tmp_path)) == 5


def test_what_a_validation_found_stands_in_the_log_with_its_picture(tmp_path):
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    log = TrainingLog(tmp_path / "log", "flow")
    log.validated(7, Validation({"psnr": 30.5}, picture), 1.5)
    log.close()
    (record,) = read_log(tmp_path)
    assert (record["validation/psnr"], record["validation_seconds"]) == (30.5, 1.5)
    assert (np.asarray(Image.open(tmp_path / "log" / PICTURE)) == picture).all()
    images = [v.image for e in events(tmp_path / "log" / "flow") for v in e.summary.value]
    assert [(i.height, i.width) for i in images if i.height] == [(4, 5)]


def test_a_run_logs_its_loss_rate_gradient_speed_and_use_of_the_device(tmp_path):
    watch = Watch(log=tmp_path / "log", stage="flow")
    tiny_run.trainer(tmp_path / "flow", 3, watch=watch).run()
    records = read_log(tmp_path)
    assert [record["step"] for record in records] == [1, 2, 3]  # one at each checkpoint
    for record in records:
        assert record["learning_rate"] > 0
        assert record["gradient_norm"] > 0
        assert record["steps_per_second"] > 0
        assert 0 < record["computing_share"] < 1
        assert 0 < record["data_share"] < 1
        assert 0 < record["peak_share"] < 1
        assert record["tflops"] > 0
    clock = json.loads((tmp_path / "flow" / "checkpoint" / "clock.json").read_text())
    assert clock["work"]["steps"] == 3
    assert clock["flops"] > 0


def test_validation_leaves_training_bit_for_bit_as_it_is(tmp_path):
    seen = []

    def validate(network):
        assert not network.training
        torch.rand(3)  # the process-wide generator plays no part
        for weight in network.parameters():
            weight.zero_()
        if len(seen) == 1:
            raise RuntimeError("a look that fails")
        return Validation({"a": 1.0})

    def tell(*found):
        seen.append(found)
        raise OSError("nobody listens")

    tiny_run.trainer(tmp_path / "plain", 3).run()
    watch = Watch(stage="flow", validate=validate, on_validation=tell)
    tiny_run.trainer(tmp_path / "watched", 3, watch=watch, validation_minutes=0.0).run()
    assert [found[:2] for found in seen] == [("flow", 1)]
    plain, watched = (tmp_path / name / "checkpoint" for name in ("plain", "watched"))
    for name in ("network", "average", "optimizer"):
        file = f"{name}.safetensors"
        assert (plain / file).read_bytes() == (watched / file).read_bytes()


def test_the_averaged_weights_are_validated(tmp_path):
    seen = []

    def validate(network):
        weights = [weight.float().clone() for weight in network.parameters()]
        seen.append((network.config["trained_objective"], weights))
        return Validation({})

    run = tiny_run.trainer(tmp_path, 2, watch=Watch(validate=validate))
    run.run()
    ((objective, found),) = seen  # at the end
    assert objective == "average_velocity"
    for ours, theirs in zip(found, run.average.state().values(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-2)


def test_a_slow_validation_is_done_less_often():
    validator = Validator(lambda network: Validation({}), minutes=1.0)
    assert not validator.due(59)
    assert validator.due(61)
    validator.cost_s = 30.0
    assert not validator.due(999)
    assert validator.due(1001)


def test_operations_are_counted_and_held_against_a_peak():
    a = torch.ones(64, 32, requires_grad=True)
    assert count_flops(lambda: (a @ a.T).sum().backward()) == 3 * 2 * 64 * 64 * 32
    peak = peak_flops(torch.device("cpu"), torch.float32)
    assert 1e8 < peak < 1e14
    spent = Spent(steps=4, data_s=1.0, compute_s=6.0, seconds=8.0)
    assert spent.rates(2e12, 4e12) == {
        "steps_per_second": 0.5, "computing_share": 0.75, "data_share": 0.125,
        "tflops": 1.0, "peak_share": 0.25,
    }  # fmt: skip
    assert "tflops" not in spent.rates()
    assert Spent().rates(1.0) == {}


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA L4", 121),
        ("NVIDIA L40", 0),
        ("NVIDIA RTX A1000", 0),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 0),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 0),
        ("", 0),
    ],
)
def test_only_a_whole_gpu_of_a_known_name_has_a_peak(name, peak):
    assert named_peak(name) == peak


def test_time_is_told_apart(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr("core.training.pace.time.perf_counter", lambda: float(next(now)))
    pace = Pace(torch.device("cpu"))  # at 0
    with pace.data():
        pass
    with pace.computing():
        pass
    taken = pace.take()
    assert (taken.data_s, taken.compute_s, taken.seconds) == (1.0, 1.0, 5.0)
    assert pace.take().seconds == 1.0
