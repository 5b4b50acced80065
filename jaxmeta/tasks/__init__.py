"""Distributions over tasks: `key -> Episode`, on device, traceable by `jax.jit`."""

from jaxmeta.tasks.ambiguous import ambiguous as ambiguous
from jaxmeta.tasks.augmented import augmented as augmented
from jaxmeta.tasks.bayesian_network import bayesian_network as bayesian_network
from jaxmeta.tasks.domains import DomainPair as DomainPair
from jaxmeta.tasks.domains import Unlabelled as Unlabelled
from jaxmeta.tasks.domains import domain_pair as domain_pair
from jaxmeta.tasks.domains import domains as domains
from jaxmeta.tasks.domains import labelled as labelled
from jaxmeta.tasks.domains import unlabelled as unlabelled
from jaxmeta.tasks.few_shot import few_shot as few_shot
from jaxmeta.tasks.glyphs import glyphs as glyphs
from jaxmeta.tasks.meta_dataset import meta_dataset as meta_dataset
from jaxmeta.tasks.mixture import mixture as mixture
from jaxmeta.tasks.names import class_names as class_names
from jaxmeta.tasks.names import episode_classes as episode_classes
from jaxmeta.tasks.padded import padded as padded
from jaxmeta.tasks.padded import varying as varying
from jaxmeta.tasks.semi import Semi as Semi
from jaxmeta.tasks.semi import semi_supervised as semi_supervised
from jaxmeta.tasks.sine_or_line import sine_or_line as sine_or_line
from jaxmeta.tasks.sinusoid import sinusoid as sinusoid
from jaxmeta.tasks.stream import stream as stream
from jaxmeta.tasks.structural_causal import structural_causal as structural_causal
from jaxmeta.tasks.tables import target_quantiles as target_quantiles
from jaxmeta.tasks.tree_ensemble import tree_ensemble as tree_ensemble
