"""Keys and certificates that clips are signed with: the only door to cryptography.

A root that signs a leaf, and the leaf signs clips: a single certificate that signs itself is
refused by readers of C2PA. Both are made here for who has none, or read from the operator's files.
"""

import os
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.refusal import Refusal
from video.provenance.programs import answer_of, is_program

ROOT, ROOT_KEY, CHAIN, KEY = "root.pem", "root.key", "certificate.pem", "certificate.key"
VALID_DAYS = 3650
PEM = serialization.Encoding.PEM
_CURVED = (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
HASHES = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}


@dataclass(frozen=True)
class Identity:
    """Who signs.

    >>> Identity("", b"", "es256", "Lamina").name
    'Lamina'

    Attributes:
        chain: Certificates in PEM, the one that signs first.
        key: Its private key in PEM.
        algorithm: By which it signs, in C2PA's words.
        name: Whom the certificate names.
        program: That signs in place of a key that stands here; None for the key.
    """

    chain: str
    key: bytes
    algorithm: str
    name: str
    program: Path | None = None

    def sign(self, data: bytes) -> bytes:
        """The program's signature, as C2PA has it: of curves both numbers, one after the other.

        Raises:
            Refusal: It gave none, or one by another key than the certificate's.
        """
        assert self.program is not None
        found = answer_of(self.program, self.algorithm, data)
        try:
            leaf = x509.load_pem_x509_certificates(self.chain.encode())[0]
            return _checked(leaf.public_key(), found, data)
        except (InvalidSignature, ValueError) as error:
            raise Refusal(
                f"{self.program}: what it wrote is no signature by the key of the certificate "
                f"({type(error).__name__}): called with {self.algorithm} it signs what it reads; "
                "look after it, or name the certificate of its key."
            ) from error


def make_identity(folder: Path, name: str) -> bool:
    """Make a root and a leaf in a folder; whether they were made, not so if some stand there.

    The folder appears whole, so that of two processes one makes it and both then read it.

    Args:
        folder: Where; its files of keys can be read by their owner alone.
        name: Whom the certificates name.

    Raises:
        Refusal: The name is none.
    """
    if not 0 < len(name.strip()) <= 48:
        raise Refusal(
            f"name={name!r}: a certificate names who signs in 1 to 48 characters; give such a "
            "name."
        )
    if folder.exists():
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}-{secrets.token_hex(6)}")
    draft.mkdir(mode=0o700)
    try:
        for file, content in _made(name.strip()).items():
            secret = file.endswith(".key")
            way = os.open(draft / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(way, "wb") as open_file:
                open_file.write(content)
                open_file.flush()
                os.fsync(open_file.fileno())
            (draft / file).chmod(0o600 if secret else 0o644)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.exists():
                raise
            return False  # another process was first
        return True
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_identity(chain: Path, key: Path) -> Identity:
    """Who signs, by files in PEM.

    Args:
        chain: Certificates, the one that signs first.
        key: Its private key, without a password; or a program that signs by a key elsewhere:
            called with the algorithm, it reads what to sign and writes the signature.

    Raises:
        Refusal: They are not what they should be, do not belong together, or are out of date.
    """
    certificates = _certificates(chain)
    leaf = certificates[0]
    public, secret = _public(chain, leaf), None if is_program(key) else _key(key)
    if secret is not None and public != secret.public_key():
        raise Refusal(
            f"{key}: it is not the key of the first certificate in {chain}: the key that signs "
            "belongs to the first certificate; name files that belong together."
        )
    _refuse_self_signed(chain, leaf)
    now = datetime.now(UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise Refusal(
            f"{chain}: the certificate holds from {leaf.not_valid_before_utc:%Y-%m-%d} to "
            f"{leaf.not_valid_after_utc:%Y-%m-%d}, and today is {now:%Y-%m-%d}: clips are signed "
            "while it holds; name a new one, or move the folder away to have one made."
        )
    text = b"".join(one.public_bytes(PEM) for one in certificates if one.issuer != one.subject)
    if secret is None:
        identity = Identity(text.decode(), b"", _algorithm(chain, public), subject_of(leaf), key)
        identity.sign(secrets.token_bytes(32))  # it can, and by the key of this certificate
        return identity
    return Identity(text.decode(), _secret(secret), _algorithm(key, secret), subject_of(leaf))


def read_anchors(path: Path) -> str:
    """The certificates of a file of roots that are trusted, in PEM.

    Raises:
        Refusal: It holds none.
    """
    return b"".join(one.public_bytes(PEM) for one in _certificates(path)).decode()


def fingerprint(path: Path) -> str:
    """The SHA-256 of the first certificate in a file, by which people compare it."""
    return _certificates(path)[0].fingerprint(hashes.SHA256()).hex()


def subject_of(certificate: x509.Certificate) -> str:
    """Whom a certificate names."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else certificate.subject.rfc4514_string()


def _made(name: str) -> dict[str, bytes]:
    root_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    root_name, leaf_name = _named(f"{name} root", name), _named(name, name)
    root = (
        _begun(root_name, root_name, root_key)
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(_usage(signs_certificates=True), True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _begun(leaf_name, root_name, key)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(_usage(signs_certificates=False), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False
        )
        .sign(root_key, hashes.SHA256())
    )
    chain = leaf.public_bytes(PEM) + root.public_bytes(PEM)
    return {
        ROOT: root.public_bytes(PEM), ROOT_KEY: _secret(root_key), CHAIN: chain, KEY: _secret(key)
    }  # fmt: skip


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates,
        crl_sign=signs_certificates, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _named(common: str, organization: str) -> x509.Name:
    told = {NameOID.COMMON_NAME: common, NameOID.ORGANIZATION_NAME: organization}
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in told.items()])


def _secret(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Refusal(
            f"{path}: no certificate can be read from it ({_reason(error)}): it holds "
            "certificates in PEM, -----BEGIN CERTIFICATE----- and so on; name such a file."
        ) from error


def _key(path: Path) -> "ec.EllipticCurvePrivateKey":
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Refusal(
            f"{path}: no private key can be read from it ({_reason(error)}): it holds one key in "
            "PEM without a password; name such a file, which its owner alone may read."
        ) from error
    return found  # pyright: ignore[reportReturnType]  # its kind is looked at by _algorithm


def _public(path: Path, leaf: x509.Certificate) -> object:
    try:
        return leaf.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refusal(
            f"{path}: the key in its first certificate is of a kind that nobody here knows "
            f"({type(error).__name__}): clips are signed by P-256, P-384, P-521, Ed25519 or RSA; "
            "name a certificate of such a key."
        ) from error


def _checked(public: object, found: bytes, data: bytes) -> bytes:
    """A signature that was held against the key, in C2PA's form."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        width = (public.curve.key_size + 7) // 8
        halves = (int.from_bytes(half) for half in (found[:width], found[width:]))
        r, s = halves if len(found) == 2 * width else utils.decode_dss_signature(found)
        public.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(HASHES[public.curve.name]))
        return r.to_bytes(width) + s.to_bytes(width)
    if isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(found, data)
    elif isinstance(public, rsa.RSAPublicKey):
        salted = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
        public.verify(found, data, salted, hashes.SHA256())
    return found


def _algorithm(path: Path, key: object) -> str:
    if isinstance(key, _CURVED) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) and key.key_size >= 2048:
        return "ps256"
    raise Refusal(
        f"{path}: C2PA knows no signature by such a key: it is of P-256, P-384, P-521, Ed25519, "
        "or RSA of at least 2048 bits; make one of these."
    )


def _refuse_self_signed(path: Path, leaf: x509.Certificate) -> None:
    try:
        leaf.verify_directly_issued_by(leaf)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return
    raise Refusal(
        f"{path}: the first certificate signs itself: readers of C2PA want a root that signs the "
        "one that signs clips; name a chain, or use lamina provenance init."
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", "") or type(error).__name__
