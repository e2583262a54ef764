"""Pretraining from nothing to a folder that `backbones.load` takes."""

import json
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sure import cli
from sure.backbone import loading
from sure.errors import SureError
from sure.pretraining import Settings, begin, encoder, hubert, speech, text_to_speech
from sure.pretraining.encoder import Batches, pretrain
from sure.pretraining.hubert import Learner
from tests.factories import processes

SMALL = {"hours": 0.01, "batch_size": 2, "seed": 3}
CLIPS = 8


def few_clips_in_a_block(patched):
    for module in (encoder, speech):
        patched.setattr(module, "BLOCK", CLIPS)


@pytest.fixture(scope="module", autouse=True)
def little_is_spoken():
    with pytest.MonkeyPatch.context() as patched:
        few_clips_in_a_block(patched)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "mini"
    pretrain(folder, Settings(steps=6, **SMALL), save_steps=2, workers=0)
    return folder


def test_it_leaves_a_small_encoder_that_loads_and_its_card(made):
    assert sorted(path.name for path in made.iterdir()) == [
        *("README.md", "config.json", "model.safetensors", "preprocessor_config.json", "pretraining.json", "runs")
    ]
    assert (made / "model.safetensors").stat().st_size < 8_000_000
    backbone = loading.load(str(made))
    assert backbone.pretrained
    assert backbone.family() == "hubert"
    assert {parameter.dtype for parameter in backbone.model.parameters()} == {torch.float32}
    assert backbone.model.config.hidden_dropout == 0.1
    assert backbone.processor.do_normalize
    # The shortest recording that `sure.audio` takes.
    hidden = backbone.model(torch.randn(1, 400)).last_hidden_state
    assert hidden.shape == (1, 1, backbone.width)
    log = json.loads((made / "pretraining.json").read_text())["log"]
    assert [row["stage"] for row in log] == [1, 1, 2, 2]
    assert f"| {log[-1]['accuracy']:.3f} |" in (made / "README.md").read_text()
    assert "--steps 6 --hours 0.01 --batch_size 2 --seed 3" in (made / "README.md").read_text()


def test_a_full_disk_is_said(tmp_path):
    work = begin(tmp_path, Settings(steps=6, **SMALL))
    (work / "speech.partial").symlink_to("/dev/full")
    with pytest.raises(SureError, match=r"speech\.npy: cannot be written \(No space left on device\)"):
        pretrain(tmp_path, Settings(steps=6, **SMALL), workers=0)


def test_a_complete_pretraining_is_not_run_again_and_another_not_in_its_folder(made, tmp_path):
    written = (made / "model.safetensors").stat().st_mtime_ns
    pretrain(made, Settings(steps=6, **SMALL))
    assert (made / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(SureError, match=r"holds another pretraining \(steps: 6 there, 7 now\)"):
        pretrain(made, Settings(steps=7, **SMALL))
    (tmp_path / "file").touch()
    with pytest.raises(SureError, match="is not empty and holds no pretraining"):
        pretrain(tmp_path, Settings(steps=6, **SMALL))


def killed_in_the_third_step(words):
    """Runs as the command does until the first stage's second step has been saved."""
    learns = encoder._Run._update

    def killed(self, *arguments):
        if self.step == 2:
            processes.kill_this()
        return learns(self, *arguments)

    encoder._Run._update = killed
    few_clips_in_a_block(pytest.MonkeyPatch())
    cli.main(words)


@pytest.mark.slow
def test_killed_and_run_again_it_ends_with_the_same_weights(made, tmp_path, capsys):
    words = "pretrain --steps 6 --hours 0.01 --batch_size 2 --seed 3 --save_steps 2 --workers 0"
    command = [*words.split(), "--output_dir", str(tmp_path / "killed")]
    killed = processes.start(killed_in_the_third_step, command)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert (tmp_path / "killed/work/checkpoint.pt").exists()
    assert not (tmp_path / "killed/pretraining.json").exists()
    cli.main(command)
    assert "is ready: sure train --backbone" in capsys.readouterr().out
    whole, resumed = (load_file(folder / "model.safetensors") for folder in (made, tmp_path / "killed"))
    assert all(whole[name].equal(resumed[name]) for name in whole)


def test_the_loss_falls_on_a_batch_seen_again_and_again():
    torch.manual_seed(0)
    learner = Learner()
    optimiser = torch.optim.AdamW(learner.parameters(), lr=1e-3)
    clips = np.stack([speech.normalised(clip) for clip in speech.SpokenBlocks(0, 1)[0][:2]])
    labels = torch.randint(0, 10, (2, 199))
    mask = torch.rand(2, 199) < 0.5
    losses = []
    for _ in range(12):
        loss, _ = learner(torch.from_numpy(clips), labels, mask, stage=0)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < losses[0] - 1.5


def test_batches_depend_on_seed_and_step_alone_and_mask_about_half_in_spans(tmp_path):
    blocks = speech.SpokenBlocks(0, 1)[0]
    np.save(tmp_path / "speech.npy", blocks)
    np.save(tmp_path / "labels.npy", np.arange(len(blocks), dtype=np.uint8)[:, None].repeat(199, axis=1))
    first, again = (
        Batches(tmp_path / "speech.npy", tmp_path / "labels.npy", range(CLIPS), 8, seed=1) for _ in range(2)
    )
    first[0]
    for one, other in zip(first[7], again[7], strict=True):
        assert one.equal(other)
    waveforms, labels, mask = first[8]
    assert not labels.equal(first[7][1])
    assert waveforms.dtype == torch.float32
    assert waveforms.mean(dim=1).abs().max() < 1e-4
    assert waveforms.std(dim=1) == pytest.approx(1, abs=1e-3)
    assert 0.35 < mask.float().mean() < 0.75
    for row in mask.tolist():
        lengths = [len(span) for span in "".join("m" if masked else " " for masked in row).split()]
        # The last may be cut off by the end.
        assert all(length >= 10 for length in lengths[:-1])


def test_speech_depends_on_seed_and_block_alone_and_voices_differ():
    blocks = speech.SpokenBlocks(5, 3)
    second = blocks[1]
    blocks[0]
    assert np.array_equal(blocks[1], second)
    assert not np.array_equal(blocks[2], second)
    assert not np.array_equal(speech.SpokenBlocks(6, 3)[1], second)
    assert second.dtype == np.int16
    assert np.abs(second).max(axis=1).min() == 32_000
    with pytest.raises(IndexError):
        blocks[3]


def test_what_a_microphone_hears_is_still_the_clip():
    clip, other = speech.SpokenBlocks(0, 1)[0][:2]
    generator = np.random.default_rng(0)
    likeness = [np.abs(np.corrcoef(speech.recorded(clip, other, generator), clip)[0, 1]) for _ in range(20)]
    assert 0.3 < np.median(likeness) < 0.99
    assert np.std(likeness) > 0.05


def test_no_steps_leave_random_weights_for_comparison(tmp_path):
    pretrain(tmp_path / "random", Settings(steps=0))
    assert json.loads((tmp_path / "random" / "pretraining.json").read_text())["log"] == []
    assert not loading.load(str(tmp_path / "random")).pretrained


def test_sure_mini_is_the_shipped_folder_and_missed_by_name(made, tmp_path, monkeypatch):
    monkeypatch.setitem(loading.SHIPPED, "sure-mini", made)
    backbone = loading.load("sure-mini")
    assert backbone.name == "sure-mini"
    assert backbone.revision == loading.load(str(made)).revision
    monkeypatch.setitem(loading.SHIPPED, "sure-mini", tmp_path / "nothing")
    with pytest.raises(SureError, match="--backbone sure-mini is not in this installation"):
        loading.load("sure-mini")


@pytest.mark.parametrize(("name", "family"), [("sure-mini", "hubert"), ("sure-mini-tts", "fastspeech2_conformer")])
def test_what_is_shipped_is_small_pretrained_and_has_a_card(name, family):
    folder = loading.SHIPPED[name]
    assert (folder / "model.safetensors").stat().st_size <= 8_000_000
    backbone = loading.load(name)
    assert backbone.family() == family
    assert backbone.pretrained
    record = json.loads((folder / "pretraining.json").read_text())
    card = (folder / "README.md").read_text()
    assert "has heard no human being" in card
    assert f"{record['seconds']:,.0f} s on " in card
    assert "## Scores" in card
    # What today's `sure pretrain` would make.
    architecture = {"sure-mini": hubert, "sure-mini-tts": text_to_speech}[name].ARCHITECTURE
    known = backbone.model.config.to_dict()
    assert {key: known[key] for key in architecture} == json.loads(json.dumps(architecture))
