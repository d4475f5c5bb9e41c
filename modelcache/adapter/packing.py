"""Bodies that the client has packed."""

import zlib

from modelcache.errors import BodyError

PACKINGS = ("gzip", "deflate")
# zlib's names for what is around the packed bytes: gzip's header, its own, none. "deflate" is the second, but
# some clients send the third.
GZIP, ZLIB, RAW = 31, 15, -15


def unpacked(body: bytes, packing: str, most: int) -> bytes | None:
    """Return what a body holds that is packed as one of ``PACKINGS``; None where that is over ``most`` bytes.

    No more than that is ever unpacked. BodyError where it is not packed so.
    """
    kinds = (GZIP,) if packing == "gzip" else (ZLIB, RAW)
    for kind in kinds:
        unpacking = zlib.decompressobj(kind)
        try:
            data = unpacking.decompress(body, most + 1)
        except zlib.error:
            continue
        if len(data) > most:
            return None
        if unpacking.eof and not unpacking.unused_data:
            return data
    raise BodyError(f"the body is not packed as {packing}")
