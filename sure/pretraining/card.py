"""The model card of a pretrained encoder, from what was measured."""

from typing import Any

_CARD = """\
---
library_name: transformers
license: apache-2.0
tags: [speech, hubert, synthetic]
---

# A small speech encoder, pretrained on synthetic speech

A HuBERT ({parameters:,} parameters, 16 kHz, a frame every 20 ms) that has heard no human being: eSpeak NG spoke all of
its speech. It shows parameter-efficient methods something better than random weights without a download. It is not a
substitute for an encoder pretrained on human speech, and its scores compare with no such encoder's.

## Data

{hours_spoken} hours in {clips:,} clips of 4 seconds: words and invented words in 23 languages and numbers in all
languages of eSpeak NG, 40 % of them in accents of English and 15 % in German, in a hundred variants of voices, at
random rates, pitches and lengths of the vocal tract. On the fly every clip gets a random room, channel and noise, and a
quarter of them another voice that talks in between. {hours_heard} hours were heard.

## Recipe

HuBERT's masked prediction: of 100 clusters of MFCCs for the first 35 %, then of 250 clusters of the third layer's
output. Clusters are those of the clean speech. `sure pretrain {flags}`

| what | measured |
| --- | --- |
| steps | {steps:,} of {batch_size} clips |
| training | {seconds:,.0f} s on {device} ({torch_threads} threads) |
| held-out accuracy of masked frames, MFCC clusters | {first} |
| held-out accuracy of masked frames, clusters of its own features | {second} |

Weights are stored in float16.
"""


def card(made: dict[str, Any]) -> str:
    """Markdown from the contents of `pretraining.json`."""
    settings = made["settings"]
    flags = " ".join(
        f"--{name}" if value is True else f"--{name} {value}"
        for name, value in settings.items()
        if value is not None and value is not False
    )
    last = {row["stage"]: f"{row['accuracy']:.3f}" for row in made["log"]}
    return _CARD.format(
        **made, batch_size=settings["batch_size"], flags=flags, first=last.get(1, "-"), second=last.get(2, "-")
    )
