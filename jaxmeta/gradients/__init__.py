"""How to differentiate an inner solve, as one value; and `argmin`, which takes it."""

from jaxmeta.gradients.annealed import Annealed as Annealed
from jaxmeta.gradients.annealed import annealed as annealed
from jaxmeta.gradients.argmin import argmin as argmin
from jaxmeta.gradients.base import Argmin as Argmin
from jaxmeta.gradients.base import Gradient as Gradient
from jaxmeta.gradients.base import Problem as Problem
from jaxmeta.gradients.base import Report as Report
from jaxmeta.gradients.base import with_gradient as with_gradient
from jaxmeta.gradients.evolution import Evolution as Evolution
from jaxmeta.gradients.evolution import antithetic as antithetic
from jaxmeta.gradients.evolution import evolution as evolution
from jaxmeta.gradients.implicit import Implicit as Implicit
from jaxmeta.gradients.implicit import implicit as implicit
from jaxmeta.gradients.linear import LinearSolver as LinearSolver
from jaxmeta.gradients.linear import cg as cg
from jaxmeta.gradients.linear import direct as direct
from jaxmeta.gradients.linear import neumann as neumann
from jaxmeta.gradients.persistent import PersistentEvolution as PersistentEvolution
from jaxmeta.gradients.persistent import persistent_evolution as persistent_evolution
from jaxmeta.gradients.unrolled import Unrolled as Unrolled
from jaxmeta.gradients.unrolled import first_order as first_order
from jaxmeta.gradients.unrolled import unrolled as unrolled
