"""`sure export`."""

import argparse
from pathlib import Path

from sure.errors import SureError


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    export = commands.add_parser("export", help="a run as a folder to publish: adapter, model card, scores for the hub")
    export.add_argument("trained", type=Path, metavar="RUN", help="output folder of `sure train`")
    export.add_argument("--output_dir", type=Path, required=True, help="new or empty folder; its name is the model's")
    export.add_argument(
        "--merge",
        action="store_true",
        help="a checkpoint of transformers with the adapter in the backbone's weights, and the head beside it",
    )
    export.add_argument("--license", help="the hub's id of one, such as apache-2.0; none is stated by default")
    export.add_argument(
        "--benchmark",
        metavar="OWNER/NAME:TASK",
        help="dataset of the hub, and task of its eval.yaml, whose test split this is: the score is written for it",
    )
    export.add_argument("--push_to_hub", metavar="USER/NAME", help="upload the folder into this repository of the hub")
    export.add_argument(
        "--format",
        choices=("hub", "peft_method_comparison"),
        default="hub",
        help="peft_method_comparison: one JSON file in the form of the results of PEFT's method comparison",
    )
    export.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> None:
    from sure import export

    output_dir = arguments.output_dir
    if arguments.format == "peft_method_comparison":
        given = {name: getattr(arguments, name) for name in ("merge", "license", "benchmark", "push_to_hub")}
        if others := [f"--{name}" for name, value in given.items() if value]:
            raise SureError(f"--format peft_method_comparison writes one JSON file: leave out {', '.join(others)}.")
        print(f"Wrote {export.export_method_comparison(arguments.trained, output_dir)}.")
        return
    benchmark = export.Benchmark.parse(arguments.benchmark) if arguments.benchmark else None
    if arguments.push_to_hub:
        export.refuse_unpublishable(arguments.push_to_hub)
    files = export.export(
        arguments.trained,
        output_dir,
        merge=arguments.merge,
        licence=arguments.license,
        benchmark=benchmark,
        repository=arguments.push_to_hub,
    )
    print(f"Wrote {output_dir}: {', '.join(map(str, files))}.")
    if not benchmark:
        print("No .eval_results: --benchmark says of which of the hub's benchmarks the test split is.")
    if arguments.push_to_hub:
        print(f"Uploaded to {export.push(output_dir, arguments.push_to_hub)}.")
