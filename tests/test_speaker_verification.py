"""Speaker verification: heads, crops, noise, trials, scores, and runs from recordings to records."""

import hashlib
import json
import math
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import numpy as np
import pytest
import soundfile
import torch
from peft import PeftModel
from torch import nn

from sure import data, leaderboard, methods, registry, speaker_verification
from sure.augmentation import Surroundings, add_noise, crop, reverberate
from sure.backbones import Padding
from sure.errors import SureError
from sure.predict import predict
from sure.results import Result, read_predictions
from sure.speaker_heads import EMBEDDERS, AdditiveAngularMargin, AttentiveEmbedding, SpeakerHead, XVector
from sure.speaker_verification import SpeakerVerificationTask, read_trials, trials_by_rule
from sure.submission import rescore
from sure.train import main
from tests.factories import save_backbone, waveforms
from tests.test_matrix import evaluation, load

METHODS = registry.names("method")
HEADS = tuple(EMBEDDERS)


@dataclass
class FourSpeakers(SpeakerVerificationTask):
    """A real task with no corpus."""

    training_speakers: int = 4
    rows: list = field(default_factory=list)

    def utterances(self, data_dir):
        yield from self.rows


def rows_of(speakers, utterances, split=None, first=0):
    return [
        {"id": f"s{speaker}/{number:02d}", "path": "-", "speaker": f"s{speaker}", "split": split}
        for speaker in range(first, first + speakers)
        for number in range(utterances)
    ]


def loaded(tmp_path, **options):
    """Four training speakers, three of validation and three of test, with two utterances each."""
    rows = rows_of(4, 2, "train") + rows_of(3, 2, "validation", 4) + rows_of(3, 2, "test", 7)
    task = FourSpeakers(rows=rows, **options)
    task.load(tmp_path)
    return task


def adapted(family, method, head, layers="last"):
    torch.manual_seed(1)
    backbone = load(family)
    model = methods.apply(
        FourSpeakers(head=head, layers=layers).build_model(backbone), methods.configure(method, backbone)
    )
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return backbone, model


# Every method with every head, on a family that normalises before its layers, one after, and one without a waveform
# CNN; the layers in turn.
@pytest.mark.parametrize(
    ("family", "head", "layers"),
    [
        ("wav2vec2", "xvector", "weighted_sum"),
        ("wav2vec2", "mean", "last"),
        ("wavlm", "ecapa", "weighted_sum"),
        ("wavlm", "xvector", "last"),
        ("wav2vec2_bert", "mean", "weighted_sum"),
        ("wav2vec2_bert", "ecapa", "last"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_every_head_and_gives_it_back_whole(family, head, layers, method, tmp_path):
    if method == "weighted_sum_probe":
        layers = "last"
    backbone, model = adapted(family, method, head, layers)
    clips = waveforms(0.5, 1.3, 0.2)
    with evaluation(model):
        together = model(**backbone.inputs(clips)).logits
        alone = torch.cat([model(**backbone.inputs([clip])).logits for clip in clips])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)
    model.save_pretrained(tmp_path)
    fresh = load(family)
    empty = FourSpeakers(head=head, layers=layers).build_model(fresh)
    with evaluation(reloaded := PeftModel.from_pretrained(empty, tmp_path)):
        assert torch.equal(reloaded(**backbone.inputs(clips)).logits, together)

    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.train()
    loss = model(**backbone.inputs(clips), labels=torch.tensor([0, 2, 3])).loss
    loss.backward()
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trainable
    torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1.0).step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved <= trainable
    assert any(".head." in name for name in moved)
    assert any(".head." not in name for name in moved) or method == "linear_probe"


@pytest.mark.parametrize("family", ["wav2vec2", "wavlm"])
@pytest.mark.parametrize("method", ["conv_adapter", "bottleneck_adapter", "full_finetuning", "lora"])
def test_a_head_of_all_layers_hears_what_the_method_made_of_each(family, method):
    """What one layer, with what the method has put around it, hands over is what the next one gets."""
    backbone, model = adapted(family, method, "mean", "weighted_sum")
    handed_over, received = [], []
    inner = model.base_model.model.backbone
    names = [name for name, _ in inner.named_modules() if name.endswith(("encoder.layers.0", "encoder.layers.1"))]
    for name in names:
        inner.get_submodule(name).register_forward_pre_hook(lambda _, inputs: received.append(inputs[0].detach()))
        inner.get_submodule(name).register_forward_hook(
            lambda *call: handed_over.append((call[-1][0] if isinstance(call[-1], tuple) else call[-1]).detach())
        )
    model.base_model.model.head.register_forward_pre_hook(lambda _, inputs: states.extend(inputs[0]))
    states = []
    with evaluation(model):
        model(**backbone.inputs(waveforms(0.5)))
    assert len(states) == 3
    for state, expected in zip(states, [received[0], handed_over[0]], strict=False):
        assert torch.equal(state, expected)
    assert torch.equal(states[1], received[1])
    with evaluation(model):
        last = inner(**backbone.inputs(waveforms(0.5))).last_hidden_state
    assert torch.equal(states[2], last)


def test_layers_are_not_mixed_twice():
    with pytest.raises(SureError, match=r"weighted_sum_probe mixes all layers, and so .* --method linear_probe"):
        adapted("wav2vec2", "weighted_sum_probe", "mean", "weighted_sum")


def test_the_xvector_head_has_as_many_parameters_as_in_superb():
    """At the width of base models and VoxCeleb1's 1,211 speakers: projection, convolutions, two layers, classifier."""
    head = SpeakerHead(XVector(768), 1211, margin=0.4, scale=30)
    assert sum(map(torch.numel, head.parameters())) == 393_728 + 3_917_276 + 1_799_168 + 620_032


def test_the_xvector_head_is_a_time_delay_network():
    """Frames spliced with their neighbours before each linear layer, as the x-vector's paper describes it."""
    torch.manual_seed(0)
    head = XVector(24).eval()
    hidden_states = torch.randn(1, 40, 24)
    frames = head.projector(hidden_states[0])
    for convolution, offsets in zip(
        head.convolutions, [(0, 1, 2, 3, 4), (0, 2, 4), (0, 3, 6), (0,), (0,)], strict=True
    ):
        count = len(frames) - offsets[-1]
        spliced = torch.stack([frames[offset : offset + count] for offset in offsets], dim=-1)
        frames = torch.einsum("tik,oik->to", spliced, convolution.weight) + convolution.bias
        frames = frames.relu()
    assert len(frames) == 40 - 14
    statistics = torch.cat([frames.mean(dim=0), frames.std(dim=0, correction=0)])
    expected = (head.embedding[0].weight @ statistics + head.embedding[0].bias).relu()
    torch.testing.assert_close(head(hidden_states, Padding())[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_padding_of_any_value_and_length_does_not_change_an_embedding(head):
    torch.manual_seed(0)
    embedder = EMBEDDERS[head](24)
    clips = [torch.randn(frames, 24) for frames in (1, 9, 15, 16, 60)]
    together, padding = torch.full((len(clips), 60, 24), 7.0), Padding()
    padding.mask = torch.zeros(len(clips), 60, dtype=torch.bool)
    for index, clip in enumerate(clips):
        together[index, : len(clip)] = clip
        padding.mask[index, : len(clip)] = True
    alone = torch.cat([embedder(clip.unsqueeze(0), Padding()) for clip in clips])
    torch.testing.assert_close(embedder(together, padding), alone, atol=1e-5, rtol=1e-4)
    assert alone.isfinite().all()


def test_attentive_statistics_are_those_of_ecapa():
    """Frame by frame and channel by channel (Desplanques et al. 2020, equations 1 to 4)."""
    torch.manual_seed(0)
    head = AttentiveEmbedding(6)
    hidden_states = torch.randn(11, 6)
    context = torch.cat([hidden_states.mean(dim=0), hidden_states.std(dim=0, correction=0)])
    (first, _, second) = head.attention
    statistics = []
    for channel in range(6):
        scores = []
        for frame in hidden_states:
            inside = torch.tanh(first.weight @ torch.cat([frame, context]) + first.bias)
            scores.append(second.weight[channel] @ inside + second.bias[channel])
        attention = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        mean = sum(attention * hidden_states[:, channel])
        deviation = (sum(attention * hidden_states[:, channel] ** 2) - mean**2).sqrt()
        statistics.append((mean, deviation))
    means, deviations = (torch.stack(part) for part in zip(*statistics, strict=True))
    expected = head.projector(torch.cat([means, deviations]))
    torch.testing.assert_close(head(hidden_states.unsqueeze(0), Padding())[0], expected, atol=1e-5, rtol=1e-4)


def test_the_loss_adds_the_margin_to_the_angle():
    torch.manual_seed(0)
    margin, scale = 0.3, 30.0
    classifier = AdditiveAngularMargin(8, 5, margin, scale)
    directions = nn.functional.normalize(classifier.weight.detach()).numpy().astype(float)
    # The last embedding lies opposite its speaker's direction, beyond pi - margin.
    embeddings = torch.cat([torch.randn(4, 8), -3 * classifier.weight[2:3].detach()])
    labels = [0, 4, 1, 1, 2]
    losses = []
    for embedding, label in zip(embeddings.numpy().astype(float), labels, strict=True):
        angles = np.arccos(np.clip(directions @ embedding / np.linalg.norm(embedding), -1, 1))
        logits = np.cos(angles)
        if angles[label] < math.pi - margin:
            logits[label] = math.cos(angles[label] + margin)
        else:
            logits[label] -= margin * math.sin(margin)
        losses.append(np.log(np.exp(scale * logits).sum()) - scale * logits[label])
    loss = classifier(embeddings, torch.tensor(labels))
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-4)
    loss.backward()
    assert classifier.weight.grad.isfinite().all()
    plain = AdditiveAngularMargin(8, 5, 0.0, scale)
    plain.weight = classifier.weight
    assert plain(embeddings, torch.tensor(labels)) < loss


def test_only_training_speakers_have_a_loss():
    torch.manual_seed(0)
    head = SpeakerHead(EMBEDDERS["mean"](6), 3, 0.2, 30.0)
    hidden_states = torch.randn(2, 5, 6)
    assert head(hidden_states, Padding())[0] is None
    assert head(hidden_states, Padding(), torch.tensor([-100, -100]))[0].item() == 0
    known, _ = head(hidden_states[1:], Padding(), torch.tensor([2]))
    torch.testing.assert_close(head(hidden_states, Padding(), torch.tensor([-100, 2]))[0], known)


def test_a_crop_is_a_random_part_and_a_short_utterance_is_repeated():
    waveform = np.arange(10, dtype=np.float32)
    generator = np.random.default_rng(0)
    starts = {int(crop(waveform, 4, generator)[0]) for _ in range(200)}
    assert starts == set(range(7))
    assert all(np.ptp(np.diff(crop(waveform, 4, generator))) == 0 for _ in range(20))
    assert crop(waveform, 10, generator).tolist() == waveform.tolist()
    assert crop(waveform, 23, generator).tolist() == [*range(10), *range(10), 0, 1, 2]


def test_augmentation_is_a_crop_of_the_length_asked_for_and_the_same_for_the_same_seed(tmp_path):
    task = FourSpeakers(crop_seconds=0.5)
    (long,) = waveforms(2.0)
    generator, again = np.random.default_rng(3), np.random.default_rng(3)
    first = [task.augment(long, {}, generator) for _ in range(3)]
    for part in first:
        assert part.shape == (8000,)
        assert np.array_equal(task.augment(long, {}, again), part)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("decibels", [0.0, 7.0, 20.0])
def test_noise_is_added_at_the_ratio_asked_for(decibels):
    speech, noise = waveforms(1.0, 1.5)
    noise = 0.01 * noise[: len(speech)]
    added = add_noise(speech, noise, decibels) - speech
    assert 10 * math.log10(np.mean(speech**2) / np.mean(added**2)) == pytest.approx(decibels, abs=0.01)
    assert np.corrcoef(added, noise)[0, 1] == pytest.approx(1, abs=1e-4)
    assert np.isfinite(add_noise(speech, np.zeros_like(speech), decibels)).all()


def test_a_room_convolves_with_a_response_of_energy_one():
    (speech,) = waveforms(0.1)
    response = np.array([0.0, 3.0, 0.0, -4.0], dtype=np.float32)
    heard = reverberate(speech, response)
    assert heard.dtype == np.float32
    np.testing.assert_allclose(heard, np.convolve(speech, response / 5)[: len(speech)], atol=1e-5)


def musan(folder, kinds=("noise", "music", "speech"), rate=16_000):
    """One recording a kind, each a tone of its own; speech is shorter than a crop."""
    for number, kind in enumerate(kinds):
        seconds = 0.2 if kind == "speech" else 2.0
        tone = 0.5 * np.sin(2 * np.pi * 1000 * (number + 1) * np.arange(int(seconds * rate)) / rate)
        (folder / kind / "free").mkdir(parents=True)
        soundfile.write(folder / kind / "free" / f"{kind}-0.wav", tone, rate)
    return folder


def test_noise_and_rooms_come_from_their_folders_with_their_ratios_and_share(tmp_path):
    (tmp_path / "rirs" / "simulated_rirs" / "smallroom").mkdir(parents=True)
    echo = np.zeros(1600)
    echo[[0, 800]] = 0.5
    soundfile.write(tmp_path / "rirs" / "simulated_rirs" / "smallroom" / "a.wav", echo, 16_000)
    surroundings = Surroundings(musan(tmp_path / "musan", rate=8000), tmp_path / "rirs", 0.6)
    assert [kind for kind, _ in surroundings.noises] == ["noise", "music", "speech"]
    (speech,) = waveforms(0.5)
    heard = {"none": 0, "room": 0, "noise": [], "music": [], "speech": []}
    generator = np.random.default_rng(0)
    for _ in range(600):
        changed = surroundings.change(speech, generator)
        assert changed.shape == speech.shape
        added = changed - speech
        spectrum = np.abs(np.fft.rfft(added))
        peak = int(spectrum.argmax() * 16_000 / len(speech))
        if changed is speech:
            heard["none"] += 1
        elif spectrum.max() < 0.5 * spectrum.sum() and peak not in (1000, 2000, 3000):
            heard["room"] += 1
        else:
            kind = {1000: "noise", 2000: "music", 3000: "speech"}[round(peak, -2)]
            heard[kind].append(10 * math.log10(np.mean(speech**2) / np.mean(added**2)))
    assert heard["none"] / 600 == pytest.approx(0.4, abs=0.06)
    assert heard["room"] / 600 == pytest.approx(0.3, abs=0.06)
    for kind, (low, high) in {"noise": (0, 15), "music": (5, 15), "speech": (10, 30)}.items():
        assert len(heard[kind]) / 600 == pytest.approx(0.1, abs=0.04)
        assert low - 0.1 <= min(heard[kind]) < low + 2
        assert high - 2 < max(heard[kind]) <= high + 0.1


def test_folders_without_what_they_should_hold_are_told_before_training(tmp_path):
    (tmp_path / "musan" / "noise").mkdir(parents=True)
    with pytest.raises(SureError, match=r"noise_dir=.*musan: no wav files in noise, music, speech"):
        loaded(tmp_path, noise_dir=str(tmp_path / "musan"))
    with pytest.raises(SureError, match=r"reverberation_dir=.*nowhere: no wav files in simulated_rirs"):
        loaded(tmp_path, reverberation_dir=str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "tdnn"}, "head=tdnn: choose one of ecapa, xvector, mean"),
        ({"layers": "first"}, "layers=first: choose one of last, weighted_sum"),
        ({"score_normalization": "s"}, "score_normalization=s: choose one of none, adaptive"),
        ({"crop_seconds": 0.01}, "crop_seconds=0.01: give a number of at least 0.025"),
        ({"crop_seconds": "long"}, "crop_seconds=long"),
        ({"segments": [1, 0]}, "segments=0: give a number of at least 0.025"),
        ({"segments": [True]}, "segments=True"),
        ({"margin": -0.1}, "margin=-0.1: give a number of at least 0 and at most 1.57"),
        ({"scale": math.nan}, "scale=nan"),
        ({"augmentation_probability": 1.5}, "augmentation_probability=1.5: .* at most 1"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(options, message):
    with pytest.raises(SureError, match=f"--task_options {message}"):
        FourSpeakers(**options)


def test_choices_are_those_that_there_are():
    assert speaker_verification._CHOICES["head"] == HEADS


def test_a_list_of_trials_is_read_with_its_lines(tmp_path):
    path = tmp_path / "trials.txt"
    path.write_bytes(b"\xef\xbb\xbf1 a/1.wav a/2.wav\r\n\r\n0 a/1.wav b/1.wav\r\n1 a/1.wav a/2.wav")
    assert read_trials(path) == [
        (1, ("a/1.wav", "a/2.wav", 1)),
        (3, ("a/1.wav", "b/1.wav", 0)),
        (4, ("a/1.wav", "a/2.wav", 1)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a b\n2 a b\n", "line 2: label '2'; expected 1 .same speaker. or 0"),
        ("a b 1\n", "line 1: label 'a'"),
        ("1 a\n", "line 1: 2 columns; expected a label and two utterances"),
        ("1 a b c\n", "line 1: 4 columns"),
        ("1 a b\n\n0 a b\n", "line 3: this trial has label 0 here and 1 before"),
        ("\n", "holds no trials"),
        ("1 \xe9 b\n", "not a text file in UTF-8"),
    ],
)
def test_a_line_that_is_no_trial_is_named(text, message, tmp_path):
    path = tmp_path / "trials.txt"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SureError, match=rf"trials\.txt.*{message}"):
        read_trials(path)


def test_trials_by_rule_are_balanced_distinct_and_do_not_depend_on_the_order_of_rows():
    rows = rows_of(12, 30)
    trials = trials_by_rule(rows)
    assert trials == trials_by_rule(rows[::-1])
    assert len(trials) == len(set(trials)) == 12 * 2 * 190
    assert sum(label for *_, label in trials) == len(trials) // 2
    for enrolment, test, label in trials:
        assert (enrolment.split("/")[0] == test.split("/")[0]) == bool(label)
        assert enrolment != test
    # Of thirty utterances twenty, from the first to near the last.
    used = {identity for trial in trials for identity in trial[:2] if identity.startswith("s3/")}
    assert len(used) == 20
    assert {"s3/00", "s3/28"} <= used
    # Everybody is everybody's impostor.
    assert len({(a.split("/")[0], b.split("/")[0]) for a, b, label in trials if not label}) == 12 * 11


def test_trials_by_rule_among_few_utterances_are_still_distinct():
    trials = trials_by_rule([*rows_of(1, 4), *rows_of(1, 1, first=1)])
    assert len(trials) == len(set(trials))
    assert sum(label for *_, label in trials) == 6
    assert trials_by_rule(rows_of(1, 4)) == []


def test_only_utterances_that_trials_name_are_evaluated_and_every_evaluation_has_its_trials(tmp_path):
    rows = rows_of(3, 2, "train") + rows_of(2, 25, "validation", 4) + rows_of(3, 2, "test", 7)
    task = FourSpeakers(rows=rows, segments=[1, 2.5])
    assert task.trials == {}
    splits = task.load(tmp_path)
    assert {name: len(split) for name, split in splits.items()} == {"train": 6, "validation": 40, "test": 6}
    assert task.evaluations() == {
        "validation": ("validation", None),
        "test": ("test", None),
        "test_1s": ("test", 1.0),
        "test_2.5s": ("test", 2.5),
    }
    assert {name: len(trials) for name, trials in task.trials.items()} == {
        "validation": 760,
        "test": 6,
        "test_1s": 6,
        "test_2.5s": 6,
    }
    assert task.training_speakers == 3
    assert task.targets([{"speaker": "s2"}, {"speaker": "s8"}])["labels"].tolist() == [2, -100]


def test_a_speaker_to_be_verified_must_be_unknown(tmp_path):
    rows = rows_of(4, 2, "train") + rows_of(3, 2, "validation", 4) + rows_of(3, 2, "test", 6)
    rows = [row | {"id": f"{row['split']}/{row['id']}"} for row in rows]
    known = FourSpeakers(rows=[*rows, {"id": "x", "path": "-", "speaker": "s1", "split": "test"}])
    with pytest.raises(SureError, match=r"test: 1 speakers to be verified are training speakers too, such as s1"):
        known.load(tmp_path)


def test_a_split_without_trials_of_both_kinds_is_refused(tmp_path):
    rows = rows_of(4, 2, "train") + rows_of(3, 2, "validation", 4) + rows_of(3, 1, "test", 7)
    with pytest.raises(SureError, match="the 0 test trials are not of both kinds"):
        FourSpeakers(rows=rows).load(tmp_path)


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)


def test_a_trial_scores_the_cosine_of_its_embeddings_whatever_their_order(tmp_path):
    task = loaded(tmp_path)
    rows = rows_of(3, 2, "test", 7)[::-1]
    embeddings = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    by_id = dict(zip([row["id"] for row in rows], embeddings.tolist(), strict=True))
    predictions = task.predict(embeddings, rows)
    assert [row["id"].split() for row in predictions] == [[a, b] for a, b, _ in task.trials["test"]]
    for row, (enrolment, test, label) in zip(predictions, task.trials["test"], strict=True):
        assert row["prediction"] == pytest.approx(cosine(by_id[enrolment], by_id[test]), abs=1e-8)
        assert row["reference"] == label
        assert row["speaker"] == enrolment.split("/")[0]
    assert json.loads(json.dumps(predictions)) == predictions


def test_a_trial_that_a_list_repeats_counts_as_often(tmp_path):
    task = loaded(tmp_path)
    task._trials["test"] = [("s7/00", "s7/01", 1), ("s7/00", "s8/00", 0)] * 2 + [("s7/00", "s7/01", 1)]
    predictions = task.predict(np.eye(6), rows_of(3, 2, "test", 7))
    assert [row["id"] for row in predictions] == [
        "s7/00 s7/01",
        "s7/00 s8/00",
        "s7/00 s7/01 #2",
        "s7/00 s8/00 #2",
        "s7/00 s7/01 #3",
    ]


def test_adaptive_normalisation_is_what_its_definition_says(tmp_path, monkeypatch):
    """Each trial by itself, in plain Python (Matejka et al. 2017, section 2.3, AS-norm1)."""
    nearest = 3
    monkeypatch.setattr(speaker_verification, "_NEAREST", nearest)
    # Fewer at a time than there are utterances and trials.
    monkeypatch.setattr(speaker_verification, "_AT_A_TIME", 4)
    generator = np.random.default_rng(1)
    training, tested = rows_of(5, 3, "train"), rows_of(3, 2, "test", 7)
    training_embeddings, embeddings = generator.normal(size=(15, 8)), generator.normal(size=(6, 8))
    cohort = [training_embeddings[start : start + 3].mean(axis=0) for start in range(0, 15, 3)]
    by_id = dict(zip([row["id"] for row in tested], embeddings, strict=True))

    def standard(score, identity):
        near = sorted((cosine(by_id[identity], speaker) for speaker in cohort), reverse=True)[:nearest]
        mean = sum(near) / nearest
        return (score - mean) / math.sqrt(sum((value - mean) ** 2 for value in near) / nearest)

    task = loaded(tmp_path, score_normalization="adaptive")
    shuffled = generator.permutation(15)
    task.calibrate(lambda: (training_embeddings[shuffled], [training[index] for index in shuffled]))
    for row, (enrolment, test, _) in zip(task.predict(embeddings, tested), task.trials["test"], strict=True):
        score = cosine(by_id[enrolment], by_id[test])
        expected = (standard(score, enrolment) + standard(score, test)) / 2
        assert row["prediction"] == pytest.approx(expected, abs=2e-6)


def test_a_cohort_of_one_speaker_still_gives_numbers(tmp_path):
    task = loaded(tmp_path, score_normalization="adaptive")
    task.calibrate(lambda: (np.ones((2, 6)), rows_of(1, 2, "train")))
    assert all(math.isfinite(row["prediction"]) for row in task.predict(np.eye(6), rows_of(3, 2, "test", 7)))


def test_without_normalisation_nothing_is_embedded_again(tmp_path):
    loaded(tmp_path).calibrate(lambda: pytest.fail("a pass over the training split for nothing"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prediction": "0.5", "reference": 1}, "'x y': the score '0.5' is not a number"),
        ({"prediction": math.nan, "reference": 1}, "'x y': the score nan is not a number"),
        ({"prediction": 10**400, "reference": 1}, "is not a number"),
        ({"prediction": True, "reference": 1}, "the score True is not a number"),
        ({"prediction": 0.5, "reference": 2}, "the reference 2 is neither 1 nor 0"),
        ({"prediction": 0.5}, "the reference None is neither 1 nor 0"),
    ],
)
def test_a_prediction_row_that_is_none_is_named(row, message):
    with pytest.raises(SureError, match=message):
        FourSpeakers().comparable([{"id": "x y", **row}])


def voices(folder, speakers, utterances, seconds=0.6, seed=0):
    """`<speaker>/<video>/<file>.wav`: pulses at a pitch through a resonance, both the speaker's own, in some noise."""
    generator = np.random.default_rng(seed)
    for speaker in speakers:
        pitch, resonance = generator.uniform(80, 300), generator.uniform(500, 3500)
        for number in range(utterances):
            time = np.arange(int(16_000 * seconds * generator.uniform(0.8, 1.4))) / 16_000
            wave = sum(
                np.sin(2 * np.pi * pitch * k * time + generator.uniform(0, 6)) / (1 + abs(pitch * k - resonance) / 200)
                for k in range(1, 25)
            )
            path = folder / f"id{speaker:05d}" / f"video{number % 2}" / f"{number:05d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.05 * (wave + 0.1 * generator.normal(size=len(wave))), 16_000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    voices(folder / "dev" / "wav", range(20), 4)
    voices(folder / "test" / "wav", range(50, 62), 3, seed=1)
    paths = sorted(path.relative_to(folder / "test/wav").as_posix() for path in folder.glob("test/wav/*/*/*.wav"))
    trials = [(int(a[:7] == b[:7]), a, b) for n, a in enumerate(paths) for b in paths[n + 1 :: 5]]
    trials += [(1, a, b) for a, b in pairwise(paths) if a[:7] == b[:7]]
    (folder / "veri_test.txt").write_text("".join(f"{label} {a} {b}\n" for label, a, b in trials))
    return folder


@pytest.fixture
def command(corpus, tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SURE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    backbone = save_backbone(tmp_path / "backbone", "wav2vec2")

    def words(output_dir, *options, method="lora", epochs=1):
        command = f"--task sv_voxceleb1 --data_dir {corpus} --backbone {backbone} --method {method} --use_cpu True"
        command += f" --output_dir {output_dir} --num_train_epochs {epochs} --report_to none --disable_tqdm True"
        return [*command.split(), "--task_options", "crop_seconds=0.5", "head=ecapa", *options]

    return words


@pytest.mark.slow
def test_a_run_leaves_a_record_that_can_be_scored_again_and_predicts_what_it_scored(command, corpus, tmp_path):
    result = main(command(tmp_path / "out", "segments=[0.2,0.4]", "layers=weighted_sum"))
    assert result.status == "complete"
    assert result.metric == "equal_error_rate"
    assert set(result.scores) == {"validation", "test", "test_0.2s", "test_0.4s"}
    listed = (corpus / "veri_test.txt").read_text().splitlines()
    assert result.run.data.trials == {
        "validation": 2 * 10 * 6,
        "test": len(listed),
        "test_0.2s": len(listed),
        "test_0.4s": len(listed),
    }
    assert result.run.data.splits["train"].speakers == 10
    assert result.run.task_options["training_speakers"] == 10
    # Twelve speakers enrol: their trials are drawn together.
    assert set(result.interval.resampled.values()) == {"speaker"}
    rows = rescore(tmp_path / "out" / "result.json", Result.read(tmp_path / "out" / "result.json"))
    assert {name: len(members) for name, members in rows.items()} == result.run.data.trials
    assert result.scores["test"] != result.scores["test_0.2s"] != result.scores["test_0.4s"]
    leaderboard.add(tmp_path / "out", tmp_path / "board")
    leaderboard.build(tmp_path / "board")
    assert leaderboard.validate(tmp_path / "board") == 1
    assert "equal error rate" in leaderboard.show(tmp_path / "board")

    for row in rows["test"][:4]:
        recordings = [corpus / "test" / "wav" / identity for identity in row["id"].split()[:2]]
        first, second = predict(tmp_path / "out", recordings)
        assert first["cosine_with_first"] == pytest.approx(1)
        assert second["cosine_with_first"] == pytest.approx(row["prediction"], abs=1e-4)
        assert len(second["embedding"]) == 192
        assert second["path"] == str(recordings[1])


@pytest.mark.slow
def test_a_record_of_other_trials_is_refused(command, tmp_path):
    main(command(tmp_path / "out", method="linear_probe"))
    record = tmp_path / "out" / "result.json"
    result = Result.read(record)
    path = tmp_path / "out" / result.predictions["test"].path
    fewer = path.read_text().splitlines(keepends=True)[1:]
    path.write_text("".join(fewer))
    content = json.loads(record.read_text())
    content["predictions"]["test"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    record.write_text(json.dumps(content))
    with pytest.raises(SureError, match=r"predictions for \d+ trials"):
        rescore(record, Result.read(record))


def rate_among_training_speakers(output_dir, corpus):
    """The equal error rate over all pairs of their utterances."""
    recordings = [path for speaker in range(10) for path in corpus.glob(f"dev/wav/id{speaker:05d}/*/*")]
    embeddings = [row["embedding"] for row in predict(output_dir, recordings)]
    heard = [(path.parts[-3], embedding) for path, embedding in zip(recordings, embeddings, strict=True)]
    trials = [(cosine(one[1], other[1]), one[0] == other[0]) for one, other in combinations(heard, 2)]
    metric = registry.get("metric", "equal_error_rate")()
    return metric.score(*metric.prepare(*map(np.array, zip(*trials, strict=True))))


@pytest.mark.slow
def test_training_tells_speakers_apart_and_normalisation_changes_only_the_scores_in_the_end(command, corpus, tmp_path):
    flags = ["--learning_rate", "2e-3", "--early_stopping_patience", "0", "--load_best_model_at_end", "False"]
    plain = main([*command(tmp_path / "plain", method="full_finetuning", epochs=25), *flags])
    main([*command(tmp_path / "untrained", method="full_finetuning"), "--learning_rate", "0"])
    before, after = (rate_among_training_speakers(tmp_path / name, corpus) for name in ("untrained", "plain"))
    assert after < 0.6 * before

    words = command(tmp_path / "adaptive", "score_normalization=adaptive", method="full_finetuning", epochs=25)
    adaptive = main([*words, *flags])
    scores = [
        {row["id"]: row["prediction"] for row in read_predictions(tmp_path / name, result.predictions["test"])}
        for name, result in (("plain", plain), ("adaptive", adaptive))
    ]
    values = np.array([[score[name] for score in scores] for name in scores[0]])
    assert np.abs(values[:, 0]).max() <= 1 < np.abs(values[:, 1]).max()
    assert np.corrcoef(values.T)[0, 1] > 0.5


def test_the_same_trials_scored_in_more_evaluations_are_the_same_corpus(tmp_path):
    plain, segmented = loaded(tmp_path), loaded(tmp_path, segments=[1, 2])
    splits = {}
    fingerprint = data.fingerprint(splits, plain.trials)
    assert data.fingerprint(splits, segmented.trials) == fingerprint
    other = {"test": plain.trials["test"][:-1], "validation": plain.trials["validation"]}
    assert data.fingerprint(splits, other) != fingerprint
    twice = {"test": [*plain.trials["test"], plain.trials["test"][0]], "validation": plain.trials["validation"]}
    assert data.fingerprint(splits, twice) != fingerprint
