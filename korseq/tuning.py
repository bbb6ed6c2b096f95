"""Looking for better settings: Optuna (Akiba et al. 2019) proposes them, a training on the data judges them."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from korseq.config import Config, changed, read_toml, to_toml
from korseq.data.hub import fingerprint
from korseq.data.readers import Source
from korseq.errors import CheckpointError, ConfigError, KorseqError, TrainingError
from korseq.files import lock, making, write_files
from korseq.pipeline import Pipeline
from korseq.training.loop import Step
from korseq.training.run import processes
from korseq.training.scores import Scores

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

# In the folder: the journal of all trials, the best settings, and the pipeline trained with them.
JOURNAL, BEST_SETTINGS, BEST = "trials.jsonl", "best.toml", "best"
_LOCK = "lock"
# Of a trial, that its training began: its data can be used.
_BEGAN = "began"
_RANGE = {"low", "high", "log", "step"}
# So many combinations are looked at before a value counts as one that fits none: less than a tenth of a second.
_DRAWS = 200


@dataclass(frozen=True)
class Choice:
    """What a setting is chosen from: some values, or a range of numbers.

    Attributes:
        values: As they are written after `--set PATH=`; none for a range.
        low, high: Of a range, both included; integers if both are.
        log: Whether each factor, instead of each difference, counts the same.
        step: Between the numbers of a range; None for any.
    """

    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None

    def examples(self) -> Sequence[str]:
        """Values that show whether a setting can have them."""
        return self.values or (str(self.low), str(self.high))

    @property
    def whole(self) -> bool:
        """Whether a range is one of integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def drawn(self, trial: Trial, name: str) -> str:
        """A value, as it is written after `--set PATH=`."""
        if self.values:
            return str(trial.suggest_categorical(name, self.values))
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return str(trial.suggest_int(name, int(self.low), int(self.high), step=step, log=self.log))
        return repr(trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log))


@dataclass(frozen=True)
class Tried:
    """One trial.

    Attributes:
        number: From 0.
        score: The main one on dev; None if it failed or was given up.
        state: "complete", "pruned" (given up, for the trials before did better by then) or "fail".
        settings: Path → value.
        error: Why it failed; None if it did not.
    """

    number: int
    score: float | None
    state: str
    settings: Mapping[str, Any]
    error: str | None = None


def read_space(path: str | Path) -> dict[str, Choice]:
    """A search space from a TOML file: dotted paths of settings, each with a list of values, or with `low` and `high`.

    Values may be tables, such as `[{ type = "LSTM" }, { type = "GRU", hidden_size = 64 }]`. A string is what stands after `--set
    PATH=`, and may be TOML itself.

    Raises:
        ConfigError: If it cannot be read, or says something else.
    """
    table = read_toml(path)
    if not table:
        raise ConfigError(f"{path}: names no setting to choose; see pipelines/tune/space.toml")
    found = {}
    for name, value in table.items():
        try:
            found[name] = _choice(value)
        except ValueError as error:
            raise ConfigError(f'{path}: "{name}": {error}') from None
    return found


def _choice(value: Any) -> Choice:
    if isinstance(value, list) and len(value) > 1:
        return Choice(tuple(one if isinstance(one, str) else _in_a_line(one) for one in value))
    if not isinstance(value, dict):
        raise ValueError(
            'must be a list of at least two values, or a range, such as { low = 1e-4, high = 1e-2, log = true }; "quote" the path'
        )
    foreign = set(value) - _RANGE
    if foreign or not {"low", "high"} <= set(value):
        raise ValueError(
            f"a range has low, high and perhaps log or step, not {sorted(value)}; quote the path if it has dots"
        )
    choice = Choice(**value)
    numbers = [choice.low, choice.high, *([] if choice.step is None else [choice.step])]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers) or not choice.low < choice.high:
        raise ValueError("low must be a number below high")
    if not isinstance(choice.log, bool) or (choice.log and (choice.low <= 0 or choice.step is not None)):
        raise ValueError("log must be true or false; with it, low must be above 0, and there is no step")
    if choice.step is not None and (choice.step <= 0 or (choice.whole and choice.step != int(choice.step))):
        raise ValueError("step must be above 0, and whole between whole numbers")
    return choice


def _in_a_line(value: Any) -> str:
    """A value as TOML; tomli_w would write arrays over several lines."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key, ensure_ascii=False)} = {_in_a_line(inner)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_in_a_line, value))}]"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return repr(value)
    raise ValueError(f"a setting is text, a number, true, false, or an array or a table of these, not {value}")


def tune(
    config: Config,
    space: Mapping[str, Choice],
    trials: int,
    train: Source,
    dev: Source | None = None,
    *,
    out: str | Path,
    progress: bool = True,
) -> list[Tried]:
    """Train with many settings, and keep the best.

    The folder `out` gets the journal of all trials, the best settings (`best.toml`) and the pipeline trained with them
    (`best/`). The same call goes on where it was broken off. Every trial chooses by the same dev data; what is told of the best
    trial there is too good by what was chosen among, so score it on other data.

    Args:
        config: What is not chosen.
        space: What is chosen: dotted path → choice.
        trials: How many there shall be in all. A trial that does worse than most at the same evaluation is given up (Golovin et
            al. 2017, section 3.2.2).
        train, dev: As for `Pipeline.fit`.
        out: A folder.
        progress: Show bars, dev scores and failures on stderr.

    Raises:
        ConfigError: If Optuna is not installed, a setting of the space does not exist or has a value that goes with nothing
            else in the space, or several processes run.
        DataError: If the data of the first trials cannot be used. Once a trial could be trained, what is wrong with the data
            of another, such as too few subwords for its characters, is a failure of that one.
        CheckpointError: If `out` holds trials of something else, another process is tuning there, or it cannot be written.
        KeyboardInterrupt: After Ctrl-C; the trial that was broken off is made again.
    """
    optuna = _optuna()
    if processes() > 1:
        raise ConfigError("tuning runs in one process; start korseq without accelerate launch or torchrun")
    _require_possible(config, space)
    train, dev = (
        source if source is None or isinstance(source, str | Path) or hasattr(source, "column_names") else list(source)
        for source in (train, dev)
    )
    folder = Path(out)
    with making(folder, CheckpointError), _alone_in(folder):
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL)))
        study = optuna.create_study(
            storage=storage,
            study_name="korseq",
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        )
        _require_same(study, _identity(config, space, (train, dev)), folder)
        # Its random numbers begin anew in every process, and must not be those of the trials that there are.
        study.sampler = optuna.samplers.TPESampler(seed=config.training.seed + len(study.trials))
        for broken in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):  # killed
            study.tell(broken.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(broken.params)

        def objective(trial: Trial) -> float:
            settings = [f"{name}={choice.drawn(trial, name)}" for name, choice in space.items()]
            if progress:
                shown = ", ".join(f"{name} = {value}" for name, value in trial.params.items())
                print(f"korseq: trial {trial.number + 1}: {shown}", file=sys.stderr)
            try:
                pipeline, scores = _trained(changed(config, settings), train, dev, _Watch(trial), progress)
            except KeyboardInterrupt:
                study.enqueue_trial(trial.params)
                raise
            except KorseqError as error:
                # Values that do not go together, or divergence, are of this trial. Anything else is, too, if another one could
                # be trained; else it is of all, such as data that cannot be read.
                if not isinstance(error, ConfigError | TrainingError) and not any(map(_began, study.trials)):
                    raise
                if progress:
                    print(f"korseq: trial {trial.number + 1} failed: {error}", file=sys.stderr)
                trial.set_user_attr("error", str(error))
                raise _FailedError from error
            trial.set_user_attr("score", float(scores[scores.main]))
            if all(_worth(scores) > other for other in _values(study)):
                pipeline.save(folder / BEST)
                write_files(folder, {BEST_SETTINGS: to_toml(pipeline.config).encode()})
            return _worth(scores)

        left = trials - len(_done(study))
        if left > 0:
            study.optimize(objective, n_trials=left, catch=(_FailedError,))
        return [
            Tried(t.number, t.user_attrs.get("score"), t.state.name.lower(), t.params, t.user_attrs.get("error"))
            for t in _done(study)
        ]


def _require_possible(config: Config, space: Mapping[str, Choice]) -> None:
    """Raise ConfigError for a value that is wrong by itself and in every combination that is looked at. A value may need another
    one of the space; combinations that are wrong are trials that fail."""
    random = Random(0)

    def fits() -> bool:
        """Whether the value goes together with some others, drawn at random: not with all, of which one may be the wrong one."""
        others = [f"{path}={random.choice(other.examples())}" for path, other in space.items() if random.random() < 0.5]
        try:
            changed(config, [*others, f"{name}={value}"])  # last, or another one may take its place
        except ConfigError:
            return False
        return True

    for name, choice in space.items():
        for value in choice.examples():
            try:
                changed(config, [f"{name}={value}"])
            except ConfigError:
                if not any(fits() for _ in range(_DRAWS)):
                    raise


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """While no other process tunes in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("ab") as file:
        try:
            lock(file)
        except BlockingIOError:
            raise CheckpointError(f"{folder}: another process is tuning here") from None
        yield


def _trained(
    config: Config, train: Source, dev: Source | None, watch: _Watch, progress: bool
) -> tuple[Pipeline, Scores]:
    """A pipeline, and its scores on dev.

    Raises:
        KeyboardInterrupt: If Ctrl-C came between.
        TrainingError: If the score is no number, or infinite, by which nothing can be chosen.
    """
    pipeline = Pipeline.from_config(config)
    outcome = pipeline.fit(train, dev, progress=progress, reports=[watch])
    if outcome.interrupted:
        raise KeyboardInterrupt
    scores = outcome.dev
    assert scores is not None
    if not math.isfinite(scores[scores.main]):
        raise TrainingError(f"{scores.main} on dev is not a number; the training went wrong, or dev cannot be scored")
    return pipeline, scores


class _FailedError(Exception):
    """A trial failed, and the search goes on."""


def _began(trial: FrozenTrial) -> bool:
    """Whether its training began."""
    return _BEGAN in trial.user_attrs


def _done(study: Study) -> list[FrozenTrial]:
    """The trials that need not be made again: those that came to an end, were given up, or failed by themselves."""
    return [t for t in study.trials if t.state.name in ("COMPLETE", "PRUNED") or "error" in t.user_attrs]


class _Watch:
    """Tells a trial of every evaluation, and gives it up if it does worse than most."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.evaluations = trial, 0

    def __enter__(self) -> Self:
        self.trial.set_user_attr(_BEGAN, True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def step(self, step: Step) -> None:
        if step.scores is None or not math.isfinite(_worth(step.scores)):  # which cannot be compared with others
            return
        self.trial.report(_worth(step.scores), self.evaluations)
        self.evaluations += 1
        if self.trial.should_prune():
            raise _optuna().TrialPruned


def _worth(scores: Scores) -> float:
    """The main score, higher is better."""
    value = float(scores[scores.main])
    return value if scores.higher_is_better else -value


def _values(study: Study) -> list[float]:
    return [trial.value for trial in study.trials if trial.value is not None and trial.state.name == "COMPLETE"]


def _require_same(study: Study, identity: str, folder: Path) -> None:
    """Raise CheckpointError if the trials are of something else."""
    before = study.user_attrs.get("identity")
    if before is None:
        study.set_user_attr("identity", identity)
    elif before != identity:
        raise CheckpointError(
            f"{folder}: holds trials with other settings, another search space or other data; give another folder"
        )


def _identity(config: Config, space: Mapping[str, Choice], sources: Sequence[Source | None]) -> str:
    digest = hashlib.sha256(f"{to_toml(config)} {sorted(space.items(), key=str)}".encode())
    for source in sources:
        if isinstance(source, str | Path) and Path(source).is_file():
            digest.update(Path(source).read_bytes())
        elif hasattr(source, "column_names"):
            digest.update(fingerprint(source).encode())
        elif source is not None:
            digest.update(repr(source).encode())
    return digest.hexdigest()


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError:
        raise ConfigError("tuning needs Optuna: pip install 'korseq[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    module: ModuleType = optuna
    return module
