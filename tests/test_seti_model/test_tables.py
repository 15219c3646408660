"""Tables about images: labels, groups and what is left out; each file found, each row used, or the place named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from seti_model.data.sources.archive import read_npz
from seti_model.data.sources.folder import read_folder, read_listed
from seti_model.data.sources.tables import read_labels, with_groups, without_dropped
from seti_model.errors import DatasetError

GOOD = "file,class,note\nb/1.png,noise,x\n0.png,tone,\nb/2.png,tone,y\n"


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "in" / "b").mkdir(parents=True)
    for number, name in enumerate(("0.png", "b/1.png", "b/2.png")):
        Image.new("L", (3, 2), 10 * number).save(tmp_path / "in" / name)
    return tmp_path / "in"


def write(tmp_path, text):
    (tmp_path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path / "labels.csv"


def test_classes_come_from_the_table_and_rows_keep_their_order(pictures, tmp_path):
    read = read_listed(pictures, read_labels(write(tmp_path, "﻿" + GOOD)))
    assert read.class_names == ("noise", "tone")
    assert read.data.labels.tolist() == [0, 1, 1]
    assert read.data.images[:, 0, 0, 0].tolist() == [10, 0, 20]
    assert read.split_of is None
    assert read.data.groups is None


def test_splits_and_groups_of_the_table_are_kept(pictures, tmp_path):
    text = "file,split,group,class\n0.png,train,g1,a\nb/1.png,validation,g2,b\nb/2.png,train,g1,b\n"
    read = read_listed(pictures, read_labels(write(tmp_path, text)))
    assert read.split_of is not None
    assert read.split_of.tolist() == ["train", "validation", "train"]
    assert read.data.groups is not None
    assert read.data.groups.tolist() == ["g1", "g2", "g1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels.csv: 0 columns 'file' in its header, expected one; begin the file with file,class"),
        ("file,class,file\n", r"labels.csv: 2 columns 'file' in its header"),
        ("file,class\n", r"labels.csv: no rows below its header; add some"),
        ("file,class\na.png\n", r"labels.csv, line 2: 1 columns, but its header has 2; correct it"),
        ("file,class\na.png,\n", r"labels.csv, line 2: no class; fill it in"),
        (
            "file,class\na.png,a\x1b[1m\n",
            r"labels.csv, line 2: class 'a\\x1b\[1m', expected at most 1000 letters",
        ),
        ("file,class\na,x\na,y\n", r"labels.csv, line 3: 'a' for the second time; keep one of its rows"),
        ("file,class\n../a,x\n", r"labels.csv, line 2: '../a' leads out of the folder; name files relative to it"),
        ("file,class\n/a,x\n", r"labels.csv, line 2: '/a' leads out of the folder"),
        ("file,class,split\na,x,dev\n", r"line 2: split 'dev', expected train, validation, test; correct it"),
        ('file,class\n"a,x\n', r"labels.csv, line 2: unexpected end of data; save it as a CSV file"),
        (b"file,class\n\xff,x\n", r"labels.csv: is no text in UTF-8 .*; save it so"),
    ],
)
def test_unusable_labels_are_refused(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        read_labels(write(tmp_path, text))


def test_more_rows_than_images_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"labels.csv: more than 1000000 rows; divide it"):
        read_labels(write(tmp_path, "file,class\n" + "".join(f"{n},x\n" for n in range(1_000_001))))


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DatasetError, match=r"labels.csv: no such file; check the path"):
        read_labels(tmp_path / "labels.csv")
    with pytest.raises(DatasetError, match=r"cannot be read \(Is a directory\); ask for access or name another file"):
        read_labels(tmp_path)
    with write(tmp_path, "").open("r+b") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(DatasetError, match=r"labels.csv: 67108865 bytes, at most 67108864 are read; make it shorter"):
        read_labels(tmp_path / "labels.csv")


def test_a_row_without_a_file_and_a_file_without_a_row_are_named(pictures, tmp_path):
    more = read_labels(write(tmp_path, GOOD + "c.png,tone,\n"))
    with pytest.raises(DatasetError, match=r"labels.csv: c.png not in .*in; take the rows out or add the files"):
        read_listed(pictures, more)
    fewer = read_labels(write(tmp_path, "file,class\n0.png,tone\n"))
    with pytest.raises(DatasetError, match=r"no row for b/1.png, b/2.png in .*in; add them or move the files away"):
        read_listed(pictures, fewer)
    with pytest.raises(
        DatasetError, match=r"nowhere: no such folder; give the one that holds the files of .*labels.csv"
    ):
        read_listed(tmp_path / "nowhere", fewer)


# Groups and what is dropped


@pytest.fixture
def archive(tmp_path):
    names = np.array(["a", "b"])
    np.savez(
        tmp_path / "d.npz", x=np.arange(24, dtype=np.uint8).reshape(4, 2, 3), y=np.arange(4) % 2, class_names=names
    )
    return read_npz(tmp_path / "d.npz")


def grouped(read, tmp_path, text):
    (tmp_path / "groups.csv").write_text(text)
    return with_groups(read, tmp_path / "groups.csv", tmp_path).data.groups.tolist()


def test_groups_are_found_by_row_by_file_and_by_both(archive, pictures, tmp_path):
    rows = "row,group\n4,z\n1,x\n2,x\n3,y\n"
    assert grouped(archive, tmp_path, rows) == ["x", "x", "y", "z"]
    both = "file,row,group\n" + "".join(f"d.npz,{row},g{row % 2}\n" for row in range(1, 5))
    assert grouped(archive, tmp_path, both) == ["g1", "g0", "g1", "g0"]
    listed = read_listed(pictures, read_labels(write(tmp_path, GOOD)))
    (tmp_path / "groups.csv").write_text("file,group\n0.png,p\nb/1.png,q\nb/2.png,p\n")
    assert with_groups(listed, tmp_path / "groups.csv", pictures).data.groups.tolist() == ["q", "p", "p"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,group,group\n1,x,y\n", r"groups.csv: 2 columns 'group' in its header, expected one"),
        ("group\nx\n", r"groups.csv: no column file or row, by which images are found; add one"),
        ("row,group\n1,x\n1,y\n", r"groups.csv, line 3: another group for the same image; keep one of its rows"),
        ("row,group\n1,x\n2,x\n3,x\n4,x\n5,x\n", r"groups.csv: row 5 not among the images; take the rows out"),
        ("row,group\n1,x\n", r"groups.csv: no row for row 2; row 3; row 4; give every image a group"),
    ],
)
def test_groups_that_do_not_fit_are_refused(archive, tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        grouped(archive, tmp_path, text)


def dropped(read, tmp_path, text, root):
    (tmp_path / "rows.txt").write_text(text)
    return without_dropped(read, tmp_path / "rows.txt", root)


def test_lines_name_what_is_left_out(archive, pictures, tmp_path):
    read = dropped(archive, tmp_path, "# blurred\n2\n\nd.npz, row 3  # by its file\n", tmp_path)
    assert read.data.images[:, 0, 0, 0].tolist() == [0, 18]
    assert read.notes == {"dropped": 2}
    listed = read_listed(pictures, read_labels(write(tmp_path, GOOD)))
    assert dropped(listed, tmp_path, "b/1.png\n", pictures).data.labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5\n", r"rows.txt, line 1: '5' names no image; correct it or take it out"),
        ("e.npz, row 1\n", r"rows.txt, line 1: 'e.npz, row 1' names no image"),
        ("1\n2\n3\n4\n", r"rows.txt: names all 4 images; leave some"),
    ],
)
def test_lines_that_name_no_image_are_refused(archive, tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        dropped(archive, tmp_path, text, tmp_path)


def test_what_messages_call_an_image_can_be_dropped(archive, pictures, tmp_path):
    place = archive.data.source.place(2)
    assert dropped(archive, tmp_path, f"{place}\n", tmp_path).data.images[:, 0, 0, 0].tolist() == [0, 6, 18]
    (pictures / "0.png").rename(pictures / "a#0.png")
    listed = read_listed(pictures, read_labels(write(tmp_path, GOOD.replace("0.png", "a#0.png"))))
    lines = f"{pictures / 'b' / '1.png'} # blurred\na#0.png\n"
    assert dropped(listed, tmp_path, lines, pictures).data.images[:, 0, 0, 0].tolist() == [20]


def test_pictures_are_grouped_by_file_and_not_twice(pictures, tmp_path):
    listed = read_listed(pictures, read_labels(write(tmp_path, GOOD)))
    (tmp_path / "groups.csv").write_text("row,group\n1,x\n")
    with pytest.raises(DatasetError, match=r"groups.csv: no column file, and the images are many files; add it"):
        with_groups(listed, tmp_path / "groups.csv", pictures)
    (tmp_path / "groups.csv").write_text("file,group\n./0.png,p\nb/1.png,q\nb/2.png,p\n")
    grouped = with_groups(listed, tmp_path / "groups.csv", pictures)
    assert grouped.data.groups.tolist() == ["q", "p", "p"]
    with pytest.raises(DatasetError, match=r"the images have groups already, by their source; leave one of both out"):
        with_groups(grouped, tmp_path / "groups.csv", pictures)


def test_what_was_guarded_against_spreadsheets_is_read_as_it_was(tmp_path):
    table = read_labels(write(tmp_path, "file,class\n'+1.png,'-a\n'x.png,b\n"))
    assert table.files == ("+1.png", "'x.png")
    assert table.classes == ("-a", "b")


def test_an_archive_may_say_its_splits(tmp_path):
    arrays = {"x": np.zeros((3, 2, 2), np.uint8), "y": np.array([0, 1, 0]), "class_names": np.array(["a", "b"])}
    np.savez(tmp_path / "d.npz", **arrays, split=np.array(["train", "test", "validation"]))
    read = read_npz(tmp_path / "d.npz")
    assert read.split_of is not None
    assert read.split_of.tolist() == ["train", "test", "validation"]
    np.savez(tmp_path / "d.npz", **arrays, split=np.array(["train", "dev", "test"]))
    with pytest.raises(DatasetError, match=r"d.npz: split 'dev', expected train, validation, test; correct it"):
        read_npz(tmp_path / "d.npz")


def test_class_folders_can_be_grouped_too(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("L", (3, 2), 9).save(tmp_path / name / "0.png")
    (tmp_path / "groups.csv").write_text("file,group\na/0.png,p\nb/0.png,q\n")
    assert with_groups(read_folder(tmp_path), tmp_path / "groups.csv", tmp_path).data.groups.tolist() == ["p", "q"]
