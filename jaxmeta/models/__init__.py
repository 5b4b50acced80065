"""Networks as pairs of pure functions, and the doors for your own Flax modules."""

from jaxmeta.models.adapter import from_linen as from_linen
from jaxmeta.models.adapter import from_nnx as from_nnx
from jaxmeta.models.conv4 import conv4 as conv4
from jaxmeta.models.flat import flat as flat
from jaxmeta.models.lstm import lstm as lstm
from jaxmeta.models.mlp import mlp as mlp
from jaxmeta.models.per_step import PerStep as PerStep
from jaxmeta.models.per_step import per_step as per_step
from jaxmeta.models.relation import relation as relation
from jaxmeta.models.resnet12 import resnet12 as resnet12
from jaxmeta.models.transformer import transformer as transformer
