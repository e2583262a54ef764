"""A small speech encoder from nothing: HuBERT's masked prediction (Hsu et al. 2021) on synthetic speech.

sure pretrain --output_dir out/mini --bf16
sure train --backbone out/mini --task emodb_emotion --data_dir DATA/emodb --method linear_probe --output_dir out/probe

Speak the clips, cluster their MFCCs, learn to predict the clusters of masked frames; then cluster what a middle layer
has learnt, and go on with those. As in WavLM (Chen et al. 2022) the clusters are those of the clean speech, while the
model hears it in rooms, through channels, in noise and with others talking in between.
"""

import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from transformers import HubertConfig, Wav2Vec2FeatureExtractor

from sure.errors import SureError
from sure.files import write_atomically, writing
from sure.pretraining import Settings, begin, conclude
from sure.pretraining.card import encoder_card
from sure.pretraining.hubert import CLUSTERS, NO_DROPOUT, Learner, mfcc
from sure.pretraining.speech import BLOCK, SAMPLES, SECONDS, SpokenBlocks, normalised, recorded
from sure.record.provenance import device_name

# When a stage ends, and the layer whose output the second one learns from.
STAGE_ENDS = (0.35, 1.0)
TEACHER_LAYER = 3

LEARNING_RATE, WARM_UP, WEIGHT_DECAY = 1e-3, 0.05, 0.01
# HuBERT: 8 % of the frames begin a span of ten.
MASK_START, MASK_LENGTH = 0.08, 10


def pretrain(output_dir: Path, settings: Settings, save_steps: int = 200, workers: int = 1) -> None:
    """Make an encoder in `output_dir`, or go on where an earlier run was interrupted.

    Leaves `config.json`, `model.safetensors` (float16), `preprocessor_config.json`, the model card `README.md`,
    `pretraining.json` (settings, cost, log) and TensorBoard's `runs`. Until then `work` holds speech (0.12 GB an hour),
    labels and a checkpoint. Every `save_steps` steps the run measures itself and saves a checkpoint; `workers`
    processes prepare speech. Raises `SureError` where `output_dir` holds something else.
    """
    output_dir = Path(output_dir)
    work = begin(output_dir, settings)
    if work is None:
        return
    run = _Run(output_dir, work, settings, save_steps, workers)
    for stage in range(len(CLUSTERS)):
        if run.progress < STAGE_ENDS[stage]:
            run.speak()
            run.label(stage)
            run.train(stage)
    run.finish()


class Batches(Dataset):
    """The batch of every step: waveforms, labels and masks as `Learner` takes them, a function of seed and step."""

    def __init__(self, speech: Path, labels: Path, clips: range, batch_size: int, seed: int) -> None:
        self.speech, self.labels = np.load(speech, mmap_mode="r"), np.load(labels, mmap_mode="r")
        self.clips, self.batch_size, self.seed = clips, batch_size, seed

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = np.random.default_rng((self.seed, step))
        chosen = generator.choice(self.clips, size=(2, self.batch_size))
        heard = [recorded(self.speech[clip], self.speech[other], generator) for clip, other in chosen.T]
        labels = torch.from_numpy(self.labels[chosen[0]].astype(np.int64))
        starts = torch.from_numpy(generator.random(labels.shape, dtype=np.float32) < MASK_START)
        # The start of a span is the last of the frames that its window of maxima can see.
        spans = nn.functional.max_pool1d(
            nn.functional.pad(starts.float(), (MASK_LENGTH - 1, 0)).unsqueeze(1), MASK_LENGTH, stride=1
        )
        return torch.from_numpy(np.stack(heard)), labels, spans.squeeze(1).bool()


class _Run:
    """One pretraining: its stages in order, each of which does nothing where it was complete before."""

    def __init__(self, output_dir: Path, work: Path, settings: Settings, save_steps: int, workers: int) -> None:
        self.output_dir, self.work, self.settings = output_dir, work, settings
        self.save_steps, self.workers = save_steps, workers
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(settings.seed)
        self.learner = Learner().to(self.device)
        self.optimiser = torch.optim.AdamW(
            self.learner.parameters(), betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY, lr=LEARNING_RATE
        )
        # The last block is held out.
        self.clips = BLOCK * (1 + max(1, round(settings.hours * 3600 / (SECONDS * BLOCK))))
        self.step, self.seconds, self.log = 0, 0.0, []
        if (self.work / "checkpoint.pt").exists():
            state = torch.load(self.work / "checkpoint.pt", weights_only=True, map_location=self.device)
            self.learner.load_state_dict(state["learner"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds, self.log = state["step"], state["seconds"], state["log"]

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return self.step / self.settings.steps if self.settings.steps else 1.0

    def speak(self) -> None:
        """All clips, one block after another."""
        blocks = SpokenBlocks(self.settings.seed, self.clips // BLOCK)
        loader = DataLoader(blocks, batch_size=None, num_workers=self.workers)
        _write(self.work / "speech.npy", "Speaking", (self.clips, SAMPLES), np.int16, loader)

    def label(self, stage: int) -> None:
        """The cluster of every frame of the clean speech."""
        path = self.work / f"labels-{stage}.npy"
        if path.exists():
            return
        speech = np.load(self.work / "speech.npy", mmap_mode="r")
        features = mfcc if stage == 0 else self._hidden_states
        blocks = [speech[start : start + BLOCK] for start in range(0, len(speech), BLOCK)]
        # Some 200,000 frames say where the clusters are.
        sample = np.concatenate([_frames(features, block, self.device) for block in blocks[:16]])
        # The coefficients that matter vary most; the dimensions of a layer are all alike.
        scale = np.float32(1) if stage == 0 else sample.std(axis=(0, 1)) + 1e-5
        found = MiniBatchKMeans(CLUSTERS[stage], batch_size=4096, random_state=self.settings.seed)
        found.fit((sample / scale).reshape(-1, sample.shape[-1]))
        labelled = (
            found.predict((block / scale).reshape(-1, block.shape[-1])).reshape(block.shape[:2])
            for block in (_frames(features, block, self.device) for block in blocks)
        )
        _write(path, "Labelling", (len(speech), sample.shape[1]), np.uint8, labelled)

    def train(self, stage: int) -> None:
        """Until the share of the stage is done."""
        end, seed = STAGE_ENDS[stage], self.settings.seed
        files = (self.work / "speech.npy", self.work / f"labels-{stage}.npy")
        training = Batches(*files, range(self.clips - BLOCK), self.settings.batch_size, seed)
        evaluation = Batches(*files, range(self.clips - BLOCK, self.clips), BLOCK // 4, seed)
        held_out = [evaluation[index] for index in range(2)]
        loader = DataLoader(training, batch_size=None, num_workers=self.workers, sampler=range(self.step, 10**9))
        started, before, losses = time.perf_counter(), self.seconds, []
        with (
            SummaryWriter(self.output_dir / "runs", purge_step=self.step) as writer,
            tqdm(total=100, desc=f"Stage {stage + 1} of {len(CLUSTERS)}", unit="%", disable=None) as bar,
        ):
            for batch in loader:
                losses.append(self._update(batch, stage))
                self.step += 1
                self.seconds = before + time.perf_counter() - started
                bar.update(round(100 * self.progress / end, 1) - bar.n)
                ends = self.progress >= end
                if ends or self.step % self.save_steps == 0:
                    accuracy = self._accuracy(held_out, stage)
                    loss, losses = torch.stack(losses).nanmedian().item(), []
                    if not math.isfinite(loss):
                        raise SureError(f"The loss is {loss} at step {self.step}: train without --bf16.")
                    self.log.append(
                        {"step": self.step, "stage": stage + 1, "loss": round(loss, 4), "accuracy": round(accuracy, 4)}
                    )
                    writer.add_scalar("loss", loss, self.step)
                    writer.add_scalar("held-out accuracy of masked frames", accuracy, self.step)
                    bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.3f}")
                    self._save()
                if ends:
                    break

    def finish(self) -> None:
        """Leave what is loaded and read; the work is done."""
        encoder = self.learner.encoder.cpu()
        defaults = HubertConfig()
        for name in NO_DROPOUT:
            setattr(encoder.config, name, getattr(defaults, name))
        encoder.config.random_weights = not self.step
        encoder.half().save_pretrained(self.output_dir)
        Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(self.output_dir)
        made = {
            "settings": asdict(self.settings),
            "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
            "clips": self.clips,
            "hours_spoken": round(self.clips * SECONDS / 3600, 2),
            "hours_heard": round(self.step * self.settings.batch_size * SECONDS / 3600, 2),
            "steps": self.step,
            "seconds": round(self.seconds, 1),
            "device": device_name(self.device),
            "log": self.log,
        }
        conclude(self.output_dir, made, encoder_card)

    def _update(self, batch: tuple[Tensor, ...], stage: int) -> Tensor:
        rate = LEARNING_RATE * min(self.progress / WARM_UP, (1 - self.progress) / (1 - WARM_UP), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = max(rate, 0.0)
        self.learner.train()
        with self._precision():
            loss, _ = self.learner(*(part.to(self.device) for part in batch), stage)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
        # One gradient that is no number would leave no weight a number; it was seen, rarely, with bf16 on a CPU.
        if torch.isfinite(norm):
            self.optimiser.step()
        return loss.detach()

    @torch.no_grad()
    def _accuracy(self, batches: list[tuple[Tensor, ...]], stage: int) -> float:
        self.learner.eval()
        with self._precision():
            found = [self.learner(*(part.to(self.device) for part in batch), stage)[1] for batch in batches]
        return torch.stack(found).mean().item()

    def _hidden_states(self, waveforms: Tensor) -> Tensor:
        self.learner.eval()
        with self._precision():
            return self.learner.encoder(waveforms, output_hidden_states=True).hidden_states[TEACHER_LAYER]

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16)

    def _save(self) -> None:
        state = {
            "learner": self.learner.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "log": self.log,
        }
        written = io.BytesIO()
        torch.save(state, written)
        with writing(path := self.work / "checkpoint.pt"):
            write_atomically(path, written.getbuffer())


@torch.no_grad()
def _frames(features: Callable[[Tensor], Tensor], clips: NDArray, device: torch.device) -> NDArray[np.float32]:
    return features(torch.from_numpy(normalised(clips)).to(device)).float().cpu().numpy()


def _write(path: Path, what: str, shape: tuple[int, ...], dtype: type, blocks: Iterator[Any]) -> None:
    """An array of clips from its blocks, in a file that appears when it is whole. Raises `SureError` on a full disk."""
    if path.exists():
        return
    partial = path.with_suffix(".partial")
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    # A disk that is full would kill whoever writes into mapped memory.
    with writing(path), partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in tqdm(blocks, desc=what, total=shape[0] // BLOCK, unit="block", disable=None):
            file.write(np.asarray(block, dtype).tobytes())
    partial.replace(path)
