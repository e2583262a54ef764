"""`sure tasks`, `sure methods`, `sure backbones`, `sure metrics`."""

import argparse
import dataclasses
import json
from collections.abc import Iterator

from sure import registry


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    texts = {"task": "tasks", "method": "methods", "backbone": "backbone families", "metric": "metrics"}
    for kind, text in texts.items():
        listing = commands.add_parser(f"{kind}s", help=f"list the {text}, or say more about one")
        listing.add_argument("name", nargs="?", help=f"a {kind}")
        listing.set_defaults(run=_list, kind=kind)


def _list(arguments: argparse.Namespace) -> None:
    from tabulate import tabulate

    kind, name = arguments.kind, arguments.name
    if name is None:
        rows = [[name, registry.summary(kind, name), registry.origin(kind, name)] for name in registry.names(kind)]
        # No third column where there is no plug-in.
        print(tabulate([[cell for cell in row if cell is not None] for row in rows], tablefmt="plain"))
        if kind == "method":
            print(f"\nAlso, from PEFT: {', '.join(registry.from_peft())}.")
        if kind == "backbone":
            print(
                "\nAny model of these families: a hub id or a folder. Shipped, small, pretrained on synthetic speech:\n"
                "sure-mini, and sure-mini-tts, which speaks. With random weights: <family>:<size>, such as\n"
                "wav2vec2:tiny; `sure backbones NAME` has the sizes of each."
            )
        return
    _describe(kind, name)


def _describe(kind: str, name: str) -> None:
    import sys as modules

    if kind == "method":
        from sure.method import applying

        described = applying.config_class(name)
    else:
        described = registry.get(kind, name)
    print((modules.modules[described.__module__].__doc__ or "").strip())
    if kind == "metric":
        return
    options = list(_options(described.options_class if kind == "backbone" else described))
    if kind == "method":
        options.append("roles=...  The parts of the backbone to adapt, such as query,value (`sure backbones NAME`).")
    print(f"\nOptions (--{kind}_options name=value ...):" if options else "\nNo options.")
    for option in options:
        print(f"  {option}")
    if kind == "method":
        for count in applying.published(name):
            print(
                f"\nPublished: {count.parameters:,} trainable parameters on {count.backbone} with a head of "
                f"{count.labels} labels ({count.source})."
            )
    if kind == "backbone":
        if described.sizes:
            print(f"\nWith random weights: {', '.join(f'{name}:{size}' for size in described.sizes)}")
        print(f"\nRoles (--method_options roles=...): backbone, {', '.join(described.roles)}")


def _options(options_class: type) -> Iterator[str]:
    """A line for each field of a dataclass that is a user's to choose."""
    inherited = {"task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"}
    for field in dataclasses.fields(options_class):
        if field.name not in inherited and field.init and not field.metadata.get("learned"):
            default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
            help_text = " ".join(str(field.metadata.get("help", "")).split())
            yield f"{field.name}={json.dumps(default, default=str)}  {help_text}"
