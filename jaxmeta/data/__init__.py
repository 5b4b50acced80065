"""Data sets as arrays grouped by class; `jaxmeta.tasks` makes episodes of them."""

from .arrays import Dataset as Dataset
from .arrays import Splits as Splits
from .arrays import from_classes as from_classes
from .arrays import from_counts as from_counts
from .arrays import from_labels as from_labels
from .arrays import make_splits as make_splits
from .arrays import merge as merge
from .arrays import take_classes as take_classes
from .errors import DataError as DataError
from .folders import image_folder as image_folder
from .folders import image_folder_splits as image_folder_splits
from .folders import list_classes as list_classes
from .images import load_images as load_images
from .omniglot import omniglot as omniglot
