"""Random damage in what people bring, and what comes of it."""

import re

from core.refusal import Refusal


def damaged(draw, content, header=None):
    """The bytes with a few of them changed, cut off, taken out or put in.

    Args:
        draw: What is random.
        content: The bytes.
        header: Up to here most of the damage is done; by default anywhere.
    """
    found = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        found = found or bytearray(b"?")
        near = header and draw.random() < 0.8
        place = draw.randrange(min(len(found), header) if near else len(found))
        length = draw.choice([1, 1, 2, 4, 8, 64])
        kind = draw.random()
        if kind < 0.5:
            found[place : place + length] = draw.randbytes(len(found[place : place + length]))
        elif kind < 0.7:
            found[place] ^= 1 << draw.randrange(8)
        elif kind < 0.8:
            found[place : place + length] = draw.choice([b"\0", b"\xff", b"\x7f"]) * length
        elif kind < 0.87:
            del found[place : place + length]
        elif kind < 0.94:
            found[place:place] = draw.randbytes(length)
        else:
            del found[max(1, place) :]
    return bytes(found)


def outcome(work):
    """What comes of it, and what a refusal said; empty where there is none."""
    try:
        return work(), ""
    except Refusal as error:
        return None, str(error)


def check_sentence(said, name):
    assert name in said
    assert "\n" not in said
    assert re.search(r": .+[.;]", said), said
