"""Chinese characters by use: those of everyday, and those of one of the two ways to write."""


def _listed(codec: str, leads: range) -> frozenset[str]:
    """Return the characters of a national standard whose code begins so."""
    found = {bytes((lead, trail)).decode(codec, "ignore") for lead in leads for trail in range(0x40, 0xFF)}
    return frozenset(char for char in found if len(char) == 1)


_SIMPLIFIED = _listed("gb2312", range(0xB0, 0xF8))
_TRADITIONAL = _listed("big5", range(0xA4, 0xFA))
# The first levels of both standards.
COMMON = _listed("gb2312", range(0xB0, 0xD8)) | _listed("big5", range(0xA4, 0xC7))
ONLY_SIMPLIFIED = _SIMPLIFIED - _TRADITIONAL
ONLY_TRADITIONAL = _TRADITIONAL - _SIMPLIFIED
