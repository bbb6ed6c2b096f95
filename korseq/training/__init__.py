"""Training: settings, loop, checkpoints, metrics, reports."""

from korseq.training.comparison import Comparison
from korseq.training.reports import Report
from korseq.training.run import Outcome
from korseq.training.scores import Scores
from korseq.training.settings import Training

__all__ = ["Comparison", "Outcome", "Report", "Scores", "Training"]
