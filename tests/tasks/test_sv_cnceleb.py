"""CN-Celeb's layout: who trains, and trials of joined enrolment recordings."""

import pytest

from sure.errors import SureError
from sure.task import make_task


@pytest.fixture
def corpus(tmp_path):
    names = [f"id{number:05d}" for number in range(14)]
    files = [f"data/{name}/vlog-01-00{take}.flac" for name in names[:12] for take in (1, 2)]
    files += [f"eval/enroll/{name}-enroll.flac" for name in names[12:]]
    files += [f"eval/test/{name}-singing-01-001.flac" for name in names[12:]]
    for name in (*files, "dev/dev.lst", "eval/lists/enroll.lst"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dev/dev.lst").write_text("\n".join(names[:12]))
    lists = tmp_path / "eval/lists"
    lists.joinpath("enroll.lst").write_text("".join(f"{n}-enroll enroll/{n}-enroll.wav\n" for n in names[12:]))
    lists.joinpath("trials.lst").write_text(
        "id00012-enroll test/id00012-singing-01-001.wav 1\nid00013-enroll test/id00012-singing-01-001.wav 0\n"
    )
    return tmp_path


def test_the_listed_speakers_train_and_models_are_tested_as_the_list_says(corpus):
    task = make_task("sv_cnceleb", {})
    splits = task.load(corpus)
    assert {name: len(set(split["speaker"])) for name, split in splits.items()} == {
        "train": 2,
        "validation": 10,
        "test": 2,
    }
    assert task.trials["test"] == [
        ("enroll/id00012-enroll", "test/id00012-singing-01-001", 1),
        ("enroll/id00013-enroll", "test/id00012-singing-01-001", 0),
    ]
    assert splits["test"]["speaker"][0] == "id00012"


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("eval/lists/trials.lst", "id00099-enroll test/id00012-singing-01-001.wav 1", r"line 1: id00099-enroll is not"),
        ("eval/lists/trials.lst", "id00012-enroll test/none.wav 1", r"trials\.lst, line 1: no such file in eval"),
        ("eval/lists/trials.lst", "id00012-enroll test/id00012-singing-01-001.wav 2", r"label '2'; expected 1"),
        ("eval/lists/enroll.lst", "id00012-enroll", r"enroll\.lst, line 1: 1 columns; expected"),
        ("dev/dev.lst", "id00099", r"dev\.lst, line 1: no such folder"),
        ("dev/dev.lst", "\n".join(["id00000", "id00001"]), r"2 training speakers .* at least 12 are needed"),
    ],
)
def test_what_lists_name_must_be_there(corpus, name, line, said):
    (corpus / name).write_text(line)
    with pytest.raises(SureError, match=said):
        make_task("sv_cnceleb", {}).load(corpus)


def test_another_folder_is_told_what_was_expected(tmp_path):
    (tmp_path / "wav").mkdir()
    with pytest.raises(SureError, match=r"no dev/dev\.lst here \(found: wav\); expected the folder CN-Celeb_flac"):
        make_task("sv_cnceleb", {}).load(tmp_path)
