"""Inner-loop update rules: Optax transforms, and rules that are learned."""

from jaxmeta.rules.base import as_rule as as_rule
from jaxmeta.rules.base import chain as chain
from jaxmeta.rules.base import frozen as frozen
from jaxmeta.rules.curvature import meta_curvature as meta_curvature
from jaxmeta.rules.finite import check_differentiable as check_differentiable
from jaxmeta.rules.learned import learn as learn
from jaxmeta.rules.learned import learn_state as learn_state
from jaxmeta.rules.lstm import coordinate_lstm as coordinate_lstm
from jaxmeta.rules.mlp import coordinate_mlp as coordinate_mlp
from jaxmeta.rules.rates import lslr as lslr
from jaxmeta.rules.rates import meta_sgd as meta_sgd
from jaxmeta.rules.smooth import adam as adam
from jaxmeta.rules.smooth import clip_by_global_norm as clip_by_global_norm
from jaxmeta.rules.smooth import momentum as momentum
from jaxmeta.rules.svgd import svgd as svgd
