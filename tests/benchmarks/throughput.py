"""Raw text → label, against Kiwi alone over the same texts with the same threads in the same run.

    python tests/benchmarks/throughput.py RUN texts.tsv --rows 50000

Both sides alternate every 5,000 rows, so that a change of the machine's speed meets both. The row also says how large the
pipeline is: bytes of its folder, parameters, and how many of these a prediction reads.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from record import row
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from korseq import Pipeline
from korseq.data.readers import DataSettings, read
from korseq.nn.embeddings import ContextVectors, ProjectedVectors
from korseq.resources import trained
from korseq.saving import engine_of
from korseq.text.kiwi import available_cores, kiwi


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("file")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--slice", type=int, default=5000)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--counted", type=int, default=1000, help="texts, evenly spaced, whose parameters are counted")
    arguments = parser.parse_args()
    texts = list(islice(read(arguments.file, DataSettings(), labelled=False)["text"], arguments.rows))
    pipeline = Pipeline.load(arguments.run)
    size = size_of(trained(arguments.run), pipeline, texts[:: -(-len(texts) // arguments.counted)])
    analyzer = kiwi(pipeline.config.tokenizer._options())
    for warm_up in (analyzer.tokenize, pipeline.stream):
        for _ in warm_up(texts[:2000]):
            pass
    ratios, totals = [], [0.0, 0.0]
    for start in range(0, len(texts), arguments.slice):
        part = texts[start : start + arguments.slice]
        seconds = {}
        # Who goes first changes, so that neither always meets the caches that the other has warmed.
        for side in ("kiwi", "korseq") if start // arguments.slice % 2 else ("korseq", "kiwi"):
            began = time.perf_counter()
            results = (
                analyzer.tokenize(part) if side == "kiwi" else pipeline.stream(part, precision=arguments.precision)
            )
            assert sum(1 for _ in results) == len(part)
            seconds[side] = time.perf_counter() - began
        ratios.append(seconds["kiwi"] / seconds["korseq"])
        totals[0] += seconds["kiwi"]
        totals[1] += seconds["korseq"]
    row(
        what="throughput",
        rows=len(texts),
        precision=arguments.precision,
        kiwi_rows_per_second=round(len(texts) / totals[0]),
        korseq_rows_per_second=round(len(texts) / totals[1]),
        ratio=round(totals[0] / totals[1], 3),
        ratios_of_slices={
            q: round(v, 3) for q, v in zip(("lowest", "median", "highest"), _spread(ratios), strict=True)
        },
        threads=available_cores(),
        **size,
    )


def size_of(folder: Path, pipeline: Pipeline, texts: Sequence[Any]) -> dict[str, int]:
    """How large a saved pipeline is; of an export, whose network is not torch's, only its folder."""
    size = {"folder_bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())}
    if engine_of(folder) is not None:
        return size
    parameters, read = parameters_read(pipeline, texts)
    return size | {"parameters": parameters, "parameters_read": round(read), "texts_counted": len(texts)}


def parameters_read(pipeline: Pipeline, texts: Sequence[Any]) -> tuple[int, float]:
    """All parameters of a pipeline, and how many of them the prediction for one text reads, which is a mean over the texts.

    Of an embedding table, those are its rows that are looked up, be it for tokens, for their parts, for padding or for what a
    decoder writes: each counted once, however often it is. Of all else, and of a table that scores symbols too (tied), they are
    all, whose many uses count once as well. Word vectors of Kiwi's that are not trained count like parameters.
    """
    modules = list(pipeline.model.modules())
    tables = {id(table): table for table in map(_table_of, modules) if table is not None}
    rest = sum(p.numel() for p in pipeline.model.parameters() if id(p) not in tables)
    looked_up = 0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that the network runs in this thread, the only one that is watched
    try:
        for text in texts:
            with _Rows(tables) as rows:
                list(pipeline.stream([text], precision="fp32"))
            looked_up += sum(len(of_table) * tables[key].shape[1] for key, of_table in rows.read.items())
    finally:
        torch.set_num_threads(threads)
    return rest + sum(table.numel() for table in tables.values()), rest + looked_up / len(texts)


def _table_of(module: nn.Module) -> Tensor | None:
    if isinstance(module, nn.Embedding):
        return module.weight
    if isinstance(module, ProjectedVectors):
        return module.weights
    return module.table if isinstance(module, ContextVectors) else None


class _Rows(TorchFunctionMode):
    """Watches which rows of tables are read."""

    def __init__(self, tables: Iterable[int]) -> None:
        super().__init__()
        self.read: dict[int, set[int]] = {table: set() for table in tables}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for table in args:
            if id(table) in self.read:
                if function in (F.embedding, F.embedding_bag):
                    self.read[id(table)].update(args[0].flatten().tolist())
                elif isinstance(result, Tensor):  # not its size, or its type
                    self.read[id(table)].update(range(len(table)))
        return result


def _spread(values: list[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


if __name__ == "__main__":
    main()
