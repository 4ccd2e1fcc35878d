"""Data sets: images by index as NumPy arrays, and random batches for Keras."""

from keras_disent.datasets.adapters import from_examples
from keras_disent.datasets.arrays import ImageGrid, Images, LabeledImages, labeled
from keras_disent.datasets.catalog import DATASETS, load
from keras_disent.datasets.decoding import UnusablePictures
from keras_disent.datasets.examples import example_images, example_indices
from keras_disent.datasets.file import open_file
from keras_disent.datasets.folder import open_folder
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.parts import Rows
from keras_disent.datasets.photographs import Photographs
from keras_disent.datasets.pictures import read_image
from keras_disent.datasets.pictures.opening import UnreadablePicture
from keras_disent.datasets.pictures.settings import PictureSettings
from keras_disent.datasets.preview import contact_sheet
from keras_disent.datasets.published.cars3d import Cars3D
from keras_disent.datasets.published.celeba import CelebA
from keras_disent.datasets.published.dsprites import DSprites
from keras_disent.datasets.published.idx import MNIST, FashionMNIST
from keras_disent.datasets.published.mpi3d import MPI3D
from keras_disent.datasets.published.shapes3d import Shapes3D
from keras_disent.datasets.published.small_norb import SmallNORB
from keras_disent.datasets.published.tfds import from_tfds
from keras_disent.datasets.rendered.faces import Faces
from keras_disent.datasets.rendered.flow import Flow
from keras_disent.datasets.rendered.pendulum import Pendulum
from keras_disent.datasets.rendered.scenes3d import Scenes3D
from keras_disent.datasets.rendered.sprites import Sprites
from keras_disent.datasets.source import ImageSource
from keras_disent.datasets.views import Concatenation, transform_images
from keras_disent.datasets.weak import ChangedPairs, MatchedGroups, RankedPairs

labelled = labeled  # the British spelling

__all__ = [
    "DATASETS",
    "MNIST",
    "MPI3D",
    "Cars3D",
    "CelebA",
    "ChangedPairs",
    "Concatenation",
    "DSprites",
    "Faces",
    "FashionMNIST",
    "Flow",
    "GroundTruth",
    "ImageGrid",
    "ImageSource",
    "Images",
    "LabeledImages",
    "MatchedGroups",
    "Pendulum",
    "Photographs",
    "PictureSettings",
    "RankedPairs",
    "Rows",
    "Scenes3D",
    "Shapes3D",
    "SmallNORB",
    "Sprites",
    "UnreadablePicture",
    "UnusablePictures",
    "contact_sheet",
    "example_images",
    "example_indices",
    "from_examples",
    "from_tfds",
    "labeled",
    "labelled",
    "load",
    "open_file",
    "open_folder",
    "read_image",
    "transform_images",
]


def __dir__() -> list[str]:
    return sorted(__all__)
