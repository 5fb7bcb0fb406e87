"""The example of shapes: fields, meshes, a tiny run, and the page of its result in the gallery."""

import json
import sys
from pathlib import Path

import pytest
import torch

trimesh = pytest.importorskip("trimesh", reason="the extra `examples` is not installed")
pytest.importorskip("skimage", reason="the extra `examples` is not installed")
EXAMPLES = Path(__file__).parents[2] / "docs/examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import shapes

    yield shapes
    for name in ("shapes", "shapes_mesh", "volumes"):
        sys.modules.pop(name)


@pytest.fixture
def dice():
    return torch.Generator().manual_seed(5)


def test_every_sentence_is_a_closed_mesh_that_stands_as_it_says(example, dice):
    for prompt in example.PROMPTS:
        made = example.mesh(example.field(prompt, dice)[0])
        assert made.is_watertight, prompt
        assert made.volume > 0, prompt
        x, y, z = made.extents
        if "torus" in prompt:
            assert (y < 0.6 * max(x, z)) == ("lying" in prompt)
        if "cylinder" in prompt:
            assert (y > 1.5 * max(x, z)) == ("standing" in prompt)
    balls = [
        example.field(prompt, dice)[0] for prompt in ("a small ball", "a ball", "a large ball")
    ]
    radii = [(3 * example.mesh(ball).volume / (4 * torch.pi)) ** (1 / 3) for ball in balls]
    assert radii == pytest.approx(list(example.SIZES.values()), rel=0.06)


def test_the_tip_of_a_cone_that_stands_is_above(example, dice):
    made = example.mesh(example.field("a large cone standing", dice)[0])
    heights = made.vertices[:, 1]
    low, high = made.bounds[:, 1]
    wide = [made.vertices[abs(heights - at) < 0.1][:, 0].max() for at in (low, high - 0.1)]
    assert wide[0] > 2 * wide[1]


def test_true_shapes_are_told_apart(example, dice):
    rows = [[example.field(prompt, dice) for _ in range(6)] for prompt in example.PROMPTS]
    bank = torch.stack([torch.stack(row) for row in rows]) > 0
    fresh = [example.field(prompt, dice) for prompt in example.PROMPTS]
    right = [example.likest(one, bank) == place for place, one in enumerate(fresh)]
    assert sum(right) >= 0.8 * len(right)


def test_an_empty_field_and_unknown_sentences_are_refused(example, tmp_path):
    with pytest.raises(example.Refusal, match="an empty field"):
        example.mesh(torch.full((8, 8, 8), -1.0))
    with pytest.raises(example.Refusal, match="a blue teapot"):
        example.main(["draw", str(tmp_path), "a blue teapot", str(tmp_path / "t")])
    with pytest.raises(example.Refusal, match="no trained network"):
        example.main(["draw", str(tmp_path), "a ball", str(tmp_path / "t")])
    assert not (tmp_path / "t").exists()


def test_a_tiny_run_is_saved_and_draws(example, tmp_path):
    encoder = example.TextEncoder()
    plan = example.Plan(steps=2, batch_size=2, warmup=1)
    net = example.trained(tmp_path / "training", plan, encoder, widths=(8, 16))
    net.save_pretrained(tmp_path / "network")
    again = example.SpatioTemporalUNet.from_pretrained(tmp_path / "network").eval()
    asked = ["a ball", "a large cube"]
    shown = [example.drawn(one, asked, encoder, 3, steps=2) for one in (net, again)]
    assert shown[0].shape == (2, 1, 32, 32, 32)
    assert torch.equal(*shown)


def test_the_gallery_shows_a_shape_with_its_meshes(example, dice, tmp_path, monkeypatch):
    from starlette.testclient import TestClient

    from flows.gallery.application import PREFIX, alone
    from flows.settings.settings import read_settings

    monkeypatch.setenv("LAMINA_HOME", str(tmp_path))
    monkeypatch.delenv("LAMINA_OUTPUTS", raising=False)
    folder = tmp_path / "outputs/studio/text_to_shape/torus"
    field = example.field("a small torus standing", dice)[0]
    request = {"prompt": "a small torus standing", "seed": 3}
    made = example.write(field, folder, request=request, seconds=1.0)
    for ending in ("glb", "stl"):
        kept = trimesh.load(folder / f"shape.{ending}", force="mesh")
        assert kept.is_watertight
        assert kept.volume == pytest.approx(made.volume, rel=1e-4)
    record = json.loads((folder / "shape.json").read_text())
    assert record["extra"] == {"watertight": True, "faces": len(made.faces)}
    site = TestClient(alone(read_settings()), base_url=f"http://127.0.0.1{PREFIX}")
    page = site.get("/p/studio/r/text_to_shape/torus/shape")
    assert page.status_code == 200
    assert "<video" in page.text
    assert "Mesh, as glTF" in page.text
    assert "lamina reproduce" not in page.text
    for ending, kind in (("glb", "model/gltf-binary"), ("stl", "model/stl")):
        file = site.get(f"/p/studio/f/text_to_shape/torus/shape/shape.{ending}")
        assert file.headers["content-type"] == kind
        assert file.content == (folder / f"shape.{ending}").read_bytes()
