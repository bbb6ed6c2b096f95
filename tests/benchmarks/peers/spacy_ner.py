"""spaCy's own named-entity recogniser, trained on tokenized examples; run by `ner_peer.py` with another interpreter.

    python spacy_ner.py FOLDER MAX_STEPS

The folder has `train.jsonl`, `dev.jsonl` and `test.jsonl`: `{"text", "tokens": [[start, end], …], "entities": [[start, end,
label], …]}`. Trained with the configuration that `spacy init config -l xx -p ner` writes and `spacy train`, as its
documentation recommends. Prints one JSON object: predictions on the test file, and seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import spacy
from spacy.tokens import Doc, DocBin


def main(folder: Path, max_steps: str) -> None:
    nlp = spacy.blank("xx")
    for part in ("train", "dev", "test"):
        DocBin(docs=[document(nlp, line) for line in lines(folder / f"{part}.jsonl")]).to_disk(folder / f"{part}.spacy")
    run = [sys.executable, "-m", "spacy"]
    subprocess.run(
        [*run, "init", "config", str(folder / "config.cfg"), "-l", "xx", "-p", "ner", "--force"],
        check=True,
        stdout=sys.stderr,
    )
    began = time.perf_counter()
    options = {
        "--paths.train": str(folder / "train.spacy"),
        "--paths.dev": str(folder / "dev.spacy"),
        "--training.max_steps": max_steps,
        # Otherwise spaCy cuts the texts into words again with its own tokenizer, and knows no morphemes.
        "--corpora.train.gold_preproc": "true",
        "--corpora.dev.gold_preproc": "true",
    }
    changes = [argument for option in options.items() for argument in option]
    subprocess.run(
        [*run, "train", str(folder / "config.cfg"), "--output", str(folder / "model"), *changes],
        check=True,
        stdout=sys.stderr,
    )
    training = time.perf_counter() - began
    trained = spacy.load(folder / "model" / "model-best")
    documents = [document(nlp, line) for line in lines(folder / "test.jsonl")]
    for doc in documents:
        doc.ents = ()
    began = time.perf_counter()
    answers = list(trained.pipe(documents))
    seconds = time.perf_counter() - began
    spans = [[[e.start_char, e.end_char, e.label_] for e in doc.ents] for doc in answers]
    print(json.dumps({"version": spacy.__version__, "spans": spans, "training": training, "prediction": seconds}))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def document(nlp: spacy.Language, line: dict) -> Doc:
    """The text as spaCy's tokens; what stands between two tokens, other than one space, is a token too."""
    text, words, spaces = line["text"], [], []
    place = 0
    for start, end in [*line["tokens"], [len(text), len(text)]]:
        gap = text[place:start]
        if gap.startswith(" ") and words:
            spaces[-1], gap = True, gap[1:]
        if gap:
            words.append(gap)
            spaces.append(False)
        if start < end:
            words.append(text[start:end])
            spaces.append(False)
        place = end
    doc = Doc(nlp.vocab, words=words, spaces=spaces)
    assert doc.text == text, (doc.text, text)
    found = (doc.char_span(start, end, label) for start, end, label in line["entities"])
    doc.ents = [span for span in found if span is not None]  # None: it begins or ends inside a token
    return doc


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
