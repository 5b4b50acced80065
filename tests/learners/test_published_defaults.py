"""What a learner does when nothing is said, and who published that."""

import inspect

import optax
import pytest

import jaxmeta as jm
from jaxmeta.learners.mann import memory_network
from jaxmeta.learners.platipus import platipus_process
from jaxmeta.models.snail import snail_network
from jaxmeta.rules.lstm import coordinate_lstm
from jaxmeta.rules.mlp import coordinate_mlp

SNAIL = dict(filters=128, attention=((64, 32), (256, 128), (512, 256)), dilation=2)
MANN = dict(
    hidden=200, slots=128, width=40, heads=4, decay=0.95, write="key", sharpness=None
)
GATES = dict(hidden=20, forget_bias=(4.0, 5.0), input_bias=(-5.0, -4.0))
MLP = dict(hidden=(32, 32), decays=(0.1, 0.5, 0.9, 0.99, 0.999, 0.9999), scale=0.001)
UNROLLED = jm.gradients.unrolled()
CG_5 = jm.gradients.implicit(solver=jm.gradients.cg(steps=5), damping=0.0)

DEFAULTS = [
    # Mishra et al. 2018, section 5.1 and appendix A: TC dilations 2, 4, 8, ...
    (jm.snail, SNAIL),
    (snail_network, SNAIL),
    # Santoro et al. 2016, section 4.2; what is written is k (eq. 6), read at strength 1
    (jm.mann, MANN),
    (memory_network, MANN),
    # Ravi and Larochelle 2017, section 5.1 and their program: T = 12 updates for one
    # shot; b_F large and b_I small, so that it starts as SGD of rate about 0.01
    (jm.lstm_meta_learner, dict(**GATES, steps=12, inner_batch=None)),
    (coordinate_lstm, dict(**GATES, p=10.0, scale=0.01)),
    # Metz et al. 2019, as in their program (learned_optimization, MLPLOpt)
    (coordinate_mlp, MLP),
    # Nichol et al. 2018, section 7: minibatches; that moments are reset is ours
    (jm.reptile, dict(inner_batch=None, reset_inner_opt=True)),
    # Garnelo et al. 2018, section 4.1 and their notebook; heads: Kim et al. 2019
    (jm.cnp, dict(attention="none", min_std=0.1, heads=8, predict_support=True)),
    # Finn et al. 2018; the weight of the divergence and log std -4 = log 0.018 are those
    # of the public program (cnguyen10/few_shot_meta_learning)
    (platipus_process, dict(steps=5, kl_weight=1e-6, init_std=0.02, init_gamma=0.01)),
    (jm.platipus, dict(gradient=UNROLLED, samples=10, train_samples=1, bound="mean")),
    # Yoon et al. 2018: the chaser loss of eq. 9, one step and one more
    (jm.bmaml, dict(particles=5, steps=1, leader_steps=1, objective="chaser")),
    # Zhang et al. 2018, eqs. 3 to 5: both losses alike, the generator's not saturating
    (jm.meta_gan, dict(lam_gan=1.0, saturating=False, base="maml", steps=1)),
    # Vinyals et al. 2016, section 2.1.2; K = 3 in the program of Ravi and Larochelle
    (jm.matching_network, dict(full_context=False, steps=3)),
    # with the paper's T = 1 the loss of five ways cannot fall below 0.43
    (jm.matching_network, dict(temperature=0.1)),
    # Finn et al. 2017, sections 5.1 and 5.2: 1 to 5 steps
    (jm.maml, dict(steps=5, gradient=UNROLLED)),
    # Li et al. 2017: one step
    (jm.meta_sgd, dict(steps=1, init_rate=0.01)),
    # Antoniou et al. 2019, section 5, and the configuration of their program
    (jm.maml_plus_plus, dict(steps=5, init_rate=0.1, epoch=500, multi_step_epochs=15)),
    (jm.maml_plus_plus, dict(first_order_epochs=50)),
    # Zintgraf et al. 2019, section 5.1
    (jm.cavia, dict(context=5, steps=1)),
    # Rajeswaran et al. 2019, appendix: Omniglot 5-way
    (jm.imaml, dict(steps=16, lam=2.0, gradient=CG_5)),
    # Sun et al. 2019, section 5.1
    (jm.meta_transfer, dict(steps=20)),
    # Snell et al. 2017, eq. 2
    (jm.protonet, dict(temperature=1.0, normalise="un")),
    # Bertinetto et al. 2019, section 3.2: all are learned; 10, since outputs are flat
    (jm.r2d2, dict(lam=1.0, scale=10.0, bias=0.0, intercept=True)),
    # Lee et al. 2019, section 4.1
    (jm.metaoptnet, dict(C=0.1, scale=1.0)),
    # Chen et al. 2019, appendix A4: 100 steps
    (jm.baseline_plus_plus, dict(steps=100, scale=10.0)),
    # Zhang et al. 2022, the released configuration of ImageNet
    (jm.tip_adapter, dict(alpha=1.0, beta=5.5)),
    # Wang et al. 2019, section 3
    (jm.simple_shot, dict(normalise="cl2n", momentum=0.99)),
]  # fmt: skip


@pytest.mark.parametrize(("build", "wants"), DEFAULTS)
def test_defaults(build, wants):
    parameters = inspect.signature(build).parameters
    assert {name: parameters[name].default for name in wants} == wants


@pytest.mark.parametrize("build", [jm.platipus, jm.bmaml, jm.meta_gan, jm.mann, jm.cnp])
def test_options_have_names(build):
    """No builder hides its options behind `**options`."""
    found = inspect.signature(build)
    assert all(
        p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and p.annotation is not p.empty
        for p in found.parameters.values()
    )
    assert found.return_annotation is jm.MetaLearner
    with pytest.raises(TypeError, match="stepz"):
        build(jm.models.flat(), optax.sgd(0.1), stepz=3)
