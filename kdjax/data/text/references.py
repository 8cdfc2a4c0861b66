"""What texts are classified or found by without a network, named by config.references.

fn(train, inputs, dataset) -> logits [N, K]; of config.task='search' blocks [q, M] of the scores of all documents, some
queries after the other.
"""

import numpy as np

from kdjax.data.arrays import Arrays, Dataset


def tfidf(train: Arrays, inputs, dataset: Dataset) -> np.ndarray:
    """TF-IDF of tokens and pairs of neighbours, and logistic regression: what a network has to be better than.

    Of the tokens that networks read, 1 + log of counts; scikit-learn's penalty, with C = 10.

    Args:
      train: texts with labels; those labelled -1 are left out.
      inputs: the texts to classify.

    Returns:
      [N, K] float32, log probabilities; -30 for a class that no text in `train` has.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to import
    from sklearn.linear_model import LogisticRegression

    train = train.take(np.flatnonzero(train.target >= 0))
    logits = np.full((len(inputs["tokens"]), len(dataset.classes)), -30.0, np.float32)
    known = np.unique(train.target)
    if len(known) == 1:
        logits[:, known] = 0.0
        return logits
    vectors = TfidfVectorizer(analyzer=_grams, sublinear_tf=True)
    learned = vectors.fit_transform(_words(train.input, dataset.tokenizer.special.numbers))
    regression = LogisticRegression(C=10.0, max_iter=1000).fit(learned, train.target)
    given = vectors.transform(_words(inputs, dataset.tokenizer.special.numbers))
    logits[:, regression.classes_] = np.maximum(regression.predict_log_proba(given), -30.0)
    return logits


def _words(inputs, special: tuple[int, ...]) -> list[np.ndarray]:
    """The tokens of each text that are words."""
    words = inputs["mask"] & ~np.isin(inputs["tokens"], special)
    return [tokens[own] for tokens, own in zip(inputs["tokens"], words, strict=True)]


def _grams(tokens: np.ndarray) -> list[tuple[int, ...]]:
    return [*((token,) for token in tokens.tolist()), *zip(tokens[:-1].tolist(), tokens[1:].tolist(), strict=True)]


def tfidf_characters(train: Arrays, inputs, dataset: Dataset):
    """The cosines of TF-IDF of runs of 2 to 4 characters, counted in the catalogue: a search without learning.

    Of the texts themselves, in lower case and inside words, as scikit-learn's analyzer "char_wb": of PriceRunner's
    offers it finds more than runs across words (MRR@10 0.869 and 0.847), and than with the logarithm of counts.
    """
    return cosines_of_characters(dataset.texts["test"], dataset.texts["documents"])


def cosines_of_characters(queries, documents):
    """`tfidf_characters` of any texts: yields the cosines [q, M] of some queries after the other."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to import

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32)
    documents = vectors.fit_transform(documents).T.tocsc()
    queries = vectors.transform(queries)
    rows = max(1, 2**24 // documents.shape[1])  # 64 MB of scores at a time
    for start in range(0, queries.shape[0], rows):
        yield (queries[start : start + rows] @ documents).toarray()


SEARCHES = (tfidf_characters,)
"""Those that find documents."""
