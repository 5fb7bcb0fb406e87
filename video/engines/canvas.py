"""A clip of which some pixels are given: what extends, fills and changes clips begins from."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Canvas:
    """Frames to be made, with those pixels that are there already.

    Attributes:
        frames: (T, H, W, 3) of uint8; what is not given is anything.
        given: (T, H, W) which pixels are kept bit for bit.
        strength: Of an edit, above 0 and at most 1: how far from ``frames`` the others may go; 0
            where they are drawn anew.
    """

    frames: NDArray[np.uint8]
    given: NDArray[np.bool_]
    strength: float = 0.0

    @property
    def whole(self) -> list[int]:
        """Frames that are given whole."""
        return np.flatnonzero(self.given.all((1, 2))).tolist()

    @property
    def touched(self) -> list[int]:
        """Frames of which something is given."""
        return np.flatnonzero(self.given.any((1, 2))).tolist()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that is given."""
        digest = hashlib.sha256(f"{self.frames.shape} {self.strength}".encode())
        for part in (self.frames, self.given):
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()

    def paste(self, drawn: NDArray[np.uint8]) -> dict[str, Any]:
        """Put the given pixels in their places; how far the drawn ones were from them.

        Args:
            drawn: (T, H, W, 3), changed.
        """
        if not self.given.any():
            return {}
        kept, found = self.frames[self.given], drawn[self.given]
        off = float(np.abs(found.astype(np.int16) - kept).mean())
        drawn[self.given] = kept
        share = float(self.given.mean())
        return {
            "given_pixels": {
                "kept_bit_for_bit": "before encoding",
                "share": round(share, 4),
                "drawn_off_by": round(off, 2),
            }
        }

    def changed_by_encoding(self, seen: NDArray[np.uint8]) -> dict[str, Any]:
        """What encoding did to given pixels: PSNR in dB, and the largest change in 8-bit steps.

        Args:
            seen: (T, H, W, 3) as read back from the file.
        """
        if not self.given.any():
            return {}
        error = seen[self.given].astype(np.int16) - self.frames[self.given]
        power = float(np.square(error, dtype=np.float64).mean())
        told: dict[str, Any] = {"largest_change": int(np.abs(error).max())}
        if power:
            told["psnr_db"] = round(10 * float(np.log10(255**2 / power)), 2)
        return {"given_pixels_after_encoding": told}
