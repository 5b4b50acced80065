"""The maths of one task: pure functions of arrays, to build learners of.

`augment`, `gaussian_prior`, `gaussian_process`, `predictive` and `svgd` are used by their
module's name: `augment.flip`. Where a function is called like its module, as `unroll`
is, the name here is the function.
"""

from jaxmeta.functional import augment as augment
from jaxmeta.functional import gaussian_prior as gaussian_prior
from jaxmeta.functional import gaussian_process as gaussian_process
from jaxmeta.functional import predictive as predictive
from jaxmeta.functional import svgd as svgd
from jaxmeta.functional.adversarial import reverse_gradient as reverse_gradient
from jaxmeta.functional.adversarial import two_player as two_player
from jaxmeta.functional.attention import attend as attend
from jaxmeta.functional.attention import vote as vote
from jaxmeta.functional.causal import attention_weights as attention_weights
from jaxmeta.functional.causal import causal_conv as causal_conv
from jaxmeta.functional.causal import causal_mask as causal_mask
from jaxmeta.functional.density_ratio import kliep as kliep
from jaxmeta.functional.density_ratio import kliep_score as kliep_score
from jaxmeta.functional.density_ratio import kmm as kmm
from jaxmeta.functional.distances import cosine_distance as cosine_distance
from jaxmeta.functional.distances import cosine_similarity as cosine_similarity
from jaxmeta.functional.distances import squared_euclidean as squared_euclidean
from jaxmeta.functional.distances import unit as unit
from jaxmeta.functional.embedding import Normalise as Normalise
from jaxmeta.functional.embedding import normalise as normalise
from jaxmeta.functional.gaussian import Gaussian as Gaussian
from jaxmeta.functional.gaussian import gaussian_nll as gaussian_nll
from jaxmeta.functional.gaussian import kl_divergence as kl_divergence
from jaxmeta.functional.kernels import median_bandwidth as median_bandwidth
from jaxmeta.functional.kernels import mmd as mmd
from jaxmeta.functional.kernels import rbf as rbf
from jaxmeta.functional.logistic import Linear as Linear
from jaxmeta.functional.logistic import bounded_logistic as bounded_logistic
from jaxmeta.functional.logistic import fit_logistic as fit_logistic
from jaxmeta.functional.memory import MemoryState as MemoryState
from jaxmeta.functional.memory import access as access
from jaxmeta.functional.memory import empty_memory as empty_memory
from jaxmeta.functional.predictive import Predictive as Predictive
from jaxmeta.functional.prototypes import prototypes as prototypes
from jaxmeta.functional.rectified import bd_cspn as bd_cspn
from jaxmeta.functional.rectified import laplacian_shot as laplacian_shot
from jaxmeta.functional.rectified import rectified as rectified
from jaxmeta.functional.recurrent import Carry as Carry
from jaxmeta.functional.recurrent import lstm_scan as lstm_scan
from jaxmeta.functional.recurrent import lstm_step as lstm_step
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
from jaxmeta.functional.tim import tim as tim
from jaxmeta.functional.transport import pt_map as pt_map
from jaxmeta.functional.transport import sinkhorn as sinkhorn
