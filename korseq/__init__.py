"""korseq: a Korean NLP framework. Text in; labels, entities, tags and translations out.

Names are imported when they are first used, so that `import korseq` takes no time.
"""

import gc
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from korseq.errors import CheckpointError, ConfigError, DataError, KorseqError
    from korseq.pipeline import Pipeline
    from korseq.training import Training

    load = Pipeline.load

_HOMES = {
    "CheckpointError": "korseq.errors",
    "ConfigError": "korseq.errors",
    "DataError": "korseq.errors",
    "KorseqError": "korseq.errors",
    "Pipeline": "korseq.pipeline",
    "Training": "korseq.training",
}

__all__ = ["CheckpointError", "ConfigError", "DataError", "KorseqError", "Pipeline", "Training", "__version__", "load"]


def __getattr__(name: str) -> object:
    if name == "load":
        return __getattr__("Pipeline").load  # type: ignore[attr-defined]
    if name in _HOMES:
        collecting = gc.isenabled()
        gc.disable()  # nothing that an import makes is garbage, and looking for some takes a sixth of its time
        try:
            return getattr(import_module(_HOMES[name]), name)
        finally:
            if collecting:
                gc.enable()
    raise AttributeError(f"module 'korseq' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
