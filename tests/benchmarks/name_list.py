"""Make the list of names that comes with korseq out of mecab-ko-dic: korseq/text/names.txt.xz.

    pip download --no-deps python-mecab-ko-dic==2.1.1.post2 && unzip python_mecab_ko_dic-*.whl
    python tests/benchmarks/name_list.py mecab_ko_dic/dictionary/sys.dic korseq/text/names.txt.xz

A word of that dictionary has one or more readings: a part of speech, a class of meaning, and a cost (the logarithm of how rare
it is). Proper nouns are names, and so are the common nouns of the class 장소 (a kind of building). A line of the list has the
kinds of reading that its names have, a letter each in alphabetical order (P person, L place, F facility, O other), then the
names. The letter is small where a reading as another word costs less: 이후 (p) is seldom anybody's name.
"""

from __future__ import annotations

import argparse
import lzma
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

KINDS = {"인명": "P", "지명": "L", "장소": "F"}
_HEADER = 72
_TOKEN = struct.Struct("<HHHhII")  # both contexts, part of speech, cost, where the feature begins, compound
_WORD = re.compile("[가-힣]{2,}")


def readings(dictionary: bytes) -> Iterator[tuple[str, str, int]]:
    """Word, kind ("" for what is no name) and cost of every entry of a compiled MeCab dictionary."""
    trie, tokens = struct.unpack_from("<2I", dictionary, 24)  # their sizes in bytes
    features = dictionary[_HEADER + trie + tokens :]
    for *_, cost, start, _ in _TOKEN.iter_unpack(dictionary[_HEADER + trie : _HEADER + trie + tokens]):
        tag, meaning, _, word = features[start : features.index(b"\0", start)].decode().split(",")[:4]
        is_name = tag == "NNP" or (tag == "NNG" and meaning == "장소")
        yield word, KINDS.get(meaning, "O") if is_name else "", cost


def names(dictionary: bytes) -> dict[str, list[str]]:
    """Kinds → the names of these kinds."""
    costs: dict[str, dict[str, int]] = defaultdict(dict)
    for word, kind, cost in readings(dictionary):
        if _WORD.fullmatch(word):
            costs[word][kind] = min(cost, costs[word].get(kind, cost))
    found = defaultdict(list)
    for word, of_kind in sorted(costs.items()):
        other = of_kind.pop("", None)
        if of_kind:
            common = (kind if other is None or cost <= other else kind.lower() for kind, cost in of_kind.items())
            found["".join(sorted(common))].append(word)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dictionary", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"{kinds} {' '.join(words)}\n" for kinds, words in sorted(names(arguments.dictionary.read_bytes()).items())
    ]
    arguments.out.write_bytes(lzma.compress("".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main()
