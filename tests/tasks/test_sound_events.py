"""ESC-50 and UrbanSound8K: one fold is tested, the one before it validates, the others train."""

import pytest

from sure.errors import SureError
from sure.task import make_task
from tests.factories.corpora import touch, write


@pytest.fixture
def esc50(tmp_path):
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for target, category in ((0, "dog"), (14, "chirping_birds")):
            name = f"{fold}-100032-A-{target}.wav"
            lines.append(f"{name},{fold},{target},{category},True,100032,A")
            touch(tmp_path / "audio", name)
    write(tmp_path / "meta" / "esc50.csv", *lines)
    return tmp_path


@pytest.fixture
def urbansound8k(tmp_path):
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        for number, category in ((3, "dog_bark"), (8, "siren")):
            name = f"{fold}-{number}-0-0.wav"
            lines.append(f"{name},{fold},0.0,0.317551,1,{fold},{number},{category}")
            touch(tmp_path / "audio" / f"fold{fold}", name)
    write(tmp_path / "metadata" / "UrbanSound8K.csv", *lines)
    return tmp_path


def folds(name, folder, **options):
    """By split the folds that its clips begin with."""
    splits = make_task(name, options).load(folder)
    return {split: sorted({int(row["id"].partition("-")[0]) for row in rows}) for split, rows in splits.items()}


def test_of_five_folds_one_is_tested_and_the_one_before_it_validates(esc50):
    assert folds("esc50", esc50) == {"train": [2, 3, 4], "validation": [5], "test": [1]}
    # The first fold of the AST study's code.
    assert folds("esc50", esc50, fold=5) == {"train": [1, 2, 3], "validation": [4], "test": [5]}
    task = make_task("esc50", {})
    splits = task.load(esc50)
    assert task.labels == ["chirping_birds", "dog"]
    assert splits["test"][0] == {
        "id": "1-100032-A-0.wav",
        "path": str(esc50 / "audio" / "1-100032-A-0.wav"),
        "speaker": None,
        "label": "dog",
        "split": "test",
    }


def test_of_ten_folds_too_and_every_clip_is_tested_once(urbansound8k):
    assert folds("urbansound8k", urbansound8k) == {"train": [*range(2, 10)], "validation": [10], "test": [1]}
    assert folds("urbansound8k", urbansound8k, fold=10)["validation"] == [9]
    tested = [folds("urbansound8k", urbansound8k, fold=fold)["test"] for fold in range(1, 11)]
    assert tested == [[fold] for fold in range(1, 11)]
    path = make_task("urbansound8k", {"fold": 3}).load(urbansound8k)["test"]["path"][0]
    assert path == str(urbansound8k / "audio" / "fold3" / "3-3-0-0.wav")


@pytest.mark.parametrize(("name", "fold", "last"), [("esc50", 0, 5), ("esc50", 6, 5), ("urbansound8k", 11, 10)])
def test_a_fold_that_is_none_is_refused(name, fold, last):
    with pytest.raises(SureError, match=rf"--task_options fold={fold}: folds are numbered from 1 to {last}\."):
        make_task(name, {"fold": fold})


def test_a_missing_table_file_or_column_and_a_fold_out_of_range_are_named(esc50):
    table = esc50 / "meta" / "esc50.csv"
    (esc50 / "audio" / "2-100032-A-0.wav").unlink()
    with pytest.raises(SureError, match=r"esc50\.csv, line 4: no such file: .*audio/2-100032-A-0\.wav"):
        make_task("esc50", {}).load(esc50)
    write(table, "filename,fold,category", "1-100032-A-0.wav,0,dog")
    with pytest.raises(SureError, match=r"esc50\.csv, line 2: fold '0'; expected one from 1 to 5"):
        make_task("esc50", {}).load(esc50)
    write(table, "filename,fold,label")
    with pytest.raises(SureError, match="no column 'category'; expected filename, fold, category, found filename"):
        make_task("esc50", {}).load(esc50)
    table.unlink()
    with pytest.raises(SureError, match=r"meta/esc50\.csv: no such file \(found in .*: audio, meta\)"):
        make_task("esc50", {}).load(esc50)


def test_a_quotation_mark_that_is_not_closed_is_named_with_its_line(esc50):
    write(esc50 / "meta" / "esc50.csv", "filename,fold,category", '"1-100032-A-0.wav,1,dog', *["a,1,dog"] * 20_000)
    with pytest.raises(SureError, match=r"esc50\.csv, line 2: field larger than .* Is a quotation mark not closed\?"):
        make_task("esc50", {}).load(esc50)
