"""The settings of a training run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from korseq.registry import settings


@settings
class Training:
    """How a pipeline is trained.

    Args:
        epochs: Passes over the training data, at most.
        batch_size: Sequences in a batch, on each process.
        batch_tokens: Instead, as many sequences as make about so many padded tokens (of the longer side, if there are two);
            None for `batch_size` of them.
        accumulation: Batches whose gradients make one step.
        learning_rate: The highest of the schedule, for AdamW (Loshchilov & Hutter 2019).
        stage_decay: Each stage below the head (the encoders from the last to the first, then the embeddings) learns at the rate
            of the one above it times this. For fine-tuning, such as 0.4 (Howard & Ruder 2018, section 3.2). What the
            pipeline it starts from has no weights for learns at the full rate, like the head.
        unfreeze: In the first epoch only the head is trained, and what is as new, and in every further one also the next stage
            below; for fine-tuning (section 3.3 there).
        weight_decay: On weight matrices; embeddings, biases and norms are not decayed.
        schedule: After the warm-up: "linear" or "cosine" down to zero at the last step, "inverse_sqrt" (Vaswani et al. 2017,
            section 5.3), which does not depend on the number of steps but for the warm-up, or "constant".
        warmup: Share of all steps in which the learning rate rises from zero.
        clip_norm: The gradient's norm is cut to this; inf for no limit.
        rdrop: Every batch is read twice, with other dropout, and what is told is to agree: the weight (α) of the divergence
            between the two (Liang et al. 2021, equation 3), such as 1; 0 to read it once. Nearly doubles the time.
        average: Decay of an exponential moving average of the weights, which is then what is evaluated and saved
            (Polyak & Juditsky 1992), such as 0.999; None for the weights themselves.
        evaluations_per_epoch: Dev evaluations in an epoch, the last at its end.
        patience: Stop after so many evaluations in a row without a better dev score; None to train all epochs.
        precision: "auto" is bfloat16 where the hardware has units that multiply matrices in it.
        seed: Chooses initial weights, order and dropout.
        checkpoint_every: Steps between two checkpoints of a run that has a folder.
    """

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=1)
    batch_tokens: int | None = Field(default=None, ge=1)
    accumulation: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    stage_decay: float = Field(default=1.0, gt=0, le=1)
    unfreeze: bool = False
    weight_decay: float = Field(default=0.01, ge=0)
    schedule: Literal["linear", "cosine", "inverse_sqrt", "constant"] = "linear"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    clip_norm: float = Field(default=1.0, gt=0)
    rdrop: float = Field(default=0.0, ge=0)
    average: float | None = Field(default=None, gt=0, lt=1)
    evaluations_per_epoch: int = Field(default=1, ge=1)
    patience: int | None = Field(default=None, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=1000, ge=1)
