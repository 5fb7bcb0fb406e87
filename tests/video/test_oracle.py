"""The oracle reads rendered scenes exactly, forgives a codec, and fails what is wrong."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from scipy import ndimage

from video.oracle.oracle import AXES, is_frozen, read_clip, score
from video.world.prompts import parse_caption
from video.world.rendering import render
from video.world.scenes import COLORS, DIRECTIONS, RATES, SIZES, SPEEDS, Scene, SceneObject
from video.world.splits import SPLITS
from video.world.world import draw_scene

Frames = np.ndarray


def frames_of(*scenes: Scene) -> Frames:
    """uint8 (B, T, H, W, 3)."""
    clips = ((render(scenes) + 1) * 127.5).round().clamp(0, 255).byte()
    return clips.permute(0, 2, 3, 4, 1).numpy()


def drawn(number: int, *, shares=(1.0, 1.0, 1.0), seed=0, keep=lambda scene: True) -> list[Scene]:
    """Scenes of both splits that are worth a test."""
    dice, found = Random(seed), []
    while len(found) < number:
        scene = draw_scene(dice, split=SPLITS[len(found) % 2], count_shares=shares)
        if keep(scene):
            found.append(scene)
    return found


def shares_met(scenes: list[Scene], spoil: Callable[[Frames], Frames] = lambda f: f) -> dict:
    """Share of scenes that meet each axis."""
    met, asked = Counter(), Counter()
    for scene, frames in zip(scenes, frames_of(*scenes), strict=True):
        verdict = score(read_clip(spoil(frames)), scene)
        asked.update(verdict.keys())
        met.update(axis for axis, good in verdict.items() if good)
    return {axis: met[axis] / asked[axis] for axis in AXES if asked[axis]}


def verdicts(scenes: list[Scene], shown: list[Scene] | list[Frames], axis: str) -> list[bool]:
    """What each shown clip gets on one axis when the scene was asked for."""
    clips = frames_of(*shown) if isinstance(shown[0], Scene) else shown
    return [
        score(read_clip(frames), scene)[axis] for scene, frames in zip(scenes, clips, strict=True)
    ]


def only(*motions: str) -> Callable[[Scene], bool]:
    return lambda scene: all(thing.motion in motions for thing in scene.objects)


def moving(scene: Scene) -> bool:
    return all(thing.motion != "stay" for thing in scene.objects)


def altered(scene: Scene, change: Callable[[SceneObject], SceneObject]) -> Scene:
    """The scene with its first thing changed."""
    return replace(scene, objects=(change(scene.objects[0]), *scene.objects[1:]))


def soft_and_noisy(frames: Frames) -> Frames:
    dice = np.random.default_rng(int(frames.sum()))
    soft = ndimage.gaussian_filter(frames.astype(float), (0, 0.7, 0.7, 0))
    tinted = soft * dice.uniform(0.95, 1.05, 3) + dice.uniform(-5, 5, 3)
    return np.clip(tinted + dice.normal(0, 8, frames.shape), 0, 255).round().astype(np.uint8)


def test_rendered_scenes_are_read_exactly():
    shares = shares_met(drawn(300))
    assert set(shares) == set(AXES)
    assert min(shares.values()) >= 0.995, shares


@pytest.mark.slow
def test_two_thousand_rendered_scenes_are_read_exactly():
    for shares in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
        met = shares_met(drawn(667, shares=shares, seed=1))
        assert min(met.values()) >= 0.995, (shares, met)


def test_soft_noisy_tinted_clips_are_read():
    shares = shares_met(drawn(100, seed=3), soft_and_noisy)
    assert min(shares.values()) >= 0.97, shares


@pytest.mark.slow
def test_blurred_or_compressed_clips_are_read():
    scenes = drawn(300, seed=4)
    for spoil in (blurred, halved_chroma):
        shares = shares_met(scenes, spoil)
        assert min(shares.values()) >= 0.97, (spoil.__name__, shares)


def blurred(frames: Frames) -> Frames:
    return ndimage.gaussian_filter(frames.astype(float), (0, 0.9, 0.9, 0)).astype(np.uint8)


def halved_chroma(frames: Frames) -> Frames:
    """What 4:2:0 does to color: brightness kept, color averaged over 2 x 2 pixels."""
    values = frames.astype(float)
    luma = values @ np.array([0.299, 0.587, 0.114])
    tint = values - luma[..., None]
    t, h, w, c = tint.shape
    coarse = tint.reshape(t, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))
    whole = luma[..., None] + coarse.repeat(2, axis=1).repeat(2, axis=2)
    return np.clip(whole, 0, 255).round().astype(np.uint8)


def test_a_wrong_color_fails():
    scenes = drawn(60)

    def recolored(scene: Scene) -> Scene:
        free = [color for color in COLORS if color not in {t.color for t in scene.objects}]
        return altered(scene, lambda thing: replace(thing, color=free[scene.count]))

    assert not any(verdicts(scenes, [recolored(scene) for scene in scenes], "color"))


def test_two_things_that_swap_colors_fail():
    unlike = lambda s: len(s.objects) == 2 and s.objects[0].shape != s.objects[1].shape  # noqa: E731
    scenes = drawn(40, keep=unlike)
    for scene in scenes:
        one, other = scene.objects
        swapped = (replace(one, color=other.color), replace(other, color=one.color))
        frames = frames_of(replace(scene, objects=swapped))[0]
        assert not all(score(read_clip(frames), scene).values())


def test_a_wrong_shape_fails():
    scenes = drawn(60)
    other = {"circle": "ring", "ring": "star", "star": "triangle", "triangle": "square"}
    other |= {"square": "cross", "cross": "circle"}
    shown = [altered(s, lambda thing: replace(thing, shape=other[thing.shape])) for s in scenes]
    assert not any(verdicts(scenes, shown, "shape"))


def test_a_wrong_size_fails():
    fixed = lambda scene: scene.objects[0].motion not in ("grow", "shrink")  # noqa: E731
    scenes = drawn(60, shares=(1.0, 0.0, 0.0), keep=fixed)
    names = list(SIZES)

    def resized(thing: SceneObject) -> SceneObject:
        size = names[(names.index(thing.size) + 1) % 3]
        return replace(thing, radius=SIZES[size], centers=thing.centers)

    shown = [altered(scene, resized) for scene in scenes]
    inside = [i for i, scene in enumerate(shown) if fits(scene.objects[0])]
    assert len(inside) > 30
    assert not any(verdicts([scenes[i] for i in inside], [shown[i] for i in inside], "size"))


def fits(thing: SceneObject) -> bool:
    return all(18 < value < 46 for center in thing.centers for value in center)


def test_a_wrong_speed_fails():
    directed = lambda scene: scene.objects[0].speed == "slow"  # noqa: E731
    scenes = drawn(40, shares=(1.0, 0.0, 0.0), keep=directed)

    def faster(thing: SceneObject) -> SceneObject:
        row = "direction" if thing.motion in DIRECTIONS else thing.motion
        return replace(thing, rate=RATES[row]["normal"][0])

    shown = [altered(scene, faster) for scene in scenes]
    assert not any(verdicts(scenes, shown, "speed"))


def test_a_wrong_background_fails():
    scenes = drawn(40)
    other = {"black": "gray", "gray": "navy", "navy": "dark green", "dark green": "black"}
    shown = [replace(scene, background=other[scene.background]) for scene in scenes]
    assert not any(verdicts(scenes, shown, "background"))


@pytest.mark.parametrize("shares", [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_a_thing_left_out_or_added_fails(shares):
    for scene in drawn(40, shares=shares):
        first = scene.objects[0]
        kept = (replace(first, centers=first.centers[1:]),) if first.count > 1 else ()
        fewer = replace(scene, objects=(*kept, *scene.objects[1:]))
        whole, less = frames_of(scene, fewer)
        assert not score(read_clip(less), scene)["count"]
        assert not score(read_clip(whole), fewer)["count"]


def test_a_thing_that_vanishes_half_way_fails():
    for scene in drawn(40, shares=(0.0, 1.0, 1.0), keep=lambda s: len(s.objects) > 1):
        whole, less = frames_of(scene, replace(scene, objects=scene.objects[1:]))
        vanishing = np.concatenate([whole[:8], less[8:]])
        assert not score(read_clip(vanishing), scene)["count"]


def test_a_frozen_clip_is_told_from_a_moving_one():
    scenes = drawn(150, keep=moving)
    clips = frames_of(*scenes)
    still = [np.repeat(frames[:1], 16, axis=0) for frames in clips]
    noisy = [soft_and_noisy(frames) for frames in still]
    assert not any(is_frozen(frames) for frames in clips)
    assert not any(is_frozen(soft_and_noisy(frames)) for frames in clips[:50])
    assert all(is_frozen(frames) for frames in still)
    assert all(is_frozen(frames) for frames in noisy)
    assert not any(verdicts(scenes, still, "motion"))


def test_a_thing_that_stays_is_read_so_though_its_clip_is_still():
    for scene, frames in zip(
        scenes := drawn(20, keep=only("stay")), frames_of(*scenes), strict=True
    ):
        reading = read_clip(frames)
        assert reading.frozen
        assert score(reading, scene)["motion"]


def test_shuffled_frames_fail():
    scenes = drawn(120, seed=5, keep=moving)
    dice = np.random.default_rng(0)
    shown = [frames[dice.permutation(16)] for frames in frames_of(*scenes)]
    assert not any(verdicts(scenes, shown, "motion"))


def test_frames_reversed_in_time_fail_where_the_motion_has_a_way():
    scenes = drawn(80, keep=only(*DIRECTIONS, "grow", "shrink"))
    shown = [frames[::-1] for frames in frames_of(*scenes)]
    assert not any(verdicts(scenes, shown, "motion"))


def test_a_mirrored_clip_fails_its_place():
    scenes = drawn(40, keep=lambda s: s.count == len(s.objects) == 2 and s.place(0, 1) is not None)
    shown = [frames[:, ::-1, ::-1] for frames in frames_of(*scenes)]
    assert not any(verdicts(scenes, shown, "place"))


def test_a_free_prompt_is_scored_on_what_it_says_only():
    thing = SceneObject("circle", "red", "small", "left", "slow", ((32.0, 30.0),), 5.5, 0.6)
    (frames,) = frames_of(Scene("gray", (thing,)))
    reading = read_clip(frames)
    assert score(reading, parse_caption("a red circle")) == {
        "count": True,
        "color": True,
        "shape": True,
    }
    right = score(reading, parse_caption("a small ball drifts slowly to the left"))
    assert right == dict.fromkeys(("count", "shape", "size", "motion", "speed"), True)
    wrong = score(reading, parse_caption("two red squares move right on a navy background"))
    assert wrong == {
        "count": False,
        "color": False,
        "shape": False,
        "motion": False,
        "background": False,
    }


def test_positions_are_measured_to_a_fraction_of_a_pixel():
    thing = SceneObject("square", "cyan", "small", "right", "fast", ((31.3, 40.2),), 5.5, 2.1)
    (frames,) = frames_of(Scene("black", (thing,)))
    (seen,) = read_clip(frames).things
    assert seen.positions[:, 0] == pytest.approx(31.3 + 2.1 * (np.arange(16) - 7.5), abs=0.1)
    assert seen.positions[:, 1] == pytest.approx(40.2, abs=0.1)
    assert seen.radius == pytest.approx(5.5, abs=0.1)


def test_a_larger_frame_is_read_in_the_units_of_the_world():
    (scene,) = drawn(1, seed=8, shares=(1.0, 0.0, 0.0))
    (frames,) = frames_of(scene)
    assert all(score(read_clip(frames.repeat(2, axis=1).repeat(2, axis=2)), scene).values())


@pytest.mark.parametrize("speed", SPEEDS)
def test_members_of_a_fast_group_keep_their_identity(speed):
    rate = RATES["orbit"][speed][0]
    centers = ((18.0, 20.0), (33.0, 20.0), (46.0, 30.0))
    group = SceneObject("circle", "red", "small", "orbit", speed, centers, 5.5, rate, 11.0)
    scene = Scene("black", (group,))
    assert all(score(read_clip(frames_of(scene)[0]), scene).values())


def test_noise_and_emptiness_meet_no_claim():
    dice = np.random.default_rng(0)
    asked = parse_caption("a red circle left of a blue square, both moving left")
    for frames in (
        dice.integers(0, 256, (16, 64, 64, 3), dtype=np.uint8),
        np.zeros((16, 64, 64, 3), dtype=np.uint8),
    ):
        assert not any(score(read_clip(frames), asked).values())


@pytest.mark.parametrize(
    "frames",
    [np.zeros((16, 64, 64, 3)), np.zeros((64, 64, 3), np.uint8), np.zeros((1, 8, 8, 3), np.uint8)],
)
def test_other_arrays_are_refused(frames):
    with pytest.raises(ValueError, match=r"the oracle reads uint8 \(T, H, W, 3\)"):
        read_clip(frames)
