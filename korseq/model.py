"""The network of a pipeline: embeddings → encoder → head; and how it is run without training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from threading import Event, Lock
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from korseq.data.batches import collate, prediction_batches
from korseq.data.encoded import EncodedData
from korseq.heads.base import HeadModule, Prediction
from korseq.nn.embeddings import Embeddings
from korseq.nn.encoders.base import Encoded, EncoderModule, Stack
from korseq.nn.encoders.recurrent import FLOAT32_DEVICES
from korseq.nn.sequences import Batch
from korseq.progress import progress_bar

Precision = Literal["auto", "fp32", "bf16"]

# Padded tokens in a batch of predictions: large enough to fill the matrix units, small enough to stay in a CPU's cache.
_PREDICTION_TOKENS = 8192
# Sequences of which the loss is computed at a time.
_LOSS_SEQUENCES = 64


class SequenceModel(nn.Module):
    """Three stages that know nothing of each other but their widths."""

    def __init__(self, embeddings: Embeddings, encoder: EncoderModule, head: HeadModule) -> None:
        super().__init__()
        self.embeddings, self.encoder, self.head = embeddings, encoder, head

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """From the head down to what reads the text: the head, every encoder, the embeddings."""
        encoders = self.encoder.layers if isinstance(self.encoder, Stack) else [self.encoder]
        return self.head, *reversed(list(encoders)), self.embeddings

    def encode(self, batch: Batch) -> Encoded:
        """The encoder's states; every row of the batch's mask has at least one real token."""
        encoded: Encoded = self.encoder(self.embeddings(batch.ids, batch.parts, batch.mask), batch.mask)
        return encoded

    def forward(self, batch: Batch) -> Tensor:
        """The head's logits."""
        logits: Tensor = self.head(self.encode(batch), batch)
        return logits


def default_device() -> torch.device:
    """The accelerator that torch finds, else the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    # Apple's has no float64, in which a CRF computes.
    return found if found is not None and found.type != "mps" else torch.device("cpu")


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a model runs. "auto" is bfloat16 where the hardware has units that multiply matrices in it, else
    float32."""
    wanted = precision == "bf16" or (precision == "auto" and _has_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def compact(model: SequenceModel, device: torch.device, precision: Precision) -> SequenceModel:
    """The model as `predict` runs it fastest: where it computes in bfloat16, a copy whose weights are stored in it.

    Autocast would convert what it reads from float32 tables again for every batch. Buffers stay as they are; so do layer norms,
    which read float32 vectors too, and what computes in float32 on the device.
    """
    if not autocast(device, precision)._enabled:
        return model
    copy = deepcopy(model, {id(buffer): buffer for buffer in model.buffers()})  # which are large, and not changed
    for module in copy.modules():
        if isinstance(module, nn.LayerNorm) or (isinstance(module, nn.RNNBase) and device.type in FLOAT32_DEVICES):
            continue
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.to(torch.bfloat16)
    return copy


def predict(
    model: SequenceModel,
    data: EncodedData,
    device: torch.device,
    precision: Precision = "fp32",
    progress: bool = False,
) -> list[Prediction]:
    """The model's predictions, in the order of the data."""
    results: list[Prediction | None] = [None] * len(data)

    def answer(batch: Batch) -> None:
        with torch.inference_mode(), autocast(device, precision):
            there = batch.to(device)
            answers = model.head.answers(model.encode(there), there)
        for i, prediction in zip(batch.indices.tolist(), answers, strict=True):
            results[i] = prediction
        advance(len(answers))

    was_training = model.training
    model.eval()
    try:
        with progress_bar("predicting", len(data), progress) as advance:
            _for_each(prediction_batches(data, max(1, _PREDICTION_TOKENS // model.head.cost)), answer, device)
    finally:
        model.train(was_training)
    return [r for r in results if r is not None]


def mean_loss(model: SequenceModel, data: EncodedData, device: torch.device, progress: bool = False) -> float:
    """The loss on data with targets, per term of it (a text, a unit, a symbol of a target)."""
    total, terms = 0.0, 0
    order = np.argsort(data.widths, kind="stable")
    with (
        torch.inference_mode(),
        autocast(device, "fp32"),
        progress_bar("loss", len(data), progress) as advance,
    ):
        for start in range(0, len(order), _LOSS_SEQUENCES):
            batch = collate(data, order[start : start + _LOSS_SEQUENCES]).to(device)
            assert batch.targets is not None
            loss, count = model.head.loss(model(batch), batch.targets)
            total, terms = total + float(loss), terms + count
            advance(len(batch.indices))
    return total / max(1, terms)


def _for_each(batches: Iterator[Batch], answer: Callable[[Batch], None], device: torch.device) -> None:
    """Answer all batches; on a CPU several at once, each in a thread that uses one core.

    Torch's own way, all cores in every operation, makes them wait for each other hundreds of times a batch: slower when
    the machine is free, and slower by orders of magnitude when something else runs on it.

    An answer that fails, or Ctrl-C, ends all threads after the batches they have in hand.
    """
    lock, over = Lock(), Event()

    def work() -> None:
        try:
            while not over.is_set():
                with lock:
                    batch = next(batches, None)
                if batch is None:
                    return
                answer(batch)
        except BaseException:
            over.set()
            raise

    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        work()
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as executor:
            try:
                for worker in [executor.submit(work) for _ in range(threads)]:
                    worker.result()
            finally:  # after Ctrl-C, or the executor would wait until all is answered
                over.set()
    finally:
        torch.set_num_threads(threads)
