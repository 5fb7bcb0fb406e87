"""What runs on a GPU, on a pretended one: see ``pretended_cuda`` for what that can find."""

import math

import pytest
import tiny_run
import torch
from diffusers import DDIMScheduler
from pretended_cuda import DEVICE, Generator, pretended_cuda
from torch.nn import functional as F

from core.conditioning import Conditioning
from core.families.distillation import Distillation
from core.families.flow import FlowMatching
from core.families.table import denoiser
from core.models.checkpoints import load_model, save_model
from core.operations.linear_operators import AxisOperator, MaskOperator, consistent
from core.operations.tiling import tiled
from core.operations.windows import windows
from core.sampling.diffusers_bridge import sample_with
from core.sampling.guidance import guided, inpainting
from core.sampling.samplers import SAMPLERS
from core.sampling.schedules import shifted
from core.seeds import generator, normal
from core.tensors import sent
from core.training.validation import Validation
from core.training.watch import Watch

pytestmark = [
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight"),
    pytest.mark.usefixtures("one_thread"),
]
SIZE = (4, 8, 8)
DISTILLATION = Distillation(guidance_max=4.0, shift=8.0)
OBJECTIVES = {"flow": FlowMatching(), "jumps": tiny_run.OBJECTIVE, "distillation": DISTILLATION}


@pytest.fixture
def gpu():
    with pretended_cuda() as waits:
        yield waits


def on_gpu():
    return torch.ones(4, 8, device="cuda")


FOREIGN = {
    "a sum": lambda: on_gpu() + torch.ones(4, 8),
    "a choice": lambda: torch.where(torch.ones(4, 8, dtype=torch.bool), on_gpu(), 0),
    "a product": lambda: F.linear(on_gpu(), torch.ones(3, 8)),
    "averages": lambda: torch._foreach_lerp_([on_gpu()], [torch.ones(4, 8)], 0.5),
    "rows to add": lambda: on_gpu().index_add(0, torch.tensor([1]), on_gpu()[:1]),
    "an index of the CPU's": lambda: torch.ones(4)[on_gpu()[0].long()],
}


@pytest.mark.parametrize("mistake", FOREIGN)
def test_tensors_of_two_devices_are_refused(gpu, mistake):
    with pytest.raises(RuntimeError, match="same device"):
        FOREIGN[mistake]()


def test_what_only_a_cpu_can_do_is_refused(gpu):
    with pytest.raises(RuntimeError, match="numpy"):
        on_gpu().numpy()
    with pytest.raises(AssertionError, match="cannot pin"):
        on_gpu().pin_memory()
    with pytest.raises(AssertionError):
        torch.randn(3, device="cuda", generator=Generator())
    with pytest.raises(AssertionError):
        torch.randn(3, generator=Generator("cuda"))


def test_what_cuda_allows_is_allowed(gpu):
    x = on_gpu()
    x[1] = torch.zeros(8)
    x[x == 0] = 3.0
    found = x[torch.tensor([1, 0])] * torch.tensor(2.0)
    assert found.device == DEVICE
    assert found[:, 0].tolist() == [6.0, 2.0]
    assert sent(torch.ones(2), "cuda").device == torch.ones(1, device="cuda").device


def test_waits_are_written_down_with_their_place(gpu):
    x, index = on_gpu(), sent(torch.tensor([1, 2]), DEVICE)
    x[index] = sent(torch.zeros(8), DEVICE)
    assert gpu == []
    waits = (lambda: float(x[0, 0]), x.nonzero, lambda: x[x > 0], x.cpu)
    for wait in (*waits, lambda: torch.ones(2).to(DEVICE), lambda: x[[1, 2]]):
        wait()
        assert gpu.pop().partition(" at ")[2].startswith("test_on_gpu.py:")
        assert gpu == []


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("kind", ["text", "concat"])
def test_the_network_answers_and_learns_there_as_on_a_cpu(tiny, kind, joint):
    def told():
        random = generator(3)
        spacing = torch.rand(2, 3, generator=random) + 0.5
        if kind == "concat":
            channels = torch.randn(2, 1, *SIZE, generator=random)
            return Conditioning(concat=channels, spacing=spacing, resolution=spacing)
        mask = torch.tensor([[True, True, False], [False, False, False]])
        states = torch.randn(2, 3, 12, generator=random)
        return Conditioning(tokens=states, token_mask=mask, spacing=spacing)

    def answer(device):
        network = tiny(
            joint_attention=joint,
            **({"text_channels": 0, "concat_channels": 1} if kind == "concat" else {}),
        ).to(device)
        z = torch.randn(2, 2, *SIZE, generator=generator(1)).to(device)
        t, r = torch.tensor([0.9, 0.5]).to(device), torch.tensor([0.4, 0.5]).to(device)
        u = network(z, t, r, told().to(device))
        u.square().mean().backward()
        return u, [p.grad for p in network.parameters() if p.grad is not None]

    with pretended_cuda():
        u, grads = answer("cuda")
        assert u.shape == (2, 2, *SIZE)
        assert {x.device for x in (u, *grads)} == {DEVICE}
        found = [x.detach().cpu() for x in (u, *grads)]
    plain, plain_grads = answer("cpu")
    for ours, theirs in zip(found, (plain, *plain_grads), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["flow", "distillation"])
def test_nothing_is_waited_for_between_the_data_and_the_gradient(gpu, name):
    network = tiny_run.network().to("cuda")
    objective = OBJECTIVES[name].taught_by(network)
    x, cond = tiny_run.batch(4, generator(0))
    spacing = torch.ones(4, 3)
    x, cond = sent(x, DEVICE), Conditioning(tokens=cond.tokens, spacing=spacing).to(DEVICE)
    gpu.clear()
    loss, errors = objective.loss(network, x, cond, objective.draw(x, generator(1)))
    loss.backward()
    assert gpu == []
    assert (errors.device, errors.shape) == (DEVICE, (4,))
    assert loss.detach().isfinite()


@pytest.mark.parametrize(
    ("name", "optimizer"), [("flow", "adamw"), ("jumps", "muon"), ("distillation", "muon")]
)
def test_a_run_trains_there_and_goes_on(gpu, tmp_path, name, optimizer):
    objective = OBJECTIVES[name].taught_by(tiny_run.network().to("cuda"))
    looked, steps = [], []

    def validate(network):
        assert network.dtype == torch.bfloat16
        looked.append(network.device)
        return Validation({})

    watch = Watch(log=tmp_path / "log", validate=validate)
    for until in (1, 2):
        run = tiny_run.trainer(
            tmp_path, until, objective=objective, optimizer=optimizer, watch=watch,
            mixed_precision="no", checkpoint_minutes=60.0,
        )  # fmt: skip
        assert run.feed.ahead
        assert run.run(steps.append)
    assert [step.step for step in steps] == [1, 2]
    assert all(math.isfinite(step.loss) for step in steps)
    devices = {x.device for x in (*run.network.parameters(), *run.average.shadow.values())}
    assert devices | set(looked) == {DEVICE}
    assert {p.device for p in run.averaged_network().parameters()} == {DEVICE}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_walk_there_as_on_a_cpu(tiny, sampler):
    def walked(device):
        network = tiny(trained_objective="average_velocity").to(device)
        tokens = torch.randn(1, 3, 12, generator=generator(0))
        cond = Conditioning(tokens=tokens, spacing=torch.ones(1, 3)).to(device)
        with torch.inference_mode():
            with_prompt, without = denoiser(network, cond), denoiser(network, cond.null())
            parts = windows((8, 8, 8), SIZE, (2, 2, 2))
            over_windows = tiled(lambda z, t, r, _: with_prompt(z, t, r), parts, batch_size=1)
            matrix = torch.rand(2, 8, generator=generator(4))
            measured = torch.zeros(1, 2, 2, 8, 8).to(device)
            denoise = guided(over_windows, without, 2.0)
            denoise = consistent(denoise, AxisOperator((matrix, None, None)), measured)
            z = torch.randn(1, 2, 8, 8, 8, generator=generator(1)).to(device)
            return SAMPLERS[sampler].walk(denoise, z, shifted(2))

    with pretended_cuda():
        x = walked("cuda")
        assert (x.device, x.shape) == (DEVICE, (1, 2, 8, 8, 8))
        found = x.cpu()
    torch.testing.assert_close(found, walked("cpu"), rtol=1e-3, atol=1e-3)


def test_windows_and_guidance_wait_for_nothing(gpu):
    parts = windows((8, 8, 8), SIZE, (2, 2, 2))
    inner = tiled(lambda z, t, r, _: z, parts)
    denoise = guided(inner, lambda z, t, r: 0 * z, 3.0)
    z, t = sent(torch.ones(1, 1, 8, 8, 8), DEVICE), sent(torch.tensor(0.5), DEVICE)
    found = denoise(z, t, t)
    assert gpu == []
    torch.testing.assert_close(found.cpu(), torch.full((1, 1, 8, 8, 8), 3.0))


def test_what_is_known_may_lie_there(gpu):
    z = normal((1, 1, *SIZE), generator(0), DEVICE)
    mask = torch.zeros_like(z)
    mask[:, :, 0] = 1
    found = inpainting(lambda z, t, r: z, torch.ones_like(z), mask)(z, z.mean(), z.mean())
    assert found.device == DEVICE
    assert float(found[:, :, 0].min()) == 1.0
    assert float(MaskOperator(mask).apply(z)[:, :, 1:].abs().max()) == 0.0


def test_schedulers_of_diffusers_walk_there(gpu):
    z = normal((1, 1, *SIZE), generator(0), DEVICE)
    scheduler = DDIMScheduler(clip_sample=False)
    x = sample_with(scheduler, lambda z, t, r: 0.5 * z, z, 3)
    assert (x.device, x.shape) == (DEVICE, z.shape)


def test_a_saved_model_is_loaded_there(gpu, tiny, tmp_path):
    save_model(tmp_path / "model", tiny().to("cuda"), {"name": "model", "kind": "video"})
    network, _ = load_model(tmp_path / "model", device="cuda")
    assert {(p.device, p.dtype) for p in network.parameters()} == {(DEVICE, torch.bfloat16)}
