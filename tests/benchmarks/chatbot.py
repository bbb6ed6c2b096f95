"""A chatbot: its loss on questions it has not seen, and what it answers to twenty of them.

    python tests/benchmarks/chatbot.py ChatbotData.csv --text Q --label A

Every twentieth pair is for the test, the next after each for dev. Pairs whose question is asked in the training part too are left
out of both. What it answers is shown for questions of korseq's own corpus.
"""

from __future__ import annotations

import argparse
import time

from record import row
from translation import PIPELINES

from korseq import Pipeline
from korseq.config import read_config
from korseq.data.readers import DataSettings, read
from korseq.nn.search import Sampling
from korseq.resources import resource

_SHOWN = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--text")
    parser.add_argument("--label")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    rows = read(arguments.file, DataSettings(text=arguments.text, label=arguments.label, on_error="skip"), kind="pairs")
    pairs = list(zip(rows["text"], rows["label"], strict=True))
    train = [pair for i, pair in enumerate(pairs) if i % 20 > 1]
    known = {question for question, _ in train}
    dev, test = ([pair for pair in pairs[first::20] if pair[0] not in known] for first in (1, 0))
    settings = [f"training.seed={arguments.seed}", *arguments.changes]
    pipeline = Pipeline.from_config(read_config(PIPELINES / "chatbot.toml", settings))
    began = time.perf_counter()
    outcome = pipeline.fit(train, dev, out=arguments.out)
    seconds = time.perf_counter() - began
    scores = pipeline.evaluate(test)
    own = read(resource("corpora/questions.tsv"), DataSettings(), kind="pairs")["text"]
    unseen = [question for question in own if question not in known]
    asked = unseen[:: len(unseen) // _SHOWN][:_SHOWN]
    drawn = pipeline.with_search(Sampling(temperature=0.7, top_p=0.9, seed=arguments.seed))(asked)
    row(
        what="chatbot",
        pairs={"train": len(train), "dev": len(dev), "test": len(test)},
        loss=round(scores["loss"], 3),
        chrf=round(scores["chrf"], 2),
        exact_match=round(scores["exact_match"], 4),
        seconds=round(seconds, 1),
        steps=outcome.steps,
        best_step=outcome.best_step,
        changes=arguments.changes,
        seed=arguments.seed,
        best=[
            [question, answer.output, chance.output]
            for question, answer, chance in zip(asked, pipeline(asked), drawn, strict=True)
        ],
    )


if __name__ == "__main__":
    main()
