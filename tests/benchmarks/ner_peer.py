"""Named entities: a korseq pipeline against spaCy's own recogniser, trained on the same files with the same morphemes.

    python -m venv /tmp/spacy && /tmp/spacy/bin/pip install 'spacy==3.8.*'
    python tests/benchmarks/ner_peer.py runs/kmou-1 train.jsonl validation.jsonl --spacy /tmp/spacy/bin/python

The first argument is a pipeline that `scores.py --out` has trained on the same file; its training minutes are those in its
metrics file. Both are scored by korseq's metric on exact character spans. The dev part is the same for both: 2% of the
training file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from record import row

from korseq import Pipeline
from korseq.data.readers import DataSettings, read
from korseq.data.splits import stratified_split
from korseq.spans import LabeledSpan
from korseq.tagging import Entities, Entity
from korseq.text import KiwiTokenizer
from korseq.training.metrics import METRICS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--spacy", required=True, help="interpreter that has spaCy")
    parser.add_argument("--max-steps", type=int, default=20_000, help="of spaCy's training; the default is spaCy's own")
    arguments = parser.parse_args()
    whole = read(arguments.train, DataSettings(), kind="spans")
    rows = list(zip(whole["text"], whole["label"], strict=True))
    kept, held_out = stratified_split([""] * len(rows), 0.02, 0)
    test_set = read(arguments.test, DataSettings(), kind="spans")
    parts = {
        "train": [rows[i] for i in kept],
        "dev": [rows[i] for i in held_out],
        "test": list(zip(test_set["text"], test_set["label"], strict=True)),
    }
    texts = [text for text, _ in parts["test"]]
    gold = [[LabeledSpan(s["start"], s["end"], s["label"]) for s in spans] for _, spans in parts["test"]]

    with tempfile.TemporaryDirectory() as folder:
        for name, examples in parts.items():
            write(Path(folder) / f"{name}.jsonl", examples)
        peer = Path(__file__).parent / "peers" / "spacy_ner.py"
        command = [arguments.spacy, str(peer), folder, str(arguments.max_steps)]
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    spacy = json.loads(output)
    answers = [
        Entities(text, tuple(Entity("", label, s, e, 1.0, "") for s, e, label in spans))
        for text, spans in zip(texts, spacy["spans"], strict=True)
    ]
    report(
        "spaCy " + spacy["version"], METRICS["entities"](gold, answers).values, spacy["training"], spacy["prediction"]
    )

    pipeline = Pipeline.load(arguments.run)
    steps = (Path(arguments.run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    training = json.loads(steps[-1])["seconds"]
    pipeline(texts[:100])
    began = time.perf_counter()
    predicted = pipeline(texts)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    KiwiTokenizer()(texts)
    kiwi = time.perf_counter() - began
    values = METRICS["entities"](gold, predicted).values
    report("korseq", values, training, max(seconds - kiwi, 0.0), kiwi)


def write(path: Path, examples: list[tuple[str, list[dict]]]) -> None:
    """The examples with the spans of their morphemes; of those that overlap (갔 = 가 + 았) only the first."""
    texts = [text for text, _ in examples]
    with path.open("w", encoding="utf-8") as file:
        for (text, spans), analysis in zip(examples, KiwiTokenizer()(texts), strict=True):
            tokens, end = [], 0
            for start, stop in zip(analysis.starts, analysis.ends, strict=True):
                if start >= end and stop > start:
                    tokens.append([start, stop])
                    end = stop
            entities = [[s["start"], s["end"], s["label"]] for s in spans]
            file.write(json.dumps({"text": text, "tokens": tokens, "entities": entities}, ensure_ascii=False) + "\n")


def report(name: str, values: dict, training: float, prediction: float, kiwi: float | None = None) -> None:
    row(
        what="ner",
        name=name,
        f1=values["f1"],
        macro_f1=values["macro_f1"],
        training_minutes=round(training / 60, 1),
        documents_per_second_without_kiwi=round(values["count"] / prediction) if prediction else None,
        documents_per_second_of_kiwi=None if kiwi is None else round(values["count"] / kiwi),
    )


if __name__ == "__main__":
    main()
