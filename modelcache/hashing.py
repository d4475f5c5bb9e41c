"""One way to hash what users name, so that no name ever becomes an identifier."""

import hashlib
import json

DIGEST_BYTES = 20
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def digest(*parts: object) -> str:
    """Hash JSON-compatible values into 40 hex digits; different parts give different digests.

    The parts are hashed as one JSON list with sorted keys, so that no choice of separators inside
    a part can imitate another list.
    """
    text = _ENCODER.encode(parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
