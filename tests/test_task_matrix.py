"""Tasks cross methods, ours and PEFT's, on tiny backbones: what applies trains, what does not says why.

What a method meets depends on the kind of task and on the backbone's family, not on the single task; and what a kind
of task meets on the kind of method. So classification meets every method, every other kind of task one of each kind of
methods, and the others take turns; its tasks take turns, too, and every task meets at least two methods.
"""

import pytest
import torch

from sure import registry
from sure.errors import SureError
from sure.method import applying, by_name
from sure.task import make_task
from sure.task.classification import ClassificationTask
from sure.task.speaker_verification import SpeakerVerificationTask
from sure.task.speech_recognition import SpeechRecognitionTask
from sure.task.speech_recognition.tokens import BLANK
from sure.task.speech_recognition.transcription import TranscriptionTask
from sure.task.text_to_speech import TextToSpeechTask
from tests.factories import encoders, speaking

METHODS = by_name.names()

# Kinds of task, each with the backbones that differ for it: with a head, or whole.
KINDS = {
    ClassificationTask: ["wav2vec2:tiny"],
    SpeakerVerificationTask: ["wav2vec2:tiny"],
    TranscriptionTask: ["wav2vec2:tiny"],
    SpeechRecognitionTask: ["whisper:tiny"],
    TextToSpeechTask: list(speaking.FAMILIES),
}
WITH_BACKBONES = [(kind, backbone) for kind, backbones in KINDS.items() for backbone in backbones]


def tasks_of(kind):
    return [name for name in registry.names("task") if issubclass(registry.get("task", name), kind)]


def methods_for(number):
    """Those that the so-and-so-many-th kind of task meets on one backbone."""
    others = [name for name in METHODS if name not in encoders.KINDS_OF_METHODS]
    return METHODS if number == 0 else [*encoders.KINDS_OF_METHODS, *others[number - 1 :: len(WITH_BACKBONES) - 1]]


def crossed():
    """Backbone, task and method."""
    for number, (kind, backbone) in enumerate(WITH_BACKBONES):
        tasks, methods = tasks_of(kind), methods_for(number)
        # Every method once, and should there be more tasks than methods, every task twice.
        for turn in range(max(len(methods), 2 * len(tasks))):
            yield backbone, tasks[turn % len(tasks)], methods[turn % len(methods)]


def learnt(name):
    """What the task would know of a corpus of its own."""
    kind = registry.get("task", name)
    if issubclass(kind, TranscriptionTask):
        return {"vocabulary": [BLANK, *" abcdefghijklmnopqrstuvwxyz'", "one", "two", "three"]}
    if issubclass(kind, SpeakerVerificationTask):
        return {"training_speakers": 3}
    if issubclass(kind, TextToSpeechTask):
        return {"voices": ["anna"]}
    if make_task(name, {}).labels:
        return {}
    labels = {column: ["no", "yes"] for column in kind.label_columns}
    return {"labels": labels if len(labels) > 1 else ["no", "yes"]}


def model_and_batch(backbone_name, name, method):
    """The model, and a batch to learn from."""
    task = make_task(name, learnt(name))
    if isinstance(task, TextToSpeechTask):
        backbone = speaking.load(backbone_name)
        batch = speaking.inputs(backbone) | speaking.targets(backbone)
    else:
        backbone = encoders.load(backbone_name, head=task.with_head)
        batch = backbone.inputs(encoders.waveforms(0.5, 0.9))
    model = applying.apply(
        task.build_model(backbone), applying.configure(method, backbone, encoders.FITTING.get(method))
    )
    if isinstance(task, ClassificationTask):
        known = task.labels if isinstance(task.labels, dict) else {task.label_columns[0]: task.labels}
        batch |= task.targets([{column: labels[turn] for column, labels in known.items()} for turn in (0, 1)])
    elif isinstance(task, TranscriptionTask):
        batch |= task.targets([{"text": "one two"}, {"text": "three"}])
    elif isinstance(task, SpeakerVerificationTask):
        batch |= {"labels": torch.tensor([0, 2])}
    return model, batch


def why_not(backbone, method):
    """What the error says where a method does not apply; None where it does."""
    family = backbone.partition(":")[0]
    if family != "wav2vec2" and getattr(by_name.config_class(method), "needs_head", False):
        return f"--method {method} is made for a task's head; {family} models are whole"
    if method in registry.names("method") and not encoders.has_the_parts(registry.get("backbone", family), method):
        return f"{family} backbones have no "
    return None


def test_no_task_and_no_method_is_left_out():
    pairs = list(crossed())
    learns = {(name, method) for backbone, name, method in pairs if not why_not(backbone, method)}
    for name in registry.names("task"):
        assert len({method for learner, method in learns if learner == name}) >= 2, name
    met = [methods_for(number) for number in range(len(WITH_BACKBONES))]
    assert met[0] == METHODS
    assert all(set(methods) >= set(encoders.KINDS_OF_METHODS) for methods in met)
    assert all(sum(method in methods for methods in met) >= 2 for method in METHODS)


@pytest.mark.parametrize(("backbone", "name", "method"), list(crossed()))
def test_it_learns_or_says_why_it_cannot(backbone, name, method):
    if reason := why_not(backbone, method):
        with pytest.raises(SureError) as refusal:
            model_and_batch(backbone, name, method)
        assert reason in str(refusal.value)
        return
    model, batch = model_and_batch(backbone, name, method)
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
