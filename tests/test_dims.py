"""Dims, facts, types and contractions against plain integers: whatever the algebra does holds at every size."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from leec.dims import Dim, Facts, parse_dim
from leec.ops.contract import Contraction, parse_contraction
from leec.types import ShapeMismatch, TensorType, broadcast, host, join_dtypes, parse_type, tensor

SYMBOLS = ("n", "m", "k")
SIZES = st.fixed_dictionaries({s: st.integers(1, 9) for s in SYMBOLS})


# A dim is drawn together with the Python expression that says what it should be.
def leaf(least: int):
    numbers = st.integers(least, 6).map(lambda i: (Dim.of(i), f"({i})"))
    return st.one_of(st.sampled_from(SYMBOLS).map(lambda s: (Dim.of(s), s)), numbers)


def either(operator: str, apply):
    return lambda pair: (apply(pair[0][0], pair[1][0]), f"({pair[0][1]} {operator} {pair[1][1]})")


def grown(inner, *, positive: bool):
    """Sums and products of what there is, and of any sign also differences and quotients by something positive."""
    pairs = st.tuples(inner, inner)
    plain = [pairs.map(either("+", lambda x, y: x + y)), pairs.map(either("*", lambda x, y: x * y))]
    if positive:
        return st.one_of(plain)
    quotients = st.tuples(inner, POSITIVE).map(either("//", lambda x, y: x // y))
    remainders = st.tuples(inner, POSITIVE).map(either("%", lambda x, y: x % y))
    negatives = inner.map(lambda x: (-x[0], f"(-{x[1]})"))
    return st.one_of(*plain, negatives, pairs.map(either("-", lambda x, y: x - y)), quotients, remainders)


POSITIVE = st.recursive(leaf(1), lambda inner: grown(inner, positive=True), max_leaves=3)
DIMS = st.recursive(leaf(-6), lambda inner: grown(inner, positive=False), max_leaves=6)


@given(DIMS, SIZES)
@settings(max_examples=400)
def test_a_dim_is_the_number_that_its_expression_is(drawn, sizes) -> None:
    dim, text = drawn
    assert dim.evaluate(sizes) == eval(text, {}, dict(sizes))


@given(DIMS, SIZES)
@settings(max_examples=400)
def test_text_is_python_and_reads_back(drawn, sizes) -> None:
    dim, _ = drawn
    assert eval(str(dim), {}, dict(sizes)) == dim.evaluate(sizes)
    assert parse_dim(str(dim)) == dim and hash(parse_dim(str(dim))) == hash(dim)
    attributes = {f"self_{s}": v for s, v in sizes.items()}
    assert eval(dim.render(lambda s: f"self_{s}"), {}, attributes) == dim.evaluate(sizes)
    assert eval(f"7 * {dim.as_factor()} // 2", {}, dict(sizes)) == 7 * dim.evaluate(sizes) // 2


@given(DIMS, DIMS, DIMS)
def test_equal_by_algebra_is_equal(x, y, z) -> None:
    (x, _), (y, _), (z, _) = x, y, z
    assert (x + y) * z == x * z + y * z and hash((x + y) * z) == hash(x * z + y * z)
    assert x - y == -(y - x) and x + y - y == x and x * y == y * x
    assert (x == y) == (x - y == 0)


@given(DIMS, POSITIVE, POSITIVE, SIZES)
def test_quotients(x, d, e, sizes) -> None:
    (x, _), (d, _), (e, _) = x, d, e
    assert (x * d).__floordiv__(d).evaluate(sizes) == x.evaluate(sizes)
    assert ((x // d) // e).evaluate(sizes) == (x // (d * e)).evaluate(sizes)
    assert (d * (x // d) + x % d).evaluate(sizes) == x.evaluate(sizes)


def test_quotients_in_normal_form() -> None:
    n, m, k = map(Dim.of, SYMBOLS)
    assert (n // m) // k == n // (m * k)
    assert (n * m + 3 * m) // m == n + 3
    assert (4 * n + 6) // 2 == 2 * n + 3
    assert (n + 2) // 2 == n // 2 + 1
    assert str(-(n // 2)) == "-(n // 2)" and str((-n) // 2) == "(-n) // 2"
    assert (n - n + 7).constant == 7 and n.symbol == "n" and (n + 1).symbol is None
    with pytest.raises(ZeroDivisionError):
        n // 0


@given(DIMS, st.fixed_dictionaries({s: POSITIVE for s in SYMBOLS}), SIZES)
def test_substitution_is_evaluation_at_other_sizes(drawn, binding, sizes) -> None:
    dim, _ = drawn
    dims = {s: d for s, (d, _) in binding.items()}
    assert dim.substitute(dims).evaluate(sizes) == dim.evaluate({s: d.evaluate(sizes) for s, d in dims.items()})


def test_substitution_is_simultaneous() -> None:
    swapped = (Dim.of("n") - Dim.of("m")).substitute({"n": Dim.of("m"), "m": Dim.of("n")})
    assert swapped == Dim.of("m") - Dim.of("n")


# ---- facts


@given(DIMS, st.integers(1, 4), st.integers(0, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=300)
def test_what_is_required_changes_no_value_where_it_holds(drawn, den, rest, q, m, k) -> None:
    """require n % den == rest and k == m + 1."""
    dim, _ = drawn
    assume(rest < den)
    facts = Facts().with_remainder(Dim.of("n"), Dim.of(den), rest).with_equal(Dim.of("k"), Dim.of("m") + 1)
    sizes = {"n": q * den + rest, "m": m, "k": m + 1}
    assert facts.normal(dim).evaluate(sizes) == dim.evaluate(sizes)


@given(DIMS, DIMS, SIZES, st.integers(1, 4))
@settings(max_examples=300)
def test_what_facts_decide_is_so(x, y, sizes, heads) -> None:
    (x, _), (y, _) = x, y
    facts = Facts().with_remainder(Dim.of("n"), Dim.of("m"), 0)
    sizes = {**sizes, "n": sizes["m"] * heads}
    decided = facts.equal(x, y)
    if decided is not None:
        assert decided == (x.evaluate(sizes) == y.evaluate(sizes))


def test_facts_know_what_division_leaves() -> None:
    n, m, k = map(Dim.of, SYMBOLS)
    facts = Facts().with_remainder(n, m, 0)
    assert facts.equal(m * (n // m), n) is True
    assert facts.equal(k * m * (n // m) + 1, n * k + 1) is True
    assert facts.equal(n, n + 1) is False
    assert facts.equal(n, k) is None
    assert Facts().with_remainder(n, Dim.of(4), 3).equal(4 * (n // 4), n - 3) is True
    assert Facts().with_equal(n, m + 2).equal(2 * n, 2 * m + 4) is True
    moved = facts.substitute({"n": 2 * k, "m": Dim.of("h")})
    assert moved.equal(Dim.of("h") * ((2 * k) // Dim.of("h")), 2 * k) is True


# ---- types


DTYPES = st.sampled_from(("float", "f32", "f64", "bf16", "int", "bool"))


@given(DTYPES, st.lists(DIMS, max_size=3))
def test_types_read_back(dtype, dims) -> None:
    t = TensorType(dtype, tuple(d for d, _ in dims))
    assert parse_type(str(t)) == t
    assert parse_type(str(host(dtype))) == host(dtype)


@given(st.lists(st.sampled_from([1, 2, 3]), max_size=3), st.lists(st.sampled_from([1, 2, 3]), max_size=3))
def test_literal_dims_broadcast_as_in_numpy(x, y) -> None:
    types = tensor("float", *x), tensor("float", *y)
    try:
        wanted = np.broadcast_shapes(tuple(x), tuple(y))
    except ValueError:
        with pytest.raises(ShapeMismatch) as caught:
            broadcast(*types)
        assert caught.value.dims is not None and caught.value.dims[0] != caught.value.dims[1]
    else:
        assert broadcast(*types) == wanted


def test_a_name_stretches_to_nothing_but_itself() -> None:
    assert broadcast(tensor("float", "n", 1), tensor("float", "m")) == (Dim.of("n"), Dim.of("m"))
    with pytest.raises(ShapeMismatch, match="n is not m"):
        broadcast(tensor("float", "n"), tensor("float", "m"))


def test_dtypes_join_as_decided() -> None:
    """R17: int with float gives the float; two widths give the wider; numbers of the host are weak."""
    table = [
        (("int", "float"), "float"),
        (("int", "f32"), "f32"),
        (("f32", "f64"), "f64"),
        (("bf16", "float"), "float"),
        (("bool", "int"), "int"),
        (("bool", "bool"), "bool"),
    ]
    for dtypes, wanted in table:
        for order in (dtypes, dtypes[::-1]):
            assert join_dtypes(*(tensor(d, "n") for d in order)) == wanted
    assert join_dtypes(tensor("f32", "n"), host("float")) == "f32"
    assert join_dtypes(tensor("int", "n"), host("float")) == "float"
    assert join_dtypes(host("int"), host("float")) == "float"


# ---- contractions


def by_definition(spec: Contraction, arrays: list[np.ndarray], sizes: dict[str, int]) -> np.ndarray:
    """Every setting of the indices, one after the other."""
    result = np.zeros([d.evaluate(sizes) for d in spec.dims])
    for place in product(*(range(d.evaluate(sizes)) for _, d in spec.ranges)):
        here = {**sizes, **dict(zip(spec.range, place, strict=True))}
        at = lambda subscripts: tuple(s.evaluate(here) for s in subscripts)  # noqa: E731, B023
        result[at(spec.result)] += np.prod([x[at(s)] for x, s in zip(arrays, spec.operands, strict=True)])
    return result


CONV = parse_contraction("[2 * i + s, u] [s, n_] -> [i, n_ + u] of [n, m + k] for i in n, s in k, u in m, n_ in k + 1")


def test_contractions_read_back() -> None:
    assert parse_contraction(str(CONV)) == CONV
    empty = Contraction(((),), (), (), ())
    assert parse_contraction(str(empty)) == empty


@given(st.permutations(["i", "s", "u", "n_", "i_2", "z"]), SIZES)
@settings(max_examples=40)
def test_sizes_that_have_names_of_indices_capture_none(names, sizes) -> None:
    """Sizes n, m, k become names that the contraction may use for its indices; the numbers stay."""
    n, m, k = (1 + s % 2 for s in sizes.values())
    before = {"n": n, "m": m, "k": k}
    binding = {s: Dim.of(name) for s, name in zip(SYMBOLS, names, strict=False)}
    after = {d.symbol: before[s] for s, d in binding.items()}
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2 * n + k, m)), rng.normal(size=(k, k + 1))]
    moved = CONV.substitute(binding)
    assert not set(moved.range) & after.keys()
    np.testing.assert_allclose(by_definition(moved, arrays, after), by_definition(CONV, arrays, before))


def test_the_swap_of_a_contraction_is_its_adjoint() -> None:
    """<g, C(x, w)> = <x, C'(g, w)> = <w, C''(x, g)>."""
    sizes = {"n": 3, "m": 2, "k": 2}
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2 * 3 + 2, 2)), rng.normal(size=(2, 3))
    g = rng.normal(size=(3, 4))
    number = (g * by_definition(CONV, [x, w], sizes)).sum()
    d_x = by_definition(CONV.swapped(0, tuple(map(Dim.of, x.shape))), [g, w], sizes)
    d_w = by_definition(CONV.swapped(1, tuple(map(Dim.of, w.shape))), [x, g], sizes)
    np.testing.assert_allclose([(d_x * x).sum(), (d_w * w).sum()], number)
