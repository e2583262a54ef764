"""`sure train`."""


def train(argv: list[str], prog: str) -> None:
    """What `sure train` and `python -m sure.train` do: train, then print the scores (the main process does)."""
    from sure.runner.run import main as train_main

    result = train_main(argv, prog)
    if result is not None:
        _print_result(result)


def _print_result(result) -> None:
    from tabulate import tabulate

    rows = [
        [
            split,
            name,
            f"{score.value:.4f}",
            f"{score.low:.4f} to {score.high:.4f}" if score.determined else "no interval",
        ]
        for split, scores in result.scores.items()
        for name, score in scores.items()
    ]
    print(tabulate(rows, headers=["split", "metric", "score", "95 % interval"]))
    cost = result.cost
    print(
        f"{cost.trainable_parameters:,} trainable parameters ({cost.trainable_share:.2%} of all), of them "
        f"{cost.head_parameters:,} in the head; {cost.training_seconds:.0f} s of training."
    )
    if result.run.arguments["learning_rate"] == 0:
        print("Note: the learning rate was 0: nothing was trained.")
    if result.run.data.synthetic or not result.run.backbone.pretrained:
        print("Note: " + _caveat(result.run.data.synthetic, result.run.backbone.pretrained))


def _caveat(synthetic: bool, pretrained: bool) -> str:
    parts = ["the speech is synthetic"] * synthetic + ["the backbone has random weights"] * (not pretrained)
    return f"{' and '.join(parts)}; these scores say nothing about methods on human speech or pretrained models."
