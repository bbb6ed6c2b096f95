"""Translation: korseq's Transformer against JoeyNMT's of the same size, on the same pairs, with the same time to train.

    python -m venv /tmp/joey && /tmp/joey/bin/pip install joeynmt==2.3 sentencepiece==0.2.0 importlib_metadata 'torch<2.14'
    python tests/benchmarks/translation_peer.py --joeynmt /tmp/joey/bin/python --train conversation/train.tsv \\
        --dev conversation/dev.tsv --test conversation/test.tsv --seconds 600 --epochs 9

One after the other. JoeyNMT is interrupted when its seconds are over, its start and its reading of the data included, and keeps
the weights that it has then; it never stops to validate. korseq trains as many epochs as asked for, learning its pieces and
evaluating on the dev set included. Both have 3 + 3 layers of 256 with 4 heads, pieces of SentencePiece (learnt beforehand for
JoeyNMT), batches of 2,048 tokens and smoothed labels; both write with a beam of 5, and sacrebleu scores what they wrote. What
they do otherwise is their own: JoeyNMT has plain BPE, dropout 0.1 as is usual in its recipes, and an inverse square root; korseq
what its pipelines/translate-*.toml say (pieces that respect morphemes, dropout 0.2, a cosine, the average of the weights, the
best of its evaluations).
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import sentencepiece
from record import row
from translation import PIPELINES, pairs

from korseq import Pipeline
from korseq.config import read_config
from korseq.generation import Generated
from korseq.training.metrics import METRICS

_SIDE = """{{lang: {lang}, max_length: 256, level: bpe, voc_file: {folder}/{lang}.vocab, tokenizer_type: sentencepiece,
         tokenizer_cfg: {{model_file: {folder}/{lang}.model, pretokenizer: none}}}}"""
_STACK = """{type: transformer, num_layers: 3, num_heads: 4, hidden_size: 256, ff_size: 1024, dropout: 0.1, layer_norm: pre,
           embeddings: {embedding_dim: 256, scale: True, dropout: 0.1}}"""
_CONFIG = """
name: peer
joeynmt_version: "2.3.0"
model_dir: {folder}/model
use_cuda: False
random_seed: {seed}
data:
  train: {folder}/train
  dev: {folder}/dev
  test: {folder}/test
  dataset_type: plain
  src: {source}
  trg: {target}
testing: {{beam_size: 5, beam_alpha: 1.0, batch_size: 100, batch_type: sentence, max_output_length: 100, eval_metrics: [bleu]}}
training:
  optimizer: adamw
  adam_betas: [0.9, 0.98]
  normalization: tokens
  scheduling: warmupinversesquareroot
  learning_rate: 0.001
  learning_rate_warmup: 300
  weight_decay: 0.01
  label_smoothing: 0.1
  clip_grad_norm: 1.0
  batch_size: 2048
  batch_type: token
  epochs: 100000
  validation_freq: 1000000
  logging_freq: 50
model:
  initializer: xavier_uniform
  bias_initializer: zeros
  embed_initializer: xavier_uniform
  tied_softmax: True
  encoder: {stack}
  decoder: {stack}
"""


def joeynmt(
    python: str, parts: dict[str, list[tuple[str, str]]], pieces: int, seconds: float, seed: int
) -> dict[str, Any]:
    """What JoeyNMT makes of the pairs: its outputs for the test set, and how long it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Its test of a model writes the dev set, too, which nobody needs here.
        for part, rows in (parts | {"dev": parts["dev"][:10]}).items():
            for side, lang in enumerate(("source", "target")):
                lines = "".join(re.sub(r"\s+", " ", pair[side]) + "\n" for pair in rows)
                (folder / f"{part}.{lang}").write_text(lines, encoding="utf-8")
        for lang in ("source", "target"):
            sentencepiece.SentencePieceTrainer.train(
                input=str(folder / f"train.{lang}"),
                model_prefix=str(folder / lang),
                vocab_size=pieces,
                model_type="bpe",
                unk_id=0,
                pad_id=1,
                bos_id=2,
                eos_id=3,
                minloglevel=2,
            )
            model = sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{lang}.model"))
            vocabulary = [model.id_to_piece(i) for i in range(4, model.get_piece_size())]
            (folder / f"{lang}.vocab").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        source, target = (_SIDE.format(lang=lang, folder=folder) for lang in ("source", "target"))
        config = folder / "config.yaml"
        config.write_text(_CONFIG.format(folder=folder, source=source, target=target, stack=_STACK, seed=seed))

        signal.signal(signal.SIGINT, signal.default_int_handler)  # or a script in the background could not interrupt it
        began = time.perf_counter()
        training = subprocess.Popen([python, "-m", "joeynmt", "train", str(config), "--skip-test"])
        try:
            training.wait(seconds)
            raise SystemExit("JoeyNMT ended before its time was over; see what it printed")
        except subprocess.TimeoutExpired:
            training.send_signal(signal.SIGINT)
        if training.wait():
            raise SystemExit("JoeyNMT did not end well; see what it printed")
        trained = time.perf_counter() - began
        log = (folder / "model" / "train.log").read_text(encoding="utf-8")
        rates = [float(rate) for rate in re.findall(r"Tokens per Sec:\s*([\d.]+)", log)]
        updates = int(re.findall(r"Interrupt at epoch \d+, step (\d+)", log)[0])

        subprocess.run([python, "-m", "joeynmt", "test", str(config), "-o", str(folder / "out")], check=True)
        log = (folder / "model" / "test.log").read_text(encoding="utf-8")
        searched = float(re.findall(r"Generation took ([\d.]+)\[sec\]", log)[-1])
        outputs = (folder / "out.test").read_text(encoding="utf-8").splitlines()
    return {
        "outputs": outputs,
        "seconds": trained,
        "updates": updates,
        "tokens_per_second": sum(rates[1:]) / len(rates[1:]),  # without the first steps
        "search_seconds": searched,
    }


def korseq(
    direction: str, parts: dict[str, list[tuple[str, str]]], changes: list[str], out: str | None
) -> dict[str, Any]:
    """The same of korseq; its search includes reading the texts and writing the outputs."""
    pipeline = Pipeline.from_config(read_config(PIPELINES / f"translate-{direction}.toml", changes))
    began = time.perf_counter()
    with ExitStack() as stack:
        folder = out or stack.enter_context(tempfile.TemporaryDirectory())
        outcome = pipeline.fit(parts["train"], parts["dev"], out=folder)
        trained = time.perf_counter() - began
        lines = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rates = [json.loads(line)["tokens_per_second"] for line in lines]
    began = time.perf_counter()
    outputs = [answer.output for answer in pipeline([source for source, _ in parts["test"]])]
    return {
        "outputs": outputs,
        "seconds": trained,
        "updates": outcome.steps,
        "tokens_per_second": sum(rates[1:]) / len(rates[1:]),
        "search_seconds": time.perf_counter() - began,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--joeynmt", required=True, help="interpreter that has JoeyNMT")
    parser.add_argument("--train", nargs="+", required=True)
    parser.add_argument("--dev", nargs="+", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--direction", nargs="+", choices=["ko-en", "en-ko"], default=["ko-en", "en-ko"])
    parser.add_argument("--seconds", type=float, default=600, help="of JoeyNMT's training")
    parser.add_argument("--epochs", type=int, default=9, help="of korseq's")
    parser.add_argument("--pieces", type=int, default=6000)
    parser.add_argument("--set", action="append", default=[], dest="changes", help="of korseq's settings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="folder for korseq's trained pipelines")
    arguments = parser.parse_args()
    for direction in arguments.direction:
        parts = {
            "train": [pair for file in arguments.train for pair in pairs(file)],
            "dev": [pair for file in arguments.dev for pair in pairs(file)],
            "test": pairs(arguments.test),
        }
        if direction == "en-ko":
            parts = {part: [(english, korean) for korean, english in rows] for part, rows in parts.items()}
        changes = [
            "data.reverse=false",  # the pairs are turned round already
            f"tokenizer.vocab_size={arguments.pieces}",
            f"target_tokenizer.vocab_size={arguments.pieces}",
            f"training.epochs={arguments.epochs}",
            f"training.seed={arguments.seed}",
            *arguments.changes,
        ]
        for who in ("joeynmt", "korseq"):
            if who == "korseq":
                found = korseq(direction, parts, changes, f"{arguments.out}/{direction}" if arguments.out else None)
            else:
                found = joeynmt(arguments.joeynmt, parts, arguments.pieces, arguments.seconds, arguments.seed)
            outputs = found.pop("outputs")
            scores = METRICS["translation"](
                [target for _, target in parts["test"]], [Generated(output, 1.0, 0.0) for output in outputs]
            )
            row(
                what="translation against a peer",
                who=who,
                direction=direction,
                test=arguments.test,
                bleu=round(scores["bleu"], 2),
                chrf=round(scores["chrf"], 2),
                signatures=scores["signatures"],
                **{name: round(value, 1) for name, value in found.items()},
                sentences_per_second=round(len(outputs) / found["search_seconds"], 1),
                changes=arguments.changes if who == "korseq" else [],
                seed=arguments.seed,
            )


if __name__ == "__main__":
    main()
