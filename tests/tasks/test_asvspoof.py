"""ASVspoof's protocols are its splits; its scores are log odds, and what a verification adds is known of the corpus."""

import dataclasses

import numpy as np
import pytest

from sure import synth
from sure.errors import SureError
from sure.record import Result, read_predictions
from sure.runner.run import main
from sure.task import make_task
from tests.factories.corpora import touch, write
from tests.factories.encoders import save_backbone

PROTOCOLS = "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm"
SCORES = "ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"


@pytest.fixture
def corpus(tmp_path):
    """As released, with the lines of the releases' READMEs."""
    la = tmp_path / "LA"
    for part, kind, letter in (("train", "trn", "T"), ("dev", "trl", "D"), ("eval", "trl", "E")):
        names = [f"LA_{letter}_{number}000000" for number in (1, 2)]
        write(
            la / f"{PROTOCOLS}.{part}.{kind}.txt", f"LA_0079 {names[0]} - - bonafide", f"LA_0079 {names[1]} - A01 spoof"
        )
        touch(la / f"ASVspoof2019_LA_{part}" / "flac", *(f"{name}.flac" for name in names))
    write(la / SCORES, "bonafide target 2.0", "bonafide nontarget -1", "A07 spoof 3", "A08 spoof -2.5")
    for track, lines in {
        "LA": [
            "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval",
            "LA_0020 LA_E_7294490 g722 loc_tx bonafide bonafide notrim eval",
            "LA_0009 LA_E_8589971 alaw loc_tx A07 spoof notrim progress",
            "LA_0009 LA_E_8589972 alaw loc_tx A07 spoof trim hidden",
        ],
        "DF": [
            "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -",
            "LA_0023 DF_E_2000012 low_mp3 vcc2020 Task1-team20 spoof notrim eval neural_vocoder_autoregressive - - - -",
            "LA_0043 DF_E_2000013 low_m4a vcc2020 - bonafide notrim eval bonafide - - - -",
        ],
    }.items():
        write(tmp_path / "keys" / track / "CM" / "trial_metadata.txt", *lines)
        # Not those of progress and hidden: nobody needs them here.
        touch(
            tmp_path / f"ASVspoof2021_{track}_eval" / "flac",
            *(f"{line.split()[1]}.flac" for line in lines if " eval" in line),
        )
    write(
        tmp_path / "keys/LA/ASV/trial_metadata.txt",
        "LA_0007-alaw-ita_tx LA_E_5013670-alaw-ita_tx alaw ita_tx bonafide nontarget notrim eval",
        "LA_0008-alaw-ita_tx LA_E_5013671-alaw-ita_tx alaw ita_tx bonafide target notrim eval",
        "LA_0008-alaw-ita_tx LA_E_5013672-alaw-ita_tx alaw ita_tx A07 spoof notrim eval",
        "LA_0008-alaw-ita_tx LA_E_5013673-alaw-ita_tx alaw ita_tx A07 spoof notrim hidden",
    )
    write(tmp_path / "keys/LA/ASV/ASVtorch_kaldi/score.txt", "a b 4", "c d 1.5", "e f 3", "g h 0")
    for part, letter, folder in (("train", "T", "T"), ("dev.track_1", "D", "D"), ("eval.track_1", "E", "E_eval")):
        names = [f"{letter}_000000000{number}" for number in (0, 1)]
        write(
            tmp_path / f"ASVspoof5.{part}.tsv",
            f"{letter}_4850 {names[0]} F - - - AC3 A05 spoof -",
            f"{letter}_3734 {names[1]} F - - - - bonafide bonafide -",
        )
        touch(tmp_path / f"flac_{folder}", *(f"{name}.flac" for name in names))
    return tmp_path


def load(folder, edition):
    task = make_task("asvspoof", {"edition": edition})
    splits = task.load(folder)
    return task, {name: [(row["id"], row["speaker"], row["label"]) for row in split] for name, split in splits.items()}


@pytest.mark.parametrize("inside", [False, True])
def test_2019_is_split_by_its_protocols(corpus, inside):
    task, splits = load(corpus / "LA" if inside else corpus, "2019_la")
    assert splits == {
        name: [
            (f"LA_{letter}_1000000", "LA_0079", "bonafide"),
            (f"LA_{letter}_2000000", "LA_0079", "spoof"),
        ]
        for name, letter in (("train", "T"), ("validation", "D"), ("test", "E"))
    }
    assert task.metrics == ("equal_error_rate", "minimum_tandem_cost_2019")
    # At the threshold of equal errors, -1, where the score itself is accepted.
    assert task.verification == [0, 1, 0.5]


def test_2021_is_tested_by_its_keys_on_what_learns_from_2019(corpus):
    task, splits = load(corpus, "2021_la")
    assert splits["test"] == [("LA_E_7294490", "LA_0020", "bonafide"), ("LA_E_9332881", "LA_0009", "spoof")]
    assert {name: splits[name] for name in ("train", "validation")} == {
        name: split for name, split in load(corpus, "2019_la")[1].items() if name != "test"
    }
    # Line by line, without those of other subsets: of target 1.5, non-target 4 and spoof 3.
    assert task.verification == [0, 1, 1]
    assert task.metrics == ("equal_error_rate", "minimum_tandem_cost_2021")
    task, splits = load(corpus, "2021_df")
    assert splits["test"] == [("DF_E_2000012", "LA_0023", "spoof"), ("DF_E_2000013", "LA_0043", "bonafide")]
    assert task.metrics == ("equal_error_rate",)


def test_5_has_its_own_cost_and_its_lists_may_lie_in_their_package_s_folder(corpus):
    task, splits = load(corpus, 5)
    assert splits["test"] == [("E_0000000000", "E_4850", "spoof"), ("E_0000000001", "E_3734", "bonafide")]
    assert task.metrics == ("equal_error_rate", "minimum_detection_cost_asvspoof5")
    (corpus / "ASVspoof5_protocols").mkdir()
    for path in corpus.glob("*.tsv"):
        path.rename(corpus / "ASVspoof5_protocols" / path.name)
    assert load(corpus, 5)[1] == splits


def test_scores_are_log_odds_and_scored_anew_from_rows_and_a_record_alone(corpus):
    task, _ = load(corpus, "2019_la")
    rows = [{"id": str(number), "speaker": "a", "label": label} for number, label in enumerate(["bonafide", "spoof"])]
    predictions = task.predict([np.array([40.0, -40.0]), np.array([1.0, 0.25])], rows)
    assert [(row["prediction"], row["score"]) for row in predictions] == [("bonafide", 80.0), ("bonafide", 0.75)]
    again = make_task("asvspoof", dataclasses.asdict(task))
    assert again.score(predictions) == {"equal_error_rate": 0, "minimum_tandem_cost_2019": 0}
    predictions[1]["score"] = 90.0
    assert again.score(predictions) == {"equal_error_rate": 1, "minimum_tandem_cost_2019": 1}
    new = task.predict([np.array([0.0, 2.0])], [{"id": "new.wav"}])
    assert new == [{"id": "new.wav", "prediction": "spoof", "score": -2.0}]
    del predictions[0]["score"]
    with pytest.raises(SureError, match="Prediction '0': expected a number as score"):
        again.score(predictions)


def test_without_the_verification_s_scores_there_is_no_tandem_cost(corpus):
    (corpus / "LA" / SCORES).unlink()
    assert load(corpus, "2019_la")[0].metrics == ("equal_error_rate",)


@pytest.mark.parametrize(
    ("file", "lines", "edition", "message"),
    [
        (f"LA/{PROTOCOLS}.dev.trl.txt", ["LA_0079 LA_D_1000000 - - genuine"], "2019_la", "dev.*line 1: key 'genuine'"),
        (f"LA/{PROTOCOLS}.dev.trl.txt", ["LA_0079 LA_D_1000000 bonafide"], "2019_la", "3 columns, expected 5"),
        (f"LA/{PROTOCOLS}.dev.trl.txt", ["a LA_D_1 - - bonafide"], "2019_la", "1 files of .* are not there: LA_D_1"),
        (f"LA/{PROTOCOLS}.dev.trl.txt", ["a LA_D_1000000 - - bonafide"], "2019_la", "every validation .* is bonafide"),
        (f"LA/{SCORES}", ["bonafide target high"], "2019_la", "line 1: target high; expected target, nontarget"),
        ("keys/LA/ASV/ASVtorch_kaldi/score.txt", ["a b 4"], "2021_la", "1 scores of the 4 trials"),
    ],
)
def test_what_is_wrong_is_named(corpus, file, lines, edition, message):
    write(corpus / file, *lines)
    with pytest.raises(SureError, match=message):
        load(corpus, edition)


def test_an_edition_that_is_not_there_is_named_by_its_folder(corpus):
    (corpus / "flac_D" / "D_0000000000.flac").unlink()
    (corpus / "flac_D" / "D_0000000001.flac").unlink()
    (corpus / "flac_D").rmdir()
    with pytest.raises(SureError, match=r"flac_D: no such folder \(found in .*: ASVspoof2021_DF_eval"):
        load(corpus, 5)


def test_it_is_trained_recorded_and_scored_again_from_its_predictions(tmp_path):
    pytest.importorskip("espeakng_loader", reason='eSpeak NG is not installed: pip install "sure-bench[synth]"')
    synth.asvspoof.make(tmp_path / "corpus", train=1, dev=1, evaluation=10, bonafide=1, spoofed=1)
    save_backbone(tmp_path / "encoder", "wav2vec2")
    words = f"--task asvspoof --data_dir {tmp_path}/corpus --backbone {tmp_path}/encoder --method bitfit --max_steps 1 "
    words += f"--class_weights balanced --max_seconds 1 --report_to none --use_cpu True --output_dir {tmp_path}/out"
    main([*words.split(), "--cache_dir", str(tmp_path / "cache")])
    result = Result.read(tmp_path / "out" / "result.json")
    scores = {name: score.value for name, score in result.scores["test"].items()}
    assert list(scores) == ["equal_error_rate", "minimum_tandem_cost_2019"]
    assert result.interval.resampled["test"] == "speaker"
    task = make_task("asvspoof", result.run.task_options)
    assert task.score(read_predictions(tmp_path / "out", result.predictions["test"])) == scores
