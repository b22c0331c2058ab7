"""Data sources that are text: language modelling, sentences, pairs of sentences, and questions.

Every source has `vocab`, the size of its vocabulary, the numbers of the special tokens, and `vocabulary`, which
decodes. Rows are padded to one length, with the true lengths beside them. The texts ship with Python, or are files.
"""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import Any

import numpy as np

from leec.runtime import faults
from leec.runtime.data import Source
from leec.runtime.draws_numpy import permutation, randint
from leec.runtime.philox import site_key
from leec.runtime.preparation import Preparation, prepare
from leec.runtime.vocabulary import (
    END,
    SPECIAL,
    START,
    Row,
    Vocabulary,
    Words,
    known,
    numbers_of,
    padded,
    positive,
    split_tokens,
)
from leec.runtime.vocabulary import corpus as documents
from leec.runtime.vocabulary import sentences as sentences_of


def text(
    corpus: str = "topics",
    context: int = 64,
    level: str = "characters",
    most: int | None = None,
    valid: float = 0.1,
    **options: Any,
) -> Source:
    """Stretches of running text, tokens: int[n, context + 1], each one's last token being the first of the next.

    `most` tokens have a number of their own. Raises LEE702 for a text that is shorter than a stretch.
    """
    pieces = [token for document in documents(corpus) for token in split_tokens(document, known(level))]
    vocabulary = Vocabulary.of([pieces], level, most)
    count = (len(pieces) - 1) // positive("context", context)
    if not count:
        raise faults.wrong_option("text", f"`context = {context}` is more than the {len(pieces)} tokens of the text")
    numbers = np.array(vocabulary.encode(pieces), np.int64)
    tokens = np.lib.stride_tricks.sliding_window_view(numbers, context + 1)[::context][:count]
    return prepare("text", {"tokens": tokens}, Preparation(valid=valid, **options), numbers_of(vocabulary))


def sentences(
    corpus: str = "topics", classes: int = 4, context: int = 24, most: int | None = 500, **options: Any
) -> Source:
    """Sentences, and which document each is from: tokens: int[n, context], lengths: int[n], y: int[n].

    The documents are the `classes` longest; of a sentence that is longer the first words are taken.
    """
    found = sorted(map(sentences_of, documents(corpus)), key=len, reverse=True)[:classes]
    if len(found) < classes:
        raise faults.wrong_option("sentences", f"`{corpus}` has {len(found)} documents, fewer than {classes} classes")
    vocabulary = Vocabulary.of([s for document in found for s in document], "words", most)
    rows = [vocabulary.encode(s)[: positive("context", context)] for document in found for s in document]
    tokens, lengths = padded(rows, context)
    y = np.repeat(np.arange(classes), [len(document) for document in found])
    extras = numbers_of(vocabulary) | {"classes": classes}
    return prepare("sentences", {"tokens": tokens, "lengths": lengths, "y": y}, Preparation(**options), extras)


def text_pairs(
    corpus: str = "topics", context: int = 32, most: int | None = 500, valid: float = 0.1, **options: Any
) -> Source:
    """START, a sentence, END, the one behind it, END: tokens, part: int[n, context] (0, then 1), lengths: int[n]."""
    rows, vocabulary = neighbours(corpus, context, most)
    fields = joined(rows, context)
    return prepare("text_pairs", fields, Preparation(valid=valid, **options), numbers_of(vocabulary))


def next_sentences(
    corpus: str = "topics",
    context: int = 32,
    most: int | None = 500,
    swapped: bool = False,
    seed: int = 0,
    valid: float = 0.1,
    **options: Any,
) -> Source:
    """The rows of text_pairs with y: int[n]: 1 where the second sentence is the one behind the first.

    Else, in half of the rows, it is one from anywhere, or with `swapped` the one before.
    """
    rows, vocabulary = neighbours(corpus, context, most)
    y = permutation(site_key(seed, "follows"), len(rows)) % 2
    others = permutation(site_key(seed, "others"), len(rows))
    second = [(b, a) if swapped else (a, rows[o][1]) for (a, b), o in zip(rows, others, strict=True)]
    fields = joined([row if follows else other for row, other, follows in zip(rows, second, y, strict=True)], context)
    made = Preparation(valid=valid, seed=seed, **options)
    return prepare("next_sentences", {**fields, "y": y}, made, numbers_of(vocabulary))


def neighbours(corpus: str, context: int, most: int | None) -> tuple[list[tuple[Row, Row]], Vocabulary]:
    """Every sentence with the one behind it, each cut to half of the context."""
    found = [sentences_of(document) for document in documents(corpus)]
    vocabulary = Vocabulary.of([s for document in found for s in document], "words", most)
    half = (positive("context", context) - 3) // 2
    rows = [[vocabulary.encode(s)[:half] for s in document] for document in found]
    pairs = [pair for document in rows for pair in pairwise(document)]
    if not pairs or half < 1:
        raise faults.wrong_option("text_pairs", f"`{corpus}` has no two sentences for a context of {context}")
    return pairs, vocabulary


def joined(rows: list[tuple[Row, Row]], context: int) -> dict[str, np.ndarray]:
    """START, the first, END, the second, END; `part` is 1 from the second on."""
    tokens, lengths = padded([[START, *a, END, *b, END] for a, b in rows], context)
    begins = np.array([len(a) + 2 for a, _ in rows])
    part = (np.arange(context) >= begins[:, None]) & (np.arange(context) < lengths[:, None])
    return {"tokens": tokens, "part": part.astype(np.int64), "lengths": lengths}


# ---- questions


KINDS = {  # of planted spans: how they are asked for, what stands before them, their first words and their last
    "who": ("by", ("guido", "barbara", "barry", "carol", "raymond", "mariatta", "brett"), ("warsaw", "peters")),
    "when": ("in", ("january", "march", "april", "june", "july", "august"), ("1991", "2000", "2008", "2024")),
    "where": ("at", ("amsterdam", "berlin", "tokyo", "oslo", "paris", "pittsburgh"), ("north", "harbour", "square")),
    "amount": ("for", ("two", "three", "four", "five", "seven", "nine"), ("hundred", "thousand", "dozen")),
}
ORDERS = tuple(permutations(KINDS, 3))


def questions(
    corpus: str = "topics",
    rows: int = 2000,
    context: int = 32,
    most: int | None = 200,
    seed: int = 0,
    valid: float = 0.1,
    **options: Any,
) -> Source:
    """Where in a sentence an answer stands: tokens, part: int[n, context], lengths, first, last: int[n].

    START, the question, END, the sentence, END. Spans of three kinds are planted in each sentence, "by barbara
    warsaw"; the question names one of them, "who ?", so that the sentence alone does not tell the answer.
    """
    base = [s for document in documents(corpus) for s in sentences_of(document)]
    if context < 20 or not base:
        raise faults.wrong_option("questions", "needs sentences, and a context of 20 tokens or more")
    words = {*KINDS, "?"} | {w for before, first, last in KINDS.values() for w in (before, *first, *last)}
    others = Vocabulary.of([[w for w in s if w not in words] for s in base], "words", most).tokens[len(SPECIAL) :]
    vocabulary = Vocabulary((*sorted(words), *others))
    draws = randint(site_key(seed, "questions"), (positive("rows", rows), 14), 0, 1 << 30).tolist()
    made = [planted(base[draw[0] % len(base)][: context - 14], draw[1:]) for draw in draws]
    fields = joined([(vocabulary.encode((kind, "?")), vocabulary.encode(s)) for kind, s, _ in made], context)
    first, last = np.array([span for _, _, span in made], np.int64).T + len("[START] who ? [END]".split())
    preparation = Preparation(valid=valid, seed=seed, **options)
    return prepare("questions", {**fields, "first": first, "last": last}, preparation, numbers_of(vocabulary))


def planted(sentence: Words, draw: list[int]) -> tuple[str, Words, tuple[int, int]]:
    """What is asked for, the sentence with three spans, and the places of the first and the last word of the answer."""
    order, asked, places = (
        ORDERS[draw[0] % len(ORDERS)],
        draw[1] % 3,
        sorted(d % (len(sentence) + 1) for d in draw[2:5]),
    )
    found: Words = []
    span, taken = (0, 0), 0
    for i, (kind, place) in enumerate(zip(order, places, strict=True)):
        before, firsts, lasts = KINDS[kind]
        answer = (firsts[draw[5 + i] % len(firsts)], lasts[draw[8 + i] % len(lasts)])[: 1 + draw[11 + i % 2] % 2]
        found += [*sentence[taken:place], before]
        if i == asked:
            span = len(found), len(found) + len(answer) - 1
        found += answer
        taken = place
    return order[asked], [*found, *sentence[taken:]], span
