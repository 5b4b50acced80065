"""The maths of one task: pure functions of arrays, to build learners of.

`augment`, `gaussian_prior`, `gaussian_process`, `predictive`, `sound` and `svgd` are used
by their module's name: `augment.flip`. Where a function is called like its module, as `unroll`
is, the name here is the function.
"""

from jaxmeta.functional import augment as augment
from jaxmeta.functional import gaussian_prior as gaussian_prior
from jaxmeta.functional import gaussian_process as gaussian_process
from jaxmeta.functional import predictive as predictive
from jaxmeta.functional import sound as sound
from jaxmeta.functional import svgd as svgd
from jaxmeta.functional.adversarial import reverse_gradient as reverse_gradient
from jaxmeta.functional.adversarial import two_player as two_player
from jaxmeta.functional.attention import attend as attend
from jaxmeta.functional.attention import vote as vote
from jaxmeta.functional.causal import attention_weights as attention_weights
from jaxmeta.functional.causal import causal_conv as causal_conv
from jaxmeta.functional.causal import causal_mask as causal_mask
from jaxmeta.functional.contrastive import contrastive as contrastive
from jaxmeta.functional.density_ratio import kliep as kliep
from jaxmeta.functional.density_ratio import kliep_score as kliep_score
from jaxmeta.functional.density_ratio import kmm as kmm
from jaxmeta.functional.distances import cosine_distance as cosine_distance
from jaxmeta.functional.distances import cosine_similarity as cosine_similarity
from jaxmeta.functional.distances import squared_euclidean as squared_euclidean
from jaxmeta.functional.distances import unit as unit
from jaxmeta.functional.embedding import Normalise as Normalise
from jaxmeta.functional.embedding import normalise as normalise
from jaxmeta.functional.fusion import fused as fused
from jaxmeta.functional.fusion import worth_of as worth_of
from jaxmeta.functional.gaussian import Gaussian as Gaussian
from jaxmeta.functional.gaussian import gaussian_nll as gaussian_nll
from jaxmeta.functional.gaussian import kl_divergence as kl_divergence
from jaxmeta.functional.kernels import median_bandwidth as median_bandwidth
from jaxmeta.functional.kernels import mmd as mmd
from jaxmeta.functional.kernels import rbf as rbf
from jaxmeta.functional.logistic import Linear as Linear
from jaxmeta.functional.logistic import bounded_logistic as bounded_logistic
from jaxmeta.functional.logistic import fit_logistic as fit_logistic
from jaxmeta.functional.mel import frames as frames
from jaxmeta.functional.mel import hertz_to_mel as hertz_to_mel
from jaxmeta.functional.mel import log_mel as log_mel
from jaxmeta.functional.mel import mel_filters as mel_filters
from jaxmeta.functional.mel import mel_to_hertz as mel_to_hertz
from jaxmeta.functional.mel import power_spectrum as power_spectrum
from jaxmeta.functional.mel import relative_levels as relative_levels
from jaxmeta.functional.memory import MemoryState as MemoryState
from jaxmeta.functional.memory import access as access
from jaxmeta.functional.memory import empty_memory as empty_memory
from jaxmeta.functional.predictive import Predictive as Predictive
from jaxmeta.functional.prototypes import prototypes as prototypes
from jaxmeta.functional.recurrent import Carry as Carry
from jaxmeta.functional.recurrent import lstm_scan as lstm_scan
from jaxmeta.functional.recurrent import lstm_step as lstm_step
from jaxmeta.functional.reservoir import Reservoir as Reservoir
from jaxmeta.functional.reservoir import empty_reservoir as empty_reservoir
from jaxmeta.functional.reservoir import kept as kept
from jaxmeta.functional.reservoir import recalled as recalled
from jaxmeta.functional.retention import backward_transfer as backward_transfer
from jaxmeta.functional.retention import forgetting as forgetting
from jaxmeta.functional.retention import seen_accuracy as seen_accuracy
from jaxmeta.functional.ridge import ridge as ridge
from jaxmeta.functional.rows import Semi as Semi
from jaxmeta.functional.rows import clean as clean
from jaxmeta.functional.rows import example_weights as example_weights
from jaxmeta.functional.rows import joined as joined
from jaxmeta.functional.rows import minibatch as minibatch
from jaxmeta.functional.rows import parted as parted
from jaxmeta.functional.rows import weights_of as weights_of
from jaxmeta.functional.sequence import presented as presented
from jaxmeta.functional.spectral import apply_spectrum as apply_spectrum
from jaxmeta.functional.spectral import coral_distance as coral_distance
from jaxmeta.functional.spectral import principal as principal
from jaxmeta.functional.svm import kkt_residual as kkt_residual
from jaxmeta.functional.svm import svm_dual as svm_dual
