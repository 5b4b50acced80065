"""scikit-learn, or in one line how to get it."""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "jaxmeta.estimators: scikit-learn is not installed; pip install jaxmeta[tables]"
    ) from error
