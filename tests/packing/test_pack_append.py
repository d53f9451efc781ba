"""A store that grows: by names, by length; what does not fit is refused, and the old store stays readable."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoker
from stoker.data import Arrays, ImageFolder
from stoker.data.packed import Packed
from stoker.errors import DataError, StoreError
from tests.packing.test_pack_faults import kill_at_a_random_moment, start
from tests.packing.test_pack_images import write_pictures
from tests.store.every_kind import Made, Named, assert_same, files_of


def pack(source: Any, target: Path, **options: Any) -> Packed:
    stoker.pack(source, target, num_workers=0, **options)
    assert stoker.verify(target) == []
    return Packed(target, check=True)


def test_a_folder_that_has_grown_is_added_by_its_names(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 12)
    pack(folder, tmp_path / "a", shard_bytes=20_000)
    before = files_of(tmp_path / "a")
    for name in ("000", "zzz"):  # before those that the store has, and behind them
        shutil.copy(folder / "b" / "001.jpg", folder / "b" / f"{name}.jpg")
    summary = stoker.pack(folder, tmp_path / "a", num_workers=0, append=True)
    assert (summary.num_samples, sum(summary.images.values())) == (14, 14)
    store, source = Packed(tmp_path / "a"), ImageFolder(folder)
    assert [store.sample_name(index) for index in (12, 13)] == ["b/000.jpg", "b/zzz.jpg"]
    by_name = {source.sample_name(index): index for index in range(14)}
    for index in range(14):
        assert_same(store[index], source[by_name[store.sample_name(index) or ""]])
    after = files_of(tmp_path / "a")
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }
    assert stoker.verify(tmp_path / "a") == []


def test_a_source_without_names_is_added_from_its_old_length_on(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(20.0).reshape(10, 2))
    pack(tmp_path / "x.npy", tmp_path / "a")
    np.save(tmp_path / "x.npy", np.arange(34.0).reshape(17, 2))
    store = pack(tmp_path / "x.npy", tmp_path / "a", append=True)
    np.testing.assert_array_equal(store.get_batch(np.arange(17)), np.arange(34.0).reshape(17, 2))
    assert [shard.name for shard in store.reader.manifest.shards] == ["data/00000.arrow", "data/00001.arrow"]
    assert store.reader.manifest.source["length"] == 17


def test_samples_that_were_left_out_are_not_tried_again(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 6)
    (folder / "a" / "bad.jpg").write_bytes(b"no image")
    pack(folder, tmp_path / "a", on_error="skip")
    shutil.copy(folder / "b" / "001.jpg", folder / "b" / "new.jpg")
    store = pack(folder, tmp_path / "a", on_error="skip", append=True)
    assert (len(store), [entry["name"] for entry in store.reader.manifest.quarantine]) == (7, ["a/bad.jpg"])


def test_variants_may_be_added_to(tmp_path: Path) -> None:
    def make(index: int) -> Any:
        return index, np.random.rand(2)

    pack(Made(make, 4), tmp_path / "a", augment=2)
    store = pack(Made(make, 7), tmp_path / "a", augment=2, append=True)
    whole = pack(Made(make, 7), tmp_path / "b", augment=2)
    assert_same([store[index] for index in range(7)], [whole[index] for index in range(7)])
    with pytest.raises(StoreError, match=r"the store has 2 variants of each sample; got augment=3\."):
        pack(Made(make, 9), tmp_path / "a", augment=3, append=True)


def test_a_class_behind_the_others_may_be_added(tmp_path: Path) -> None:
    pack(Named(["a/1", "b/1"], ("a", "b")), tmp_path / "a")
    store = pack(Named(["a/1", "a/2", "b/1", "c/1"], ("a", "b", "c")), tmp_path / "a", append=True)
    assert (store.classes, [store.sample_name(index) for index in range(4)]) == (
        ["a", "b", "c"],
        ["a/1", "b/1", "a/2", "c/1"],
    )


def assert_refused(source: Any, target: Path, text: str, kind: type[Exception] = StoreError) -> None:
    before = files_of(target)
    with pytest.raises(kind, match=text):
        stoker.pack(source, target, num_workers=0, append=True)
    assert files_of(target) == before


def test_classes_that_were_numbered_anew_are_refused(tmp_path: Path) -> None:
    pack(Named(["a/1", "c/1"], ("a", "c")), tmp_path / "a")
    text = (
        r"the source's classes \(a, b, c …\) do not begin with the store's \(a, c …\), so their labels would mean "
        r"something else\. Pack the whole source anew\."
    )
    assert_refused(Named(["a/1", "b/1", "c/1"], ("a", "b", "c")), tmp_path / "a", text)


def test_samples_that_the_columns_do_not_fit_are_refused(tmp_path: Path) -> None:
    pack(Arrays(np.zeros((3, 2))), tmp_path / "a")
    text = (
        r"the store's columns cannot hold the source's samples\. The store has .*\"shape\": \[2\].*, "
        r"the source .*\"shape\": \[3\].*\. Pack the whole source anew\."
    )
    assert_refused(Arrays(np.zeros((5, 3))), tmp_path / "a", text)
    assert_refused(Arrays(x=np.zeros((5, 2))), tmp_path / "a", "the store's columns cannot hold")
    assert_refused(Named(list("abcde")), tmp_path / "a", "the store's columns cannot hold")


def test_a_sample_late_in_the_source_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    pack(Made(lambda index: (np.zeros(2), 0), 3), tmp_path / "a")
    odd = Made(lambda index: (np.zeros(3 if index == 45 else 2), 0), 1000)
    assert_refused(odd, tmp_path / "a", "the store's columns cannot hold the source's samples")


def test_a_source_that_has_not_grown_is_an_error(tmp_path: Path) -> None:
    pack(Arrays(np.arange(3)), tmp_path / "a")
    assert_refused(
        Arrays(np.arange(3)), tmp_path / "a", r"the store has all samples of the source already\.", DataError
    )
    assert_refused(
        Arrays(np.arange(2)), tmp_path / "a", r"the store has all samples of the source already\.", DataError
    )


def test_there_has_to_be_a_store_to_add_to(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        stoker.pack(Arrays(np.arange(3)), tmp_path / "a", num_workers=0, append=True)


def test_what_an_earlier_call_left_is_removed(tmp_path: Path) -> None:
    pack(Arrays(np.arange(3)), tmp_path / "a")
    (tmp_path / "a" / "data" / "00007.arrow").write_bytes(b"left by a call that was killed")
    pack(Arrays(np.arange(4)), tmp_path / "a", append=True)
    assert sorted(os.listdir(tmp_path / "a" / "data")) == ["00000.arrow", "00001.arrow"]
    assert not (tmp_path / "a.partial").exists()


@pytest.mark.timeout(300)
def test_a_killed_append_leaves_the_old_store_readable_and_goes_on(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 24)
    old = tmp_path / "old"
    for path in sorted(folder.rglob("*.*"))[::3]:
        (old / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, old / path.parent.name)
    process = start(old, tmp_path / "a", 0)
    assert process.wait() == 0
    process.communicate()
    shutil.copytree(tmp_path / "a", tmp_path / "undisturbed")
    process = start(folder, tmp_path / "undisturbed", 2, "append")
    assert process.wait() == 0
    process.communicate()
    manifest = (tmp_path / "a" / "manifest.json").read_bytes()
    for _ in range(2):
        kill_at_a_random_moment(start(folder, tmp_path / "a", 2, "append"), tmp_path / "a.partial" / "plan.json", 0.2)
        if (tmp_path / "a" / "manifest.json").read_bytes() != manifest:
            break
        assert len(Packed(tmp_path / "a")) == 8
        assert stoker.verify(tmp_path / "a") == []
    if (tmp_path / "a" / "manifest.json").read_bytes() == manifest:
        process = start(folder, tmp_path / "a", 2, "append")
        assert process.wait() == 0
        process.communicate()
    assert files_of(tmp_path / "a") == files_of(tmp_path / "undisturbed")
