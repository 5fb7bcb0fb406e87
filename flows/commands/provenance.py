"""``lamina provenance``: the root and the certificate that clips are signed with."""

from core.refusal import Refusal
from flows.settings.settings import read_settings


def init(*, name: str = "Lamina") -> None:
    """Make a root and a certificate that this machine's clips are signed with.

    They go into the state folder, the keys readable by their owner alone. Nothing is asked of a
    network. The first clip does the same where there are none.

    Args:
        name: Whom they name; whoever looks at a clip reads it.
    """
    from flows.jobs.signing import keys_folder, make_keys

    settings = read_settings()
    folder = keys_folder(settings)
    if not make_keys(settings, name):
        raise Refusal(
            f"{folder} stands already: clips that were signed with its certificate are trusted by "
            "its root, so it is never replaced; keep it, or move it away and run this again."
        )
    from video.provenance.certificates import CHAIN, ROOT, fingerprint

    print(folder / ROOT)
    print(f"  give it to whoever shall trust your clips; SHA-256 {fingerprint(folder / ROOT)}")
    print(folder / CHAIN)
