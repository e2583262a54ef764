"""CTC beam search with an n-gram language model: flashlight-text, which brings KenLM (the extra `beam`)."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sure import audio
from sure.errors import SureError

# The defaults of torchaudio's decoder, which wraps the same library.
_BEAM_SIZE, _BEAM_THRESHOLD = 50, 50.0
_UNKNOWN = "<unk>"


class BeamSearch:
    """The likeliest text, summed over its alignments, of a vocabulary whose token 0 is the blank.

    Without a language model any text can be found; with one, only its words that the vocabulary can spell. Raises
    `SureError` where flashlight-text is not installed, or the file is missing or not an ARPA file.
    """

    def __init__(self, vocabulary: Sequence[str], language_model: str | None = None, weight: float = 2.0) -> None:
        try:
            from flashlight.lib.text import decoder
        except ImportError:
            raise SureError(
                "--task_options decoder=beam needs flashlight-text: pip install 'sure-bench[beam]'."
            ) from None
        self.vocabulary = list(vocabulary)
        self.language_model_sha256 = None
        separator = self.vocabulary.index(" ")
        settings = {
            "beam_size": _BEAM_SIZE,
            "beam_size_token": len(self.vocabulary),
            "beam_threshold": _BEAM_THRESHOLD,
            "lm_weight": weight,
            "sil_score": 0.0,
            "log_add": True,
            "criterion_type": decoder.CriterionType.CTC,
        }
        if language_model is None:
            options = decoder.LexiconFreeDecoderOptions(**settings)
            self._decoder = decoder.LexiconFreeDecoder(options, decoder.ZeroLM(), separator, 0, [])
            self._last = 0
            return
        words, model, unknown = self._read(Path(language_model))
        options = decoder.LexiconDecoderOptions(word_score=0.0, unk_score=-np.inf, **settings)
        self._decoder = decoder.LexiconDecoder(options, words, model, separator, 0, unknown, [], False)
        # Every word is spelled with a separator behind it, or "someone" would also be "some one".
        self._last = separator

    def __call__(self, frames: np.ndarray) -> list[int]:
        """The tokens of log probabilities of shape (frames, vocabulary): one for each, and one more."""
        # One certain frame more, so that what ends with a token and what ends with a blank after it are one text.
        end = np.full((1, len(self.vocabulary)), -np.inf)
        end[0, self._last] = 0.0
        emissions = np.ascontiguousarray(np.concatenate([frames, end]), dtype=np.float32)
        best = self._decoder.decode(emissions.ctypes.data, *emissions.shape)[0]
        # Between two separators that the library adds.
        return best.tokens[1:-1]

    def _read(self, path: Path):
        """The trie of the words that can be spelled, the language model over them, and the unknown word's index."""
        from flashlight.lib.text.decoder import SmearingMode, Trie
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary

        if not path.is_file():
            raise SureError(f"--task_options language_model={path}: no such file.")
        ids = {character: index for index, character in enumerate(self.vocabulary) if index}
        spellable = [word for word in _unigrams(path) if set(word) <= set(ids)]
        if not spellable:
            raise SureError(f"{path}: none of its words can be spelled with the characters of the training texts.")
        dictionary = Dictionary([*spellable, _UNKNOWN])
        try:
            model = KenLM(str(path), dictionary)
        except RuntimeError as error:
            raise SureError(f"{path}: KenLM cannot read it ({str(error).strip().splitlines()[-1]}).") from None
        trie, start = Trie(len(self.vocabulary), ids[" "]), model.start(False)
        for word in spellable:
            index = dictionary.get_index(word)
            _, score = model.score(start, index)
            trie.insert([*(ids[character] for character in word), ids[" "]], index, score)
        trie.smear(SmearingMode.MAX)
        self.language_model_sha256 = audio.digest(path)
        return trie, model, dictionary.get_index(_UNKNOWN)


def _unigrams(path: Path) -> list[str]:
    """The words of an ARPA file, sentence marks included. Raises `SureError` where it is none."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = itertools.dropwhile(lambda line: line != "\\1-grams:", map(str.strip, file))
            section = itertools.takewhile(lambda line: not line.startswith("\\"), itertools.islice(lines, 1, None))
            words = [line.split()[1] for line in section if line]
    except (UnicodeDecodeError, IndexError):
        words = []
    if not words:
        raise SureError(f"{path}: not a language model in ARPA format, UTF-8 text with a section of \\1-grams.")
    return words
