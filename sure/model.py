"""A backbone with a task head: what every method adapts and every task trains."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from sure.audio import SAMPLE_RATE
from sure.backbone import Backbone
from sure.errors import SureError


class SpeechModel(PreTrainedModel):
    """Runs `backbone`, then `head` on its last hidden state.

    The head takes hidden states (batch, frames, width), the batch's `Padding` and the task's targets, and returns the
    loss (None without targets) and its outputs. A head whose `all_layers` is true gets every hidden state, stacked:
    (layers + 1, batch, frames, width).
    """

    supports_gradient_checkpointing = True
    # The loss is a mean; the trainer need not hand over counts to scale it by.
    accepts_loss_kwargs = False
    _supports_sdpa = True

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        if backbone.family.headless:
            raise SureError(
                f"--backbone {backbone.name}: {backbone.family_name} models are whole and take no task's head; here a "
                "speech encoder is needed (`sure backbones`)."
            )
        super().__init__(backbone.model.config)
        self.backbone = backbone.model
        self.padding = backbone.padding
        self.head = head
        self.all_layers = getattr(head, "all_layers", False)
        self.main_input_name = backbone.model.main_input_name
        self.name_or_path = backbone.name

    def forward(
        self,
        input_values: Tensor | None = None,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **targets: Tensor,
    ) -> SequenceClassifierOutput:
        """`input_values` (batch, samples) or `input_features` (batch, frames, bins), whichever the family reads."""
        inputs = input_values if input_values is not None else input_features
        more = {"output_hidden_states": True} if self.all_layers else {}
        output = self.backbone(inputs, attention_mask=attention_mask, **more)
        hidden_states = torch.stack(output.hidden_states) if self.all_layers else output.last_hidden_state
        loss, logits = self.head(hidden_states, self.padding, **targets)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def run_example(self, seconds: int) -> None:
        """One forward pass over so many seconds without sound, for counting its operations."""
        if self.main_input_name == "input_features":
            # Frames of 20 ms.
            shape = (1, seconds * 50, self.config.feature_projection_input_dim)
        else:
            shape = (1, seconds * SAMPLE_RATE)
        self(**{self.main_input_name: torch.zeros(shape, device=self.device)})
