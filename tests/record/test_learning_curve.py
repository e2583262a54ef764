"""The learning curve of a record, from what a trainer logs."""

import pytest

from sure.record.learning_curve import learning_curve


def test_losses_and_scores_of_a_step_are_one_point():
    history = [
        {"step": 10, "epoch": 1.0, "loss": 2.0, "learning_rate": 1e-3},
        {"step": 10, "epoch": 1.0, "eval_loss": 1.8, "eval_accuracy": 0.5},
        {"step": 20, "epoch": 2.0, "loss": 1.0},
        {"step": 25, "epoch": 2.5, "eval_accuracy": 0.75},
        {"step": 25, "epoch": 2.5, "train_loss": 1.4, "train_runtime": 3.0},
    ]
    points = learning_curve(history, "accuracy")
    assert [tuple(point.model_dump().values()) for point in points] == [
        (1.0, 10, 2.0, 0.5),
        (2.0, 20, 1.0, None),
        (2.5, 25, None, 0.75),
    ]


def test_a_long_history_is_averaged_over_steps_and_keeps_every_score():
    history = [{"step": step, "epoch": step / 1000, "loss": float(step)} for step in range(1, 2001)]
    history += [{"step": 1995, "epoch": 1.995, "eval_accuracy": 0.5}, {"step": 2000, "epoch": 2.0, "eval_accuracy": 1}]
    points = learning_curve(history, "accuracy")
    losses = {point.step: point.training_loss for point in points if point.training_loss is not None}
    assert len(losses) == 200
    assert (losses[10], losses[2000]) == pytest.approx((5.5, 1995.5))
    assert [point.validation for point in points if point.validation] == [0.5, 1.0]


def test_without_a_history_there_is_none():
    assert learning_curve([{"step": 3, "epoch": 1.0, "train_loss": 0.1}], "accuracy") == []
