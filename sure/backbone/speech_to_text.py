"""What families of encoder-decoder models that write have in common: speech in, one token of text after another out."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor
from transformers import AutoModelForSpeechSeq2Seq

from sure.backbone import Backbone

# Of read English, for counting operations.
TOKENS_PER_SECOND = 4


class SpeechToText(Backbone):
    """A family whose models write what they hear; they are called as `WhisperForConditionalGeneration` is."""

    headless = True
    autoregressive = True
    model_class = AutoModelForSpeechSeq2Seq

    @abstractmethod
    def prompt(self, language: str | None) -> list[int]:
        """The tokens that every text begins with; `language` is an ISO 639-1 code, None where it is not known."""

    @abstractmethod
    def told(self, language: str | None) -> bool:
        """Whether the prompt says this language; and of models that know one only, which need no word of it."""

    @abstractmethod
    def labels(self, texts: Sequence[str], language: str | None) -> Tensor:
        """(batch, tokens) of the texts behind the prompt's first token, ended and padded with -100; of texts that are
        `too_long` the beginning."""

    @abstractmethod
    def too_long(self, samples: Sequence[int], texts: Sequence[str], language: str | None) -> list[bool]:
        """Of each utterance, whether it is longer than what the model hears, or its text than what it writes."""

    @abstractmethod
    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens that a model said."""
