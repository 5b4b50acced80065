"""Scalars whose derivatives are estimates of the derivatives of an expected return.

Foerster et al. 2018, DiCE, https://arxiv.org/abs/1802.05098; Farquhar, Whiteson, Foerster
2019, Loaded DiCE, https://arxiv.org/abs/1909.10549; Rothfuss et al. 2019, ProMP (the
low-variance curvature surrogate), https://arxiv.org/abs/1810.06784.
"""

import jax.numpy as jnp
from jax import lax

from jaxmeta.core import Array, Scalar
from jaxmeta.shapes import Float


def magic_box(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """One, with the derivatives of exp(x): every one of them gathers a d x.

    >>> magic_box(jnp.array(3.0)).item()
    1.0
    """
    return jnp.exp(x - lax.stop_gradient(x))


def dice(
    log_probs: Float[Array, "n t"],
    advantages: Float[Array, "n t"],
    mask: Float[Array, "n t"],
) -> Scalar:
    """DiCE with advantages: right in every order.

        L = 1/n sum_i sum_t (box(sum_{s<=t} log pi_s) - box(sum_{s<t} log pi_s)) A_t

    The gradient is the policy gradient, E sum_t grad log pi_t A_t; the Hessian is an
    unbiased estimate of the Hessian of the expected return, where A_t has the right
    mean: rewards to go, less any function of the state.

    Args:
      log_probs: of the actions taken `[n, t]`, a function of the parameters.
      advantages: `[n, t]`, data.
      mask: `[n, t]`.

    Returns:
      A scalar to be maximised; only its derivatives mean anything.

    References:
      Foerster et al. 2018, arXiv:1802.05098; Farquhar et al. 2019, arXiv:1909.10549,
      whose gamma is 1 here.

    >>> dice(jnp.zeros((1, 2)), jnp.ones((1, 2)), jnp.ones((1, 2))).item()
    0.0
    """
    taken = log_probs * mask
    upto = jnp.cumsum(taken, -1)
    terms = magic_box(upto) - magic_box(upto - taken)
    return jnp.mean(jnp.sum(terms * advantages * mask, -1))


def lvc(
    log_probs: Float[Array, "n t"],
    advantages: Float[Array, "n t"],
    mask: Float[Array, "n t"],
) -> Scalar:
    """Low-variance curvature: DiCE without the products of different times.

        L = 1/n sum_i sum_t box(log pi_t) A_t

    Its gradient is DiCE's. Its Hessian leaves out how an action changes the states, and
    thus what later actions are worth: a bias that vanishes at a local optimum, for much
    less variance.

    Args:
      log_probs: `[n, t]`.
      advantages: `[n, t]`.
      mask: `[n, t]`.

    Returns:
      A scalar to be maximised.

    References:
      Rothfuss et al. 2019, ProMP, arXiv:1810.06784, section 4.

    >>> lvc(jnp.zeros((1, 2)), jnp.ones((1, 2)), jnp.ones((1, 2))).item()
    2.0
    """
    return jnp.mean(jnp.sum(magic_box(log_probs) * advantages * mask, -1))


def score(
    log_probs: Float[Array, "n t"],
    advantages: Float[Array, "n t"],
    mask: Float[Array, "n t"],
) -> Scalar:
    """The plain policy gradient: right once, wrong when differentiated again.

        L = 1/n sum_i sum_t log pi_t A_t

    Kept for comparison: MAML as first published differentiates this one twice and so
    ignores that the samples depend on the parameters.

    Args:
      log_probs: `[n, t]`.
      advantages: `[n, t]`.
      mask: `[n, t]`.

    Returns:
      A scalar to be maximised.

    >>> score(jnp.zeros((1, 2)), jnp.ones((1, 2)), jnp.ones((1, 2))).item()
    0.0
    """
    return jnp.mean(jnp.sum(log_probs * advantages * mask, -1))
