"""Tools to test your own learners, models and runs with."""

from jaxmeta.testing.check import check_learner as check_learner
from jaxmeta.testing.evidence import Leak as Leak
from jaxmeta.testing.evidence import burst_leak as burst_leak
from jaxmeta.testing.evidence import comparable as comparable
from jaxmeta.testing.evidence import coverage as coverage
from jaxmeta.testing.evidence import disjoint as disjoint
from jaxmeta.testing.evidence import fresh_queries as fresh_queries
from jaxmeta.testing.guards import label_null as label_null
from jaxmeta.testing.guards import query_independence as query_independence
from jaxmeta.testing.laws import LAWS as LAWS
from jaxmeta.testing.probe import probe as probe
from jaxmeta.testing.subject import LawBroken as LawBroken
