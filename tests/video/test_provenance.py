"""What a signature in a clip says, and that it is held against the file."""

import hashlib
import random
import shutil
import struct
import sys
import time

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.refusal import Refusal
from video.files.clip import Clip, read_metadata, read_mp4, write_mp4
from video.files.formats import read_clip, write_clip
from video.provenance.certificates import (
    CHAIN,
    KEY,
    ROOT,
    ROOT_KEY,
    make_identity,
    read_anchors,
    read_identity,
)
from video.provenance.manifests import Claim, read_manifest, sign
from video.provenance.unsigned import MANIFEST, is_signed, media_sha256


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state") / "provenance"
    assert make_identity(folder, "A lab")
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    noise = np.random.default_rng(0).normal(0, 9, (16, 64, 64, 3)).cumsum(0) + 128
    clip = Clip(np.clip(noise, 0, 255).astype(np.uint8), 8.0)
    path = tmp_path_factory.mktemp("clips") / "plain.mp4"
    return write_mp4(clip, path, metadata={"prompt": "noise"})


@pytest.fixture(scope="module")
def signed(keys, plain):
    path = plain.with_name("signed.mp4")
    sign(plain, path, read_identity(keys / CHAIN, keys / KEY), Claim(path.name, "text_to_video"))
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def boxes(content):
    start = 0
    while start < len(content):
        size, kind = struct.unpack_from(">I4s", content, start)
        yield kind, start, size
        start += size


def test_a_signed_clip_is_the_same_clip(plain, signed):
    assert is_signed(signed)
    assert not is_signed(plain)
    digest = hashlib.sha256(plain.read_bytes()).hexdigest()
    assert media_sha256(signed) == media_sha256(plain) == digest
    assert hashlib.sha256(signed.read_bytes()).hexdigest() != digest
    assert np.array_equal(read_mp4(signed).frames, read_mp4(plain).frames)
    assert read_metadata(signed) == {"prompt": "noise"}


def test_whom_to_trust_is_the_readers_choice(keys, plain, signed, tmp_path):
    found = read_manifest(signed)
    assert (found.state, found.signer, found.source) == (
        "Valid", "A lab", "trainedAlgorithmicMedia"
    )  # fmt: skip
    assert found.facts["task"] == "text_to_video"
    assert read_manifest(signed, read_anchors(keys / ROOT)).state == "Trusted"
    make_identity(tmp_path / "other", "A lab")
    assert read_manifest(signed, read_anchors(tmp_path / "other" / ROOT)).state == "Valid"
    assert read_manifest(plain).state == "none"


def test_every_byte_of_the_media_that_is_flipped_is_found(signed, tmp_path):
    """80 drawn bytes of each box but the manifest's own, whose rest is padding."""
    content, draw = signed.read_bytes(), random.Random(0)
    changed, tried = tmp_path / "changed.mp4", 0
    for kind, start, size in boxes(content):
        if kind == b"uuid":
            continue
        for place in draw.sample(range(start, start + size), min(size, 80)):
            changed.write_bytes(
                content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)])
                + content[place + 1 :]
            )  # fmt: skip
            state = read_manifest(changed).state
            whole_head = kind != b"ftyp" or place >= start + 4
            assert state == "Invalid" or (state == "none" and not whole_head), (kind, place)
            tried += 1
    assert tried > 190


def test_a_manifest_is_lost_with_a_new_container(signed, tmp_path):
    again = tmp_path / "again.mp4"
    write_mp4(read_mp4(signed), again)
    assert read_manifest(again).state == "none"


def test_a_manifest_that_is_damaged_is_invalid(signed, tmp_path):
    content = bytearray(signed.read_bytes())
    start = next(start for kind, start, _ in boxes(content) if kind == b"uuid")
    content[start + 200 : start + 400] = bytes(200)
    (tmp_path / "bad.mp4").write_bytes(content)
    assert read_manifest(tmp_path / "bad.mp4").state == "Invalid"


def test_keys_are_made_once_and_read_by_their_owner_alone(keys):
    before = (keys / KEY).read_bytes()
    assert not make_identity(keys, "Another")
    assert (keys / KEY).read_bytes() == before
    assert {(keys / name).stat().st_mode & 0o777 for name in (KEY, ROOT_KEY)} == {0o600}
    with pytest.raises(Refusal, match=r"name=' ': .* 1 to 48"):
        make_identity(keys.with_name("none"), " ")
    assert not keys.with_name("none").exists()


def self_signed(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    pair = x509.load_pem_x509_certificates((folder / ROOT).read_bytes())[0]
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(7)
        .not_valid_before(pair.not_valid_before_utc).not_valid_after(pair.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(pem), secret


def test_files_that_cannot_sign_are_refused(keys, tmp_path):
    make_identity(tmp_path / "other", "Another")
    other = tmp_path / "other" / KEY
    with pytest.raises(Refusal, match="not the key of the first certificate"):
        read_identity(keys / CHAIN, other)
    with pytest.raises(Refusal, match=r"no private key .* without a password"):
        read_identity(keys / CHAIN, keys / CHAIN)
    with pytest.raises(Refusal, match="no certificate can be read"):
        read_identity(keys / KEY, keys / KEY)
    chain, key = tmp_path / "one.pem", tmp_path / "one.key"
    for path, content in zip((chain, key), self_signed(keys), strict=True):
        path.write_bytes(content)
    with pytest.raises(Refusal, match="signs itself"):
        read_identity(chain, key)


SIGNING = """#!{python}
import sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
with open({key!r}, "rb") as file:
    key = serialization.load_pem_private_key(file.read(), None)
assert sys.argv[1:] == ["es256"]
found = key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256()))
if {raw}:
    found = b"".join(half.to_bytes(32) for half in utils.decode_dss_signature(found))
sys.stdout.buffer.write(found)
"""


def program(path, text, **told):
    path.write_text(text.format(python=sys.executable, **told))
    path.chmod(0o700)
    return path


@pytest.mark.parametrize("raw", [False, True])
def test_a_program_signs_by_a_key_that_stands_elsewhere(keys, plain, tmp_path, raw):
    signs = program(tmp_path / "signs", SIGNING, key=str(keys / KEY), raw=raw)
    identity = read_identity(keys / CHAIN, signs)
    assert (identity.key, identity.algorithm) == (b"", "es256")
    path = tmp_path / "signed.mp4"
    sign(plain, path, identity, Claim(path.name, "text_to_video"))
    found = read_manifest(path, read_anchors(keys / ROOT))
    assert (found.state, found.signer) == ("Trusted", "A lab")
    assert media_sha256(path) == media_sha256(plain)


def test_a_program_that_signs_nothing_or_by_another_key_is_refused_before_work(keys, tmp_path):
    make_identity(tmp_path / "other", "Another")
    other = program(tmp_path / "a", SIGNING, key=str(tmp_path / "other" / KEY), raw=False)
    with pytest.raises(Refusal, match="no signature by the key of the certificate"):
        read_identity(keys / CHAIN, other)
    for text, words in (
        ("#!/bin/sh\nexit 3\n", "it signed nothing"),
        ("#!/bin/sh\necho no module >&2; exit 1\n", "no module"),
        ("#!/bin/sh\ncat\n", "no signature by the key"),
        ("no program", "it signed nothing"),
    ):
        with pytest.raises(Refusal, match=words):
            read_identity(keys / CHAIN, program(tmp_path / "b", text))


CURVE = bytes.fromhex("06082a8648ce3d030107")  # P-256, as certificates name it
ISSUER = bytes.fromhex("06082a8648ce3d040302")  # ECDSA with SHA-256


@pytest.mark.parametrize("known", [CURVE, ISSUER])
def test_certificates_of_unknown_kinds_are_refused_or_taken_never_a_fault(keys, tmp_path, known):
    first = x509.load_pem_x509_certificates((keys / CHAIN).read_bytes())[0]
    odd = first.public_bytes(serialization.Encoding.DER).replace(known, known[:-1] + b"\x7d")
    made = x509.load_der_x509_certificate(odd)
    (tmp_path / "odd.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    if known is ISSUER:  # by whom it was signed is for its readers to tell
        assert read_identity(tmp_path / "odd.pem", keys / KEY).algorithm == "es256"
        return
    with pytest.raises(Refusal, match=r"odd.pem: the key .* of a kind that nobody here knows"):
        read_identity(tmp_path / "odd.pem", keys / KEY)


def test_hundred_clips_verify_after_writing(keys, plain, tmp_path):
    identity, anchors = read_identity(keys / CHAIN, keys / KEY), read_anchors(keys / ROOT)
    states = []
    for number in range(100):
        source = tmp_path / f"{number}.mp4"
        shutil.copy(plain, source)
        sign(source, tmp_path / "signed.mp4", identity, Claim(source.name, "text_to_video"))
        states.append(read_manifest(tmp_path / "signed.mp4", anchors).state)
        (tmp_path / "signed.mp4").unlink()
    assert states == ["Trusted"] * 100


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_signed_picture_is_the_same_picture_and_any_change_is_found(keys, tmp_path, kind):
    frame = np.random.default_rng(1).integers(0, 256, (1, 48, 48, 3), dtype=np.uint8)
    plain = write_clip(Clip(frame, 8.0), tmp_path / f"plain.{kind}", metadata={"prompt": "noise"})
    signed = tmp_path / f"signed.{kind}"
    sign(plain, signed, read_identity(keys / CHAIN, keys / KEY), Claim(signed.name, "a_job"))
    assert is_signed(signed)
    assert not is_signed(plain)
    assert media_sha256(signed) == media_sha256(plain) == sha256(plain)
    assert np.array_equal(read_clip(signed).frames, read_clip(plain).frames)
    assert signed.stat().st_size < plain.stat().st_size + 6_000  # without a second picture
    whole = signed.read_bytes()
    for place in range(len(whole) - plain.stat().st_size + 24, len(whole), 997):
        torn = bytearray(whole)
        torn[place] ^= 1
        signed.write_bytes(torn)
        assert read_manifest(signed).state == "Invalid", place
    signed.write_bytes(whole[:-7])
    assert read_manifest(signed).state == "Invalid"


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xeb", b"odd" * 9])
def test_what_is_no_picture_has_no_manifest(content, kind, tmp_path):
    path = tmp_path / f"odd.{kind}"
    path.write_bytes(content)
    assert read_manifest(path).state == "none"
    assert media_sha256(path) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("content", [b"", b"\0\0\0\1mdat", b"\0\0\0\0moov" * 3, b"\xff" * 40])
def test_what_is_no_clip_has_no_manifest(content, tmp_path):
    path = tmp_path / "odd.mp4"
    path.write_bytes(content)
    assert read_manifest(path).state == "none"
    assert media_sha256(path) == hashlib.sha256(content).hexdigest()


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def indexed(places, manifests=1):
    """A clip's skeleton: so many manifests, and an index of places."""
    count = len(places)
    content = box(b"stco", struct.pack(f">II{count}I", 0, count, *places))
    for kind in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        content = box(kind, content)
    return box(b"ftyp", b"isom0000") + box(b"uuid", MANIFEST) * manifests + content


def test_places_are_moved_by_the_manifests_before_them(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(indexed([7, 20, 90, 70000], manifests=2))  # at 16 and 40, 24 bytes each
    before = indexed([7, 0, 42, 69952], manifests=0)
    assert media_sha256(path) == hashlib.sha256(before).hexdigest()


def test_a_hostile_index_takes_neither_depth_nor_long(tmp_path):
    path, deep = tmp_path / "odd.mp4", b""
    for _ in range(2000):
        deep = box(b"moov", deep)
    path.write_bytes(box(b"ftyp", b"isom0000") + box(b"uuid", MANIFEST) + deep)
    assert media_sha256(path) == hashlib.sha256(box(b"ftyp", b"isom0000") + deep).hexdigest()
    path.write_bytes(indexed([2**31 - 1] * 500_000, manifests=9000))
    begun = time.process_time()
    media_sha256(path)
    assert time.process_time() - begun < 5  # each place against each manifest would take minutes
