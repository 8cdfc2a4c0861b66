"""What texts are classified by without a network: fn(train, inputs, dataset) -> logits, named by config.references."""

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
