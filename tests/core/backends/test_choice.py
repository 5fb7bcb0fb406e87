"""Who computes a network, what records say of it, and that OpenVINO answers as torch does."""

import socket
from dataclasses import replace

import pytest
import torch

from core.conditioning import Conditioning
from core.models.installed import Installed
from core.networks.unet import SpatioTemporalUNet
from core.numerics import remembered
from core.records import model_facts
from core.refusal import Refusal

pytest.importorskip("openvino")

from core.backends import kept
from core.backends.answers import accelerate
from core.backends.choice import chosen

SETTINGS = {
    "in_channels": 2,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_strides": ((1, 2, 2),),
    "attention_levels": (False, True),
    "spatial_attention_levels": (False, True),
    "joint_attention": True,
    "head_dim": 8,
    "text_channels": 12,
    "concat_channels": 1,
    "sketch_channels": 3,
    "sketch_grain": (1, 2, 2),
    "patch_size": (1, 2, 2),
    "prediction": "sample",
}


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path))
    torch.manual_seed(0)
    made = SpatioTemporalUNet(**SETTINGS)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval().requires_grad_(False)


def questions():
    """A prompt, a shorter one beside it, none, a sketch, another spacing."""
    beside = torch.randn(2, 1, 3, 9, 8)
    real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    plain = Conditioning(concat=beside, spacing=torch.tensor([[0.5, 1.0, 1.0]]))
    prompt = replace(plain, tokens=torch.randn(2, 5, 12), token_mask=real)
    return [
        plain,
        prompt,
        replace(prompt, token_mask=None),
        replace(plain, spacing=torch.tensor([[0.5, 1.0, 1.0], [0.25, 1.0, 1.0]])),
        replace(prompt, guidance=torch.tensor([2.0, 3.0])),
    ]


def test_graphs_in_memory_are_bounded(network, monkeypatch):
    monkeypatch.setattr("core.backends.answers.MOST", 2)
    accelerate(network, "digest")
    beside = torch.randn(1, 1, 2, 8, 8)
    z, t = torch.randn(1, 2, 2, 8, 8), torch.tensor([0.7])
    with torch.inference_mode():
        for rate in (1.0, 0.5, 0.25, 1.0):
            network(z, t, t, Conditioning(concat=beside, spacing=torch.tensor([[rate, 1.0, 1.0]])))
    assert network.answer.graph.cache_info()[1:] == (4, 2, 2)  # read 4 times, of 2, holding 2


def test_all_of_a_guided_walk_is_asked_of_one_graph(network):
    accelerate(network, "digest")
    z, t = torch.randn(1, 2, 2, 8, 8), torch.tensor([0.7])
    plain = Conditioning(concat=torch.randn(1, 1, 2, 8, 8))
    told = replace(plain, tokens=torch.randn(1, 5, 12), sketch=torch.rand(1, 3, 2, 4, 4))
    with torch.inference_mode():
        for cond in (
            told,
            replace(told, sketch=None),
            replace(plain, tokens=torch.randn(1, 1, 12)),
        ):
            network(z, t, t, cond)
    assert network.answer.graph.cache_info().misses == 1


def test_openvino_answers_as_torch_and_reads_what_it_compiled(network, monkeypatch):
    z, t, r = torch.randn(2, 2, 3, 9, 8), torch.tensor([0.7, 0.4]), torch.tensor([0.5, 0.4])
    sketched = Conditioning(concat=torch.randn(2, 1, 3, 8, 8), sketch=torch.rand(2, 3, 3, 4, 4))
    cases = [(z, cond) for cond in questions()] + [(z[..., :8, :], sketched)]
    with torch.inference_mode():
        want = [network(x, t, r, cond) for x, cond in cases]
        accelerate(network, "digest")
        got = [network(x, t, r, cond) for x, cond in cases]
        for mine, theirs in zip(got, want, strict=True):
            assert (mine - theirs).abs().max() < 1e-4 * theirs.abs().max()
        files = sorted(kept.folder().glob("*.blob"))
        assert len(files) == 3  # with a prompt or none and with a sketch or none, at two spacings
        fresh = SpatioTemporalUNet(**SETTINGS).eval()
        fresh.load_state_dict(network.state_dict())
        accelerate(fresh, "digest")
        monkeypatch.setattr("core.backends.answers.build", lambda *_: pytest.fail("built again"))
        again = [fresh(x, t, r, cond) for x, cond in cases]
    assert all(torch.equal(*pair) for pair in zip(again, got, strict=True))


def test_a_damaged_graph_is_compiled_again(network):
    z, t = torch.randn(1, 2, 3, 8, 8), torch.tensor([0.7])
    cond = Conditioning(concat=torch.randn(1, 1, 3, 8, 8))
    with torch.inference_mode():
        accelerate(network, "digest")
        want = network(z, t, t, cond)
        (file,) = kept.folder().glob("*.blob")
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        accelerate(network, "digest")
        assert torch.equal(network(z, t, t, cond), want)
    assert file.stat().st_size > len(whole) // 2


def test_gradients_are_left_to_torch(network):
    z, t = torch.randn(1, 2, 3, 8, 8, requires_grad=True), torch.tensor([0.7])
    accelerate(network, "digest")
    network(z, t, t, Conditioning(concat=torch.randn(1, 1, 3, 8, 8))).sum().backward()
    assert z.grad is not None
    assert not list(kept.folder().glob("*.blob"))


def test_nothing_is_sent(network, monkeypatch):
    import openvino_telemetry

    def refused(*args, **kwargs):
        raise AssertionError("a connection was opened, or something counted")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(openvino_telemetry.Telemetry, "__init__", refused)
    monkeypatch.setattr(openvino_telemetry.Telemetry, "send_event", refused)
    z, t = torch.randn(1, 2, 3, 8, 8), torch.tensor([0.7])
    with torch.inference_mode():
        accelerate(network, "digest")
        network(z, t, t, Conditioning(concat=torch.randn(1, 1, 3, 8, 8)))


def test_torch_computes_unless_another_is_asked_for(monkeypatch):
    plain = Installed("scenes-64", "video").record()
    assert "backend" not in plain
    assert model_facts(plain).keys() == {"name", "kind", "objective", "sha256"}
    monkeypatch.setenv("LAMINA_BACKEND", "auto")
    fast = Installed("scenes-64", "video").record()
    assert (fast["backend"], fast["precision"]) == ("openvino", "float32")
    assert model_facts(fast)["backend"] == "openvino"
    assert "backend" not in Installed("heads-1mm", "mri").record()  # measured: no gain
    monkeypatch.setenv("LAMINA_BACKEND", "openvino")
    assert Installed("heads-1mm", "mri").record()["backend"] == "openvino"
    monkeypatch.setenv("LAMINA_NUMERICS", "portable")
    assert "backend" not in Installed("scenes-64", "video").record()


def test_what_cannot_be_had_is_refused(monkeypatch):
    monkeypatch.setenv("LAMINA_BACKEND", "onnx")
    with pytest.raises(Refusal, match=r"LAMINA_BACKEND=onnx: .*; set one"):
        chosen({"kind": "video"})
    monkeypatch.setenv("LAMINA_BACKEND", "openvino")
    with pytest.raises(Refusal, match="SpatioTemporalDiT"):
        chosen({"kind": "video"}, "SpatioTemporalDiT")
    monkeypatch.setattr("core.backends.choice.find_spec", lambda name: None)
    with pytest.raises(Refusal, match="not installed"):
        chosen({"kind": "video"})
    monkeypatch.setenv("LAMINA_BACKEND", "auto")
    assert chosen(Installed("scenes-64", "video").record()) == {}


def test_a_request_decides_for_itself(monkeypatch):
    def told(asked):
        return model_facts(Installed("scenes-64", "video", backend=asked).record()).get("backend")

    assert [told(each) for each in ("usual", "torch", "auto")] == [None, None, "openvino"]
    monkeypatch.setenv("LAMINA_BACKEND", "openvino")
    assert [told(each) for each in ("usual", "torch", "auto")] == ["openvino", None, "openvino"]
    monkeypatch.setenv("LAMINA_NUMERICS", "portable")
    with pytest.raises(Refusal, match=r"backend=openvino: .* portable"):
        told("openvino")
    monkeypatch.delenv("LAMINA_NUMERICS")
    monkeypatch.setattr("core.backends.choice.find_spec", lambda name: None)
    with pytest.raises(Refusal, match=r"backend=openvino: OpenVINO is not installed"):
        told("openvino")


def test_what_a_record_says_is_asked_again(monkeypatch):
    assert remembered({}, {"backend": "openvino"}) == {"LAMINA_BACKEND": "openvino"}
    assert remembered({}, {"name": "scenes-64"}) == {}
    monkeypatch.setenv("LAMINA_BACKEND", "openvino")
    assert remembered({}, {"backend": "openvino"}) == {}
    assert remembered({}, {"name": "scenes-64"}) == {"LAMINA_BACKEND": "torch"}
