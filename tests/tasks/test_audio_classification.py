"""Recordings of one's own: folders or manifests, with splits given or made."""

import json

import pytest

from sure.errors import SureError
from sure.task import make_task


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def manifest(folder, text, name="manifest.csv", encoding="utf-8"):
    """A manifest beside the recordings a.wav to d.wav."""
    touch(folder, "a.wav", "b.wav", "c.wav", "d.wav")
    (folder / name).write_text(text, encoding=encoding)
    return folder


def jsonl(folder, *rows):
    return manifest(folder, "".join(json.dumps(row) + "\n" for row in rows), "manifest.jsonl")


def load(folder):
    return make_task("audio_classification", {}).load(folder)


def ids(splits):
    return {name: split["id"] for name, split in splits.items()}


def split_of(folder):
    """By id, without asking that no split be empty."""
    return {row["id"]: row["split"] for row in make_task("audio_classification", {}).utterances(folder)}


def test_split_folders_are_splits_under_any_of_their_names(tmp_path):
    touch(tmp_path, "train/yes/a.wav", "train/no/b.flac", "dev/yes/c.ogg", "valid/no/d.mp3", "test/yes/e.WAV")
    task = make_task("audio_classification", {})
    splits = task.load(tmp_path)
    assert ids(splits) == {
        "train": ["train/no/b.flac", "train/yes/a.wav"],
        "validation": ["dev/yes/c.ogg", "valid/no/d.mp3"],
        "test": ["test/yes/e.WAV"],
    }
    assert splits["train"]["label"] == ["no", "yes"] == task.labels
    assert splits["train"]["speaker"] == [None, None]
    assert splits["train"]["path"][0] == str(tmp_path / "train/no/b.flac")


@pytest.mark.parametrize("name", ["validation", "dev", "valid", "val", "evaluation"])
def test_each_name_of_the_validation_folder_is_known(name, tmp_path):
    splits = load(touch(tmp_path, "train/yes/a.wav", "train/no/a.wav", f"{name}/yes/b.wav", "test/yes/c.wav"))
    assert ids(splits)["validation"] == [f"{name}/yes/b.wav"]


def test_hidden_files_and_other_files_do_not_count(tmp_path):
    touch(
        tmp_path, "train/yes/a.wav", "train/no/a.wav", "dev/yes/b.wav", "test/yes/c.wav", "readme.txt", ".cache/x/y.wav"
    )
    touch(tmp_path, "train/yes/._a.wav", "train/yes/notes.txt", "__MACOSX/train/yes/._a.wav")
    assert sum(map(len, ids(load(tmp_path)).values())) == 4


def test_label_folders_are_split_by_the_hash_of_their_ids(tmp_path):
    touch(tmp_path, *(f"{label}/{number:03d}.wav" for label in ("no", "yes") for number in range(200)))
    splits = load(tmp_path)
    assert {name: len(split) for name, split in splits.items()} == {"train": 332, "validation": 37, "test": 31}
    # Counted with sha256sum and bc.
    assert splits["test"]["id"][:3] == ["no/032.wav", "no/037.wav", "no/043.wav"]
    assert splits["validation"]["id"][:3] == ["no/016.wav", "no/031.wav", "no/034.wav"]
    assert ids(load(tmp_path)) == ids(splits)


def test_a_file_added_later_moves_no_other_to_another_split(tmp_path):
    touch(tmp_path, *(f"yes/{number}.wav" for number in range(30)))
    before = split_of(tmp_path)
    after = split_of(touch(tmp_path, "no/new.wav", "yes/0new.wav"))
    assert {name: after[name] for name in before} == before


def test_a_csv_manifest_has_splits_speakers_and_times(tmp_path):
    text = (
        "path,label,split,speaker,start,end\n"
        "a.wav,yes,train,anna,0,1.5\n"
        "a.wav,no,train,anna,1.5,\n"
        '"b.wav","yes, or so",train,bert,,\n'
        "c.wav,yes,dev,carl,,2\n"
        "d.wav,no,test,dora,,\n"
    )
    splits = load(manifest(tmp_path, text))
    assert ids(splits) == {
        "train": ["a.wav[0-1.5]", "a.wav[1.5-]", "b.wav"],
        "validation": ["c.wav[0-2]"],
        "test": ["d.wav"],
    }
    assert splits["train"]["label"] == ["yes", "no", "yes, or so"]
    assert splits["train"]["speaker"] == ["anna", "anna", "bert"]
    assert splits["train"]["start"] == [0, 1.5, None]
    assert splits["train"]["end"] == [1.5, None, None]
    assert splits["test"]["path"] == [str(tmp_path / "d.wav")]


def test_an_id_does_not_depend_on_where_the_corpus_lies(tmp_path):
    text = f"path,label,split\n{tmp_path}/a.wav,yes,train\nb.wav,no,train\n./c.wav,yes,dev\nd.wav,yes,test\n"
    assert ids(load(manifest(tmp_path, text))) == {
        "train": ["a.wav", "b.wav"],
        "validation": ["c.wav"],
        "test": ["d.wav"],
    }


def test_a_jsonl_manifest_says_the_same(tmp_path):
    splits = load(
        jsonl(
            tmp_path,
            {"path": "a.wav", "label": "yes", "split": "train", "speaker": "anna", "start": 0, "end": 1.5},
            {"path": "b.wav", "label": "no", "split": "train"},
            {"path": "c.wav", "label": "yes", "split": "valid", "end": 2},
            {"path": "d.wav", "label": "yes", "split": "test", "speaker": None, "start": None, "note": "unused"},
        )
    )
    assert ids(splits) == {"train": ["a.wav[0-1.5]", "b.wav"], "validation": ["c.wav[0-2]"], "test": ["d.wav"]}
    assert splits["train"][0] | {"path": "", "split": ""} == {
        "id": "a.wav[0-1.5]",
        "path": "",
        "speaker": "anna",
        "start": 0,
        "end": 1.5,
        "label": "yes",
        "split": "",
    }


@pytest.mark.parametrize("name", ["manifest.csv", "metadata.csv"])
def test_file_name_does_for_path_and_a_byte_order_mark_and_empty_lines_do_no_harm(name, tmp_path):
    text = "file_name,label,split\r\na.wav,yes,train\r\n\r\nb.wav,yes,dev\r\nc.wav,yes,test\r\n\r\nd.wav,no,train\r\n"
    splits = load(manifest(tmp_path, text, name, encoding="utf-8-sig"))
    assert ids(splits) == {"train": ["a.wav", "d.wav"], "validation": ["b.wav"], "test": ["c.wav"]}


@pytest.mark.parametrize("name", ["manifest.jsonl", "metadata.jsonl"])
def test_so_it_is_in_jsonl(name, tmp_path):
    rows = [{"file_name": f"{letter}.wav", "label": "jä"} for letter in "abc"]
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n"
    assert split_of(manifest(tmp_path, lines, name, encoding="utf-8-sig")).keys() == {"a.wav", "b.wav", "c.wav"}


def test_numbers_as_labels_and_speakers_become_strings(tmp_path):
    rows = [
        {"path": "a.wav", "label": 0, "speaker": 7, "split": "train"},
        {"path": "b.wav", "label": "1", "speaker": "anna", "split": "train"},
        {"path": "c.wav", "label": "0", "speaker": 7, "split": "dev"},
        {"path": "d.wav", "label": 1, "speaker": 7, "split": "test"},
    ]
    splits = load(jsonl(tmp_path, *rows))
    assert splits["train"]["label"] == ["0", "1"]
    assert splits["train"]["speaker"] == ["7", "anna"]
    assert splits["test"]["label"] == ["1"]


def speakers(folder, count):
    """A manifest without splits of so many speakers, two utterances of each."""
    names = [f"s{number:02d}" for number in range(count)]
    touch(folder, *(f"{name}-{take}.wav" for name in names for take in (1, 2)))
    rows = [f"{name}-{take}.wav,{(None, 'yes', 'no')[take]},{name}\n" for take in (1, 2) for name in reversed(names)]
    (folder / "manifest.csv").write_text("path,label,speaker\n" + "".join(rows), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("count", "train", "validation"), [(3, 1, 1), (10, 8, 1), (19, 17, 1), (20, 16, 2), (31, 25, 3)]
)
def test_speakers_are_split_in_their_order_a_tenth_for_validation_and_a_tenth_for_test(
    count, train, validation, tmp_path
):
    splits = load(speakers(tmp_path, count))
    found = {name: sorted(set(split["speaker"])) for name, split in splits.items()}
    names = [f"s{number:02d}" for number in range(count)]
    assert found["train"] == names[:train]
    assert found["validation"] == names[train : train + validation]
    assert found["test"] == names[train + validation :]
    assert sum(map(len, splits.values())) == 2 * count


@pytest.mark.parametrize(("count", "held_out"), [(3, 1), (10, 1), (20, 2)])
def test_a_small_corpus_has_each_label_in_each_split(count, held_out, tmp_path):
    touch(tmp_path / "here", *(f"{label}/{number}.wav" for label in ("a", "b", "c") for number in range(count)))
    splits = load(tmp_path / "here")
    assert all(set(split["label"]) == {"a", "b", "c"} for split in splits.values())
    assert len(splits["train"]) + len(splits["validation"]) + len(splits["test"]) == 3 * count
    # Of a label that the hash of its ids has put into every split, nothing is moved.
    assert 3 <= len(splits["test"]) <= 3 * held_out + 3
    assert ids(load((tmp_path / "here").rename(tmp_path / "there"))) == ids(splits)


def test_a_rare_label_moves_no_utterance_of_another_and_is_in_train(tmp_path):
    touch(tmp_path, *(f"yes/{number:03d}.wav" for number in range(200)))
    before = split_of(tmp_path)
    # By their hashes, 9 is of the test split and 25 of validation.
    after = split_of(touch(tmp_path, "no/9.wav", "no/25.wav"))
    assert {name: after[name] for name in before} == before
    assert {after["no/9.wav"], after["no/25.wav"]} == {"train"}


def spoken(folder, **labels):
    """A manifest without splits: by speaker, a letter for each label that the speaker says."""
    lines = [f"{name}-{label}.wav,{label},{name}\n" for name, said in labels.items() for label in said]
    touch(folder, *(line.partition(",")[0] for line in lines))
    (folder / "manifest.csv").write_text("path,label,speaker\n" + "".join(lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("labels", "train", "validation", "test"),
    [
        # In their order, z would be in test alone.
        ({"a": "xy", "b": "xy", "c": "xyz"}, ["c"], ["a"], ["b"]),
        # In their order, train would lack y, of which there are too few speakers for a test split.
        ({"a": "x", "b": "xy", "c": "xy"}, ["b"], ["c"], ["a"]),
        # More than a tenth for test and validation, since no speaker says both.
        ({"a": "x", "b": "x", "c": "x", "d": "y", "e": "y", "f": "y"}, ["a", "d"], ["b", "e"], ["c", "f"]),
        # As ever, where every split has what it can have.
        ({"a": "xyz", "b": "xy", "c": "xy", "d": "xy"}, ["a", "b"], ["c"], ["d"]),
    ],
)
def test_speakers_are_chosen_so_that_no_label_is_left_out(labels, train, validation, test, tmp_path):
    found = {name: sorted(set(split["speaker"])) for name, split in load(spoken(tmp_path, **labels)).items()}
    assert found == {"train": train, "validation": validation, "test": test}


def test_what_cannot_be_split_is_told_what_it_takes(tmp_path):
    touch(tmp_path, "yes/a.wav", "yes/b.wav", "no/c.wav", "no/d.wav")
    remedy = "Add some, or say which is which: a column 'split' in the manifest, or the folders train/"
    refused(tmp_path, rf"No utterance has a split \(4 found.*which takes three utterances of a label\. {remedy}")
    # The label is the speaker.
    refused(spoken(tmp_path / "speakers", a="x", b="y", c="z"), rf"which takes three speakers of a label\. {remedy}")


def segments(folder, files, each=3, speaker=None):
    """A manifest without splits of so many files, in each of them so many segments, whose labels take turns."""
    touch(folder, *(f"{file}.wav" for file in range(files)))
    return jsonl(
        folder,
        *(
            {"path": f"{file}.wav", "label": "yes" if take % 2 else "no", "start": take, "end": take + 1}
            | {"speaker": speaker and speaker(take)}
            for file in range(files)
            for take in range(each)
        ),
    )


@pytest.mark.parametrize(("files", "held_out"), [(3, 1), (10, 1), (25, 2)])
def test_segments_of_a_file_are_in_one_split(files, held_out, tmp_path):
    splits = load(segments(tmp_path / "here", files))
    found = {name: {path.rpartition("/")[2] for path in split["path"]} for name, split in splits.items()}
    assert sum(map(len, found.values())) == len(set().union(*found.values())) == files
    assert len(found["validation"]) == len(found["test"]) == held_out
    assert sum(map(len, splits.values())) == 3 * files
    assert ids(load((tmp_path / "here").rename(tmp_path / "there"))) == ids(splits)
    # Two speakers are too few to be split by.
    assert ids(load(segments(tmp_path / "two", files, speaker=lambda take: take % 2 + 1))) == ids(splits)


def test_of_segments_and_whole_files_no_label_is_left_out_of_a_split(tmp_path):
    rows = [{"path": f"{number}.wav", "label": "rare" if number < 3 else "usual"} for number in range(12)]
    rows += [{"path": "7.wav", "label": "usual", "start": 1}, {"path": "7.wav", "label": "rare", "end": 1}]
    touch(tmp_path, *(row["path"] for row in rows))
    splits = load(jsonl(tmp_path, *rows))
    assert all(set(split["label"]) == {"rare", "usual"} for split in splits.values())
    assert any({"7.wav", "7.wav[0-1]", "7.wav[1-]"} <= set(split["id"]) for split in splits.values())


def test_segments_of_too_few_files_are_not_split_and_speakers_do_it(tmp_path):
    message = (
        r"three files \(all segments of a file are in one split\) of a label\. .* a column 'split' .*, or 'speaker'"
    )
    refused(segments(tmp_path, 2, each=12), message)
    splits = load(segments(tmp_path, 2, each=12, speaker=lambda take: f"{take // 4}"))
    assert {name: set(split["speaker"]) for name, split in splits.items()} == {
        "train": {"0"},
        "validation": {"1"},
        "test": {"2"},
    }


@pytest.mark.parametrize(
    "text",
    [
        "path;label;split\na.wav;yes, or so;train\nb.wav;yes, or so;dev\nc.wav;yes, or so;test\nd.wav;no;train\n",
        "path\tlabel\tsplit\na.wav\tyes, or so\ttrain\n"
        "b.wav\tyes, or so\tdev\nc.wav\tyes, or so\ttest\nd.wav\tno\ttrain\n",
        'Path, Label ,SPLIT,\na.wav, "yes, or so", train,\n'
        'b.wav ,"yes, or so",dev,\nc.wav,"yes, or so",test ,\nd.wav,no,train\n',
    ],
    ids=["semicolons", "tabs", "spaces"],
)
def test_a_csv_manifest_is_read_as_spreadsheets_write_it(text, tmp_path):
    splits = load(manifest(tmp_path, text))
    assert ids(splits) == {"train": ["a.wav", "d.wav"], "validation": ["b.wav"], "test": ["c.wav"]}
    assert splits["train"]["label"] == ["yes, or so", "no"]


def test_two_speakers_or_an_unknown_one_are_split_by_the_hash_as_no_speakers_are(tmp_path):
    paths = [f"{number}.wav" for number in range(60)]
    touch(tmp_path, *paths)

    def by(speaker):
        rows = [{"path": path, "label": "yes", "speaker": speaker(number)} for number, path in enumerate(paths)]
        return split_of(jsonl(tmp_path, *rows))

    nobody = by(lambda number: None)
    assert set(nobody.values()) == {"train", "validation", "test"}
    assert by(lambda number: number % 2) == nobody
    assert by(lambda number: number % 5 or None) == nobody
    assert by(lambda number: number % 5) != nobody


def refused(folder, message):
    with pytest.raises(SureError, match=message):
        load(folder)


def test_split_folders_beside_others_are_refused_with_both(tmp_path):
    refused(touch(tmp_path, "train/yes/a.wav", "no/b.wav"), r"split folders \(train\) beside others \(no\)")


def test_a_folder_without_audio_is_told_what_was_expected_and_found(tmp_path):
    touch(tmp_path, "one/a.txt", "two/deep/er/a.wav")
    refused(
        tmp_path, r"no audio \(.*\.mp3\) in <label>/ or <split>/<label>/, and no manifest \(manifest\.csv, .*one, two\."
    )
    (tmp_path / "labels.csv").touch()
    refused(tmp_path, r"found labels\.csv, one, two\.")


def test_two_manifests_are_refused(tmp_path):
    manifest(tmp_path, "path,label\n")
    refused(manifest(tmp_path, "", "metadata.jsonl"), r"manifest\.csv, metadata\.jsonl: which one\?")


def test_an_utterance_without_split_among_others_with_one_is_named(tmp_path):
    text = "path,label,split\na.wav,yes,train\nb.wav,yes,\n"
    refused(manifest(tmp_path, text), r"b\.wav: no split, although other utterances have one")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.wav,yes\n", r"manifest\.csv, line 2: no 'path'; expected the columns path,label\["),
        ("path,label\na.wav,yes\nb.wav,\n", r"manifest\.csv, line 3: no 'label'"),
        ("path,label,Label\na.wav,yes,no\n", r"manifest\.csv, line 1: label: a column is there twice"),
        ("name,Class\na.wav,yes\n", r"line 2: no 'path'; expected .*,end\], found name, class\."),
        ("path,Class\na.wav,yes\n", r"line 2: no 'label'; expected .*,end\], found path, class\."),
        ("path,label\na.wav,yes, or so\n", r"line 2: 1 more values than columns.*such as one with a comma"),
        ("path,label,split\na.wav,yes,learn\n", r"line 2: split 'learn' is none of train, validation, test, dev"),
        ("path,label\n\nmissing.wav,yes\n", r"manifest\.csv, line 3: no such file: .*missing\.wav"),
        # As where the columns of paths and texts change places.
        (f"path,label\na.wav,yes\n{'so and ' * 100},b.wav\n", r"line 3: path 'so and so.{51}' cannot be .*too long"),
        (f"file_name,label\n{'so ' * 100},b.wav\n", r"line 2: file_name 'so so.*too long"),
        ("path,label,start\na.wav,yes,soon\n", r"line 2: start 'soon' is not a number of seconds"),
        ("path,label,end\na.wav,yes,1:30\n", r"line 2: end '1:30' is not a number of seconds"),
        # They would swallow what is between them.
        ('path,label\na.wav,"yes\nb.wav,no\nc.wav,"no\n', r"line 4: ',' expected after .*Quotation marks enclose"),
        ('path,label\na.wav,"yes\nb.wav,no"\n', r"line 3: a line break inside quotation marks"),
        ('path,label\na.wav,"yes\nb.wav,no\n', r"line \d: unexpected end of data"),
    ],
)
def test_a_mistake_in_a_csv_manifest_is_named_with_its_line(text, message, tmp_path):
    refused(manifest(tmp_path, text), message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'path': 'a.wav'}", r"manifest\.jsonl, line 3: not JSON \(Expecting property name"),
        ("[" * 100_000, r"manifest\.jsonl, line 3: not JSON \(maximum recursion depth"),
        ("1" * 5_000, r"manifest\.jsonl, line 3: not JSON \(Exceeds the limit"),
        ('["a.wav", "yes"]', r"manifest\.jsonl, line 3: expected a JSON object"),
        ('{"path": "a.wav", "label": ["yes"]}', r"manifest\.jsonl, line 3: label \['yes'\] is no text"),
        ('{"path": 7, "label": "yes"}', r"manifest\.jsonl, line 3: no such file: .*7"),
        ('{"path": "a.wav", "label": "yes", "split": ["train"]}', r"line 3: split \['train'\] is none of"),
        ('{"path": "a.wav", "label": "yes", "start": [1]}', r"line 3: start \[1\] is not a number"),
        ('{"path": "a.wav", "label": "yes", "start": 1%s}' % ("0" * 400), r"line 3: start 10+ is not a number"),
        (r'{"path": "a.wav", "label": "\ud800"}', r"line 3: 'label' is '\\ud800', with half of a character"),
        (r'{"path": "\udc00.wav", "label": "yes"}', r"line 3: 'path' is '\\udc00\.wav', with half of a"),
        (r'{"path": "a.wav", "label": "yes", "x\ud800": 1}', r"line 3: 'x\\ud800' is 1, with half of a"),
    ],
)
def test_a_mistake_in_a_jsonl_manifest_is_named_with_its_line(line, message, tmp_path):
    first = json.dumps({"path": "a.wav", "label": "yes"})
    refused(manifest(tmp_path, f"{first}\n\n{line}\n", "manifest.jsonl"), message)


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.jsonl"])
def test_a_manifest_in_another_encoding_is_named(name, tmp_path):
    text = "path,label\na.wav,jä\n" if name.endswith("csv") else '{"path": "a.wav", "label": "jä"}\n'
    refused(manifest(tmp_path, text, name, encoding="latin-1"), rf"{name}: not a text file in UTF-8")


def test_an_utterance_listed_twice_is_refused(tmp_path):
    text = "path,label,split\na.wav,yes,train\na.wav,no,dev\n"
    refused(manifest(tmp_path, text), "1 utterance ids occur twice, the first is 'a.wav'")


def test_a_label_that_training_does_not_have_names_the_file(tmp_path):
    text = "path,label,split\na.wav,yes,train\nd.wav,no,train\nb.wav,yes,dev\nc.wav,maybe,test\n"
    refused(manifest(tmp_path, text), r"c\.wav: label 'maybe' \(test\) is not one of audio_classification's: no, yes\.")


def test_an_empty_split_is_named(tmp_path):
    refused(
        touch(tmp_path, "train/yes/a.wav", "test/yes/b.wav"), "no validation utterance for audio_classification among"
    )
    refused(manifest(tmp_path, "path,label\n"), "among the 0 found; `sure tasks audio_classification` says what it")


@pytest.mark.parametrize("name", ["train/yes/\udcff.wav", "train/\udcff/a.wav"])
def test_a_name_that_is_not_utf8_is_told_as_it_can_be(name, tmp_path):
    refused(touch(tmp_path, name), r"the name '\\udcff(\.wav)?' is not UTF-8; rename it")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    refused(tmp_path / "nowhere", "--data_dir .*nowhere: no such folder")
