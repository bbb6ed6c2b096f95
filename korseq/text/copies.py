"""What goes from a source into its target as it is: markup, code, addresses.

Of each source, cleaned, the strings that match a pattern are numbered, equal ones alike, and each is read as a single character
that no text has, and written as that one (placeholders, as in Crego et al. 2016; of a kin, Luong et al. 2015, "Addressing the
rare word problem"). What the network sees is which of them stands where; its letters come from the source in the end, every one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from korseq.text.alignment import Analysis
from korseq.text.clean import CleanText, clean
from korseq.text.tokenizers import Tokenizer, digest

SLOTS = tuple(map(chr, range(0xE000, 0xE010)))
"""What stands for the copied strings of a source, in their order: characters for private use. Further strings are not copied."""

_NO_CONTENT = dict.fromkeys(map(ord, SLOTS), "")
_UNREADABLE = dict.fromkeys(map(ord, SLOTS), "\ufffd")


@dataclass(frozen=True)
class Masked:
    """A source without what is copied of it.

    Attributes:
        source: Cleaned.
        text: With slots in the place of the copied strings.
        slots: The copied strings, and the slot of each.
    """

    source: CleanText
    text: str
    slots: Mapping[str, str]
    _pattern: re.Pattern[str]
    _slot_ends: Sequence[int]  # in `text`
    _shifts: Sequence[int]  # how much further a place is in the cleaned source: before the first slot, and after each

    def target(self, text: str) -> str:
        """A cleaned target, in which what matches, and stands in the source as a match, too, is written as its slot."""
        return self._pattern.sub(lambda match: self.slots.get(match[0]) or match[0].translate(_NO_CONTENT), text)

    def restored(self, text: str) -> str:
        """A target whose slots are what they stand for; one that stands for nothing is left out."""
        return text.translate(_NO_CONTENT | {ord(slot): content for content, slot in self.slots.items()})

    def analysis(self, analysis: Analysis) -> Analysis:
        """That of `text`, as one of the source as it was given."""
        spans = zip(map(self._place, analysis.starts), map(self._place, analysis.ends), strict=True)
        starts, ends = (
            zip(*(self.source.to_source(*span) for span in spans), strict=True) if len(analysis) else ((), ())
        )
        return replace(analysis, text=self.source.source, starts=starts, ends=ends)

    def _place(self, place: int) -> int:
        return place + self._shifts[bisect_right(self._slot_ends, place)]


def masked(source: str, pattern: str) -> Masked:
    """A source in which what matches is replaced by slots."""
    compiled, cleaned = _compiled(pattern), clean(source)
    text = cleaned.text
    slots: dict[str, str] = {}
    parts: list[str] = []
    slot_ends, shifts = [], [0]
    end = 0
    for match in compiled.finditer(text):
        content = match[0]
        if not content:
            continue
        parts.append(text[end : match.start()])
        end = match.end()
        if content not in slots and len(slots) == len(SLOTS):
            parts.append(content.translate(_UNREADABLE))
            continue
        parts.append(slots.setdefault(content, SLOTS[min(len(slots), len(SLOTS) - 1)]))
        slot_ends.append(match.start() - shifts[-1] + 1)
        shifts.append(end - slot_ends[-1])
    return Masked(cleaned, "".join((*parts, text[end:])), slots, compiled, slot_ends, shifts)


def check_pattern(pattern: str) -> None:
    """Raises:
    re.error: If it cannot be used.
    """
    _compiled(pattern)


@lru_cache(maxsize=8)
def _compiled(pattern: str) -> re.Pattern[str]:
    """The slots' own characters, should a text have them, are copied, too."""
    return re.compile(f"(?:{pattern})|[{SLOTS[0]}-{SLOTS[-1]}]")


class MaskingTokenizer(Tokenizer):
    """Reads texts as another tokenizer does, with slots in the place of what is copied of them."""

    def __init__(self, tokenizer: Tokenizer, pattern: str) -> None:
        self.tokenizer, self.pattern = tokenizer, pattern

    def stream(self, texts: Iterable[str], max_characters: int | None = None) -> Iterator[Analysis]:
        waiting: deque[Masked] = deque()

        def masks() -> Iterator[str]:
            for text in texts:
                waiting.append(masked(text, self.pattern))
                yield waiting[-1].text

        for analysis in self.tokenizer.stream(masks(), max_characters):
            yield waiting.popleft().analysis(analysis)

    def fingerprint(self) -> str:
        return digest([self.tokenizer.fingerprint(), self.pattern])
