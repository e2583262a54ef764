"""`sure tasks`, `sure methods`, `sure backbones`, `sure metrics`."""

import argparse
import dataclasses
import json
import sys
import textwrap
from pathlib import Path

from sure import registry

# Where a method's presets are counted.
_COUNTED = "wav2vec2:base"


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    helps = {
        "task": "its corpus, split rule and options",
        "method": "its paper and options, and counts in print",
        "backbone": "a family, or what --backbone takes: its options, sizes, and parts that a method can adapt",
        "metric": "what it measures",
    }
    texts = {"task": "tasks", "method": "methods", "backbone": "backbone families", "metric": "metrics"}
    for kind, text in texts.items():
        listing = commands.add_parser(f"{kind}s", help=f"list the {text}, or say more about one")
        listing.add_argument("name", nargs="?", help=helps[kind])
        listing.set_defaults(run=_list, kind=kind, published=False)
        if kind == "method":
            listing.add_argument(
                "--published",
                action="store_true",
                help="the counts of parameters in print beside those of the code here",
            )


def _list(arguments: argparse.Namespace) -> None:
    from tabulate import tabulate

    kind, name = arguments.kind, arguments.name
    if arguments.published:
        _compare_published([name] if name else registry.names("method"))
        return
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
                "wav2vec2:tiny; `sure backbones wav2vec2` has the sizes of a family, and the parts that can be adapted."
            )
        return
    _describe(kind, name)


def _describe(kind: str, name: str) -> None:
    if kind == "method":
        from sure.method import by_name

        described = by_name.config_class(name)
        if len(parts := by_name.parts_of(name)) > 1:
            _describe_composition(name, parts)
            return
    elif kind == "backbone":
        described = _family(name)
        if name != described.family():
            print(f"{name} is of this family: {described.family()}.\n")
    else:
        described = registry.get(kind, name)
    print((sys.modules[described.__module__].__doc__ or "").strip())
    if kind == "metric":
        return
    if kind == "method":
        fields = by_name.options_of(described)
    else:
        fields = registry.options_of(described.options_class if kind == "backbone" else described)
    options = list(map(_option, fields))
    if kind == "method":
        roles = ",".join(by_name.roles_of(name)) or "..."
        options[:0] = [
            f"roles={roles}  The parts of the backbone to adapt; `sure backbones FAMILY` says which it has.",
            "layers=0-5  In these layers alone; top=6: in the last six; layers=0--2: in all but the last.",
        ]
        for dimension in by_name.dimensions(name):
            options.append(f"budget=1%  Instead of {dimension}: the largest that so many parameters, or 0.9M, allow.")
    print(f"\nOptions (--{kind}_options name=value ...):" if options else "\nNo options.")
    for option in options:
        print(textwrap.fill(option, 119, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False))
    if kind == "method":
        _describe_presets(name)
        for count in by_name.published(name):
            head = "without a head" if count.labels is None else f"with a head of {count.labels} labels"
            preset = f" (preset={count.preset})" if count.preset else ""
            print(
                f"\nPublished: {count.parameters:,} trainable parameters on {count.backbone} {head} "
                f"({count.source}){preset}."
            )
    if kind == "backbone":
        _describe_sizes_and_roles(described)


def _describe_composition(name: str, parts: dict[str, dict]) -> None:
    """Several methods at once: which, and how their options are given."""
    from sure.method import by_name

    if name in registry.names("method"):
        print((sys.modules[by_name.config_class(name).__module__].__doc__ or "").strip())
    print("\nSeveral methods at once, innermost first where they adapt the same module:")
    for part, options in parts.items():
        chosen = "".join(f" {option}={json.dumps(value)}" for option, value in options.items())
        summary = registry.summary("method", part) if part in registry.names("method") else "of PEFT"
        print(f"  {part}{chosen}\n      {summary}")
    dimensions = by_name.dimensions(name)
    example = next(iter(dimensions), f"{next(iter(parts))}.roles")
    print(
        "\nOptions (--method_options name=value ...): theirs, with the name of the method before them, such as\n"
        f"{example}=...; `sure methods {next(iter(parts))}` lists that method's."
    )
    if dimensions:
        sharing = "; each has what its smallest value costs, and an equal share of the rest" * (len(dimensions) > 1)
        print(textwrap.fill(f"budget=1% chooses {' and '.join(dimensions)}{sharing}.", 119))
    _describe_presets(name)


def _describe_presets(name: str) -> None:
    from tabulate import tabulate

    from sure.budget import count
    from sure.method import by_name

    presets = getattr(by_name.config_class(name), "presets", {})
    if not presets:
        return
    print(f"\nPapers' choices (--method_options preset=NAME), with their parameters on {_COUNTED}, without head:")
    rows = [[preset, f"{count(name, _COUNTED, {'preset': preset}):,}", presets[preset].source] for preset in presets]
    aligned = ("left", "right", "left")
    table = tabulate(rows, tablefmt="plain", colalign=aligned, disable_numparse=True, maxcolwidths=[None, None, 80])
    print(textwrap.indent(table, "  "))


def _compare_published(names: list[str]) -> None:
    from tabulate import tabulate

    from sure.budget import count
    from sure.method import by_name

    rows, notes = [], []
    for name in names:
        for one in by_name.published(name):
            ours = count(name, one.backbone, {"preset": one.preset} if one.preset else {}, one.labels)
            places = ",".join(by_name.roles_of(name, one.preset))
            # Some round a print, some cut it off.
            same = abs(ours - one.parameters) < one.rounded
            chosen = f"{name} {one.preset or ''}".strip()
            rows.append(
                [
                    *(chosen, one.source, places, one.backbone),
                    *("" if one.labels is None else f"{one.labels} labels", f"{one.parameters:,}", f"{ours:,}"),
                    "" if same else f"{ours - one.parameters:+,}",
                ]
            )
            if one.difference:
                notes.append(f"{chosen} on {one.backbone}: {one.difference}.")
    if not rows:
        print("No count in print is known of this method.")
        return
    headers = ["method", "paper", "parts", "backbone", "head", "published", "ours", "difference"]
    aligned = ["left"] * 5 + ["right"] * 3
    print(tabulate(rows, headers=headers, colalign=aligned, disable_numparse=True))
    for note in notes:
        print(textwrap.fill(note, 119, initial_indent="- ", subsequent_indent="  "))


def _family(name: str) -> type:
    """Of a family's own name, or of a backbone's as --backbone takes it."""
    from sure.backbone import loading

    families = registry.names("backbone")
    if name in families:
        return registry.get("backbone", name)
    if name in loading.SHIPPED or name in loading.ALIASES or "/" in name or Path(name).is_dir():
        return loading.family_of(name)
    family, colon, _ = name.partition(":")
    if colon and family in families:
        return loading.family_of(name)
    raise registry.unknown("backbone", name, [*families, *loading.SHIPPED, *loading.ALIASES])


def _describe_sizes_and_roles(family: type) -> None:
    from tabulate import tabulate

    from sure.backbone import ROLES

    if family.sizes:
        print("\nWith random weights (--backbone):")
        configs = {f"{family.family()}:{size}": family.new_config(**values) for size, values in family.sizes.items()}
        rows = [
            [name, f"{config.num_hidden_layers} layers, width {config.hidden_size:,}"]
            for name, config in configs.items()
        ]
        print(textwrap.indent(tabulate(rows, tablefmt="plain"), "  "))
    halves = [role for role in family.roles if role.startswith(("encoder_", "decoder_"))]
    print("\nRoles, the parts that a method can adapt (--method_options roles=query,value):")
    rows = [[role, ROLES.get(role, "")] for role in ("backbone", *family.roles) if role not in halves]
    print(textwrap.indent(tabulate(rows, tablefmt="plain"), "  "))
    if halves:
        print(
            textwrap.fill(f"Of one half alone: {', '.join(halves)}", 119, initial_indent="  ", subsequent_indent="    ")
        )


def _option(field: dataclasses.Field) -> str:
    default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
    help_text = " ".join(str(field.metadata.get("help", "")).split())
    return f"{field.name}={json.dumps(default, default=str)}  {help_text}"
