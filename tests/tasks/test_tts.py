"""Text-to-speech corpora in their real layouts: what is read, how it is split, which mistakes are named."""

import numpy as np
import pytest
import soundfile

from sure.errors import SureError
from sure.task import make_task
from sure.task.text_to_speech.adaptation import splits_in_order
from tests.factories import RECORDINGS

LJSPEECH = RECORDINGS / "ljspeech"


def wav(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(800), 16_000)


def text(path, words):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(words, encoding="utf-8")


def ljspeech(folder, count=12):
    lines = [f'LJ001-{n:04d}|Dr. "{n}"|Doctor "{n}"' for n in range(1, count + 1)]
    text(folder / "metadata.csv", "\n".join(lines) + "\n")
    for n in range(1, count + 1):
        wav(folder / "wavs" / f"LJ001-{n:04d}.wav")


def vctk(folder, release="0.92"):
    for speaker in ("p225", "s5"):
        for n in range(1, 6):
            name = f"{speaker}_{n:03d}"
            text(folder / "txt" / speaker / f"{name}.txt", f"Sentence {n}. \n")
            if release == "0.92":
                for microphone in (1, 2):
                    wav(folder / "wav48_silence_trimmed" / speaker / f"{name}_mic{microphone}.flac")
            else:
                wav(folder / "wav48" / speaker / f"{name}.wav")
    recordings = folder / ("wav48_silence_trimmed" if release == "0.92" else "wav48")
    # p315 lost its texts, and p225 one of them.
    wav(recordings / "p315" / "p315_001_mic1.flac")
    wav(recordings / "p225" / ("p225_099_mic1.flac" if release == "0.92" else "p225_099.wav"))


def libritts(folder):
    for subset, speaker, chapter in (
        ("train-clean-100", "19", "198"),
        ("train-clean-100", "19", "227"),
        ("dev-clean", "84", "121"),
    ):
        for n in range(4):
            stem = folder / subset / speaker / chapter / f"{speaker}_{chapter}_00000{n}_000000"
            wav(stem.with_suffix(".wav"))
            text(stem.with_suffix(".normalized.txt"), f"Sentence {n}.")
            text(stem.with_suffix(".original.txt"), f"Sentence No. {n}.")


def l2arctic(folder, deeper=False):
    for speaker in ("ABA", "YBAA"):
        home = folder / speaker / speaker if deeper else folder / speaker
        for n in range(1, 11):
            wav(home / "wav" / f"arctic_a{n:04d}.wav")
            text(home / "transcript" / f"arctic_a{n:04d}.txt", f"Sentence {n}.")
    wav(folder / "suitcase_corpus" / "wav" / "aba.wav")
    text(folder / "suitcase_corpus" / "transcript" / "aba.txt", "And then ...")


def load(name, folder, **options):
    task = make_task(name, options)
    return task, {split: rows.to_list() for split, rows in task.load(folder).items()}


def ids(splits):
    return {split: [row["id"] for row in rows] for split, rows in splits.items()}


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(3, None, (1, 1, 1)), (9, None, (7, 1, 1)), (400, None, (320, 40, 40)), (13_100, 250, (12_600, 250, 250))],
)
def test_the_last_tenth_is_tested(count, most, expected):
    splits = splits_in_order(count, most)
    assert tuple(splits.count(name) for name in ("train", "validation", "test")) == expected
    assert splits == sorted(splits, key=("train", "validation", "test").index)


class TestLJSpeech:
    def test_normalised_texts_are_read_quotation_marks_and_all(self, tmp_path):
        ljspeech(tmp_path)
        task, splits = load("tts_ljspeech", tmp_path)
        assert ids(splits)["validation"] == ["LJ001-0011"]
        assert ids(splits)["test"] == ["LJ001-0012"]
        assert splits["test"][0]["text"] == 'Doctor "12"'
        assert splits["test"][0]["path"] == str(tmp_path / "wavs" / "LJ001-0012.wav")
        assert task.voices == ["LJ"]

    def test_the_archives_own_folder_is_found(self, tmp_path):
        ljspeech(tmp_path / "LJSpeech-1.1")
        assert len(load("tts_ljspeech", tmp_path)[1]["train"]) == 10

    def test_real_utterances(self):
        if not LJSPEECH.is_dir():
            pytest.skip("no LJSpeech beside the repository")
        _, splits = load("tts_ljspeech", LJSPEECH)
        assert {name: len(rows) for name, rows in splits.items()} == {"train": 26, "validation": 3, "test": 3}
        assert splits["train"][1]["text"] == "in being comparatively modern."

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("LJ001-0099|only two", r"metadata.csv, line 13: 2 columns; expected id\|text\|normalised text"),
            ("LJ001-0001|again|again", "metadata.csv, line 13: LJ001-0001 was there before"),
            ("LJ001-0099|no|file", "LJ001-0099.wav: no such file, although metadata.csv has its text"),
        ],
    )
    def test_a_wrong_line_is_named(self, tmp_path, line, message):
        ljspeech(tmp_path)
        with (tmp_path / "metadata.csv").open("a") as file:
            file.write(line + "\n")
        with pytest.raises(SureError, match=message):
            load("tts_ljspeech", tmp_path)

    def test_an_empty_text_is_named(self, tmp_path):
        ljspeech(tmp_path)
        with (tmp_path / "metadata.csv").open("a") as file:
            file.write("LJ001-0013|x| \n")
        wav(tmp_path / "wavs" / "LJ001-0013.wav")
        with pytest.raises(SureError, match=r"LJ001-0013.wav: its text is empty \(test\)"):
            load("tts_ljspeech", tmp_path)

    def test_another_folder_or_encoding_is_named(self, tmp_path):
        with pytest.raises(SureError, match=r"metadata.csv: no such file \(found beside it: nothing\)"):
            load("tts_ljspeech", tmp_path)
        (tmp_path / "metadata.csv").write_bytes("LJ1|é|é".encode("latin-1"))
        with pytest.raises(SureError, match=r"metadata.csv: not a text file in UTF-8"):
            load("tts_ljspeech", tmp_path)

    def test_few_validation_sentences_are_spread_over_all(self, tmp_path):
        ljspeech(tmp_path, 60)
        _, whole = load("tts_ljspeech", tmp_path)
        assert len(whole["validation"]) == 6
        _, splits = load("tts_ljspeech", tmp_path, validation_sentences=3)
        assert ids(splits)["validation"] == ids(whole)["validation"][::2]
        assert ids(splits)["test"] == ids(whole)["test"]


class TestVCTK:
    @pytest.mark.parametrize("release", ["0.92", "0.80"])
    def test_recordings_with_texts_of_every_speaker(self, tmp_path, release):
        vctk(tmp_path, release)
        task, splits = load("tts_vctk", tmp_path)
        assert ids(splits) == {
            "train": ["p225_001", "p225_002", "p225_003", "s5_001", "s5_002", "s5_003"],
            "validation": ["p225_004", "s5_004"],
            "test": ["p225_005", "s5_005"],
        }
        assert splits["test"][0]["text"] == "Sentence 5."
        assert "mic2" not in splits["test"][0]["path"]
        assert task.voices == ["p225", "s5"]

    @pytest.mark.parametrize("speakers", [["s5"], "s5"])
    def test_chosen_speakers(self, tmp_path, speakers):
        vctk(tmp_path)
        task, splits = load("tts_vctk", tmp_path, speakers=speakers)
        assert task.voices == ["s5"]
        assert ids(splits)["test"] == ["s5_005"]

    def test_mistakes_are_named(self, tmp_path):
        with pytest.raises(SureError, match="no wav48_silence_trimmed or wav48 with txt beside it"):
            load("tts_vctk", tmp_path)
        vctk(tmp_path)
        with pytest.raises(SureError, match=r"Unknown speaker of .* 'p226'. Did you mean 'p225'"):
            load("tts_vctk", tmp_path, speakers="p226")
        with pytest.raises(SureError, match=r"Unknown speaker of .* 'p315'"):
            load("tts_vctk", tmp_path, speakers="p225,p315")
        (tmp_path / "txt" / "s5" / "s5_001.txt").unlink()
        for n in (2, 3, 4):
            (tmp_path / "txt" / "s5" / f"s5_00{n}.txt").unlink()
        with pytest.raises(SureError, match="s5: 1 sentences with a text and a recording; 3 are needed"):
            load("tts_vctk", tmp_path)


class TestLibriTTS:
    @pytest.mark.parametrize("folder", [".", "LibriTTS", "LibriTTS_R"])
    def test_normalised_texts_of_all_subsets(self, tmp_path, folder):
        libritts(tmp_path / folder)
        task, splits = load("tts_libritts", tmp_path)
        assert task.voices == ["19", "84"]
        assert ids(splits)["test"] == ["19_227_000003_000000", "84_121_000003_000000"]
        assert splits["test"][0]["text"] == "Sentence 3."

    def test_speakers_may_be_given_as_numbers(self, tmp_path):
        libritts(tmp_path)
        assert load("tts_libritts", tmp_path, speakers=[84])[0].voices == ["84"]
        assert load("tts_libritts", tmp_path, speakers=84)[0].voices == ["84"]

    def test_mistakes_are_named(self, tmp_path):
        with pytest.raises(SureError, match="no <subset>/<speaker>/ with speakers' numbers"):
            load("tts_libritts", tmp_path)
        libritts(tmp_path)
        missing = tmp_path / "dev-clean" / "84" / "121" / "84_121_000001_000000.normalized.txt"
        missing.unlink()
        with pytest.raises(SureError, match=f"{missing}: no such file"):
            load("tts_libritts", tmp_path)
        wav(tmp_path / "dev-other" / "84" / "1" / "84_1_000000_000000.wav")
        with pytest.raises(SureError, match=r"speaker 84 is in .*dev-clean/84 too"):
            load("tts_libritts", tmp_path)


class TestL2Arctic:
    @pytest.mark.parametrize("deeper", [False, True])
    def test_sentences_carry_their_speaker(self, tmp_path, deeper):
        l2arctic(tmp_path, deeper)
        task, splits = load("tts_l2arctic", tmp_path)
        assert task.voices == ["ABA", "YBAA"]
        assert ids(splits)["test"] == ["ABA_arctic_a0010", "YBAA_arctic_a0010"]
        assert {row["text"] for row in splits["test"]} == {"Sentence 10."}

    def test_mistakes_are_named(self, tmp_path):
        with pytest.raises(SureError, match="no <SPEAKER>/ with wav and transcript"):
            load("tts_l2arctic", tmp_path)
        l2arctic(tmp_path)
        (tmp_path / "ABA" / "transcript" / "arctic_a0003.txt").unlink()
        with pytest.raises(SureError, match=r"arctic_a0003.txt: no such file, although .*arctic_a0003.wav is there"):
            load("tts_l2arctic", tmp_path)
