"""What stands between the texts of a task and the tokens that a model learns and says.

CTC learns tokens of the training texts on an encoder: characters, or what else a task parts its texts into (`Units`).
An encoder-decoder writes with tokens of its own (`Written`).
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sure.task.speech_recognition.normalisation import SEPARATOR

if TYPE_CHECKING:
    from torch import Tensor

    from sure.backbone import Backbone
    from sure.backbone.speech_to_text import SpeechToText
    from sure.model import SpeechModel

# The CTC blank is token 0.
BLANK = "<blank>"

# Samples between two frames of every encoder.
_FRAME = 320


class Units(NamedTuple):
    """How a text is parted into the tokens of CTC, and put together of them; `always` are in every vocabulary."""

    part: Callable[[str], Iterable[str]]
    join: Callable[[Iterable[str]], str]
    always: tuple[str, ...] = ()

    def vocabulary(self, texts: Iterable[str]) -> list[str]:
        """The blank, then all tokens of some texts, sorted."""
        return [BLANK, *sorted({token for text in texts for token in self.part(text)} | set(self.always))]


CHARACTERS = Units(list, "".join, always=(SEPARATOR,))
# Such as phonemes.
WORDS = Units(str.split, SEPARATOR.join)


def _part_slots(text: str) -> list[str]:
    """Characters, but each tag, `B-artist` or `E-artist`, as one token, with the space between it and its slot."""
    tokens: list[str] = []
    for word in text.split():
        if tokens and not tokens[-1].startswith("B-") and not word.startswith("E-"):
            tokens.append(SEPARATOR)
        tokens += [word] if word.startswith(("B-", "E-")) else word
    return tokens


def _join_slots(tokens: Iterable[str]) -> str:
    spaced = {"B-": "{} ", "E-": " {}"}
    return SEPARATOR.join("".join(spaced.get(token[:2], "{}").format(token) for token in tokens).split())


# Slots in between, as `PLAY B-artist DIANA ROSS E-artist`: no word of a text begins with B- or E-.
SLOTS = Units(_part_slots, _join_slots, always=(SEPARATOR,))


class Tokens(ABC):
    """One way to learn and to say texts."""

    @abstractmethod
    def model(self, backbone: "Backbone") -> "SpeechModel":
        """The model that a method adapts."""

    @abstractmethod
    def labels(self, texts: Sequence[str]) -> "Tensor":
        """Token ids to learn, (batch, longest text), padded with -100."""

    @abstractmethod
    def reduce(self, logits: "Tensor") -> "Tensor":
        """What `text` needs of a batch of the model's outputs."""

    @abstractmethod
    def text(self, output: np.ndarray) -> str:
        """The text of one utterance's output, as `reduce` leaves it, with what pads it."""

    @abstractmethod
    def unlearnable(self, samples: Sequence[int], texts: Sequence[str]) -> tuple[int, str]:
        """How many utterances of so many samples, 16 kHz, and of these texts are not learnt whole; and why."""


class CTC(Tokens):
    """Tokens of a vocabulary on the frames of an encoder; the blank is token 0 (Graves et al. 2006)."""

    def __init__(
        self, vocabulary: Sequence[str], units: Units, search: Callable[[np.ndarray], Sequence[int]] | None = None
    ) -> None:
        """`search` finds tokens in log probabilities (frames, vocabulary), one for each frame and one more.

        Without it, decoding is greedy.
        """
        self.vocabulary, self.units, self.search = list(vocabulary), units, search
        self._ids = {token: index for index, token in enumerate(self.vocabulary)}

    def model(self, backbone: "Backbone") -> "SpeechModel":
        from sure.heads import CTCHead
        from sure.model import ModelWithHead

        return ModelWithHead(backbone, CTCHead(backbone.width, len(self.vocabulary)))

    def labels(self, texts: Sequence[str]) -> "Tensor":
        """Tokens that the vocabulary lacks are left out."""
        import torch

        known = [[self._ids[token] for token in self.units.part(text) if token in self._ids] for text in texts]
        tensors = [torch.tensor(ids, dtype=torch.long) for ids in known]
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=-100)

    def reduce(self, logits: "Tensor") -> "Tensor":
        """A token for each frame, (batch, frames), the likeliest or the one that was searched; -100 where no frame is.

        No more is kept of an evaluation: log probabilities are as many times as large as the vocabulary.
        """
        import torch

        from sure.heads import NO_FRAME

        is_frame = (logits != NO_FRAME).any(dim=-1)
        if self.search is None:
            return logits.argmax(dim=-1).masked_fill(~is_frame, int(NO_FRAME)).int()
        found = torch.full((len(logits), logits.shape[1] + 1), int(NO_FRAME), dtype=torch.int32)
        for tokens, frames, real in zip(found, logits.float().cpu(), is_frame.cpu(), strict=True):
            path = self.search(frames[real].numpy())
            tokens[: len(path)] = torch.tensor(path)
        return found.to(logits.device)

    def text(self, output: np.ndarray) -> str:
        tokens = (self.vocabulary[token] for token, _ in itertools.groupby(output[output >= 0].astype(int)))
        return self.units.join(token for token in tokens if token != BLANK)

    def unlearnable(self, samples: Sequence[int], texts: Sequence[str]) -> tuple[int, str]:
        many = sum(self._frames(text) > length // _FRAME for length, text in zip(samples, texts, strict=True))
        return many, "have more text than CTC can align to their frames of 20 ms: they count nothing in the loss"

    def _frames(self, text: str) -> int:
        """One for each token, and a blank between two that are alike."""
        tokens = list(self.units.part(text))
        return len(tokens) + sum(one == other for one, other in itertools.pairwise(tokens))


class Written(Tokens):
    """The tokens of an encoder-decoder, which writes by itself."""

    def __init__(self, backbone: "SpeechToText", language: str | None) -> None:
        self.backbone, self.language = backbone, language

    def model(self, backbone: "Backbone") -> "SpeechModel":
        from sure.task.speech_recognition.model import TranscribingModel

        return TranscribingModel(self.backbone, self.backbone.prompt(self.language))

    def labels(self, texts: Sequence[str]) -> "Tensor":
        return self.backbone.labels(texts, self.language)

    def reduce(self, logits: "Tensor") -> "Tensor":
        """They are tokens already, (batch, tokens), then -100."""
        return logits

    def text(self, output: np.ndarray) -> str:
        return self.backbone.text(output[output >= 0].astype(int).tolist())

    def unlearnable(self, samples: Sequence[int], texts: Sequence[str]) -> tuple[int, str]:
        many = sum(self.backbone.too_long(samples, texts, self.language))
        return many, f"are longer than {self.backbone.name} hears or writes at a time: their ends do not count"
