"""Text as data: vocabularies and what they decode to, padding, what each source gives, and what is said of misuse."""

import ast
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import leec
from leec.runtime import pairs, sources, vocabulary
from leec.runtime.faults import RuntimeFault
from leec.runtime.vocabulary import END, MASK, PAD, START, UNKNOWN, Vocabulary


def fault(code: str, message: str = ""):
    return pytest.raises(RuntimeFault, match=f"{code}.*{message}")


# ---- vocabularies


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
def test_characters_come_back(texts):
    known = Vocabulary.of(texts, "characters")
    rows = [[START, *known.encode(text), END] for text in texts]
    tokens, lengths = vocabulary.padded(rows)
    assert [known.decode(row) for row in tokens] == texts
    assert lengths.tolist() == [len(text) + 2 for text in texts]
    assert all((row[n:] == PAD).all() for row, n in zip(tokens, lengths, strict=True))


def test_rare_tokens_are_unknown():
    known = Vocabulary.of([["a", "b", "b", "c", "c", "c"]], "words", most=2)
    assert known.tokens[5:] == ("b", "c") and len(known) == 7
    assert known.encode("c a B") == [6, UNKNOWN, 5]
    assert known.decode([START, 6, MASK, UNKNOWN, END, 5]) == "c [MASK] [UNKNOWN]"


@pytest.mark.parametrize("number", [-1, 6])
def test_a_number_that_stands_for_nothing(number):
    with fault("LEE702", f"{number} stands for no token"):
        Vocabulary(["a"]).decode([number])


def test_words_are_lower_case_and_runs_of_marks_are_one():
    assert vocabulary.split_tokens("Don't __init__ 3.14 ===", "words") == [
        "don", "'", "t", "__", "init", "__", "3", ".", "14", "===",
    ]  # fmt: skip


# ---- sources


@pytest.mark.parametrize("corpus", ["zen", "topics"])
def test_stretches_of_text_follow_each_other(corpus):
    source = sources.load("text", corpus, context=16, valid=0)
    whole = "".join(vocabulary.corpus(corpus))
    assert source.tokens.shape == ((len(whole) - 1) // 16, 17) and source.vocab == len(source.vocabulary)
    assert np.array_equal(source.tokens[:-1, -1], source.tokens[1:, 0])
    assert whole.startswith("".join(source.vocabulary.tokens[i] for i in source.tokens[:, :-1].ravel()))


def test_pairs_of_sentences_are_neighbours():
    source = sources.load("text_pairs", valid=0)
    neighbours = [pair for d in vocabulary.corpus("topics") for pair in pairwise(vocabulary.sentences(d))]
    assert len(source.tokens) == len(neighbours)
    for row, part, n, (first, second) in zip(source.tokens, source.part, source.lengths, neighbours, strict=True):
        a, b = (source.vocabulary.encode(sentence)[:14] for sentence in (first, second))
        assert row.tolist() == [START, *a, END, *b, END] + [PAD] * (32 - n)
        assert part.tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1) + [0] * (32 - n)


def test_half_of_the_second_sentences_are_others():
    true, either = (sources.load(name, valid=0) for name in ("text_pairs", "next_sentences"))
    same = (true.tokens == either.tokens).all(axis=1)
    assert abs(either.y.mean() - 0.5) < 0.01 and same[either.y == 1].all() and same[either.y == 0].mean() < 0.02
    swapped = sources.load("next_sentences", swapped=True, valid=0)
    row = int(np.flatnonzero(swapped.y == 0)[0])
    parts = [
        r[p == k].tolist()
        for r, p in ((true.tokens[row], true.part[row]), (swapped.tokens[row], swapped.part[row]))
        for k in (0, 1)
    ]
    assert [x for x in parts[0] if x not in (PAD, START, END)] == [x for x in parts[3] if x not in (PAD, START, END)]


def test_sentences_know_their_document():
    source = sources.load("sentences", classes=3, test=0)
    documents = sorted(map(vocabulary.sentences, vocabulary.corpus("topics")), key=len, reverse=True)[:3]
    assert [int((source.y == k).sum()) for k in range(3)] == list(map(len, documents))
    assert source.tokens[0, : source.lengths[0]].tolist() == source.vocabulary.encode(documents[0][0])[:24]


def test_a_question_has_its_answer_in_the_sentence():
    from leec.runtime.texts import KINDS

    source = sources.load("questions", rows=300, valid=0)
    kinds = set()
    for row, first, last in zip(source.tokens, source.first, source.last, strict=True):
        words = [source.vocabulary.tokens[i] for i in row]
        before, firsts, lasts = KINDS[words[1]]
        kinds.add(words[1])
        assert words[first - 1] == before and words[first] in firsts
        assert last == first or last == first + 1 and words[last] in lasts
        assert sum(words[i - 1] == b and words[i] in f for b, f, _ in KINDS.values() for i in range(4, 32)) >= 3
    assert kinds == set(KINDS)


def test_days_are_written_in_several_ways():
    source = sources.load("pairs", rows=200)
    written = [source.source.vocabulary.decode(row) for row in source.x]
    iso = [source.target.vocabulary.decode(row) for row in source.y]
    assert list(zip(written, iso, strict=True)) == list(pairs.dates(200, 0))
    assert all(day[:4] in text and str(int(day[8:])) in text for text, day in zip(written, iso, strict=True))
    assert (source.y[np.arange(200), source.y_lengths - 1] == END).all()


@pytest.mark.parametrize(
    ("written", "tree"),
    [
        ("a + b.c(1)", "( add name ( call ( attribute name ) number ) )"),
        ("not x or y[0] is None", "( or ( not name ) ( is ( item name number ) None ) )"),
        ("f(x)('s') <= -n", "( lte ( call ( call name name ) string ) ( usub name ) )"),
        ("[x for x in y]", ""),
    ],
)
def test_trees_as_brackets(written, tree):
    node = ast.parse(written, mode="eval").body
    assert " ".join(pairs.bracketed(node)) == tree
    assert not tree or " ".join(pairs.surface(node)).count("name") == sum(
        isinstance(n, ast.Name | ast.Attribute) for n in ast.walk(node)
    )


# ---- files and misuse


def test_a_file_of_pairs(tmp_path):
    path = tmp_path / "de-en.tsv"
    path.write_text("Guten Morgen!\tGood morning!\n\nja\tyes\n", encoding="utf-8")
    source = sources.load("pairs", str(path))
    assert source.target.vocabulary.decode(source.y[0]) == "good morning !" and source.lengths.tolist() == [4, 2]
    path.write_text("ja\tyes\nnein\n")
    with fault("LEE708", "de-en.tsv:2: needs two texts with a tab between them"):
        sources.load("pairs", str(path))


def test_a_text_file(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("abc abc abc", encoding="utf-8")
    assert sources.load("text", str(path), context=4, valid=0).tokens.shape == (2, 5)
    path.write_bytes(b"\xff\xfe\x00")
    with fault("LEE708", "UTF-8"):
        sources.load("text", str(path))
    path.write_text("  \n")
    with fault("LEE708", "holds no text"):
        sources.load("text", str(path))


@pytest.mark.parametrize(
    ("name", "options", "code", "message"),
    [
        ("text", {"corpus": "topic"}, "LEE702", "no text called `topic`.*did you mean `topics`"),
        ("text", {"corpus": "lost.txt"}, "LEE709", "no file lost.txt"),
        ("text", {"level": "word"}, "LEE702", "did you mean `words`"),
        ("text", {"corpus": "zen", "context": 9999}, "LEE702", "`context = 9999` is more than the 856 tokens"),
        ("text", {"context": 0}, "LEE702", "`context` is at least 1, not 0"),
        ("text", {"contxt": 8}, "LEE702", "did you mean `context`"),
        ("sentences", {"classes": 1000}, "LEE702", "fewer than 1000 classes"),
        ("text_pairs", {"context": 4}, "LEE702", "no two sentences for a context of 4"),
        ("questions", {"context": 8}, "LEE702", "a context of 20 tokens or more"),
        ("pairs", {"rows": 0}, "LEE702", "`rows` is at least 1, not 0"),
    ],
)
def test_what_is_said_of_misuse(name, options, code, message):
    with fault(code, message):
        sources.load(name, **options)


# ---- in the language

SPEC = """
from std.data import pairs, text
from std.losses import cross_entropy
from std.nn import Embedding, Linear
from std.optim import SGD


model Net(vocab):
    read = Embedding(vocab, 4)
    head = Linear(4, vocab)

    def forward(x: int[n, time]) -> [n, time, vocab]:
        return head(read(x))



train fit(time = 3, batch = 8):
    data = text("zen", context = 5)
    both = pairs(rows = 20)
    net = Net(data.vocab)
    opt = SGD(lr = 0.1)
    for step in 1..time:
        tokens = data.train.sample(batch)
        minimize cross_entropy(net(tokens[:, :-1]), tokens[:, 1:]) over net with opt
    v = data.valid
    x, lengths, y, y_lengths = both.train.sample(4)
    report rows = len(v), vocab = data.vocab, target = both.target.vocab, sum = both.source.vocab + both.target.vocab, longest = y.dims[1], most = max(y_lengths)
    return net
"""


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_source_tells_its_numbers_and_sizes(backend):
    """`time` is an argument of the procedure, and the name of a size among the declared fields."""
    net, history = leec.load(SPEC).run("fit", backend=backend)
    text, both = sources.load("text", "zen", context=5), sources.load("pairs", rows=20)
    row = history[-1]
    assert row["vocab"] == text.vocab == len(net.head.b) and row["rows"] == len(text.valid)
    assert row["target"] == both.target.vocab and row["sum"] == both.source.vocab + both.target.vocab
    assert row["longest"] == row["most"] == 11


def test_what_a_source_has_not_is_said():
    with pytest.raises(leec.LeeError) as report:
        leec.load(SPEC.replace("data.vocab, target", "data.words, target"))
    assert "words" in str(report.value)
