"""MNIST and Fashion-MNIST: small gray images of ten classes."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from keras_disent.datasets.arrays import LabeledImages
from keras_disent.datasets.card import Card, File
from keras_disent.datasets.published.files import cache_key, check_file, find_file
from keras_disent.datasets.stored.binary import open_matrix, read_rows
from keras_disent.datasets.stored.cache import cached_rows
from keras_disent.datasets.stored.checks import malformed
from keras_disent.datasets.stored.rows import Stream, copy_blocks

_PARTS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def _files(md5: tuple[str, str, str, str]) -> tuple[File, ...]:
    names = [
        f"{stem}-{kind}-ubyte.gz"
        for stem in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    return tuple(File(name, md5=digits) for name, digits in zip(names, md5, strict=True))


class _Idx(LabeledImages):
    """Base class of data sets with images and classes in two idx files.

    Attributes:
        values: The classes, for the name of the factor.
        system_folders: Folders in which a system package may have installed the files. Their
            checksums differ from the published ones, because packages compress them again.
    """

    card: Card
    values: dict[str, np.ndarray]
    system_folders: tuple[Path, ...] = ()
    factor_kinds = ("categorical",)

    def __init__(
        self,
        part: str = "train",
        data_dir: str | PathLike[str] | None = None,
        *,
        verify: bool = True,
    ):
        if part not in _PARTS:
            raise ValueError(f"`part` needs to be one of {', '.join(_PARTS)}. Got {part!r}.")
        self.part = part
        images, labels = self._find(part, data_dir)
        is_installed = images.parent.resolve() in [path.resolve() for path in self.system_folders]
        card = self.card if verify and not is_installed else None
        rows = _images(images, self.name, card, verify)
        if verify and len(rows) != _PARTS[part][1]:
            raise malformed(images, f"{_PARTS[part][1]} images", len(rows))
        steps = _labels(labels, len(rows), card)
        super().__init__(rows, steps[:, None], self.values, self.name)

    def _find(self, part: str, data_dir: str | PathLike[str] | None) -> tuple[Path, Path]:
        """Find the files of images and labels, both in the same folder."""
        first_error = None
        for folder in (data_dir, *self.system_folders):
            try:
                return (
                    find_file(self.name, self.card, _names(part, "images", 3), folder),
                    find_file(self.name, self.card, _names(part, "labels", 1), folder),
                )
            except FileNotFoundError as error:
                first_error = first_error or error
        assert first_error is not None
        raise first_error


class MNIST(_Idx):
    """Handwritten digits, 28 x 28 pixels, gray (LeCun et al. 1998).

    The only factor is `digit`; its values are the digits 0 to 9.

    Args:
        part: `"train"`, 60,000 images, or `"test"`, 10,000 images.
        data_dir: Folder of the files, such as `train-images-idx3-ubyte`, with or without `.gz`.
            They may also be in its subfolder `mnist`. By default KERAS_DISENT_DATA. Files with
            `.gz` are unpacked into the cache, the others are mapped into memory.
        verify: Whether to check the checksums of `.gz` files and the number of images.

    Raises:
        FileNotFoundError: A file is missing, or neither `data_dir` nor KERAS_DISENT_DATA is set.
        ValueError: A file is broken, differs from the published one, or does not match the other.

    >>> len(MNIST("test", "~/data"))  # doctest: +SKIP
    10000
    """

    name = "mnist"
    values = {"digit": np.arange(10)}
    card = Card(
        title="MNIST",
        page="http://yann.lecun.com/exdb/mnist/",
        download="four files, 12 MB",
        license="Creative Commons Attribution-Share Alike 3.0",
        citation="LeCun, Bottou, Bengio and Haffner 1998",
        files=_files(
            (
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "d53e105ee54ea40749a09fcbcd1e9432",
                "9fb629c4189551a2d022fa330f9573f3",
                "ec29112dd5afa0611ce80d1b7f02629c",
            )
        ),
        notes=("The only factor is the digit; the style of writing is a nuisance factor.",),
    )


class FashionMNIST(_Idx):
    """Articles of clothing, 28 x 28 pixels, gray (Xiao et al. 2017).

    The only factor is `article`; its values are ten names.

    Args:
        part: `"train"`, 60,000 images, or `"test"`, 10,000 images.
        data_dir: Folder of the files, such as `train-images-idx3-ubyte`, with or without `.gz`.
            They may also be in its subfolder `fashion_mnist`. By default KERAS_DISENT_DATA, then
            the folder of Debian's package dataset-fashion-mnist. Files with `.gz` are unpacked
            into the cache, the others are mapped into memory.
        verify: Whether to check the number of images and the checksums of `.gz` files, except
            those of Debian.

    Raises:
        FileNotFoundError: A file is missing, or neither `data_dir` nor KERAS_DISENT_DATA is set.
        ValueError: A file is broken, differs from the published one, or does not match the other.

    >>> FashionMNIST("test").factor_values["article"][9]  # doctest: +SKIP
    np.str_('Ankle boot')
    """

    name = "fashion_mnist"
    values = {
        "article": np.array(
            [
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ]
        )
    }
    system_folders = (_DEBIAN,)
    card = Card(
        title="Fashion-MNIST",
        page="https://github.com/zalandoresearch/fashion-mnist",
        download="four files, 31 MB; in Debian the package dataset-fashion-mnist",
        license="MIT",
        citation="Xiao, Rasul and Vollgraf 2017",
        files=_files(
            (
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            )
        ),
        notes=("The only factor is the kind of article; all else are nuisance factors.",),
    )


def _names(part: str, kind: str, axes: int) -> tuple[str, ...]:
    plain = [f"{_PARTS[part][0]}-{kind}{mark}idx{axes}-ubyte" for mark in "-."]
    return (*plain, *(f"{name}.gz" for name in plain))


def _images(path: Path, name: str, card: Card | None, verify: bool) -> np.ndarray:
    """Map images from the file or from the cache, uint8 `(n, height, width)`."""
    images = open_matrix(path)
    if images.dtype != np.uint8 or len(images.shape) != 3 or not images.shape[0]:
        raise malformed(path, "images of bytes", f"{images.dtype} {images.shape}")
    if not isinstance(images, Stream):
        return images

    def write(rows: np.memmap) -> None:
        if card is not None:
            check_file(path, card)
        copy_blocks(images, rows, f"Unpacking {path.name}")

    return cached_rows(cache_key(name, path, verify=verify), images.shape, np.uint8, write)


def _labels(path: Path, count: int, card: Card | None) -> np.ndarray:
    """Read the steps of the classes, uint8 `(count,)`."""
    if card is not None:
        check_file(path, card)
    rows = open_matrix(path)
    if rows.dtype != np.uint8 or rows.shape != (count,):
        raise malformed(path, f"{count} labels of bytes", f"{rows.dtype} {rows.shape}")
    labels = read_rows(rows)
    if labels.max() > 9:  # unpacked files have no checksum
        raise malformed(path, "labels from 0 to 9", labels.max())
    return labels
