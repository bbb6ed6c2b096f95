"""spaCy over a corpus: Kiwi's morphemes as tokens, its standard text classifier, JSON lines out.

    python spacy_corpus.py rows.tsv out.jsonl PROCESSES

The classifier (spaCy's default for `textcat`) is initialised on the first 2,000 texts, and not trained: it is timed, not
scored. Prints the seconds from the first text to the last line, with the start of its processes, without that of this one.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import spacy
from kiwipiepy import Kiwi
from spacy.tokens import Doc
from spacy.training import Example

_KIWI: list[Kiwi] = []


class Morphemes:
    """Texts → documents. Every process loads a Kiwi of its own."""

    def __init__(self, vocab: spacy.Vocab) -> None:
        self.vocab = vocab

    def __call__(self, text: str) -> Doc:
        if not _KIWI:
            _KIWI.append(Kiwi(num_workers=1))
        return Doc(self.vocab, words=[f"{t.form}/{t.tag}" for t in _KIWI[0].tokenize(text)] or ["-"])

    def to_bytes(self, **_: object) -> bytes:
        return b""

    def from_bytes(self, data: bytes, **_: object) -> "Morphemes":
        return self


def rows(path: str) -> Iterator[tuple[str, str]]:
    with Path(path).open(encoding="utf-8") as file:
        next(file)
        for line in file:
            number, text = line.rstrip("\n").split("\t")
            yield text, number


def main() -> None:
    source, out, processes = sys.argv[1], sys.argv[2], int(sys.argv[3])
    nlp = spacy.blank("xx")
    nlp.tokenizer = Morphemes(nlp.vocab)
    classifier = nlp.add_pipe("textcat")
    for label in ("0", "1"):
        classifier.add_label(label)
    texts = [text for text, _ in zip((t for t, _ in rows(source)), range(2000), strict=False)]
    nlp.initialize(
        lambda: [
            Example.from_dict(nlp.make_doc(t), {"cats": {"0": i % 2, "1": 1 - i % 2}}) for i, t in enumerate(texts)
        ]
    )
    began = time.perf_counter()
    count = 0
    with Path(out).open("w", encoding="utf-8") as file:
        for doc, number in nlp.pipe(rows(source), as_tuples=True, batch_size=1000, n_process=processes):
            label = max(doc.cats, key=doc.cats.get)
            line = {"id": number, "label": label, "score": doc.cats[label], "scores": doc.cats}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    print(count, time.perf_counter() - began)


if __name__ == "__main__":
    main()
