"""Networks as pairs of pure functions, and the doors for your own Flax modules."""

from jaxmeta.models.adapter import from_nnx as from_nnx
from jaxmeta.models.adapter import to_nnx as to_nnx
from jaxmeta.models.bottleneck import adapter as adapter
from jaxmeta.models.call import call as call
from jaxmeta.models.call import check_model as check_model
from jaxmeta.models.columns import columns as columns
from jaxmeta.models.conv4 import conv4 as conv4
from jaxmeta.models.convnet import convnet as convnet
from jaxmeta.models.efficientnet_lite0 import Stage as Stage
from jaxmeta.models.efficientnet_lite0 import efficientnet_lite0 as efficientnet_lite0
from jaxmeta.models.files import load_safetensors as load_safetensors
from jaxmeta.models.files import save_safetensors as save_safetensors
from jaxmeta.models.flat import flat as flat
from jaxmeta.models.frozen import frozen as frozen
from jaxmeta.models.gated import gated as gated
from jaxmeta.models.generator import generator as generator
from jaxmeta.models.heads import attention_head as attention_head
from jaxmeta.models.heads import cosine_head as cosine_head
from jaxmeta.models.heads import linear_head as linear_head
from jaxmeta.models.heads import with_head as with_head
from jaxmeta.models.in_context import in_context as in_context
from jaxmeta.models.linen import from_linen as from_linen
from jaxmeta.models.loading import load as load
from jaxmeta.models.lora import lora as lora
from jaxmeta.models.lstm import lstm as lstm
from jaxmeta.models.mlp import mlp as mlp
from jaxmeta.models.moved import merged as merged
from jaxmeta.models.on_grid import on_grid as on_grid
from jaxmeta.models.per_step import PerStep as PerStep
from jaxmeta.models.per_step import per_step as per_step
from jaxmeta.models.precision import half_precision as half_precision
from jaxmeta.models.pretrained import IMAGENET as IMAGENET
from jaxmeta.models.pretrained import pretrained as pretrained
from jaxmeta.models.relation import AllPairs as AllPairs
from jaxmeta.models.relation import relation as relation
from jaxmeta.models.resnet import resnet as resnet
from jaxmeta.models.resnet12 import resnet12 as resnet12
from jaxmeta.models.scale_shift import bias_only as bias_only
from jaxmeta.models.scale_shift import scale_shift as scale_shift
from jaxmeta.models.statistics import (
    running_averages_at_test as running_averages_at_test,
)
from jaxmeta.models.transformer import transformer as transformer
from jaxmeta.models.vit import vit as vit
