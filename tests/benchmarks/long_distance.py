"""Why a plain recurrent network forgets: the last word of a sentence hangs on a place named at its beginning.

    python tests/benchmarks/long_distance.py

Sentences are composed: when, where, a place (료칸에, 도서관에, …), phrases that say nothing of it, 여기, and what one finds
there (온천, 책, …). Three language models of one size, RNN, LSTM and GRU, learn to tell every morpheme from those before it.
Printed for each: how often the last word is the likeliest one after 여기, by the number of morphemes between the place and
여기, on sentences that were not learnt from; and for the worked sentence the norm of the gradient of its last word's loss with
respect to the state at each step (of the LSTM also to the memory that it hands on).
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from record import row

from korseq import Pipeline, Training
from korseq.data import SequenceOptions
from korseq.heads import LanguageModel
from korseq.inspection import inspect
from korseq.nn import GRU, LSTM, RNN, Embedding
from korseq.nn.encoders import Encoder
from korseq.nn.search import Beam
from korseq.text import KiwiTokenizer

FOUND_THERE = {
    "료칸": "온천",
    "도서관": "책",
    "수영장": "물",
    "미술관": "그림",
    "동물원": "호랑이",
    "식물원": "꽃",
    "시장": "과일",
    "극장": "영화",
    "빵집": "빵",
    "공항": "비행기",
}
WHEN = ("이번 여름 휴가에", "지난 주말에", "작년 겨울 방학에", "오늘 아침에", "내년 봄에")
WHERE = ("일본에", "부산에", "제주도에", "시골에", "도시에")
FILLERS = (
    "가족과 함께",
    "친구와 둘이",
    "아침 일찍",
    "오후 늦게",
    "비가 와서",
    "버스를 타고",
    "기차를 타고",
    "조금 피곤해서",
    "잠깐 쉬다가",
    "점심을 먹고",
    "커피를 마시고",
    "사진을 찍고",
    "길을 묻고",
    "지도를 보고",
    "천천히 걸어서",
    "날씨가 좋아서",
    "이야기를 하면서",
    "음악을 들으면서",
)
WORKED = "이번 여름 휴가에 일본에 있는 료칸에 가족과 함께 기차를 타고 점심을 먹고 날씨가 좋아서 사진을 찍고 여기 온천"
# Morphemes between the place and 여기: the least and the most.
SHORTEST, LONGEST = 1, 25
BUCKETS = ((1, 4), (5, 9), (10, 14), (15, 19), (20, 25))


class Sentence(NamedTuple):
    """A sentence without its last word, that word, and how many morphemes stand between the place and 여기."""

    begun: str
    last: str
    distance: int


def compose(count: int, tokenizer: KiwiTokenizer, draw: random.Random) -> list[Sentence]:
    """Different sentences, with all distances about equally often; somewhat fewer than `count`, for those are left out whose last
    word the analyzer does not see as one morpheme, or of which the distance is greater than wanted."""
    lengths = {phrase: len(tokenizer(phrase)) for phrase in FILLERS}
    found: dict[str, str] = {}
    while len(found) < count:
        wanted = draw.randint(SHORTEST, LONGEST)
        place = draw.choice(list(FOUND_THERE))
        phrases: list[str] = []
        while 1 + sum(lengths[phrase] for phrase in phrases) < wanted:  # with the particle of the place
            phrases.append(draw.choice(FILLERS))
        begun = " ".join([draw.choice(WHEN), draw.choice(WHERE), "있는", f"{place}에", *phrases, "여기"])
        found[begun] = FOUND_THERE[place]
    sentences = []
    for (begun, last), analysis in zip(found.items(), tokenizer([f"{b} {w}" for b, w in found.items()]), strict=True):
        if analysis.forms[-2:] == ("여기", last):
            place = next(i for i, form in enumerate(analysis.forms) if form in FOUND_THERE)
            sentences.append(Sentence(begun, last, len(analysis) - place - 3))
    return [sentence for sentence in sentences if SHORTEST <= sentence.distance <= LONGEST]


def accuracy(pipeline: Pipeline, sentences: Sequence[Sentence]) -> dict[str, float]:
    """How often the likeliest word after 여기 is the right one, by distance."""
    answers = pipeline.generate([sentence.begun for sentence in sentences], length=1, search=Beam(size=1))
    right: dict[str, list[bool]] = defaultdict(list)
    for sentence, answer in zip(sentences, answers, strict=True):
        bucket = next(f"{a}-{b}" for a, b in BUCKETS if a <= sentence.distance <= b)
        right[bucket].append(answer.output == f"{sentence.begun} {sentence.last}")
    return {f"{a}-{b}": round(sum(of := right[f"{a}-{b}"]) / len(of), 3) for a, b in BUCKETS}


def learn(encoder: Encoder, sentences: Sequence[Sentence], epochs: int, seed: int) -> Pipeline:
    pipeline = Pipeline(
        embedding=Embedding(32, min_count=1, std=1.0),
        encoder=encoder,
        head=LanguageModel(),
        sequence=SequenceOptions(max_length=64, add_bos_eos=True),
        device="cpu",
    )
    texts = [f"{sentence.begun} {sentence.last}" for sentence in sentences]
    training = Training(epochs=epochs, batch_size=32, learning_rate=3e-3, seed=seed, precision="fp32")
    pipeline.fit(texts[200:], texts[:200], training=training, progress=False)
    return pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=4000, help="sentences to learn from")
    parser.add_argument("--test", type=int, default=1000, help="sentences to tell the last word of")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--hidden-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = KiwiTokenizer()
    sentences = compose(arguments.train + arguments.test, tokenizer, random.Random(arguments.seed))
    sentences = [sentence for sentence in sentences if f"{sentence.begun} {sentence.last}" != WORKED]
    test, train = sentences[: arguments.test], sentences[arguments.test :]
    for cell in (RNN, LSTM, GRU):
        began = time.perf_counter()
        pipeline = learn(cell(arguments.hidden_size), train, arguments.epochs, arguments.seed)
        seconds = time.perf_counter() - began
        saved = pipeline.saved()
        found = inspect(saved.config, pipeline.model, saved.vocabularies, saved.labels, WORKED)
        row(
            what="long distance",
            encoder=cell.__name__,
            hidden_size=arguments.hidden_size,
            sentences=len(train),
            epochs=arguments.epochs,
            seed=arguments.seed,
            seconds=round(seconds, 1),
            last_word_accuracy=accuracy(pipeline, test),
            tokens=[token.form for token in found.tokens],
            gradient={name: [float(f"{n:.3g}") for n in norms.tolist()] for name, norms in found.gradient.items()},
            loss=round(found.loss, 4),
        )


if __name__ == "__main__":
    main()
