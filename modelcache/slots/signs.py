"""What a text says by its signs, its case, its spaces and its rarer characters.

What is form is listed here: prose punctuation where prose puts it, quotes, width, typographic variants,
emoticons, and a decoration at either end. Every other sign speaks.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

from modelcache.language.characters import COMMON
from modelcache.language.tokens import ACCENTED, HAN

QUOTES = "\"'`“”‘’„«»‹›「」『』《》〈〉"
PUNCTUATION = frozenset(",.;:?!。、…·—–-~")
# These prose has or lacks as it likes; they speak where another sign stands in their place.
WEAK = frozenset("()[]{}【】<>/&*#$€£¥₹@_|°•●").union(PUNCTUATION) - frozenset("<>")
DROPPED = frozenset("™®©\ufffd")
# Nothing of a plain sentence is outside these, and punctuation stands where prose has it.
PLAIN = re.compile(
    r"\s*(?:[a-z0-9]+(?:'[a-z0-9]+)*[,.;:?!]*(?:\s+|\Z))*[?!.]*\s*\Z", re.IGNORECASE | re.ASCII
)
PLAIN_HAN = re.compile(rf"[{HAN}\u3040-\u30ff\uac00-\ud7a3a-zA-Z0-9\s，。；：？！、]*[?!.~]*\s*\Z")
PARTED_DIGITS = re.compile(r"[0-9]\s+[0-9](?![0-9]{2}\b)")
EMOTICON = re.compile(r"(?:(?<=[\s\w.,!?。，！？])|^)(?:[:;=]['-]?[)(DPp]+(?!\w)|[>^][_.oO]*[<^]|T_+T)")
SUPERSCRIPT = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u207f]+")
FRACTION = re.compile("(?P<digit>[0-9])?(?P<sign>[\u00bc-\u00be\u2150-\u215e])")
# Signs that NFKC would take for the letters and digits in them.
NO_LETTER = re.compile("[^a-z0-9]+")
ENCLOSED = re.compile("([\u2460-\u24ff\u2776-\u2793\u3200-\u33ff\U0001f100-\U0001f2ff])")
DATE = re.compile(r"(?<!\d)(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})(?!\d)")
BETWEEN_DIGITS = str.maketrans("×÷−⁄–—~", "*/-/---")
OPERATION = re.compile(r"(?<=[0-9])\s*[×÷−⁄–—~]\s*(?=[0-9])")
EMPHASIS = re.compile(r"(\*\*?|__?)(?=\S)([^*_\n]+?)(?<=\S)\1(?!\w)")
PIECE = re.compile(
    r"(?P<word>[^\W_]+)|(?P<sign>(?:[^\w\s]|_)+)|(?P<gap>(?<=[0-9])\s+(?=[0-9](?![0-9]{2}\b)))"
)
FLAG = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
ESCAPE = re.compile(r"\\[A-Za-z]")
QUOTED = re.compile(
    r"`([^`\n]+)`|\"([^\"\n]+)\"|“([^”\n]+)”|「([^」\n]+)」|『([^』\n]+)』|«([^»\n]+)»"
    r"|(?<![A-Za-z0-9])['‘]((?:[^'’\n]|(?<=[A-Za-z])['’](?=[A-Za-z]))+)['’](?![A-Za-z0-9])"
)
HAS_QUOTE = re.compile("[\"'`“‘「『«]")
# Where case speaks: behind a backslash, in a flag, in $NAME, before a bracket, in snake_case, in a formula.
CASED = re.compile(
    r"`[^`\n]+`|\\[A-Za-z]|(?<![\w-])-[A-Za-z]\b|\$[A-Za-z_]\w*|[A-Za-z]\w*(?=\()|[A-Za-z]+(?:_[A-Za-z]+)+"
    r"|(?<![^\W_])[A-Za-z](?=[\^=+*|]|\))|(?<=[\^=+*|(])[A-Za-z](?![^\W_])"
)
UNIT = re.compile(r"(?<![A-Za-z])[mkMKGT](?:i?[bB]|[bB]ps|W|Wh|Hz|V|A|J|eV|g|s|L|N|Pa|Ω)(?![A-Za-z])")
# Letters of these scripts a text in Latin letters or in Chinese is not written in.
FOREIGN = re.compile(
    rf"[^\W\d_a-zA-Z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff{HAN}\u3005\u3040-\u30ff\uac00-\ud7a3]"
)
LONE_ACCENTED = re.compile("(?<![^\\W_])[\u00c0-\u024f](?![^\\W_])")


@dataclass(frozen=True, slots=True)
class Signs:
    """What a text says beside its words."""

    letters: str
    """Its letters and digits in a row, case folded."""
    at: dict[int, str] = field(default_factory=dict)
    """Signs by how many letters stand before them."""
    strong: Counter[str] = field(default_factory=Counter)
    """Those that speak wherever they stand, flags and escapes among them."""
    cased: dict[int, str] = field(default_factory=dict)
    """Letters whose case speaks, by place."""
    units: frozenset[str] = frozenset()
    quoted: frozenset[str] = frozenset()
    unquoted: str = ""
    """The text without what is quoted."""
    lines: tuple[int, ...] = ()
    """How deep each line is indented, in steps; empty where none is."""
    parts: tuple[str, ...] = ()
    """The parts of a command, which space divides."""
    characters: frozenset[str] = frozenset()
    """Those that hardly a text has."""


def signs_of(text: str) -> Signs:
    """Read a text's signs."""
    plain = PLAIN.match(text)
    if (plain or PLAIN_HAN.match(text)) and not PARTED_DIGITS.search(text):
        return Signs(
            _letters(text if plain else unicodedata.normalize("NFKC", text)),
            units=frozenset() if text.isupper() else frozenset(UNIT.findall(text)),
            lines=_lines(text),
            characters=frozenset() if plain else _characters(text),
        )
    folded = _folded(text)
    letters, at, strong = _scanned(folded)
    quoted, unquoted = _quoted(text)
    flags = FLAG.findall(folded)
    return Signs(
        letters=letters,
        at=at,
        strong=Counter([*strong, *flags, *ESCAPE.findall(folded)]),
        cased={} if text.isupper() else _cased(folded),
        units=frozenset() if text.isupper() else frozenset(UNIT.findall(text)),
        quoted=quoted,
        unquoted=unquoted,
        lines=_lines(text),
        parts=tuple(folded.lower().rstrip(" ?.!").split()) if flags else (),
        characters=_characters(folded),
    )


def _folded(text: str) -> str:
    """Fold width and typography; what is raised stays so, and so do signs that hold letters."""
    text = SUPERSCRIPT.sub(lambda found: "^" + unicodedata.normalize("NFKC", found[0]), text)
    text = FRACTION.sub(
        lambda found: (
            (found["digit"] + " " if found["digit"] else "") + unicodedata.normalize("NFKC", found["sign"])
        ),
        text,
    )
    parts = ENCLOSED.split(text)
    parts[::2] = [unicodedata.normalize("NFKC", part) for part in parts[::2]]
    text = EMOTICON.sub(" ", EMPHASIS.sub(r"\2", "".join(parts)))
    text = DATE.sub(r"\1 \2 \3", text)
    return OPERATION.sub(lambda found: found[0].translate(BETWEEN_DIGITS), text)


def _letters(text: str) -> str:
    """Return letters and digits in a row, without case and accents."""
    if text.isascii():
        return NO_LETTER.sub("", text.lower())
    if ACCENTED.search(text):
        text = unicodedata.normalize("NFD", text)
    return "".join([char for char in text.lower() if char.isalnum()])


def _scanned(folded: str) -> tuple[str, dict[int, str], list[str]]:
    """Return the letters, the signs by place, and the strong ones among them."""
    words: list[str] = []
    at: dict[int, str] = {}
    strong: list[str] = []
    place = 0
    for piece in PIECE.finditer(folded):
        if piece.lastgroup == "word":
            words.append(_letters(piece[0]))
            place += len(words[-1])
            continue
        run = _speaking(folded, piece.start(), piece.end()) if piece.lastgroup == "sign" else " "
        if not run:
            continue
        if _is_strong(folded, run, piece):
            at[place] = at.get(place, "") + run + STRONG
            strong.append(run)
        else:
            at[place] = at.get(place, "") + run
    return "".join(words), at, strong


# Behind a strong sign.
STRONG = "\0"
FINAL = ("?", "!", ".", "。")


def _speaking(text: str, start: int, end: int) -> str:
    """Return what of a run of signs is no form, "" for nothing."""
    run = "".join(
        [
            char
            for char in text[start:end]
            if char not in QUOTES and char not in DROPPED and (char.isascii() or not _is_mark(char))
        ]
    )
    before = start > 0 and not text[start - 1].isspace()
    behind = end < len(text) and not text[end].isspace()
    last = not text[end:].strip()
    if not run or PUNCTUATION.issuperset(run):
        if last or (before and not behind):
            return ""
        if before and not (_is_latin(text[start - 1]) and behind and _is_latin(text[end])):
            return run if run in "-−" and behind and text[end].isdigit() else ""
        return run
    if last and (run[0] in FINAL or (not before and text[:start].rstrip().endswith(FINAL))):
        # A decoration behind the sentence.
        return ""
    if (before or last) and not (behind and _is_latin(text[end])):
        return run.rstrip(",.;:?!。、…")
    return run.lstrip(",;") if before else run


def _is_mark(char: str) -> bool:
    """Tell vowel signs and invisible characters, which are part of the character before."""
    return unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf", "Cc")


def _is_latin(char: str) -> bool:
    return char.isascii() and char.isalnum()


def _is_strong(text: str, run: str, piece: re.Match[str]) -> bool:
    """Tell a sign that speaks though the other text has none in its place."""
    start, end = piece.span()
    before, behind = text[start - 1 : start], text[end : end + 1]
    if run in "-−":
        # -4, but neither 3-4 nor well-known.
        return behind.isdigit() and not _is_latin(before)
    if run == "#" or run in "*":
        return (run == "#" and before.isalpha() and not behind.isalnum()) or (
            before.isdigit() and behind.isdigit()
        )
    if WEAK.issuperset(run):
        return False
    decoration = all(unicodedata.category(char) in ("So", "Sk", "Cn", "Co") for char in run)
    ends = not text[end:].strip() or not text[:start].strip()
    return not (decoration and ends)


def _quoted(text: str) -> tuple[frozenset[str], str]:
    """Return what stands in quotes, and the rest of the text."""
    if not HAS_QUOTE.search(text):
        return frozenset(), text.lower()
    found = set()
    for match in QUOTED.finditer(text):
        quoted = match[match.lastindex or 0]
        bare = quoted.strip().strip(",.;:?!，。；：？！、…")
        found.add((bare if match.lastindex == 1 else bare.lower()) or quoted)
    return frozenset(found), QUOTED.sub(" ", text).lower()


def _cased(folded: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for match in CASED.finditer(folded):
        place = len(_letters(folded[: match.start()]))
        for char in match[0]:
            if char.isalnum():
                found[place] = char
                place += 1
    return found


def _lines(text: str) -> tuple[int, ...]:
    """Return the depth of each line, 0 the least."""
    if "\n" not in text:
        return ()
    lines = [line.expandtabs(4) for line in text.splitlines() if line.strip()]
    depths = [len(line) - len(line.lstrip()) for line in lines]
    steps = sorted(set(depths))
    return tuple(map(steps.index, depths)) if len(lines) > 1 else ()


def _characters(text: str) -> frozenset[str]:
    """Return characters out of common use, and letters of a script that the text is not written in."""
    foreign = FOREIGN.findall(text)
    if foreign and len(foreign) * 2 > sum(map(str.isalpha, text)):
        foreign = []
    rare = [char for char in set(text) - COMMON if _is_han(char)]
    return frozenset([*foreign, *rare, *LONE_ACCENTED.findall(text)])


def _is_han(char: str) -> bool:
    return "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or char >= "\U00020000"
