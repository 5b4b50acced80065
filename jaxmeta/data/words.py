"""Texts as rows of numbers: the words of each, those that few texts share counting more.

Salton, Buckley 1988, Term-weighting Approaches in Automatic Text Retrieval,
https://doi.org/10.1016/0306-4573(88)90021-0.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxmeta.checks import at_least
from jaxmeta.data.errors import DataError

# Words that say nothing of what a text is about: articles, pronouns, auxiliaries,
# prepositions, conjunctions.
COMMON = frozenset(
    "a about after all also although an and any are as at be because been before being "
    "between both but by can could do does during each either for from had has have he "
    "her here his how i if in into is it its just may more most much no nor not of on "
    "one only or other our out over own same she should so some such than that the "
    "their them then there these they this those through to too under until up very "
    "was we well were what when where which while who will with without would you your"
    "".split()
)


class Vocabulary(NamedTuple):
    """The words that count, and how much.

    Attributes:
      words: in the order of the columns.
      idf: `[v]`, the weight of each, float64.
    """

    words: tuple[str, ...]
    idf: np.ndarray


def words_of(text: str) -> list[str]:
    """The words of a text, small letters, without the common ones.

    >>> words_of("The peel is GREEN; the taste isn't.")
    ['peel', 'green', 'taste', 'isn']
    """
    found = re.findall(r"[^\W\d_]{2,}", text.lower())
    return [word for word in found if word not in COMMON]


def vocabulary(texts: Sequence[str], *, fewest: int = 1) -> Vocabulary:
    """Learns which words there are, of the texts that may be looked at.

        idf_w = log((1 + n) / (1 + n_w)) + 1,   n_w of n texts have the word w

    Args:
      texts: of training. Those of classes that are held out have no part in it.
      fewest: a word that fewer texts have does not count.

    Returns:
      A `Vocabulary` in alphabetical order.

    Raises:
      DataError: no text has a word.
      ValueError: `fewest` below 1.

    >>> vocabulary(["green apple", "red apple"]).words
    ('apple', 'green', 'red')
    """
    at_least(1, fewest=fewest)
    has = Counter(word for text in texts for word in set(words_of(text)))
    words = tuple(sorted(word for word, n in has.items() if n >= fewest))
    if not words:
        raise DataError(
            f"texts: got {len(texts)} without a word, wants texts with words"
        )
    counts = np.array([has[word] for word in words], float)
    return Vocabulary(words, np.log((1 + len(texts)) / (1 + counts)) + 1)


def tf_idf(texts: Sequence[str], known: Vocabulary) -> np.ndarray:
    """Texts as directions: what a linear map can be learned from.

        x_iw = (1 + log c_iw) idf_w,   x_i / ||x_i||

    with c_iw how often text i has the word w; 0 where it has not.

    Args:
      texts: any; words that are not in the vocabulary are left out.
      known: of `vocabulary`.

    Returns:
      float32 `[n, v]` of rows of length 1; a text without a known word is a row of zeros.

    >>> known = vocabulary(["green apple", "red apple"])
    >>> tf_idf(["apple", "a pear"], known).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    column = {word: i for i, word in enumerate(known.words)}
    rows = np.zeros((len(texts), len(column)))
    for row, text in zip(rows, texts, strict=True):
        for word, times in Counter(words_of(text)).items():
            if word in column:
                row[column[word]] = (1 + np.log(times)) * known.idf[column[word]]
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype("float32")
