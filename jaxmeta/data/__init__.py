"""Data sets as arrays grouped by class; `jaxmeta.tasks` makes episodes of them."""

from jaxmeta.data.arrays import Dataset as Dataset
from jaxmeta.data.arrays import Splits as Splits
from jaxmeta.data.arrays import from_classes as from_classes
from jaxmeta.data.arrays import from_counts as from_counts
from jaxmeta.data.arrays import from_labels as from_labels
from jaxmeta.data.arrays import make_splits as make_splits
from jaxmeta.data.arrays import merge as merge
from jaxmeta.data.arrays import take_classes as take_classes
from jaxmeta.data.cifar import cifar_fs as cifar_fs
from jaxmeta.data.cifar import fc100 as fc100
from jaxmeta.data.duplicates import Duplicate as Duplicate
from jaxmeta.data.duplicates import find_duplicates as find_duplicates
from jaxmeta.data.errors import DataError as DataError
from jaxmeta.data.folders import image_folder as image_folder
from jaxmeta.data.folders import image_folder_splits as image_folder_splits
from jaxmeta.data.folders import list_classes as list_classes
from jaxmeta.data.imagenet import cub as cub
from jaxmeta.data.imagenet import mini_imagenet as mini_imagenet
from jaxmeta.data.imagenet import tiered_imagenet as tiered_imagenet
from jaxmeta.data.images import load_images as load_images
from jaxmeta.data.omniglot import omniglot as omniglot
from jaxmeta.data.tfds import tfds as tfds
