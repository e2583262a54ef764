"""Every task crosses every method, ours and PEFT's, on a tiny backbone: what applies trains, what does not says why."""

from functools import cache

import pytest
import torch

from sure import registry
from sure.errors import SureError
from sure.method import applying
from sure.task import make_task
from sure.task.classification import ClassificationTask
from sure.task.speaker_verification import SpeakerVerificationTask
from sure.task.speech_recognition import SpeechRecognitionTask
from sure.task.speech_recognition.tokens import BLANK
from sure.task.text_to_speech import TextToSpeechTask
from tests import test_matrix
from tests.backbones import test_speaking_models, test_whisper
from tests.factories.encoders import waveforms

METHODS = [*registry.names("method"), *applying.FROM_PEFT]

# Families that need no head, and the tasks for them.
HEADLESS = {
    "whisper": [name for name in registry.names("task") if name.startswith("asr_")],
    "speecht5": [name for name in registry.names("task") if name.startswith("tts_")],
    "fastspeech2_conformer": [name for name in registry.names("task") if name.startswith("tts_")],
}
CROSSED = [("wav2vec2", name) for name in registry.names("task") if not name.startswith("tts_")]
CROSSED += [(family, name) for family, names in HEADLESS.items() for name in names]

PROBES = {"linear_probe", "weighted_sum_probe"}
# Of PEFT's, those whose weights take the place of a convolution's.
CONVOLVING = {"loha", "lokr"}


@cache
def learnt(name):
    """What the task would know of a corpus of its own."""
    kind = registry.get("task", name)
    if issubclass(kind, SpeechRecognitionTask):
        return {"vocabulary": [BLANK, *" abcdefghijklmnopqrstuvwxyz'"]}
    if issubclass(kind, SpeakerVerificationTask):
        return {"training_speakers": 3}
    if issubclass(kind, TextToSpeechTask):
        return {"voices": ["anna"]}
    return {} if make_task(name, {}).labels else {"labels": ["no", "yes"]}


def crossed(family, name, method):
    """The model, and a batch to learn from."""
    task = make_task(name, learnt(name))
    if family == "whisper":
        backbone, _ = test_whisper.load()
    else:
        backbone = (test_matrix if family == "wav2vec2" else test_speaking_models).load(family)
    model = applying.apply(task.build_model(backbone), applying.configure(method, backbone))
    if isinstance(task, TextToSpeechTask):
        return model, test_speaking_models.inputs(backbone) | test_speaking_models.targets(backbone)
    rows = [{"text": text} for text in ("one two", "three")]
    if isinstance(task, ClassificationTask):
        rows = [{"label": label} for label in task.labels[:2]]
    targets = {"labels": torch.tensor([0, 2])} if isinstance(task, SpeakerVerificationTask) else task.targets(rows)
    return model, backbone.inputs(waveforms(0.5, 0.9)) | targets


def why_not(family, method):
    """What the error says where a method does not apply; None where it does."""
    if family != "wav2vec2" and method in PROBES:
        return f"--method {method} trains a task's head on a backbone that stays as it is; {family} models are whole"
    if family == "fastspeech2_conformer" and method in set(applying.FROM_PEFT) - CONVOLVING:
        return "cannot be adapted by this method. Name other parts of the backbone"
    return None


def test_no_task_is_left_out():
    assert {name for _, name in CROSSED} == set(registry.names("task"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("family", "name"), CROSSED)
def test_it_learns_or_says_why_it_cannot(family, name, method):
    if reason := why_not(family, method):
        with pytest.raises(SureError) as refusal:
            crossed(family, name, method)
        assert reason in str(refusal.value)
        return
    model, batch = crossed(family, name, method)
    before = {place: parameter.detach().clone() for place, parameter in model.named_parameters()}
    loss = model.train()(**batch).loss
    assert loss.isfinite()
    loss.backward()
    trainable = {place: parameter for place, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(parameter.grad is not None for parameter in trainable.values())
    torch.optim.SGD(trainable.values(), lr=1.0).step()
    moved = {place for place, parameter in model.named_parameters() if not torch.equal(parameter, before[place])}
    assert moved <= set(trainable)
    # Not the head alone, but for a probe of the last layer.
    assert any(".head." not in place for place in moved) or method == "linear_probe"
