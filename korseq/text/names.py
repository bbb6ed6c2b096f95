"""Names that are known beforehand: 385,000 of people, places and other things, spelt in Hangul.

The list, `names.txt.xz`, is made of mecab-ko-dic 2.1.1 (Yongwoon Lee and Yungho Yu, the Eunjeon project; Apache-2.0) by
tests/benchmarks/name_list.py, which says how. Pipelines that are saved have learnt from this very list: another one would have to
be another feature.
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from korseq.text.alignment import Analysis

_FILE = Path(__file__).with_name("names.txt.xz")
_LONGEST = 17
# Kiwi rarely makes more of a name.
_MOST_TOKENS = 5
# What a token is cut to, to look for a name that something unknown is attached to: shorter beginnings are names by chance.
_SHORTEST_BEGINNING = 3


@lru_cache(maxsize=1)
def known_names() -> Mapping[str, str]:
    """Name → its kinds, a letter each: P person, L place, F facility, O other; small if it is more often another word.

    The first call takes 0.4 s.
    """
    found: dict[str, str] = {}
    for line in lzma.decompress(_FILE.read_bytes()).decode().splitlines():
        kinds, *names = line.split(" ")
        found.update(dict.fromkeys(names, kinds))
    return found


def name_marks(analysis: Analysis) -> Sequence[str]:
    """What the list knows of each token, as in (Chiu and Nichols 2016): the longest name that begins there and ends with a token.

    A mark has the token's place in the name (B beginning, I inside, E end, S alone), the name's kinds and its length, 4 for all
    longer ones: 김원/NNP 형/NNG → BP3 EP3. A token that begins with a name, followed by what the analyzer knew no better than to
    leave there, has X and the kinds: 윤진희도/NNP → XP. All others have O.
    """
    names = known_names()
    forms, starts, ends = analysis.forms, analysis.starts, analysis.ends
    count = len(forms)
    marks: list[str] = []
    first = 0
    while first < count:
        name = forms[first]
        last, kinds, length = first, names.get(name), len(name)
        i = first + 1
        while i < count and starts[i] == ends[i - 1] and i < first + _MOST_TOKENS and len(name) <= _LONGEST:
            name += forms[i]
            found = names.get(name)
            if found is not None:
                last, kinds, length = i, found, len(name)
            i += 1
        if kinds is None:
            marks.append(_beginning(forms[first], names))
        else:
            mark = f"{kinds}{min(length, 4)}"
            marks += ["S" + mark] if last == first else ["B" + mark, *["I" + mark] * (last - first - 1), "E" + mark]
        first = last + 1
    return marks


def _beginning(form: str, names: Mapping[str, str]) -> str:
    for length in range(min(len(form) - 1, _LONGEST), _SHORTEST_BEGINNING - 1, -1):
        if form[:length] in names:
            return f"X{names[form[:length]]}"
    return "O"
