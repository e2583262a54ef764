"""VoxCeleb1's layouts and lists; who trains, who validates, who is tested."""

import pytest

from sure.errors import SureError
from sure.task import make_task
from tests.factories import RECORDINGS

REAL = RECORDINGS / "librispeech_voxceleb_layout"

DEV, TEST = range(1001, 1041), range(1, 4)


def speech(folder, speakers, utterances=2, suffix=".wav"):
    for speaker in speakers:
        for number in range(utterances):
            path = folder / f"id{speaker:05d}" / f"video{number}" / f"{number:05d}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder


def utterance(speaker, number=0):
    return f"id{speaker:05d}/video{number}/{number:05d}.wav"


def trials_of(*speakers):
    lines = [f"1 {utterance(speaker, 0)} {utterance(speaker, 1)}" for speaker in speakers]
    return "\n".join([*lines, f"0 {utterance(speakers[0], 1)} {utterance(speakers[1], 0)}"]) + "\n"


@pytest.fixture
def corpus(tmp_path):
    speech(tmp_path / "dev" / "wav", DEV)
    speech(tmp_path / "test" / "wav", TEST)
    (tmp_path / "veri_test.txt").write_text(trials_of(*TEST))
    return tmp_path


def load(folder, **options):
    task = make_task("sv_voxceleb1", options)
    return task, task.load(folder)


def speakers(split):
    return sorted({int(name[2:]) for name in split["speaker"]})


def test_the_dev_part_trains_but_for_the_last_speakers_and_the_list_tests(corpus):
    task, splits = load(corpus)
    assert speakers(splits["train"]) == list(DEV)[:-10]
    assert speakers(splits["validation"]) == list(DEV)[-10:]
    assert speakers(splits["test"]) == list(TEST)
    assert task.training_speakers == 30
    assert task.trials["test"] == [
        *((utterance(speaker, 0), utterance(speaker, 1), 1) for speaker in TEST),
        (utterance(1, 1), utterance(2, 0), 0),
    ]
    # One target of each speaker, and as many non-targets.
    assert len(task.trials["validation"]) == 20
    assert splits["test"]["path"][0] == str(corpus / "test" / "wav" / utterance(1))


def test_of_many_speakers_a_twentieth_validates(tmp_path):
    speech(tmp_path / "dev" / "wav", range(1000, 1300))
    speech(tmp_path / "test" / "wav", TEST)
    (tmp_path / "veri_test.txt").write_text(trials_of(*TEST))
    assert speakers(load(tmp_path)[1]["validation"]) == list(range(1285, 1300))


def test_both_parts_may_lie_in_one_folder(tmp_path):
    speech(speech(tmp_path / "wav", DEV), TEST)
    (tmp_path / "veri_test.txt").write_text(trials_of(*TEST))
    _, splits = load(tmp_path)
    assert speakers(splits["train"]) == list(DEV)[:-10]
    assert speakers(splits["test"]) == list(TEST)


def test_utterances_that_no_trial_names_are_not_tested(corpus):
    speech(corpus / "test" / "wav", [1], utterances=5)
    speech(corpus / "test" / "wav", [77])
    _, splits = load(corpus)
    assert speakers(splits["test"]) == list(TEST)
    assert len(splits["test"]) == 6


@pytest.mark.parametrize(
    ("trial_list", "name"),
    [
        ("O", "veri_test.txt"),
        ("O-cleaned", "veri_test2.txt"),
        ("E", "list_test_all.txt"),
        ("E-cleaned", "list_test_all2.txt"),
        ("H", "list_test_hard.txt"),
        ("H-cleaned", "list_test_hard2.txt"),
    ],
)
def test_lists_have_their_published_names(trial_list, name, corpus):
    (corpus / "veri_test.txt").unlink()
    tested = [1, 2] if trial_list.startswith("O") else [1, 1005, 1006]
    more = {} if trial_list.startswith("O") else {"voxceleb2_dir": str(corpus / "voxceleb2")}
    speech(corpus / "voxceleb2" / "dev" / "aac", range(5000, 5020), suffix=".flac")
    with pytest.raises(SureError, match=rf"{name}: no such list of trials; it is at https://.*/voxceleb/meta/{name}\."):
        load(corpus, trial_list=trial_list, **more)
    (corpus / name).write_text(trials_of(*tested))
    assert speakers(load(corpus, trial_list=trial_list, **more)[1]["test"]) == tested


def test_with_voxceleb2_its_speakers_alone_train(corpus):
    speech(corpus / "voxceleb2" / "dev" / "aac", range(5000, 5020), suffix=".flac")
    _, splits = load(corpus, voxceleb2_dir=str(corpus / "voxceleb2"))
    assert speakers(splits["train"]) == list(range(5000, 5010))
    assert speakers(splits["validation"]) == list(range(5010, 5020))
    assert speakers(splits["test"]) == list(TEST)


def test_lists_with_speakers_of_the_dev_part_need_other_training_data():
    for trial_list in ("E", "E-cleaned", "H", "H-cleaned"):
        with pytest.raises(
            SureError, match=f"trial_list={trial_list} tests the speakers of .* give voxceleb2_dir=FOLDER"
        ):
            make_task("sv_voxceleb1", {"trial_list": trial_list})
    with pytest.raises(SureError, match=r"trial_list=X: choose one of O, O-cleaned, E, E-cleaned, H, H-cleaned"):
        make_task("sv_voxceleb1", {"trial_list": "X"})


def test_a_tested_speaker_who_trains_is_refused(corpus):
    (corpus / "veri_test.txt").write_text(trials_of(1, 1003))
    with pytest.raises(SureError, match=r"veri_test\.txt and .*dev/wav: 1 speakers to be .*, such as id01003"):
        load(corpus)


def test_the_same_speaker_in_voxceleb2_is_refused(corpus):
    speech(corpus / "voxceleb2" / "dev" / "aac", [*range(5000, 5020), 2], suffix=".flac")
    with pytest.raises(SureError, match="1 speakers to be verified are training speakers too, such as id00002"):
        load(corpus, voxceleb2_dir=str(corpus / "voxceleb2"))


def test_a_trial_of_a_missing_file_is_named_with_its_line(corpus):
    with (corpus / "veri_test.txt").open("a") as file:
        file.write(f"0 {utterance(1)} {utterance(9)}\n")
    with pytest.raises(
        SureError, match=r"veri_test\.txt, line 5: no such file: id00009/video0/00000\.wav in .*dev/wav"
    ):
        load(corpus)


def test_m4a_is_told_how_to_convert(corpus):
    speech(corpus / "voxceleb2" / "dev" / "aac", [5000], suffix=".m4a")
    with pytest.raises(SureError, match=r"id05000/video./0000.\.m4a cannot be read: convert m4a first.*ffmpeg"):
        load(corpus, voxceleb2_dir=str(corpus / "voxceleb2"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, r"voxceleb2: no dev/aac or dev/wav here \(found: no such folder\)"),
        (
            lambda folder: (folder / "voxceleb2" / "mp4").mkdir(parents=True),
            r"no dev/aac or dev/wav here \(found: mp4\)",
        ),
        (lambda folder: (folder / "voxceleb2" / "aac").mkdir(parents=True), "aac: no <speaker>/<video>/"),
    ],
)
def test_a_folder_that_is_not_voxceleb2_is_told_what_was_expected(make, message, corpus):
    make(corpus)
    with pytest.raises(SureError, match=message):
        load(corpus, voxceleb2_dir=str(corpus / "voxceleb2"))


def test_a_folder_that_is_not_voxceleb1_is_told_what_was_expected(tmp_path):
    (tmp_path / "veri_test.txt").write_text(trials_of(*TEST))
    (tmp_path / "vox1").mkdir()
    with pytest.raises(SureError, match=r"neither dev/wav and test/wav nor wav here \(found: vox1\)"):
        load(tmp_path)


def test_too_few_training_speakers_are_counted(tmp_path):
    speech(tmp_path / "dev" / "wav", range(1001, 1012))
    speech(tmp_path / "test" / "wav", TEST)
    (tmp_path / "veri_test.txt").write_text(trials_of(*TEST))
    with pytest.raises(
        SureError, match=r"11 training speakers .* at least 12 are needed, of whom 10 are for validation"
    ):
        load(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"No recordings in VoxCeleb1's layout in {REAL}")
def test_real_recordings_in_this_layout_are_read():
    task, splits = load(REAL)
    assert {name: len(trials) for name, trials in task.trials.items()} == {"validation": 72, "test": 1800}
    assert sum(label for *_, label in task.trials["test"]) == 450
    assert {name: len(set(split["speaker"])) for name, split in splits.items()} == {
        "train": 239,
        "validation": 12,
        "test": 10,
    }
