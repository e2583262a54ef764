"""A small text-to-speech model from nothing: FastSpeech 2 (Ren et al. 2021) on English that eSpeak NG speaks.

sure pretrain --model text_to_speech --output_dir out/mini-tts --steps 6000 --hours 6 --bf16
sure train --backbone out/mini-tts --task tts_ljspeech --data_dir DATA/LJSpeech-1.1 --method lora --output_dir out/lj

eSpeak NG says when it begins which sound, so that the durations are exact. The model reads characters, and tells its
speakers by the codes that `--task_options speaker_embeddings=codes` gives them: to learn a new speaker is to learn what
the speaker's code means.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import soxr
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from transformers import FastSpeech2ConformerConfig, FastSpeech2ConformerModel, Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.trainer_utils import get_last_checkpoint

from sure import synth
from sure.audio import SAMPLE_RATE
from sure.backbone import Backbone, loading
from sure.backbone.padding import FixedBatchNorm
from sure.errors import SureError
from sure.files import write_atomically
from sure.pretraining import Settings, begin, conclude
from sure.pretraining.card import text_to_speech_card
from sure.record.provenance import device_name
from sure.task.text_to_speech import vocoders
from sure.task.text_to_speech.alignment import character_times
from sure.task.text_to_speech.measures import analyse, compare
from sure.task.text_to_speech.speaker_embeddings import code

# 3.7 million parameters.
VOCABULARY = ("<blank>", "<unk>", *" ',.;:?!-\"()abcdefghijklmnopqrstuvwxyz", "<sos/eos>")
_STACKS = {
    f"{stack}_{name}": value
    for stack in ("encoder", "decoder")
    for name, value in {
        **{"layers": 3, "num_attention_heads": 2, "linear_units": 256, "kernel_size": 7},
        **{"dropout_rate": 0.1, "positional_dropout_rate": 0.1, "attention_dropout_rate": 0.1},
    }.items()
}
_PREDICTORS = {
    f"{predicted}_predictor_{name}": value
    for predicted in ("duration", "pitch", "energy")
    for name, value in {"layers": 2, "channels": 128}.items()
}
ARCHITECTURE = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 128,
    "speech_decoder_postnet_layers": 3,
    "speech_decoder_postnet_units": 96,
    "speech_decoder_postnet_dropout": 0.2,
    "duration_predictor_dropout_rate": 0.2,
    "pitch_predictor_dropout": 0.2,
    "energy_predictor_dropout": 0.2,
    "speaker_embed_dim": 64,
    # Of the corpus, about: in log Hz and amplitude; spectrograms as they are.
    **{"mel_mean": 0.0, "mel_deviation": 1.0},
    **{"pitch_mean": 4.9, "pitch_deviation": 0.4, "energy_mean": 0.85, "energy_deviation": 0.65},
    **_STACKS,
    **_PREDICTORS,
}

# What is for whoever adapts the model: pretraining sees no sentence often enough to know it by heart.
_NO_DROPOUT = {name: 0.0 for name in ARCHITECTURE if "dropout" in name}

LEARNING_RATE, WARM_UP = 1e-3, 0.05

SPEAKERS = 96
# Of one utterance, on average.
_SECONDS = 3.4
# What the model is measured on; nobody learns from it.
_HELD_OUT = 32

# Some of the most common words of English.
_COMMON = """the of and a to in is you that it he was for on are as with his they I at be this have from or one had by
word but not what all were we when your can said there use an each which she do how their if will up other about out
many then them these so some her would make like him into time has look two more write go see number no way could
people my than first water been call who oil its now find long down day did get come made may part over new sound take
only little work know place year live me back give most very after thing our just name good sentence man think say
great where help through much before line right too mean old any same tell boy follow came want show also around form
three small set put end does another well large must big even such because turn here why ask went men read need land
different home us move try kind hand picture again change off play spell air away animal house point page letter
mother answer found study still learn should America world""".split()


def pretrain(output_dir: Path, settings: Settings, save_steps: int = 200, workers: int = 1) -> None:
    """Make a text-to-speech model in `output_dir`, or go on where an earlier run was interrupted.

    Leaves `config.json`, `model.safetensors` (float16), `vocab.json`, the model card `README.md`, `pretraining.json`
    (settings, cost, scores, log) and TensorBoard's `runs`. Until then `work` holds the corpus (0.1 GB an hour) and a
    checkpoint, every `save_steps` steps. `workers` processes make the corpus. Raises `SureError` where `output_dir`
    holds something else.
    """
    output_dir = Path(output_dir)
    work = begin(output_dir, settings)
    if work is None:
        return
    if not (work / "untrained" / "vocab.json").exists():
        torch.manual_seed(settings.seed)
        _save(FastSpeech2ConformerModel(FastSpeech2ConformerConfig(**(ARCHITECTURE | _NO_DROPOUT))), work / "untrained")
    backbone = loading.load(str(work / "untrained"))
    for module in backbone.model.modules():
        if isinstance(module, FixedBatchNorm):
            # Here their statistics are learnt.
            module.__class__ = nn.BatchNorm1d
    corpus = spoken(work, settings, workers)
    trainer = Trainer(
        backbone.model,
        TrainingArguments(
            output_dir=str(work / "checkpoints"),
            max_steps=max(settings.steps, 1),
            per_device_train_batch_size=settings.batch_size,
            learning_rate=LEARNING_RATE,
            warmup_steps=WARM_UP,
            bf16=settings.bf16,
            # Or bf16 would ask for a GPU.
            use_cpu=not torch.cuda.is_available(),
            seed=settings.seed,
            train_sampling_strategy="group_by_length",
            length_column_name="tokens",
            remove_unused_columns=False,
            logging_steps=min(50, save_steps),
            save_steps=save_steps,
            save_total_limit=1,
            report_to="none",
        ),
        data_collator=collate,
        train_dataset=corpus.select(range(_HELD_OUT, len(corpus))),
        callbacks=[TensorBoardCallback(SummaryWriter(output_dir / "runs"))],
    )
    if settings.steps:
        trainer.train(resume_from_checkpoint=_checkpoint(work))
    _finish(output_dir, settings, backbone, corpus, trainer)


def spoken(work: Path, settings: Settings, workers: int = 1) -> Dataset:
    """The corpus: `text`, `speaker` and the features of each utterance, a function of seed and index."""
    hours = settings.hours if settings.steps else 0
    count = _HELD_OUT + max(settings.batch_size, round(hours * 3600 / _SECONDS))
    return Dataset.from_generator(
        _made,
        features=datasets.Features(
            {"text": datasets.Value("string"), "speaker": datasets.Value("int32"), "tokens": datasets.Value("int32")}
            | {"input_ids": datasets.List(datasets.Value("int32")), "durations": datasets.List(datasets.Value("int32"))}
            | {name: datasets.List(datasets.Value("float32")) for name in ("labels", "pitch", "energy")}
        ),
        cache_dir=str(work / "corpus"),
        gen_kwargs={"utterances": Utterances(work / "untrained", settings.seed, count), "workers": workers},
        # Of the same corpus, however many make it.
        fingerprint=f"{settings.seed}-{count}",
    ).with_format("torch")


class Utterances(torch.utils.data.Dataset):
    """The features of so many utterances, for the model in `folder`."""

    def __init__(self, folder: Path, seed: int, count: int) -> None:
        self.folder, self.seed, self.count = folder, seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        backbone = _untrained(self.folder)
        text, speaker, waveform, times = utterance(self.seed, index)
        durations = backbone.durations(text, times, len(waveform) / SAMPLE_RATE)
        row = {"id": str(index), "text": text, "waveform": waveform, "durations": durations}
        made = backbone.targets([row])
        return {
            "text": text,
            "speaker": speaker,
            "input_ids": backbone.text_inputs([text])["input_ids"][0].numpy(),
            "tokens": made["durations"].shape[1],
            **{name: made[name].flatten().numpy() for name in ("labels", "durations", "pitch", "energy")},
        }


def _made(utterances: Utterances, workers: int) -> Iterator[dict[str, Any]]:
    loader = DataLoader(utterances, batch_size=None, num_workers=workers, collate_fn=lambda features: features)
    yield from tqdm(loader, "Speaking", unit="utterance", disable=None)


@cache
def _untrained(folder: Path) -> Backbone:
    return loading.load(str(folder))


def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """A batch as the model takes it in training."""
    bins = FastSpeech2ConformerConfig(**ARCHITECTURE).num_mel_bins

    def padded(name: str, value: float = 0) -> Tensor:
        return nn.utils.rnn.pad_sequence([row[name] for row in rows], batch_first=True, padding_value=value)

    return {
        "input_ids": padded("input_ids").long(),
        "attention_mask": nn.utils.rnn.pad_sequence([torch.ones(len(row["input_ids"])) for row in rows], True).long(),
        "labels": padded("labels", -100.0).unflatten(1, (-1, bins)),
        "durations": padded("durations").long(),
        "pitch": padded("pitch").unsqueeze(-1),
        "energy": padded("energy").unsqueeze(-1),
        "speaker_embeddings": torch.stack([_speaker_code(int(row["speaker"])) for row in rows]),
    }


def utterance(seed: int, index: int) -> tuple[str, int, NDArray[np.float32], NDArray[np.float64]]:
    """Text, speaker, waveform of shape (samples,), 16 kHz, and when each character begins and the last one ends."""
    speaker = index % SPEAKERS
    generator = random.Random(f"{seed} {index}")  # noqa: S311 not for secrets
    text, (voice, size) = _text(generator), _voice(seed, speaker)
    synth.forget()
    waveform, words = synth.speak_words(text, voice)
    times = character_times(text, words, len(waveform) / SAMPLE_RATE)
    # A shorter vocal tract: formants and pitch higher by this factor, and for once the rate too.
    return text, speaker, soxr.resample(waveform, SAMPLE_RATE * size, SAMPLE_RATE), times / size


def _voice(seed: int, speaker: int) -> tuple[synth.Voice, float]:
    generator = random.Random(f"{seed} speaker {speaker}")  # noqa: S311 not for secrets
    variants = [f"{sex}{number}" for sex, most in (("f", 5), ("m", 8)) for number in range(1, most + 1)]
    size = generator.uniform(0.85, 1.2)
    voice = synth.Voice(
        f"en-us+{generator.choice(variants)}",
        rate=round(generator.uniform(140, 200) / size),
        pitch=generator.randint(35, 75),
        range=generator.randint(25, 75),
    )
    return voice, size


def _text(generator: random.Random) -> str:
    """A sentence of words that have nothing to do with each other."""
    words = [
        generator.choice(_COMMON if generator.random() < 0.5 else _dictionary())
        for _ in range(generator.randint(3, 13))
    ]
    for place in range(len(words) - 1):
        words[place] += generator.choices(("", ",", ";", ":"), (20, 3, 0.4, 0.2))[0]
    words[0] = words[0].capitalize()
    return " ".join(words) + generator.choices((".", "", "?", "!"), (5, 3, 1, 1))[0]


@cache
def _dictionary() -> list[str]:
    """The 7,776 words that the Electronic Frontier Foundation chose for passphrases, as xkcdpass ships them."""
    try:
        file = resources.files("xkcdpass").joinpath("static", "eff-long")
    except ImportError:
        raise SureError('Pretraining needs a list of words: pip install "sure-bench[synth]".') from None
    return file.read_text(encoding="utf-8").split()


@cache
def _speaker_code(speaker: int) -> Tensor:
    return torch.from_numpy(code(f"eSpeak NG {speaker}", ARCHITECTURE["speaker_embed_dim"]))


def _checkpoint(work: Path) -> str | None:
    folder = work / "checkpoints"
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


def _save(model: FastSpeech2ConformerModel, folder: Path) -> None:
    model.save_pretrained(folder)
    write_atomically(folder / "vocab.json", json.dumps({token: index for index, token in enumerate(VOCABULARY)}))


def _finish(output_dir: Path, settings: Settings, backbone: Backbone, corpus: Dataset, trainer: Trainer) -> None:
    """Leave what is loaded and read; the work is done."""
    measured = measure(backbone, corpus, settings.seed) if settings.steps else {}
    config = FastSpeech2ConformerConfig(**ARCHITECTURE, random_weights=not settings.steps)
    model = FastSpeech2ConformerModel(config)
    model.load_state_dict(backbone.model.cpu().state_dict())
    _save(model.half(), output_dir)
    history = trainer.state.log_history
    made = {
        "settings": asdict(settings),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "utterances": len(corpus) - _HELD_OUT,
        "speakers": SPEAKERS,
        **measured,
        "seconds": round(sum(entry.get("train_runtime", 0.0) for entry in history), 1),
        "device": device_name(trainer.args.device),
        "log": [{"step": entry["step"], "loss": entry["loss"]} for entry in history if "loss" in entry],
    }
    conclude(output_dir, made, text_to_speech_card)


@torch.no_grad()
def measure(backbone: Backbone, corpus: Dataset, seed: int) -> dict[str, float]:
    """Mel-cepstral distortion in dB and share of wrongly voiced frames, on the held-out utterances: of what the model
    says, and of what Griffin-Lim makes of eSpeak NG's own spectrograms, the least that a model can reach with it."""
    backbone.model.eval()
    speak, bins = vocoders.load(vocoders.GRIFFIN_LIM, backbone), backbone.model.config.num_mel_bins
    found = defaultdict(list)
    for index in range(_HELD_OUT):
        row = corpus[index]
        inputs = {name: tensor.to(backbone.model.device) for name, tensor in collate([row]).items()}
        said = backbone.model(
            inputs["input_ids"], inputs["attention_mask"], speaker_embeddings=inputs["speaker_embeddings"]
        )
        wanted = analyse(utterance(seed, index)[2])
        for whose, spectrogram in (("", said[0]), ("_of_griffin_lim", row["labels"].unflatten(0, (-1, bins)))):
            measures = compare(analyse(speak(spectrogram)), wanted)
            for name in ("mel_cepstral_distortion", "voicing_error"):
                found[name + whose].append(measures[name])
    return {name: round(float(np.mean(values)), 3) for name, values in found.items()}
