"""A picture path stays in its folder or archive, and what is wrong with it is said."""

from __future__ import annotations

import os
import pickle
import stat
import zipfile
from pathlib import Path

import pytest

from engine.errors import SourceError
from engine.sources.refs import FileRef, InlineRef, PictureRef, ZipRef
from tests.sources.make import picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a picture, beside a secret that no row may reach."""
    inside = tmp_path / "root"
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "a.png").write_bytes(picture())
    (tmp_path / "secret.png").write_bytes(picture(1))
    return inside


def test_paths_inside_the_folder_are_read(root: Path) -> None:
    (root / "link.png").symlink_to(root / "sub" / "a.png")
    for path in ("sub/a.png", "./sub/a.png", "sub/../sub/a.png", "link.png"):
        assert FileRef(str(root), path).read() == picture()


def test_paths_that_leave_the_folder_are_refused(root: Path) -> None:
    (root / "out.png").symlink_to(root.parent / "secret.png")
    (root / "up").symlink_to(root.parent)
    for path in ("../secret.png", "sub/../../secret.png", "out.png", "up/secret.png"):
        with pytest.raises(SourceError, match="leaves its folder"):
            FileRef(str(root), path).read()
    with pytest.raises(SourceError, match="absolute picture path"):
        FileRef(str(root), str(root.parent / "secret.png")).read()


def test_a_folder_with_a_similar_name_is_outside(root: Path) -> None:
    (root.parent / "rootless").mkdir()
    (root.parent / "rootless" / "b.png").write_bytes(picture())
    with pytest.raises(SourceError, match="leaves its folder"):
        FileRef(str(root), "../rootless/b.png").read()


def test_a_folder_reached_by_a_link_is_a_root_like_any_other(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)
    assert FileRef(str(root.parent / "alias"), "sub/a.png").read() == picture()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("b.png", "no such picture"),
        ("sub", "folder or device"),
        ("", "leaves its folder"),
        ("a\0b", "cannot be followed"),
    ],
)
def test_what_cannot_be_read_is_named(root: Path, path: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as error:
        FileRef(str(root), path).read()
    assert str(root) in str(error.value)


def test_endless_files_are_not_opened(root: Path) -> None:
    os.mkfifo(root / "pipe.png")
    with pytest.raises(SourceError, match="folder or device"):
        FileRef(str(root), "pipe.png").read()
    (root / "loop.png").symlink_to(root / "loop.png")
    with pytest.raises(SourceError, match=r"loop\.png"):
        FileRef(str(root), "loop.png").read()


def test_a_large_file_is_refused_unread(root: Path) -> None:
    with (root / "large.png").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(SourceError, match="1,000,000,000,000 bytes; at most 100 are"):
        FileRef(str(root), "large.png").read(100)


def make_zip(path: Path, *infos: tuple[zipfile.ZipInfo | str, bytes]) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in infos:
            archive.writestr(info, data)
    return str(path)


def test_zip_members_are_read_without_extracting(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", ("sub/a.png", picture()))
    assert ZipRef(archive, "sub/a.png").read() == picture()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_zip_members_that_climb_or_link_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    names = ["../x.png", "/x.png", "a/../../x.png", "..\\x.png"]
    archive = make_zip(tmp_path / "a.zip", *[(name, picture()) for name in names], (link, b"/etc/passwd"))
    for name in names:
        with pytest.raises(SourceError, match="leaves the archive"):
            ZipRef(archive, name).read()
    with pytest.raises(SourceError, match="symbolic link"):
        ZipRef(archive, "link.png").read()


def test_zip_bombs_missing_and_damaged_members_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", ("bomb", bytes(10**7)), ("a.png", picture(kind="BMP", size=(60, 60))))
    with pytest.raises(SourceError, match="10,000,000 bytes; at most 1,000 are"):
        ZipRef(archive, "bomb").read(1000)
    with pytest.raises(SourceError, match="no such picture in the archive"):
        ZipRef(archive, "b.png").read()
    data = bytearray(Path(archive).read_bytes())
    place = data.rindex(b"a.png", 0, len(data) - 100) + 10
    data[place : place + 8] = b"\xff" * 8
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(SourceError, match="does not give the picture"):
        ZipRef(str(tmp_path / "b.zip"), "a.png").read()
    (tmp_path / "c.zip").write_bytes(b"no zip")
    with pytest.raises(SourceError, match="does not give the picture"):
        ZipRef(str(tmp_path / "c.zip"), "a.png").read()
    with pytest.raises(SourceError, match=r"d\.zip"):
        ZipRef(str(tmp_path / "d.zip"), "a.png").read()


def test_references_are_small_picklable_and_equal_by_value(root: Path) -> None:
    refs: list[PictureRef] = [FileRef(str(root), "sub/a.png"), InlineRef(picture(), "a"), ZipRef("a.zip", "b")]
    assert pickle.loads(pickle.dumps(refs)) == refs
    assert len({*refs, *pickle.loads(pickle.dumps(refs))}) == 3
    assert len(pickle.dumps(refs[0])) < 300


def test_inline_bytes_have_a_limit_too() -> None:
    with pytest.raises(SourceError, match="at most 3 are"):
        InlineRef(b"1234", "x").read(3)


def test_names_hold_no_undecodable_bytes(root: Path) -> None:
    """File names may be any bytes; tables and logs are UTF-8."""
    name = os.fsdecode(b"\xff.png")
    with pytest.raises(SourceError) as error:
        FileRef(str(root), name).read()
    str(error.value).encode()
