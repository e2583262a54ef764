"""Models whose parameters are counted before there are weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft.tuners.frod import model as frod
from peft.tuners.frod.layer import FrodLayer

from sure.backbone import loading
from sure.method import by_name

# Methods of PEFT's that start from the values of weights; here those are random.
_FROM_VALUES = {"adamss", "boft", "frod", "shira", "unilora", "waveft"}


def starts_from_values(method: str) -> bool:
    """Whether a method, or one of several, needs weights that have values to start."""
    return not _FROM_VALUES.isdisjoint(by_name.parts_of(method))


@contextmanager
def without_weights(method: str) -> Iterator[None]:
    """Where models without weights are made for a method: on the meta device, if it can start there.

    Elsewhere what is random leaves the random numbers of a run as they were.
    """
    if not starts_from_values(method):
        with loading.WithoutValues():
            yield
        return
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), undecomposed():
        yield


@contextmanager
def undecomposed() -> Iterator[None]:
    """Without PEFT's decomposition of all weights for FRoD, which takes a minute: of random ones any basis will do.

    In that of unit vectors a weight is what it is, without solving for it.
    """
    decompose, solve = frod._projection_from_weights, FrodLayer._calculate_frod_u_and_lambda
    frod._projection_from_weights = lambda matrices, _: torch.eye(matrices[0].shape[1], dtype=matrices[0].dtype)
    FrodLayer._calculate_frod_u_and_lambda = lambda self, basis, weight: (weight.float(), weight.float().norm(dim=0))
    try:
        yield
    finally:
        frod._projection_from_weights, FrodLayer._calculate_frod_u_and_lambda = decompose, solve
