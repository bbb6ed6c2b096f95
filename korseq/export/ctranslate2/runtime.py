"""Running an export: CTranslate2 in the place of the network and the search."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from korseq.data.encoded import EncodedData
from korseq.errors import ConfigError
from korseq.export.ctranslate2.files import library, names_of, read_ctranslate2, source_vocabulary
from korseq.heads.seq2seq import Written
from korseq.nn.search import Beam, Hypothesis, Search
from korseq.prepare import TARGET
from korseq.progress import progress_bar
from korseq.specials import BOS, EOS, PAD, SPECIALS

# Hypotheses that are followed at once: enough to fill the vector units of one thread, or an accelerator.
_HYPOTHESES = {"cpu": 80, "cuda": 2560}
# Targets that are scored at once. All their probabilities are held: V for each symbol.
_SCORED = 8
# Without a length penalty CTranslate2 stops as soon as the best hypothesis has ended. With this one, which changes no order, it
# stops when as many have ended as the beam is wide, as Beam says.
_NEXT_TO_NOTHING = 1e-9


class _Found(NamedTuple):
    """A hypothesis as CTranslate2 found it.

    Attributes:
        ids: Without `<eos>`.
        rank: The higher, the better.
        log_prob: That of its symbols and of `<eos>`; None if CTranslate2 has to be asked for it.
        cut: Whether it reached the limit before it ended.
        attention: (its symbols and perhaps `<eos>`, source tokens); None if nobody asked.
    """

    ids: tuple[int, ...]
    rank: float
    log_prob: float | None
    cut: bool
    attention: NDArray[np.float32] | None


class _Begun(NamedTuple):
    """Sources that CTranslate2 is working on.

    Attributes:
        sources: All of one length.
        limit: The greatest number of symbols of their targets, `<eos>` included.
        searched: What will be found; nothing if there is nothing to choose.
        first: What the first step looks at, if the search does not tell it.
    """

    sources: Sequence[Sequence[str]]
    limit: int
    searched: Sequence[Any]
    first: Sequence[Any]


class CTranslate2Runtime:
    """The network of an export, as CTranslate2 runs it.

    Args:
        folder: The export.
        device: "cpu" or "cuda", perhaps with a number.
        threads: Batches that a CPU works on at once, each in a thread of its own; None for as many as torch has threads.

    Attributes:
        saved: What the folder holds besides the network: settings, vocabularies, card.
        checksum: Of the network.

    Raises:
        ConfigError: If CTranslate2 is not installed, or does not run on the device.
        CheckpointError: If the export is missing, damaged, or of another version.
    """

    def __init__(self, folder: Path, device: str | torch.device = "cpu", threads: int | None = None) -> None:
        engine, exported = library(), read_ctranslate2(folder)
        self.saved, self._positions = exported.saved, exported.positions
        self.checksum = hashlib.sha256(exported.network["model.bin"]).hexdigest()
        torch_threads = torch.get_num_threads()
        try:
            place = torch.device(device)
            self._translator = engine.Translator(
                str(folder),
                device=place.type,
                device_index=place.index or 0,
                inter_threads=(threads or torch_threads) if place.type == "cpu" else 1,
                intra_threads=1,
                files=dict(exported.network),  # which were checked, unlike what may lie in the folder now
            )
        except (ValueError, RuntimeError) as error:
            message = f"{folder}: CTranslate2 {engine.__version__} cannot run it on the device '{device}': {error}"
            if exported.library != engine.__version__:
                message += f". It was written with CTranslate2 {exported.library}: export the trained pipeline again"
            raise ConfigError(message) from error
        finally:
            torch.set_num_threads(torch_threads)  # for which CTranslate2 has set its own number of threads
        self._names_read = np.array(names_of(source_vocabulary(self.saved)), dtype=object)
        self._names_written = names_of(self.saved.vocabularies[TARGET])
        self._ids_written = {name: i for i, name in enumerate(self._names_written)}

    def predict(
        self, data: EncodedData, search: Search, attention: bool = True, progress: bool = False
    ) -> list[Written]:
        """What `korseq.model.predict` gives for the same data and search.

        There are small differences. `<unk>` and the other specials cannot be written: here their probability is shared out
        among the other symbols, so that log probabilities are a little higher; and so is, in the search, that of repetitions
        that `no_repeat` forbids.

        Args:
            data: Encoded with the export's vocabulary.
            attention: Whether that of the best hypotheses is wanted.

        Raises:
            ConfigError: If CTranslate2 does not know the search, or there may be more symbols than positions.
        """
        if not isinstance(search, Beam):
            raise ConfigError(
                f"{type(search).__name__} is not for CTranslate2, which knows Beam; load the pipeline for torch"
            )
        lengths = data.lengths
        limits = search.limits(torch.from_numpy(lengths)).numpy()
        longest = int(max(lengths.max(initial=0), limits.max(initial=0)))
        if longest > self._positions:
            raise ConfigError(
                f"a target may have {longest} symbols, but the export has {self._positions} positions; lower the search's "
                "max_ratio or max_extra, or export the pipeline with this search"
            )
        (ids,) = data.ids.values()
        names = self._names_read[ids].tolist()
        sources = [names[a:b] for a, b in pairwise(data.offsets.tolist())]
        # All of a batch have the same limit. The longest come first, so that no thread is left with them at the end.
        groups = [np.flatnonzero(lengths == length).tolist() for length in np.unique(lengths)[::-1]]
        begun: list[_Begun] = []
        written: dict[int, Written] = {}
        with progress_bar("predicting", len(sources), progress) as advance:
            for rows in groups:
                begun.append(self._begin([sources[i] for i in rows], int(limits[rows[0]]), search, attention))
                advance(0)  # its queue is short: most of the time goes by here
            for rows, batch in zip(groups, begun, strict=True):
                written |= zip(rows, self._finish(batch, search, attention), strict=True)
                advance(len(rows))
        return [written[i] for i in range(len(sources))]

    def _begin(self, sources: Sequence[Sequence[str]], limit: int, search: Beam, attention: bool) -> _Begun:
        if limit == 1:
            return _Begun(sources, limit, (), ())
        searched = self._translator.translate_batch(
            sources,
            asynchronous=True,
            max_batch_size=max(1, _HYPOTHESES[self._translator.device] // search.size),
            beam_size=search.size,
            num_hypotheses=search.size,
            length_penalty=search.length_penalty or _NEXT_TO_NOTHING,
            coverage_penalty=search.coverage_penalty,
            no_repeat_ngram_size=search.no_repeat,
            disable_unk=True,
            suppress_sequences=[[SPECIALS[PAD]], [SPECIALS[BOS]]],
            return_end_token=True,
            max_input_length=0,
            max_decoding_length=limit - 1,  # one is left for `<eos>`
            min_decoding_length=0,
            return_scores=True,
            return_attention=attention or search.wants_attention,
        )
        # For the first symbol in a beam, CTranslate2 (4.8, on a CPU) tells what is looked at in another source of the batch.
        looks = (attention or search.wants_attention) and search.size > 1 and len(sources) > 1
        first = self._attended(sources, [[]] * len(sources), 1) if looks else ()
        return _Begun(sources, limit, searched, first)

    def _attended(
        self, sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], steps: int
    ) -> Sequence[Any]:
        """Results that will tell what the first steps look at if these targets are written."""
        results: Sequence[Any] = self._translator.translate_batch(
            sources,
            target_prefix=targets,
            asynchronous=True,
            max_batch_size=_HYPOTHESES[self._translator.device],
            beam_size=1,
            return_end_token=True,
            max_input_length=0,
            max_decoding_length=steps,
            min_decoding_length=0,
            return_attention=True,
        )
        return results

    def _finish(self, begun: _Begun, search: Beam, attention: bool) -> list[Written]:
        found = [[_Found((), 0.0, None, True, None)] for _ in begun.sources]
        for i, result in enumerate(begun.searched):
            first = begun.first[i].result().attention[0][0] if begun.first else None
            found[i] = self._found(result.result(), first, search)
        found = self._scored(begun.sources, found, search)
        cut = [i for i, of_source in enumerate(found) if of_source[0].cut and attention]
        if cut:
            targets = [self._target(found[i][0]) for i in cut]
            for i, result in zip(
                cut, self._attended([begun.sources[i] for i in cut], targets, begun.limit), strict=True
            ):
                found[i][0] = found[i][0]._replace(attention=_matrix(result.result().attention[0]))
        return [
            Written(
                tuple(
                    Hypothesis(h.ids, h.log_prob)
                    for h in of_source[: search.alternatives + 1]
                    if h.log_prob is not None
                ),
                of_source[0].attention if attention else None,
            )
            for of_source in found
        ]

    def _found(self, result: Any, first: Sequence[float] | None, search: Beam) -> list[_Found]:
        """What CTranslate2 found for a source: as much of it as can be among the best.

        Args:
            first: What the first step looks at, if the result does not tell it.
        """
        # A rank is log probability / length ** length_penalty, `<eos>` counted, unless there is more in it.
        plain = not search.coverage_penalty and not search.no_repeat
        whole = all(names[-1] == SPECIALS[EOS] for names in result.hypotheses)
        count = search.alternatives + 1 if whole and plain else search.size
        attention = result.attention
        found = []
        for i, (names, rank) in enumerate(zip(result.hypotheses[:count], result.scores, strict=False)):
            ids = tuple(self._ids_written[name] for name in names)
            matrix = _matrix(attention[i]) if attention else None
            if matrix is not None and first is not None:
                matrix[0] = first
            if ids[-1] != EOS:
                found.append(_Found(ids, rank, None, True, matrix))
            else:
                log_prob = rank * len(ids) ** search.length_penalty if plain else None
                found.append(_Found(ids[:-1], rank, log_prob, False, matrix))
        return found

    def _scored(
        self, sources: Sequence[Sequence[str]], found: Sequence[Sequence[_Found]], search: Beam
    ) -> list[list[_Found]]:
        """With all log probabilities, the best first."""
        unknown = [(i, h) for i, of_source in enumerate(found) for h in of_source if h.log_prob is None]
        known = [[h for h in of_source if h.log_prob is not None] for of_source in found]
        if unknown:
            scores = self._translator.score_batch(
                [sources[i] for i, _ in unknown],
                [self._target(h) for _, h in unknown],
                max_batch_size=_SCORED,
                max_input_length=0,
            )
            for (i, h), score in zip(unknown, scores, strict=True):
                log_prob = sum(score.log_probs)
                known[i].append(h._replace(rank=_rank(h, log_prob, search), log_prob=log_prob))
        return [sorted(of_source, key=lambda h: -h.rank) for of_source in known]

    def _target(self, hypothesis: _Found) -> list[str]:
        return [self._names_written[i] for i in hypothesis.ids]


def _matrix(rows: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


def _rank(hypothesis: _Found, log_prob: float, search: Beam) -> float:
    """That of `Beam`."""
    rank: float = log_prob / (len(hypothesis.ids) + 1) ** search.length_penalty
    if hypothesis.attention is not None and search.coverage_penalty:
        covered = hypothesis.attention.sum(axis=0)  # (source tokens,)
        rank += search.coverage_penalty * float(np.log(np.minimum(covered[covered > 0], 1)).sum())
    return rank
