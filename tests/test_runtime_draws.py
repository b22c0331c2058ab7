"""Draws: Philox4x32-10 against its published vectors, and both back ends against each other, bit for bit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leec.runtime import draws_numpy, draws_torch, philox

torch = pytest.importorskip("torch")

KEYS = [(0, 0), (1, 2), (0xFFFFFFFF, 0x80000000), (0xA4093822, 0x299F31D0)]

# counter, key, output: philox4x32 with 10 rounds in the known answers (kat_vectors) of the Random123 distribution
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize("counter, key, expected", VECTORS)
def test_published_vectors(counter, key, expected):
    arrays = tuple(np.array([word], np.uint64) for word in words(counter))
    tensors = tuple(torch.tensor([word]) for word in words(counter))
    assert draws_numpy.philox(words(key), words(counter)) == words(expected)
    assert tuple(int(w[0]) for w in draws_numpy.philox(words(key), arrays)) == words(expected)
    assert tuple(int(w[0]) for w in draws_torch.philox(words(key), tensors)) == words(expected)


def test_bits_are_the_blocks_in_order():
    blocks = [draws_numpy.philox((1, 2), (i, 0, 0, 0)) for i in range(3)]
    assert draws_numpy.bits((1, 2), 11).tolist() == [word for block in blocks for word in block][:11]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 1000, 40_000])
def test_words_agree(key, n):
    ours, theirs = draws_numpy.bits(key, n), draws_torch.bits(key, n)
    assert ours.dtype == np.uint32 and ours.shape == (n,)
    assert np.array_equal(ours, theirs.numpy())


@pytest.mark.parametrize("key", KEYS)
def test_uniforms_agree_in_every_width(key):
    f32 = draws_numpy.uniform(key, (50, 21), np.float32)
    f64 = draws_numpy.uniform(key, (50, 21), np.float64)
    assert f32.dtype == np.float32 and np.array_equal(f32, f64)
    assert 0 <= f64.min() and f64.max() < 1
    assert np.array_equal(f32, draws_torch.uniform(key, (50, 21), torch.float32).numpy())
    assert np.array_equal(f64, draws_torch.uniform(key, (50, 21), torch.float64).numpy())


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("shape", [(), (7,), (20, 5, 3)])
def test_normals_agree_to_the_last_place_or_so(key, shape):
    ours = draws_numpy.normal(key, shape, np.float64)
    theirs = draws_torch.normal(key, shape, torch.float64).numpy()
    assert ours.shape == theirs.shape == shape
    assert np.all(np.abs(ours - theirs) <= 4 * np.spacing(np.maximum(np.abs(ours), 1)))
    single = draws_numpy.normal(key, shape, np.float32)
    assert single.dtype == np.float32 and np.array_equal(single, ours.astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(-(2**40), 2**40), st.integers(1, 2**32), st.integers(0, 40))
def test_integers_and_orders_agree(seed, low, size, n):
    key = philox.seed_key(seed)
    ours = draws_numpy.randint(key, (n,), low, low + size)
    assert np.array_equal(ours, draws_torch.randint(key, (n,), low, low + size).numpy())
    assert ours.dtype == np.int64 and np.all((low <= ours) & (ours < low + size))
    order = draws_numpy.permutation(key, n)
    assert np.array_equal(order, draws_torch.permutation(key, n).numpy())
    assert sorted(order) == list(range(n))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_folding_agrees_on_integers_and_tensors(seed, word):
    key = philox.seed_key(seed)
    folded = draws_numpy.fold(key, word)
    on_device = draws_torch.fold(torch.tensor(key), word)
    assert folded == draws_torch.fold(key, word) == tuple(int(k) for k in on_device)
    drawn = draws_torch.bits(torch.stack(on_device), 9)
    assert np.array_equal(draws_numpy.bits(folded, 9), drawn.numpy())


def test_equal_words_keep_their_order(monkeypatch):
    monkeypatch.setattr(draws_numpy, "bits", lambda key, n: np.array([3, 1, 3, 1, 0], np.uint32))
    assert draws_numpy.permutation((0, 0), 5).tolist() == [4, 1, 3, 0, 2]


def test_moments():
    n = 200_000
    u = draws_numpy.uniform((1, 2), (n,), np.float64)
    z = draws_numpy.normal((3, 4), (n,), np.float64)
    i = draws_numpy.randint((5, 6), (n,), 0, 6)
    error = 5 / math.sqrt(n)  # five standard errors of a mean of unit variance
    assert abs(u.mean() - 0.5) < error * math.sqrt(1 / 12) and abs(u.var() - 1 / 12) < error * 0.075
    assert abs(z.mean()) < error and abs(z.var() - 1) < error * math.sqrt(2) and abs((z**4).mean() - 3) < error * 10
    assert abs(np.mean(z[0::2] * z[1::2])) < error * math.sqrt(2)  # the two of a pair are independent
    assert np.all(np.abs(np.bincount(i, minlength=6) / n - 1 / 6) < error * math.sqrt(5) / 6)


def test_sites_and_rounds_have_keys_of_their_own():
    keys = {philox.site_key(seed, path) for seed in (0, 1, 2**33) for path in ("fit/net", "fit/opt", "訓練")}
    for outer, inner in (("epoch", "batch"), ("batch", "epoch")):
        rounds = [philox.round_key((0, 0), outer, i) for i in range(9)]
        keys |= {philox.round_key(key, inner, j) for key in rounds for j in range(9)}
    assert len(keys) == 9 + 81 + 81
    # fixed for good: checkpoints and golden records stand on these words
    assert philox.site_word("fit/net") == 482131819376634808
    assert philox.site_key(7, "fit/net") == (915284604, 562247057)
