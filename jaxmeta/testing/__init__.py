"""Tools to test your own learners, models and runs with."""

from jaxmeta.testing.check import check_learner as check_learner
from jaxmeta.testing.laws import LAWS as LAWS
from jaxmeta.testing.probe import probe as probe
from jaxmeta.testing.subject import LawBroken as LawBroken
