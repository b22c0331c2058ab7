"""What a spec declares and calls: defs with and without types, packs, models with state, submodels and lists of them."""

from __future__ import annotations

from dataclasses import dataclass

from programs import forms
from programs.scope import Dims, Name, Scope
from programs.statements import Statements

ANY = ("..",)  # dims that the argument decides


@dataclass(frozen=True)
class Callee:
    """A def: its parameters and the dims of its results by its own symbols."""

    name: str
    parameters: tuple[Name, ...]
    results: tuple[Dims, ...]


@dataclass(frozen=True)
class Model:
    """A model from [n, d] to [n, h]; h is d where it has only d. `layers` where it takes a number of them."""

    name: str
    hypers: Dims

    @property
    def square(self) -> bool:
        return "h" not in self.hypers


class Blocks(Statements):
    """Items of a spec, and their calls."""

    def __init__(self, choose):
        super().__init__(choose)
        self.items: list[str] = []
        self.callees: list[Callee] = []
        self.models: list[Model] = []

    def statement(self, s: Scope) -> None:
        other = [
            *[self.called] * (2 * bool(self.callees)),
            *[self.applied] * (3 * bool(self.models and s.sizes[0].isdigit())),
        ]
        if other and self.seldom(3):
            self.pick(other)(s)
        else:
            super().statement(s)

    def item(self, head: str, *lines: str) -> None:
        self.items.append("\n".join((head, *lines)))

    # ---- defs

    def function(self) -> None:
        symbols = ("n", "m", "k")[: 1 + self.choose(3)]
        s, name = Scope(symbols, asks=("float", "int", "bool"), bound=symbols), self.fresh("f")
        self.supply(s, self.dims(s, 1, 2))
        for _ in range(1 + self.choose(3)):
            self.statement(s)
        results = tuple(self.dims(s) for _ in range(1 + self.seldom(4)))
        texts = [self.tensor(s, dims, 2) for dims in results]
        missing = tuple(size for size in symbols if not any(size in n.dims for n in s.given))
        if missing:
            self.supply(s, missing)
        texts[0] = with_rest(s, texts[0])
        s.say(f"return {', '.join(texts)}")
        gives = ", ".join(Name("", dims).type for dims in results)
        given = ", ".join(f"{n.text}: {n.type}" for n in s.given)
        self.item(f"def {name}({given}) -> {gives if len(results) == 1 else f'({gives})'}:", *s.lines)
        self.callees.append(Callee(name, tuple(s.given), results))

    def pack(self) -> None:
        """Rows of any number of axes."""
        name, d, x, w = self.fresh("p"), self.pick(("d", "m")), self.fresh("x"), self.fresh("w")
        s = Scope((d,), names=[Name(w, (d,))])
        body, weight = self.pick(forms.SMOOTH).format(x), self.tensor(s, (d,), 2)
        inner = ("{0} * {1}", "softmax({0}, axis = -1) * {1}", "({0} - mean({0}, axis = -1, keepdims = true)) * {1}")
        s.say(f"return {self.pick(inner).format(body, weight)} + 0.1 * mean({w})")
        self.item(f"def {name}({x}: [.., {d}], {w}: [{d}]) -> [.., {d}]:", *s.lines)
        self.callees.append(Callee(name, (Name(x, (*ANY, d)), Name(w, (d,))), ((*ANY, d),)))

    def untyped(self) -> None:
        """Without types: what comes in decides."""
        name, a, b = self.fresh("g"), self.fresh("a"), self.fresh("b")
        inner = self.pick(forms.JOINED).format(self.pick(forms.SMOOTH).format(a), self.pick(forms.KINKED).format(b))
        self.item(f"def {name}({a}, {b} = 0.7):", f"    return {inner}")
        self.callees.append(Callee(name, (Name(a, ANY), Name(b, ())), (ANY,)))

    def called(self, s: Scope) -> None:
        self.call(s, self.pick(self.callees))

    def call(self, s: Scope, f: Callee) -> None:
        """A call, whose results get names."""
        sizes: dict[str, Dims] = {size: (self.pick(s.sizes),) for p in f.parameters for size in p.dims}
        sizes[ANY[0]] = self.dims(s)
        given = [self.argument(s, p, sizes) for p in f.parameters]
        if f.results == (ANY,) and self.often():
            given[1] = f"{f.parameters[1].text} = 1.9"
        names = [Name(self.fresh(), put(dims, sizes)) for dims in f.results]
        s.say(f"{', '.join(n.text for n in names)} = {f.name}({', '.join(given)})")
        s.names += names

    def argument(self, s: Scope, p: Name, sizes: dict[str, Dims]) -> str:
        dims = put(p.dims, sizes)
        if p.dtype == "bool":
            return self.condition(s, dims, 1)
        return self.tensor(s, dims, 1) if p.dtype == "float" else self.places(s, dims, sizes[p.below][0])

    # ---- models

    def model(self, square: bool = False) -> None:
        """A layer; with a state or without, from d to h or from d to d."""
        name, square = self.fresh("M"), square or self.often()
        hypers = ("d",) if square else ("d", "h")
        x, w = Name(self.fresh("x"), ("n", "d")), Name(self.fresh("w"), ("d", hypers[-1]))
        s = Scope(("n", *hypers), asks=("float",), bound=hypers, names=[x], indent=2)
        s.given.append(s.add(w))
        state = Name(self.fresh("s"), (hypers[-1],)) if self.often(3) else None
        if state:
            s.add(state)
        for _ in range(self.choose(3)):
            self.statement(s)
        y = Name(self.fresh("y"), ("n", hypers[-1]))
        s.say(f"{y.text} = {self.tensor(s, y.dims, 2)} + {s.use(x)} @ {s.use(w)}")
        s.add(y)
        if state:
            s.say(f"{s.use(state)} <- 0.9 * {state.text} + 0.1 * mean({y.text}, axis = 0)")
        result = self.pick(forms.SMOOTH).format(s.use(y)) + (f" + {state.text}" if state and self.often() else "")
        s.say(f"return {with_rest(s, result)}")
        params = [
            f"    param {n.text}: {n.type} {self.pick(('~ normal(0, 0.5)', '~ uniform(-1, 1)') if n.dims else ('= 0.2',))}"
            for n in s.given  # an array of equal numbers has no slope where it is sorted
        ]
        states = [f"    state {state.text}: {state.type} = 0.3"] if state else []
        head = f"    def forward({x.text}: [n, d]) -> [n, {hypers[-1]}]:"
        self.item(f"model {name}({', '.join(hypers)}):", *params, *states, "", head, *s.lines)
        self.models.append(Model(name, hypers))

    def nested(self) -> None:
        """A model of models: members, and a list of them run through by a loop."""
        if not any(m.square for m in self.models):
            self.model(square=True)
        squares = [m for m in self.models if m.square]
        name, part, last, x = self.fresh("N"), self.pick(squares), self.pick(self.models), self.fresh("x")
        layers = "layers" not in part.hypers and self.often()
        hypers = ("d", "h") if not last.square else ("d",)
        count = "layers" if layers else "2"
        made = {m: f"{m.name}({', '.join('2' if p == 'layers' else p for p in m.hypers)})" for m in (part, last)}
        loop = self.pick((
            ("for cell in cells:", f"    {x} = cell({x})"),
            ("for cell in cells:", f"    {x} = 0.5 * {x} + 0.5 * cell({x})"),
            ("for cell, other in zip(cells, others):", f"    {x} = cell(other({x}))"),
            ("for cell in reversed(cells):", f"    {x} = cell({x})"),
        ))  # fmt: skip
        lines = [f"    cells = [{made[part]} for i in {count}]"]
        lines += [f"    others = [{made[part]} for i in {count}]"] * ("others" in loop[0])
        lines += [f"    last = {made[last]}", "", f"    def forward({x}: [n, d]) -> [n, {hypers[-1]}]:"]
        body = [*loop, f"return last({x})" if last.square or self.often() else f"return last({x}) * last(sin({x}))"]
        self.item(
            f"model {name}({', '.join((*hypers, *['layers'] * layers))}):", *lines, *("        " + b for b in body)
        )
        self.models.append(Model(name, (*hypers, *["layers"] * layers)))

    def applied(self, s: Scope) -> None:
        """A model made and called, once or after a step of descent; in a def, models come as arguments only."""
        model = self.pick(self.models)
        sizes = {"d": self.pick(s.sizes), "h": self.pick(s.sizes), "layers": self.pick(("2", "1", "3"))}
        n, d, h = self.pick(s.sizes), sizes["d"], sizes["d" if model.square else "h"]
        net, name = self.fresh("net"), self.fresh()
        s.say(f"{net} = {model.name}({', '.join(sizes[p] for p in model.hypers)})")
        mode = self.pick(("", "", ", training = false"))
        s.say(f"{name} = {net}({self.tensor(s, (n, d), 1)}{mode})")
        s.add(Name(name, (n, h)))
        if self.seldom(3):
            self.moved(s, net, (n, d), (n, h))

    def moved(self, s: Scope, net: str, given: Dims, gives: Dims) -> None:
        """Another point of the space of its parameters, called."""
        other, again = self.fresh("net"), self.fresh()
        step = "{0} - 0.1 * grad(sum({0}({1}) ** 2), {0})"
        rule = self.pick(
            (step, step, "0.5 * {0}", "({0} + 2 * {0}) / 2.5", "tanh({0})", "where(abs({0}) > 0.3, {0}, 0)")
        )
        s.say(f"{other} = {rule.format(net, self.tensor(s, given, 1))}")
        s.say(f"{again} = {other}({self.tensor(s, given, 1)})")
        s.add(Name(again, gives))


def put(dims: Dims, sizes: dict[str, Dims]) -> Dims:
    return tuple(d for size in dims for d in sizes[size])


def with_rest(s: Scope, text: str) -> str:
    """The text, and what nothing has read yet."""
    for n in s.unread():
        inner = n.text if n.dtype != "bool" else f"float({n.text})"
        text += f" + 0.1 * {'mean' if n.dims else 'float' if n.dtype == 'int' else ''}({inner})"
    return text
