"""The model cards of what was pretrained, from what was measured."""

from typing import Any

_ENCODER = """\
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
output. Clusters are those of the clean speech. `sure pretrain --output_dir out/mini {flags}`

| what | measured |
| --- | --- |
| steps | {steps:,} of {batch_size} clips |
| training | {seconds:,.0f} s on {device} |
| held-out accuracy of masked frames, MFCC clusters | {first} |
| held-out accuracy of masked frames, clusters of its own features | {second} |

Weights are stored in float16.
"""


_TEXT_TO_SPEECH = """\
---
library_name: transformers
license: apache-2.0
language: en
tags: [text-to-speech, fastspeech2, synthetic]
---

# A small text-to-speech model, pretrained on synthetic speech

A FastSpeech2Conformer ({parameters:,} parameters) that has heard no human being: eSpeak NG spoke all of its speech. It
is there to be adapted to speakers with parameter-efficient methods without a download, and sounds more synthetic than
its teacher. It reads English characters; digits are unknown to it.

## Data

{utterances:,} utterances ({hours} hours) of {speakers} voices of eSpeak NG: words drawn at random, half of them from
the most common ones of English and half from the list of the Electronic Frontier Foundation for passphrases (CC BY 3.0
US). eSpeak NG's own times are the durations. Voices are told apart by random codes.

## Recipe

`sure pretrain --model text_to_speech --output_dir out/mini-tts {flags}`

| what | measured |
| --- | --- |
| steps | {steps:,} of {batch_size} utterances |
| training | {seconds:,.0f} s on {device} |
| mel-cepstral distortion of held-out texts in known voices | {mel_cepstral_distortion:.2f} dB |
| frames of them that are voiced and should not be, or the reverse | {voicing_error:.1%} |
| distortion of eSpeak NG's own spectrograms through Griffin-Lim | {mel_cepstral_distortion_of_griffin_lim:.2f} dB |
| frames of those with wrong voicing | {voicing_error_of_griffin_lim:.1%} |

Weights are stored in float16.
"""


def encoder_card(made: dict[str, Any]) -> str:
    """Markdown from the contents of `pretraining.json`."""
    settings = made["settings"]
    last = {row["stage"]: f"{row['accuracy']:.3f}" for row in made["log"]}
    return _ENCODER.format(
        **made,
        batch_size=settings["batch_size"],
        flags=_flags(settings),
        first=last.get(1, "-"),
        second=last.get(2, "-"),
    )


def text_to_speech_card(made: dict[str, Any]) -> str:
    """Markdown from the contents of `pretraining.json`."""
    settings = made["settings"]
    return _TEXT_TO_SPEECH.format(
        **made,
        hours=settings["hours"],
        steps=settings["steps"],
        batch_size=settings["batch_size"],
        flags=_flags(settings),
    )


def _flags(settings: dict[str, Any]) -> str:
    return " ".join(
        f"--{name}" if value is True else f"--{name} {value}" for name, value in settings.items() if value is not False
    )
