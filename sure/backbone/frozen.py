"""The frozen beginning of an adapted model: what it gives for an utterance, it gives in every epoch and every run.

Which parts are frozen is found by running the model once as it trains: a part is, where until its end nothing of a
method was met, no parameter that trains and no statistics of a batch, and no random number was drawn (dropout,
SpecAugment). So it holds of methods and families that are yet to be written.

What was computed before stands in for a part for as long as a batch brings it (`Given`); without it, all is computed.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers.modeling_outputs import BaseModelOutput

from sure.backbone import Backbone
from sure.backbone.padding import FixedBatchNorm, Padding
from sure.backbone.states import Given

WHOLE, CNN = "backbone", "cnn"

# Of the example that shows which parts are frozen.
_SECONDS = 1


@dataclass(frozen=True)
class FrozenPart:
    """A beginning of the backbone, up to and with `module`, that can be computed once for each utterance."""

    # backbone, layers 0-5 or cnn.
    name: str
    module: nn.Module
    # With every hidden state, the input of the first layer before all.
    all_states: bool = False
    # The mean over frames of what it gives is enough for what comes after it.
    means: bool = False

    @property
    def whole(self) -> bool:
        return self.name == WHOLE

    @property
    def description(self) -> str:
        """What is kept of it, part of the key under which it is."""
        return f"{'means of ' * self.means}{'all states of ' * self.all_states}{self.name}"

    def outputs(self, backbone: Backbone, inputs: dict[str, Tensor]) -> list[Tensor]:
        """What it gives for each utterance of a batch, without padding, computed in evaluation mode.

        Of the whole backbone (frames, width), or with all states (states, frames, width), with one frame where means
        are enough; of layers (frames, width); of the CNN (channels, frames).
        """
        model, found = backbone.model, []
        hook = self.module.register_forward_hook(partial(_stop_at, found))
        training = [module for module in model.modules() if module.training]
        try:
            model.eval()
            with torch.no_grad():
                # The hook's exception leaves what comes after the part out.
                model(**inputs, **({"output_hidden_states": True} if self.all_states else {}))
        except _ReachedError:
            pass
        finally:
            hook.remove()
            for module in training:
                module.training = True
        return self._cut(backbone, found[0])

    def _cut(self, backbone: Backbone, output: Any) -> list[Tensor]:
        mask = backbone.padding.mask
        if self.whole:
            states = torch.stack(output.hidden_states) if self.all_states else output.last_hidden_state.unsqueeze(0)
            if self.means:
                states = torch.stack([backbone.padding.mean(state) for state in states]).unsqueeze(2)
            elif mask is not None:
                own = zip(states.unbind(1), mask, strict=True)
                return [(state[:, heard] if self.all_states else state[0, heard]) for state, heard in own]
            return list(states.transpose(0, 1) if self.all_states else states[0])
        if mask is None or backbone.window is not None:
            # What comes after it hears the silence that fills a window.
            return list(output)
        frames = mask.sum(dim=1).tolist()
        if self.name == CNN:
            return [one[:, :count] for one, count in zip(output, frames, strict=True)]
        return [one[:count] for one, count in zip(output, frames, strict=True)]

    def stand_in(self, backbone: Backbone) -> None:
        """From now on, let a batch bring what the part gives (`Backbone.given`)."""
        given = backbone.given
        if self.whole:
            _replace(self.module, given, partial(_whole, given, backbone.padding, self.all_states))
            return
        _replace(self.module, given, lambda *_, **__: given.output)
        if self.name == CNN:
            return
        layers = _layers(backbone)
        for layer in layers[: layers.index(self.module)]:
            _replace(layer, given, lambda hidden_states, *_, **__: hidden_states)
        for module in _named(backbone, "cnn"):
            if _of_waveforms(module):
                _replace(module, given, partial(_no_features, given, backbone.config.conv_dim[-1]))


class _ReachedError(Exception):
    """The end of the part that is asked for."""


def frozen_parts(adapted: PeftModel, backbone: Backbone) -> tuple[list[FrozenPart], str | None]:
    """The parts of an adapted model that are frozen, the longest first; and where others would be, why not.

    Leaves the random state and the model as they were.
    """
    model = backbone.model
    watch = _Watch(adapted, backbone)
    modes = {module: module.training for module in adapted.modules()}
    # Batch normalisation of an adapter would gather statistics.
    buffers = [(buffer, buffer.clone()) for buffer in adapted.buffers()]
    with _untouched_chance(), torch.no_grad():
        adapted.train()
        try:
            watch.run()
        finally:
            for module, training in modes.items():
                module.training = training
            for buffer, before in buffers:
                buffer.copy_(before)
    parts = []
    if model in watch.frozen:
        head_hears_means = getattr(adapted.get_base_model().head, "mean_is_enough", False)
        means = head_hears_means and all(getattr(layer, "mean_is_enough", False) for layer in watch.outside)
        parts.append(FrozenPart(WHOLE, model, watch.all_states, means))
    layers = [] if watch.all_states else [layer for layer in _layers(backbone) if layer in watch.frozen]
    if layers and model not in watch.frozen:
        parts.append(FrozenPart(f"layers 0-{len(layers) - 1}", layers[-1]))
    # A few convolutions over filter banks are as cheap as reading what they give.
    parts += [FrozenPart(CNN, cnn) for cnn in _named(backbone, "cnn") if cnn in watch.frozen and _of_waveforms(cnn)]
    return parts, watch.by_chance


class _Watch:
    """What one forward pass in training mode meets on its way through the backbone."""

    def __init__(self, adapted: PeftModel, backbone: Backbone) -> None:
        self.adapted, self.backbone = adapted, backbone
        # Parts that end before anything of a method or of chance; a method's layers around the backbone.
        self.frozen: set[nn.Module] = set()
        self.outside: list[nn.Module] = []
        self.all_states = False
        # Where chance alone prevents it.
        self.by_chance: str | None = None
        self._inside = self._met = False
        self._start: tuple | None = None

    def run(self) -> None:
        """Over an example without sound."""
        device = next(self.adapted.parameters()).device
        self._inputs = self.backbone.example(_SECONDS, device)
        ends = {self.backbone.model, *_layers(self.backbone), *_named(self.backbone, "cnn")}
        hooks = [module.register_forward_pre_hook(self._enter, with_kwargs=True) for module in self.adapted.modules()]
        hooks += [module.register_forward_hook(self._leave) for module in ends if module in set(self.adapted.modules())]
        try:
            self.adapted(**self._inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        if module is self.backbone.model:
            self._inside, self._start = True, _chance(self._device)
            self.all_states = bool(kwargs.get("output_hidden_states"))
            # A method around it may change what it hears.
            heard = args[0] if args else kwargs.get(module.main_input_name)
            trains = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
            self._met = trains or heard is not self._inputs[module.main_input_name]
        elif self._inside and _changes(module):
            self._met = True
        elif not self._inside and isinstance(module, BaseTunerLayer):
            self.outside.append(module)

    def _leave(self, module: nn.Module, args: tuple, output: Any) -> None:
        if not self._inside:
            return
        if module is self.backbone.model:
            self._inside = False
        if self._met:
            return
        if not _same(_chance(self._device), self._start):
            self.by_chance = "what comes after it draws random numbers in training (dropout, SpecAugment)"
        elif torch.is_tensor(output) or module is self.backbone.model:
            self.frozen.add(module)

    @property
    def _device(self) -> torch.device:
        return next(iter(self._inputs.values())).device


def normalises_by_batch(module: nn.Module) -> bool:
    """Whether what it gives for an utterance depends on the others of a batch, as it is now."""
    return isinstance(module, _BatchNorm) and module.training and not isinstance(module, FixedBatchNorm)


def _changes(module: nn.Module) -> bool:
    """Whether it is a method's, trains, or goes by the batch."""
    trains = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    return normalises_by_batch(module) or trains or isinstance(module, BaseTunerLayer)


def _chance(device: torch.device) -> tuple:
    """The state of what random numbers come from."""
    _, keys, *place = np.random.get_state()
    return torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else []), keys, place


def _same(state: tuple, other: tuple) -> bool:
    return all(
        torch.equal(one, two) if torch.is_tensor(one) else np.array_equal(one, two)
        for one, two in zip(state, other, strict=True)
    )


@contextmanager
def _untouched_chance() -> Iterator[None]:
    before = np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        np.random.set_state(before)


def _named(backbone: Backbone, role: str) -> list[nn.Module]:
    if role not in backbone.roles:
        return []
    pattern = re.compile(backbone.roles[role])
    # A method's layer around one is no part of the backbone, and its name has what it wraps behind it.
    return [module for name, module in backbone.model.named_modules() if pattern.fullmatch(name)]


def _layers(backbone: Backbone) -> list[nn.Module]:
    return _named(backbone, "layer")


def _of_waveforms(cnn: nn.Module) -> bool:
    return isinstance(getattr(cnn, "conv_layers", None), nn.ModuleList)


def _stop_at(found: list, module: nn.Module, args: tuple, output: Any) -> None:
    found.append(output)
    raise _ReachedError


def _replace(module: nn.Module, given: Given, stand_in: Callable) -> None:
    """Let something else answer for a module where a batch brings what was computed before."""
    forward = module.forward

    def answer(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs) if given.output is None else stand_in(*args, **kwargs)

    module.forward = answer


def _whole(given: Given, padding: Padding, all_states: bool, *_: Any, **__: Any) -> BaseModelOutput:
    padding.mask = given.mask
    if not all_states:
        return BaseModelOutput(last_hidden_state=given.output)
    states = given.output.unbind(1)
    return BaseModelOutput(last_hidden_state=states[-1], hidden_states=states)


def _no_features(given: Given, channels: int, *_: Any, **__: Any) -> Tensor:
    """Of a CNN whose features nobody will look at: as many frames as layers have, at no cost."""
    batch, frames, _ = given.output.shape
    return given.output.new_zeros(()).expand(batch, channels, frames)
