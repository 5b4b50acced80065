"""Inner-loop update rules: Optax transforms, and rules that are learned."""

from jaxmeta.rules.base import as_rule as as_rule
