"""Convolution, norm and pooling that stay fast and exact with weights of every task's own.

`conv`'s derivatives are primitives, and which algorithm computes each of them is decided
at lowering, by the platform and the size (`choice`).
"""

from jaxmeta.convolution.conv_norm import FEW as FEW
from jaxmeta.convolution.conv_norm import conv_batch_norm as conv_batch_norm
from jaxmeta.convolution.convolution import Impl as Impl
from jaxmeta.convolution.convolution import conv as conv
from jaxmeta.convolution.convolution import conv_general_dilated as conv_general_dilated
from jaxmeta.convolution.depthwise import depthwise as depthwise
from jaxmeta.convolution.norm import affine_norm as affine_norm
from jaxmeta.convolution.norm import batch_norm as batch_norm
from jaxmeta.convolution.norm import group_norm as group_norm
from jaxmeta.convolution.norm import layer_norm as layer_norm
from jaxmeta.convolution.norm import moments as moments
from jaxmeta.convolution.pooling import avg_pool as avg_pool
from jaxmeta.convolution.pooling import max_pool as max_pool
from jaxmeta.convolution.pooling import max_pool_3x3 as max_pool_3x3
