"""The hidden states of a backbone, as its layers hand them on."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class RecordStates:
    """Around each forward pass that asks for hidden states: give what each layer hands to the next.

    `transformers` records what its own layers return, which leaves out what a method around a layer makes of it.
    Frames that a method puts before the first are left out where it takes them off again only after the last layer.
    """

    def __init__(self, layers: str) -> None:
        """`layers` is the regular expression for their names."""
        self.layer = re.compile(layers)
        self.states: list[Tensor] = []
        self.hooks: list[RemovableHandle] = []

    def start(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        if kwargs.get("output_hidden_states"):
            layers = {}
            for name, module in model.named_modules():
                # Of a layer and what methods put around it the outermost, which comes first.
                if self.layer.fullmatch(place := name.replace(".base_layer", "")):
                    layers.setdefault(place, module)
            first = next(iter(layers.values()))
            self.hooks = [first.register_forward_pre_hook(lambda _, inputs: self.states.append(inputs[0]))]
            self.hooks += [layer.register_forward_hook(self._keep) for layer in layers.values()]

    def stop(self, model: nn.Module, args: tuple, output: Any) -> None:
        recorded, self.states = self.states, []
        hooks, self.hooks = self.hooks, []
        for hook in hooks:
            hook.remove()
        # None where the forward pass failed; and no layer runs where a batch brings their states.
        if recorded and output is not None:
            frames = output.last_hidden_state.shape[1]
            # As SUPERB's toolkit s3prl has it, the last one has been through the encoder's last normalisation.
            output.hidden_states = (*(states[:, -frames:] for states in recorded[:-1]), output.last_hidden_state)

    def _keep(self, layer: nn.Module, args: tuple, output: Any) -> None:
        self.states.append(output[0] if isinstance(output, tuple) else output)


class Given:
    """What the current batch brings of a frozen part, computed before; the parts of a model that heed it share one.

    `output` (batch, ...) is what the part gives, of the whole backbone with all states (batch, states, frames, width);
    `mask` (batch, frames) is then true where a frame is not padding.
    """

    def __init__(self) -> None:
        self.output: Tensor | None = None
        self.mask: Tensor | None = None

    @contextmanager
    def by(self, output: Tensor | None, mask: Tensor | None) -> Iterator[None]:
        """Meanwhile the batch brings this; None: nothing."""
        self.output, self.mask = output, mask
        try:
            yield
        finally:
            self.output = self.mask = None
