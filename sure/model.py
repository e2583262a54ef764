"""A backbone as every method adapts it and every task trains it: by itself, or with a task's head."""

import re

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from sure.backbone import Backbone
from sure.errors import SureError


class SpeechModel(PreTrainedModel):
    """Holds the model of a `Backbone` as `backbone`. A subclass says what comes of its outputs, loss and logits."""

    supports_gradient_checkpointing = True
    # The loss is a mean; the trainer scales it by what it is a mean over, see `items`.
    accepts_loss_kwargs = False
    _supports_sdpa = True

    # Whether every hidden state is asked for.
    all_layers = False

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone.config)
        self.source = backbone
        self.backbone = backbone.model
        self.padding = backbone.padding
        self.main_input_name = backbone.model.main_input_name
        self.name_or_path = backbone.name

    @property
    def _no_split_modules(self) -> list[str]:
        """Classes of its layers, each of which is gathered by itself where parameters lie in parts (FSDP)."""
        if "layer" not in self.source.roles:
            return []
        layers, named = self.source.modules("layer"), self.source.named_modules()
        return sorted({type(module).__name__ for name, module in named if re.fullmatch(layers, name)})

    def get_input_embeddings(self) -> None:
        """None, for those who would shard or tie them by themselves: a waveform has no tokens."""

    def items(self, labels: Tensor) -> Tensor:
        """How many items the loss of a batch is the mean of, shape (): its labels, less what is -100.

        Means over parts of a batch, weighted by these, make the mean over the whole.
        """
        return (labels != -100).sum()

    def run_example(self, seconds: int) -> None:
        """One forward pass over so many seconds without sound, for counting its operations."""
        self(**self.source.example(seconds, self.device))


class ModelWithHead(SpeechModel):
    """Runs `backbone`, then `head` on its last hidden state.

    The head takes hidden states (batch, frames, width), the batch's `Padding` and the task's targets, and returns the
    loss (None without targets) and its outputs. A head whose `all_layers` is true gets every hidden state, stacked:
    (layers + 1, batch, frames, width). A head whose loss is no mean over labels has `items` of its own.
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        if backbone.headless:
            raise SureError(
                f"--backbone {backbone.name}: {backbone.family()} models are whole and take no task's head; here a "
                "speech encoder is needed (`sure backbones`)."
            )
        if getattr(head, "needs_time", False) and not backbone.states_are_frames:
            raise SureError(
                f"--backbone {backbone.name}: the hidden states of {backbone.family()} models are no frames in time, "
                "which this task aligns its texts to; choose another backbone (`sure backbones`)."
            )
        if getattr(head, "all_layers", False) and "layer" not in backbone.roles:
            raise SureError(
                f"--backbone {backbone.name}: {backbone.family()} models have one hidden state, and this head is given "
                "that of every layer; choose one of the last (for speaker verification layers=last, and another head)."
            )
        super().__init__(backbone)
        self.head = head
        self.all_layers = getattr(head, "all_layers", False)

    def items(self, labels: Tensor) -> Tensor:
        return getattr(self.head, "items", super().items)(labels)

    def forward(
        self,
        input_values: Tensor | None = None,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        frozen: Tensor | None = None,
        frozen_mask: Tensor | None = None,
        **targets: Tensor,
    ) -> SequenceClassifierOutput:
        """`input_values` (batch, samples) or `input_features` (batch, frames, bins), whichever the family reads.

        `frozen` is what a frozen part gives for them, computed before (`sure.backbone.states.Given`).
        """
        inputs = input_values if input_values is not None else input_features
        more = {"output_hidden_states": True} if self.all_layers else {}
        with self.source.given.by(frozen, frozen_mask):
            output = self.backbone(inputs, attention_mask=attention_mask, **more)
        hidden_states = torch.stack(output.hidden_states) if self.all_layers else output.last_hidden_state
        loss, logits = self.head(hidden_states, self.padding, **targets)
        return SequenceClassifierOutput(loss=loss, logits=logits)
