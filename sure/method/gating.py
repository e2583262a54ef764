"""How much of a part is let through: a number between 0 and 1 for each utterance, learned (UniPELT)."""

from torch import Tensor, nn

from sure.backbone.padding import Padding
from sure.heads import start_normal


class Gate(nn.Module):
    """g = mean over the frames of sigmoid(w . h_t + c), padding left out (Mao et al. 2022, 2110.07577, section 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        start_normal(self.linear)

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """(batch, frames, width) -> (batch, 1, 1)."""
        return padding.mean(self.linear(hidden_states).sigmoid()).unsqueeze(-1)
