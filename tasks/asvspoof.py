"""Spoofed speech against bona fide: ASVspoof 2019 LA, 2021 LA, 2021 DF and 5, by their official protocols.

Synthesised and converted speech of known speakers, 16 kHz, ODC-BY. `edition` chooses, all from one folder:

- `2019_la` (Wang et al. 2020, arXiv 1911.01601; https://datashare.ed.ac.uk/handle/10283/3336), the folder `LA` or what
  holds it: `ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{train.trn,dev.trl,eval.trl}.txt`, lines of `speaker name -
  system key`; `ASVspoof2019_LA_{train,dev,eval}/flac`; and `ASVspoof2019_LA_asv_scores/*.eval.gi.trl.scores.txt`, lines
  of `system key score`.
- `2021_la`, `2021_df` (Yamagishi et al. 2021, arXiv 2109.00537; https://www.asvspoof.org/index2021.html) have test data
  alone: `ASVspoof2021_{LA,DF}_eval/flac` beside `LA`, which trains and validates, and of the key packages
  `keys/{LA,DF}/CM/trial_metadata.txt`, with the key as sixth column and the subset as eighth, of which `eval` is
  tested, not `progress` and `hidden`; and for LA `keys/LA/ASV/`, `trial_metadata.txt` with the same two columns and
  beside it a folder with `score.txt`, line by line the scores of the same trials.
- `5` (Wang et al. 2024, arXiv 2408.08739; https://zenodo.org/records/14498691), track 1:
  `ASVspoof5.{train,dev.track_1,eval.track_1}.tsv`, here or in `ASVspoof5_protocols`, ten columns by spaces with the
  speaker, the name and, ninth, the key; `flac_T`, `flac_D` and `flac_E_eval`.

Layouts are those of the releases' own READMEs; that of the 2021 scores is what the organisers' evaluation code reads.

Split: the protocols'; `dev` is validation. The score of an utterance is the log odds of its being bona fide. The
metric is the equal error rate, with the least tandem detection cost of 2019 (the "legacy" t-DCF) or of 2021 where the
organisers' scores of speaker verification are there, both splits with those of the evaluation data; of 5, whose
challenge ranks by it, its minDCF. Nine in ten utterances are spoofed: `--class_weights balanced` is what most releases
do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from sure import registry
from sure.corpus.folders import audio_files, listed, subfolders
from sure.errors import SureError
from sure.files import is_number, read_text
from sure.task import learned
from sure.task.classification import ClassificationTask

if TYPE_CHECKING:
    from datasets import DatasetDict

    from sure.metric import Metric

BONAFIDE, SPOOF = "bonafide", "spoof"


class _Protocol(NamedTuple):
    """A list of utterances, the folder of their audio, the length of a line, and where in it key and subset are."""

    file: str
    audio: str
    columns: int
    key: int
    subset: int | None = None


def _of_2019(part: str, kind: str) -> _Protocol:
    name = f"ASVspoof2019.LA.cm.{part}.{kind}.txt"
    return _Protocol(f"LA/ASVspoof2019_LA_cm_protocols/{name}", f"LA/ASVspoof2019_LA_{part}/flac", columns=5, key=4)


def _of_2021(track: str, columns: int) -> _Protocol:
    audio = f"ASVspoof2021_{track}_eval/flac"
    return _Protocol(f"keys/{track}/CM/trial_metadata.txt", audio, columns, key=5, subset=7)


def _of_5(part: str, audio: str) -> _Protocol:
    return _Protocol(f"ASVspoof5_protocols/ASVspoof5.{part}.tsv", audio, columns=10, key=8)


_LA_2019 = {"train": _of_2019("train", "trn"), "validation": _of_2019("dev", "trl")}
_PROTOCOLS: dict[str | int, dict[str, _Protocol]] = {
    "2019_la": _LA_2019 | {"test": _of_2019("eval", "trl")},
    "2021_la": _LA_2019 | {"test": _of_2021("LA", columns=8)},
    "2021_df": _LA_2019 | {"test": _of_2021("DF", columns=13)},
    5: {
        "train": _of_5("train", "flac_T"),
        "validation": _of_5("dev.track_1", "flac_D"),
        "test": _of_5("eval.track_1", "flac_E_eval"),
    },
}
_SUBSET = "eval"
# Where a line has who says something, and the name of its file.
_SPEAKER, _NAME = 0, 1


@dataclass
class ASVspoof(ClassificationTask):
    """Of an utterance the log odds of its being bona fide (`score`) are measured."""

    metrics: ClassVar[tuple[str, ...]] = ("equal_error_rate",)
    scored_by: ClassVar[tuple[str, ...]] = ("verification",)

    labels: list[str] = field(default_factory=lambda: [BONAFIDE, SPOOF], metadata=learned("bonafide and spoof."))
    edition: Literal["2019_la", "2021_la", "2021_df", 5] = field(
        default="2019_la", metadata={"help": "2019_la, 2021_la, 2021_df (which train on 2019_la) or 5."}
    )
    verification: list[float] = field(
        default_factory=list,
        metadata=learned("Errors of the organisers' speaker verification: miss, false_alarm, spoof_false_alarm."),
    )

    def __post_init__(self) -> None:
        self._choose_metrics()

    def load(self, data_dir: Path) -> "DatasetDict":
        """As `ClassificationTask.load`; raises `SureError` also where a split has one kind of speech alone."""
        from sure.metric.tandem import VerificationErrors

        splits = super().load(data_dir)
        for name, split in splits.items():
            if len(found := set(split["label"])) < 2:
                raise SureError(f"{data_dir}: every {name} utterance is {found.pop()}; error rates need both kinds.")
        scores = _verification_scores(Path(data_dir), self.edition)
        self.verification = list(astuple(VerificationErrors.of_scores(*scores))) if scores else []
        self._choose_metrics()
        return splits

    def _choose_metrics(self) -> None:
        further = {5: "minimum_detection_cost_asvspoof5"}
        if self.verification:
            further |= {"2019_la": "minimum_tandem_cost_2019", "2021_la": "minimum_tandem_cost_2021"}
        self.metrics = (*type(self).metrics, *filter(None, [further.get(self.edition)]))

    def metric_named(self, name: str) -> "Metric":
        """As `Task.metric_named`; a tandem cost is that before the organisers' verification."""
        from sure.metric.tandem import TandemMetric, VerificationErrors

        kind = registry.get("metric", name)
        if not issubclass(kind, TandemMetric):
            return super().metric_named(name)
        return kind(VerificationErrors(*self.verification))

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        for split, protocol in _PROTOCOLS[self.edition].items():
            file, folder = _place(data_dir, protocol.file), _place(data_dir, protocol.audio)
            if not folder.is_dir():
                raise SureError(f"{folder}: no such folder (found in {data_dir}: {listed(subfolders(data_dir))}).")
            recordings = {path.stem: path for path in audio_files(folder)}
            missing = []
            for where, cells in _lines(file, protocol.columns):
                if protocol.subset is not None and cells[protocol.subset] != _SUBSET:
                    continue
                name, key = cells[_NAME], cells[protocol.key]
                if key not in (BONAFIDE, SPOOF):
                    raise SureError(f"{where}: key {key!r}; expected {BONAFIDE} or {SPOOF}.")
                if name not in recordings:
                    missing.append(name)
                    continue
                row = {"id": name, "path": str(recordings[name]), "speaker": cells[_SPEAKER]}
                yield row | {"label": key, "split": split}
            if missing:
                raise SureError(f"{folder}: {len(missing)} files of {file} are not there: {listed(missing)}.")

    def predict(self, outputs: Sequence[np.ndarray], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """As `ClassificationTask.predict`, with the `score` instead of rounded probabilities."""
        predictions = super().predict(outputs, rows)
        bonafide, spoof = np.asarray(outputs, dtype=np.float64).T
        for prediction, score in zip(predictions, bonafide - spoof, strict=True):
            del prediction["probabilities"]
            prediction["score"] = round(float(score), 8)
        return predictions

    def comparable(self, rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Scores, and 1 for bona fide speech or 0. Raises `SureError` for a row without, naming it."""
        for row in rows:
            if not is_number(row.get("score")) or row.get("reference") not in (BONAFIDE, SPOOF):
                raise SureError(
                    f"Prediction {row.get('id')!r}: expected a number as score and {BONAFIDE} or {SPOOF} as reference."
                )
        return np.array([row["score"] for row in rows]), np.array([row["reference"] == BONAFIDE for row in rows])


def _place(data_dir: Path, path: str) -> Path:
    """Where a file or folder lies: what is in the first folder of its path may be in `data_dir` itself."""
    whole, within = data_dir / path, data_dir / Path(*Path(path).parts[1:])
    return within if within.exists() and within != data_dir and not whole.exists() else whole


def _lines(file: Path, columns: int) -> Iterator[tuple[str, list[str]]]:
    """The cells of every line that is not empty, each after its file and line."""
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if cells := line.split():
            where = f"{file}, line {number}"
            if len(cells) != columns:
                raise SureError(f"{where}: {len(cells)} columns, expected {columns}.")
            yield where, cells


def _verification_scores(data_dir: Path, edition: str | int) -> list[list[float]] | None:
    """The organisers' scores of targets, non-targets and spoofed speech; None where they are not there."""
    by_key: dict[str, list[float]] = {"target": [], "nontarget": [], "spoof": []}

    def add(where: str, key: str, score: str) -> None:
        try:
            by_key[key].append(float(score))
        except (KeyError, ValueError):
            raise SureError(f"{where}: {key} {score}; expected {', '.join(by_key)} and a number.") from None

    if edition == "2019_la":
        file = _place(data_dir, "LA/ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt")
        if not file.is_file():
            return None
        for where, (_, key, score) in _lines(file, columns=3):
            add(where, key, score)
        return list(by_key.values())
    folder = _place(data_dir, "keys/LA/ASV")
    files = sorted(folder.glob("*/score.txt")) if edition == "2021_la" else []
    if not files:
        return None
    keys, scores = (list(_lines(*of)) for of in ((folder / "trial_metadata.txt", 8), (files[0], 3)))
    if len(keys) != len(scores):
        raise SureError(f"{files[0]}: {len(scores)} scores of the {len(keys)} trials of {folder}/trial_metadata.txt.")
    for (_, key), (where, score) in zip(keys, scores, strict=True):
        if key[7] == _SUBSET:
            add(where, key[5], score[2])
    return list(by_key.values())
