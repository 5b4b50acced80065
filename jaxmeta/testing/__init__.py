"""Tools to test your own learners, models and runs with."""

from jaxmeta.testing.check import check_learner as check_learner
from jaxmeta.testing.laws import LAWS as LAWS
from jaxmeta.testing.laws import LawBroken as LawBroken
from jaxmeta.testing.probe import probe as probe
