"""`sure pretrain`."""

import argparse
from pathlib import Path

from sure.cli.shared import not_negative, positive, positive_number, seed
from sure.files import writing

_PRETRAIN = """\
A small model on speech that eSpeak NG makes up, with no download. The same command goes on where it was interrupted.

encoder          a HuBERT that predicts clusters of masked frames, of speech in many voices and languages, disturbed as
                 recordings are
text_to_speech   a FastSpeech 2 that reads characters, on English in a hundred voices

  sure pretrain --output_dir out/mini --bf16                                    an hour or more on two CPU cores
  sure pretrain --model text_to_speech --output_dir out/mini-tts --steps 6000 --hours 6 --bf16
  sure pretrain --output_dir out/mini --steps 20000 --hours 40 --batch_size 256 --bf16 --workers 15    a GPU
  tensorboard --logdir out/mini/runs
  sure train --backbone out/mini --task emodb_emotion --data_dir DATA/emodb --output_dir out/emotion
"""


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    pretraining = commands.add_parser(
        "pretrain",
        help="make a small backbone from nothing, on synthetic speech",
        description=_PRETRAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pretraining.add_argument(
        "--model", choices=("encoder", "text_to_speech"), default="encoder", help="what to make (default: encoder)"
    )
    pretraining.add_argument("--output_dir", type=Path, required=True, help="folder of the model to be")
    pretraining.add_argument("--steps", type=not_negative, default=8000, help="0 leaves random weights (default: 8000)")
    pretraining.add_argument(
        "--hours", type=positive_number, default=8.0, help="of speech, 0.12 GB of disk each (default: 8)"
    )
    pretraining.add_argument("--batch_size", type=positive, default=16, help="utterances in a step (default: 16)")
    pretraining.add_argument("--seed", type=seed, default=0, help="of speech, weights and batches (default: 0)")
    pretraining.add_argument("--bf16", action="store_true", help="faster on GPUs, and on CPUs with AMX or AVX512-BF16")
    pretraining.add_argument(
        "--save_steps", type=positive, default=200, help="steps between checkpoints (default: 200)"
    )
    pretraining.add_argument(
        "--workers", type=not_negative, default=1, help="processes that prepare speech (default: 1)"
    )
    pretraining.set_defaults(run=_pretrain)


def _pretrain(arguments: argparse.Namespace) -> None:
    from sure.pretraining import Settings

    if arguments.model == "encoder":
        from sure.pretraining.encoder import pretrain
    else:
        from sure.pretraining.text_to_speech import pretrain
    settings = Settings(
        steps=arguments.steps,
        hours=arguments.hours,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        bf16=arguments.bf16,
    )
    with writing(f"--output_dir {arguments.output_dir}"):
        pretrain(arguments.output_dir, settings, arguments.save_steps, arguments.workers)
    print(f"{arguments.output_dir} is ready: sure train --backbone {arguments.output_dir} ...")
