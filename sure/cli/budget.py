"""`sure budget`."""

import argparse
import json

from sure import registry
from sure.cli.shared import positive


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    budget = commands.add_parser("budget", help="compare what methods cost on a backbone, without training or weights")
    budget.add_argument(
        "--backbone",
        default="wav2vec2:large",
        help="hub id, folder with a config.json, or <family>:<size> (default: wav2vec2:large, as SURE has it)",
    )
    budget.add_argument("--backbone_options", nargs="*", default=[], metavar="NAME=VALUE", help="as for `sure train`")
    budget.add_argument("--methods", nargs="+", metavar="METHOD", help="default: every method of SURE")
    budget.add_argument(
        "--budget",
        nargs="+",
        metavar="SIZE",
        help="trainable parameters without head, as a share of the backbone (1%%) or a number (0.9M): each method with "
        "the largest setting that each of them allows",
    )
    budget.add_argument(
        "--labels", type=positive, default=11, help="labels of the head (default: 11, as in SURE's counts)"
    )
    budget.add_argument("--json", action="store_true", help="print JSON instead of a table")
    budget.set_defaults(run=_budget)


def _budget(arguments: argparse.Namespace) -> None:
    import dataclasses
    from itertools import chain

    from tabulate import tabulate

    from sure.backbone import MissingRole
    from sure.backbone.loading import ALIASES
    from sure.budget import budget
    from sure.heads import ClassificationHead
    from sure.method import applying
    from sure.method.fitting import OutOfReach
    from sure.runner.arguments import parse_options

    def build_head(width: int) -> ClassificationHead:
        return ClassificationHead(width, arguments.labels)

    options = parse_options(arguments.backbone_options, "--backbone_options")
    counted = (ALIASES.get(arguments.backbone, arguments.backbone), arguments.labels, None)
    rows, beyond = [], []
    for name in arguments.methods or registry.names("method"):
        dimension = applying.dimension(name)
        for allowed in (arguments.budget if arguments.budget and dimension else None) or [None]:
            chosen = {} if allowed is None else {"budget": allowed}
            try:
                measured = budget(name, arguments.backbone, build_head, chosen, options)
            except OutOfReach as error:
                beyond.append(str(error).removeprefix("--method_options "))
                continue
            except MissingRole as error:
                beyond.append(f"{name}: {error}")
                break
            published = {(one.backbone, one.labels, one.preset): one.parameters for one in applying.published(name)}
            rows.append({"method": name, "budget": allowed, "setting": measured.setting})
            rows[-1] |= {"published": published.get(counted) if allowed is None else None}
            rows[-1] |= dataclasses.asdict(measured)
            rows[-1] |= {"share": measured.trainable_share, "without_head": measured.method_parameters}
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    sized = [["budget", "setting"]] if arguments.budget else []
    table = [
        [
            row["method"],
            *([row["budget"] or "one size", row["setting"] or ""] if sized else []),
            f"{row['trainable_parameters']:,}",
            f"{row['published']:,}" if row["published"] else "",
            f"{row['share']:.2%}",
            f"{row['without_head']:,}",
            f"{row['adapter_bytes'] / 1e6:,.1f}",
            f"{row['macs_per_second'] / 1e9:.2f}",
        ]
        for row in sorted(rows, key=lambda row: row["trainable_parameters"])
    ]
    headers = [
        "method",
        *chain(*sized),
        "trainable",
        "published",
        "share",
        "without head",
        "adapter MB",
        "GMAC per s of audio",
    ]
    print(f"{arguments.backbone}, head of {arguments.labels} labels")
    left = 1 + 2 * len(sized)
    print(tabulate(table, headers=headers, colalign=["left"] * left + ["right"] * 6, disable_numparse=True))
    for message in beyond:
        print(f"Not possible: {message}")
