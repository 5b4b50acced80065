"""The site: pages of this folder, and pages made of docstrings, results and notebooks.

`python -m notebooks.site` builds it.
"""
