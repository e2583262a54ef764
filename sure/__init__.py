"""SURE, the Speech UndeRstanding Evaluation suite: parameter-efficient transfer learning for speech models."""

__version__ = "0.1.0"
