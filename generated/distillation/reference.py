"""A small net learns what a large one answers (inventory O4, O5): that a 1 looks like a 7, too, is in no label.

Made from specs/compression/distillation.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/compression/distillation.lee
"""

from __future__ import annotations

import functools
import math

import numpy as np

FLOAT = np.float32


class Model:
    """What every model has: named arrays in declaration order, the trainable ones side by side in one vector.

    `members` names arrays and submodels (a list of submodels goes by one name), `states` what no gradient changes.
    """

    members: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # members whose name is taken

    def __call__(self, *inputs, **options):
        return self.forward(*inputs, **options)

    def parts(self):
        """(name, member) of arrays and submodels; the elements of a list are `layers.0`, `layers.1`, .."""
        for name in self.members:
            member = getattr(self, self.renamed.get(name, name))
            if isinstance(member, list):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(member))
            else:
                yield name, member

    def tensors(self):
        """Every array by its path in the spec, such as "conv1.kernel"; they are the model's own."""
        found = {}
        for name, part in self.parts():
            if isinstance(part, Model):
                found |= {f"{name}.{path}": array for path, array in part.tensors().items()}
            else:
                found[name] = part
        return found

    def load_tensors(self, arrays):
        """Copy arrays in by path. Raises ValueError where names or shapes differ."""
        own = self.tensors()
        if own.keys() != arrays.keys():
            raise ValueError(f"{type(self).__name__} has other tensors: {sorted(own.keys() ^ arrays.keys())}")
        for path, array in own.items():
            if array.shape != np.shape(arrays[path]):
                raise ValueError(f"{path} is {array.shape} here and {np.shape(arrays[path])} there")
            array[...] = arrays[path]

    def lay_out(self, vector=None):
        """Move all parameters into one vector; the arrays become views of it, those of submodels too."""
        sizes = [part.parameters.size if isinstance(part, Model) else part.size for _, part in self.trained()]
        self.parameters = np.empty(sum(sizes), FLOAT) if vector is None else vector
        stop = 0
        for (name, part), size in zip(self.trained(), sizes, strict=True):
            start, stop = stop, stop + size
            if isinstance(part, Model):
                part.lay_out(self.parameters[start:stop])
            else:
                view = self.parameters[start:stop].reshape(part.shape)
                view[...] = part
                setattr(self, self.renamed.get(name, name), view)

    def trained(self):
        return [(name, part) for name, part in self.parts() if name not in self.states]

    def shapes(self):
        """Of the parameters, in their order."""
        found = (part.shapes() if isinstance(part, Model) else [part.shape] for _, part in self.trained())
        return [shape for shapes in found for shape in shapes]

    def flat(self, gradient):
        """A gradient, nested dicts of arrays by member, as one vector beside `parameters`; what is missing is 0."""
        vector, stop = np.zeros_like(self.parameters), 0
        for name, part in self.trained():
            is_model = isinstance(part, Model)
            start, stop = stop, stop + (part.parameters.size if is_model else part.size)
            if name in gradient:
                vector[start:stop] = part.flat(gradient[name]) if is_model else gradient[name].ravel()
        return vector

    def copy(self):
        """The same model with arrays of its own."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for name in self.members:
            attribute = self.renamed.get(name, name)
            member = getattr(self, attribute)
            setattr(twin, attribute, [part.copy() for part in member] if isinstance(member, list) else member.copy())
        twin.lay_out()
        return twin

    def at(self, tensors):
        """A copy at another point of parameter space: nested dicts of arrays by member, as gradients are."""
        twin = self.copy()
        twin.move_to(tensors)
        return twin

    def move_to(self, tensors):
        for name, part in self.parts():
            if name in tensors and isinstance(part, Model):
                part.move_to(tensors[name])
            elif name in tensors:
                part[...] = tensors[name]


class Optimizer:
    """What every optimizer has: the number `t` of updates so far, and states like the parameters.

    `starts` says with what the entries of a state begin.
    """

    starts: dict[str, float] = {}
    t = 0
    rates: dict | None = None  # hyperparameters that are functions of the count

    def count(self):
        """Count an update; hyperparameters that are functions of the count get their values for it."""
        if self.rates is None:
            self.rates = {name: value for name, value in self.__dict__.items() if callable(value)}
        self.t += 1
        for name, rate in self.rates.items():
            setattr(self, name, rate(self.t))

    def begin(self, θ):
        """Count an update; the first one makes the states."""
        self.count()
        self.make_states(θ)

    def make_states(self, θ):
        """Raises ValueError for parameters of another size."""
        for name, start in self.starts.items():
            if not hasattr(self, name):
                setattr(self, name, np.full_like(θ, start))
            if getattr(self, name).shape != θ.shape:
                raise ValueError(f"{type(self).__name__} has moved {getattr(self, name).size} parameters, not {θ.size}")

    def tensors(self):
        """The count and the states that there are by now."""
        return {"t": self.t, **{name: getattr(self, name) for name in self.starts if hasattr(self, name)}}

    def load_tensors(self, arrays):
        """Go on from another's count and states."""
        self.t = int(arrays["t"])
        for name in self.starts.keys() & arrays.keys():
            setattr(self, name, np.array(arrays[name], FLOAT))

    def copy(self):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.load_tensors(self.tensors())
        return twin


def packed(*outputs, **inputs):
    """For a function that sees the axes of `..` as one: it takes, and gives back, any number of axes there.

    `inputs` has for an argument the place of that axis and its rank, `outputs` the place in every result.
    """

    def decorate(function):
        names = function.__code__.co_varnames

        @functools.wraps(function)
        def outer(*args, **options):
            given = {**dict(zip(names, args, strict=False)), **options}
            if all(name not in given or given[name].ndim == rank for name, (_, rank) in inputs.items()):
                return function(*args, **options)
            axes = None
            for name, (first, rank) in inputs.items():
                x = given[name]
                last = first + x.ndim - rank + 1
                if last < first or axes not in (None, x.shape[first:last]):
                    raise ValueError(f"{function.__qualname__}: {name} has the shape {tuple(x.shape)}")
                axes = x.shape[first:last]
                given[name] = x.reshape(*x.shape[:first], math.prod(axes), *x.shape[last:])
            results = function(**given)
            several = results if isinstance(results, tuple) else (results,)
            whole = tuple(
                y if place is None else y.reshape(*y.shape[:place], *axes, *y.shape[place + 1 :])
                for y, place in zip(several, outputs, strict=True)
            )
            return whole if isinstance(results, tuple) else whole[0]

        return outer

    return decorate


def distilled(z, teacher, y, temperature=4.0, weight=0.7):
    """λ T² KL(teacher ‖ student), both softened, and (1 - λ) of the labels; T² keeps the slopes of one size.

    z [n, k], teacher [n, k], y int[n] -> []
    """
    log_share = log_softmax(z / temperature, (1,))  # [n, k]  prelude.lee:127
    mean = kl(log_share, softmax(teacher / temperature, (1,)))  # distillation.lee:18
    hints = math.pow(temperature, 2) * mean
    return weight * hints + (1 - weight) * cross_entropy(z, y)  # distillation.lee:19


def distilled_saved(z, teacher, y, temperature=4.0, weight=0.7):
    """As distilled, and what its gradient needs."""
    log_share = log_softmax(z / temperature, (1,))  # [n, k]  prelude.lee:127
    softmax_ = softmax(teacher / temperature, (1,))  # [n, k]  prelude.lee:122
    mean, saved_kl = kl_saved(log_share, softmax_)  # distillation.lee:18
    hints = math.pow(temperature, 2) * mean
    return weight * hints + (1 - weight) * cross_entropy(z, y), (log_share, softmax_, saved_kl)  # distillation.lee:19


def distilled_backward(z, y, temperature, weight, saved, d_out):
    """From d_out to the gradient by z."""
    log_share, softmax_, saved_kl = saved
    # gradient of return weight * hints + (1 - weight) * cross_entropy(z, y)   distillation.lee:19
    d_hints = d_out * weight
    # gradient of hints = temperature ** 2 * kl(log_share, softened(teacher, temperature))   distillation.lee:18
    d_log_share = kl_backward(softmax_, saved_kl, d_hints * math.pow(temperature, 2))  # [n, k]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    mul = np.exp(log_share) * d_log_share.sum(axis=1, keepdims=True)  # [n, k]
    # gradient of return weight * hints + (1 - weight) * cross_entropy(z, y)   distillation.lee:19
    d_z_2 = cross_entropy_backward(z, y, d_out * (1 - weight))  # [n, k]
    # gradient of log_share = log_softmax(z / temperature, axis = 1)   distillation.lee:17
    d_z = d_z_2 + (d_log_share - mul) / temperature  # [n, k]
    return d_z  # [n, k]


def by_scores(z, teacher):
    """Ba & Caruana 2014: the scores themselves, which is what the softened form comes to as T grows.

    z [n, k], teacher [n, k] -> []
    """
    sub = z - teacher  # [n, k]  distillation.lee:24
    return 0.5 * (sub**2).sum(axis=1).mean()


def by_scores_saved(z, teacher):
    """As by_scores, and what its gradient needs."""
    sub = z - teacher  # [n, k]  distillation.lee:24
    return 0.5 * (sub**2).sum(axis=1).mean(), sub


def by_scores_backward(sub, d_y):
    """From d_y to the gradients by z and teacher."""
    n = sub.shape[0]
    # gradient of return 0.5 * mean(sum((z - teacher) ** 2, axis = 1))   distillation.lee:24
    d_z = 2 * (d_y * 0.5 / n) * sub  # [n, k]
    d_teacher = -d_z  # [n, k]
    return d_z, d_teacher


def from_many(z, teachers, temperature=4.0):
    """T² KL(mean of the teachers ‖ student)

    z [n, k], teachers [m, n, k] -> []
    """
    mean = softmax(teachers / temperature, (2,)).mean(axis=0)  # [n, k]  distillation.lee:29
    mean_2 = kl(log_softmax(z / temperature, (1,)), mean)  # distillation.lee:34
    return math.pow(temperature, 2) * mean_2


def from_many_saved(z, teachers, temperature=4.0):
    """As from_many, and what its gradient needs."""
    log_softmax_ = log_softmax(z / temperature, (1,))  # [n, k]  prelude.lee:127
    div_2_2 = softmax(teachers / temperature, (2,))  # [m, n, k]  prelude.lee:122
    mean = div_2_2.mean(axis=0)  # [n, k]  distillation.lee:29
    mean_2, saved_kl = kl_saved(log_softmax_, mean)  # distillation.lee:34
    return math.pow(temperature, 2) * mean_2, (log_softmax_, div_2_2, mean, saved_kl)


def from_many_backward(temperature, saved, d_y):
    """From d_y to the gradients by z and teachers."""
    log_softmax_, div_2_2, mean, saved_kl = saved
    m = div_2_2.shape[0]
    # gradient of return temperature ** 2 * kl(log_softmax(z / temperature, axis = 1), of_many(..   distillation.lee:34
    d_log_softmax, d_mean = kl_backward_2(mean, saved_kl, d_y * math.pow(temperature, 2))
    # gradient of return mean(softmax(z / temperature, axis = 2), axis = 0)   distillation.lee:29
    div = d_mean / m  # [n, k]
    d_teachers = div_2_2 * (div - (div * div_2_2).sum(axis=2, keepdims=True)) / temperature  # [m, n, k]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_2 = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return temperature ** 2 * kl(log_softmax(z / temperature, axis = 1), of_many(..   distillation.lee:34
    d_z = (d_log_softmax - np.exp(log_softmax_) * sum_2) / temperature  # [n, k]
    return d_z, d_teachers


def from_many_backward_2(temperature, saved, d_y):
    """From d_y to the gradient by z."""
    log_softmax_, _, mean, saved_kl = saved
    # gradient of return temperature ** 2 * kl(log_softmax(z / temperature, axis = 1), of_many(..   distillation.lee:34
    d_log_softmax = kl_backward(mean, saved_kl, d_y * math.pow(temperature, 2))  # [n, k]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return temperature ** 2 * kl(log_softmax(z / temperature, axis = 1), of_many(..   distillation.lee:34
    d_z = (d_log_softmax - np.exp(log_softmax_) * sum_) / temperature  # [n, k]
    return d_z  # [n, k]


def distillation(epochs=10, batch=32, rate=3e-3, few=150, steps=300, temperature=4.0, *, run=None):
    """From a few examples a student learns more by the teacher's answers than its equal does by the labels alone."""
    from leec.runtime.run import Run

    run = run or Run("distillation")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    teacher = MLP(sizes=(64, 128, 10), key=run.key("teacher"))  # distillation.lee:40
    opt = Adam(lr=rate)  # distillation.lee:41
    for epoch in run.loop("epoch", 1, epochs, opt=opt, teacher=teacher):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(distillation_step(teacher, opt, x, y))  # distillation.lee:44
    student = MLP(sizes=(64, 24, 10), key=run.key("student"))  # distillation.lee:45
    alone = student.copy()  # distillation.lee:46
    x, y, answers = distillation_x_y_answers(data.train.x, data.train.y, teacher, few)  # distillation.lee:47
    first = Adam(lr=rate)  # distillation.lee:50
    second = Adam(lr=rate)  # distillation.lee:51
    for step in run.loop("step", 1, steps, alone=alone, first=first, second=second, student=student):
        loss, loss_1 = distillation_step_2(student, alone, first, second, x, answers, y, temperature)
        run.step(loss)
        run.step(loss_1, "loss_1")
    right = distillation_right(student, data.test.x, data.test.y)  # distillation.lee:55
    run.report(student=right, ahead=right - accuracy(alone(data.test.x), data.test.y))  # distillation.lee:56
    return student


def distillation_step(teacher, opt, x, y):
    """One step of distillation."""
    add_2, saved_teacher = teacher.forward_saved(x)  # distillation.lee:44
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_teacher = teacher.forward_backward_parameters(x, saved_teacher, d_add_2)
    opt.update(teacher.parameters, teacher.flat(d_teacher))
    return cross_entropy(add_2, y)


def distillation_x_y_answers(data_train_x, data_train_y, teacher, few):
    """data_train_x [data_train_n, 64], data_train_y int[data_train_n] -> [few, 64], int[few], [few, 10]"""
    x = data_train_x[:few]  # [few, 64]  distillation.lee:47
    y = data_train_y[:few]  # int[few]  distillation.lee:48
    answers = teacher(x)  # [few, 10]  distillation.lee:49
    return x, y, answers


def distillation_step_2(student, alone, first, second, x, answers, y, temperature):
    """One step of distillation."""
    add_2, saved_student = student.forward_saved(x)  # distillation.lee:53
    loss, saved_distilled = distilled_saved(add_2, answers, y, temperature=temperature)
    d_add_2 = distilled_backward(add_2, y, temperature, 0.7, saved_distilled, FLOAT(1.0))  # [few, 10]
    d_student = student.forward_backward_parameters(x, saved_student, d_add_2)
    first.update(student.parameters, student.flat(d_student))
    add_2_2, saved_alone = alone.forward_saved(x)  # distillation.lee:54
    d_add_2_2 = cross_entropy_backward(add_2_2, y, FLOAT(1.0))  # [few, 10]
    d_alone = alone.forward_backward_parameters(x, saved_alone, d_add_2_2)
    second.update(alone.parameters, alone.flat(d_alone))
    return loss, cross_entropy(add_2_2, y)


def distillation_right(student, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> []"""
    right = accuracy(student(data_test_x), data_test_y)  # distillation.lee:55
    return right


def ensemble(epochs=8, batch=32, rate=3e-3, temperature=4.0, *, run=None):
    """Three teachers, one student: it costs what one small net costs."""
    from leec.runtime.run import Run

    run = run or Run("ensemble")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    one = MLP(sizes=(64, 64, 10), key=run.key("one"))  # distillation.lee:63
    two = MLP(sizes=(64, 64, 10), key=run.key("two"))  # distillation.lee:64
    three = MLP(sizes=(64, 64, 10), key=run.key("three"))  # distillation.lee:65
    first = Adam(lr=rate)  # distillation.lee:66
    for epoch in run.loop("epoch", 1, epochs, first=first, one=one, three=three, two=two):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(ensemble_step(one, two, three, first, x, y))  # distillation.lee:69
    student = MLP(sizes=(64, 24, 10), key=run.key("student"))  # distillation.lee:73
    own = Adam(lr=rate)  # distillation.lee:74
    for epoch in run.loop("epoch_2", 1, epochs, one=one, own=own, student=student, three=three, two=two):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(ensemble_step_2(student, one, two, three, own, x, temperature))  # distillation.lee:77
    run.report(student=accuracy(student(data.test.x), data.test.y))  # distillation.lee:82
    return student


def ensemble_step(one, two, three, first, x, y):
    """One step of ensemble."""
    add_2, saved_one = one.forward_saved(x)  # distillation.lee:69
    add_2_2, saved_two = two.forward_saved(x)
    add_2_3, saved_three = three.forward_saved(x)  # distillation.lee:70
    add = cross_entropy(add_2, y) + cross_entropy(add_2_2, y)  # distillation.lee:69
    d_add_2_3 = cross_entropy_backward(add_2_3, y, FLOAT(1.0))  # [batches_n, 10]
    d_three = three.forward_backward_parameters(x, saved_three, d_add_2_3)  # distillation.lee:70
    d_add_2_2 = cross_entropy_backward(add_2_2, y, FLOAT(1.0))  # [batches_n, 10]  distillation.lee:69
    d_two = two.forward_backward_parameters(x, saved_two, d_add_2_2)
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_one = one.forward_backward_parameters(x, saved_one, d_add_2)
    update_together(first, (one, d_one), (two, d_two), (three, d_three))
    return add + cross_entropy(add_2_3, y)


def ensemble_step_2(student, one, two, three, own, x, temperature):
    """One step of ensemble."""
    add_2, saved_student = student.forward_saved(x)  # distillation.lee:78
    graft = stop_2(np.stack((one(x), two(x), three(x))))  # [3, batches_2_n, 10]  distillation.lee:79
    loss, saved_from_many = from_many_saved(add_2, graft, temperature=temperature)  # distillation.lee:77
    d_add_2 = from_many_backward_2(temperature, saved_from_many, FLOAT(1.0))  # [batches_2_n, 10]
    d_student = student.forward_backward_parameters(x, saved_student, d_add_2)  # distillation.lee:78
    own.update(student.parameters, student.flat(d_student))  # distillation.lee:77
    return loss


def example_taught(key):
    student = MLP((5, 4, 3), key=fold(key, SITES["student"]))  # distillation.lee:87
    teacher = MLP((5, 8, 3), key=fold(key, SITES["teacher"]))  # distillation.lee:88
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  distillation.lee:89
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  distillation.lee:90
    add_2, saved_student = student.forward_saved(x)  # distillation.lee:91
    value, saved_distilled = distilled_saved(add_2, stop(teacher(x)), y)
    d_add_2 = distilled_backward(add_2, y, 4.0, 0.7, saved_distilled, FLOAT(1.0))  # [9, 3]
    d_student, d_x = student.forward_backward(x, saved_student, d_add_2)
    return (
        value,
        student.at(d_student),
        teacher.at(
            {
                "layers.0": {"w": np.zeros((5, 8), dtype=FLOAT), "b": np.zeros(8, dtype=FLOAT)},
                "layers.1": {"w": np.zeros((8, 3), dtype=FLOAT), "b": np.zeros(3, dtype=FLOAT)},
            }
        ),
        d_x,
    )


def example_scored(key):
    z = normal(fold(key, SITES["z"]), (9, 3), FLOAT)  # [9, 3]  distillation.lee:95
    teacher = normal(fold(key, SITES["teacher"]), (9, 3), FLOAT)  # [9, 3]  distillation.lee:96
    value, saved_by_scores = by_scores_saved(z, teacher)  # distillation.lee:97
    d_z, d_teacher = by_scores_backward(saved_by_scores, FLOAT(1.0))
    return value, d_z, d_teacher


def example_averaged(key):
    z = normal(fold(key, SITES["z"]), (9, 3), FLOAT)  # [9, 3]  distillation.lee:101
    teachers = normal(fold(key, SITES["teachers"]), (4, 9, 3), FLOAT)  # [4, 9, 3]  distillation.lee:102
    value, saved_from_many = from_many_saved(z, teachers)  # distillation.lee:103
    d_z, d_teachers = from_many_backward(4.0, saved_from_many, FLOAT(1.0))
    return value, d_z, d_teachers


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced(surprise)  # losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def kl(log_q, p):
    """Σ p (log p - log q) along the last axis, the mean over rows; 0 where p is 0.

    log_q [p_0, p_1], p [p_0, p_1] -> []
    """
    gt = p > 0  # bool[p_0, p_1]  losses.lee:99
    share = masked(p * (np.log(np.where(gt, p, 1)) - log_q), gt)  # [p_0, p_1]
    return reduced(share.sum(axis=1))  # losses.lee:100


def kl_saved(log_q, p):
    """As kl, and what its gradient needs."""
    gt = p > 0  # bool[p_0, p_1]  losses.lee:99
    guard_2 = np.where(gt, p, 1)  # [p_0, p_1]
    guard_3 = np.log(guard_2) - log_q  # [p_0, p_1]
    share = masked(p * guard_3, gt)  # [p_0, p_1]
    return reduced(share.sum(axis=1)), (gt, guard_2, guard_3)  # losses.lee:100


def kl_backward(p, saved, d_y):
    """From d_y to the gradient by log_q."""
    gt, _, _ = saved
    p_0 = p.shape[0]
    # gradient of share = where(p > 0, p * (log(where(p > 0, p, 1)) - log_q), 0)   losses.lee:99
    d_log_q = masked(-(reduced_backward(p_0, d_y)[:, None] * p), gt)  # [p_0, p_1]
    return d_log_q  # [p_0, p_1]


def kl_backward_2(p, saved, d_y):
    """From d_y to the gradients by log_q and p."""
    gt, guard_2, guard_3 = saved
    p_0 = p.shape[0]
    # gradient of return reduced(sum(share, axis = -1), reduce)   losses.lee:100
    reshape = reduced_backward(p_0, d_y)[:, None]  # [p_0, 1]
    # gradient of share = where(p > 0, p * (log(where(p > 0, p, 1)) - log_q), 0)   losses.lee:99
    mul_2 = reshape * p  # [p_0, p_1]
    d_log_q = masked(-mul_2, gt)  # [p_0, p_1]
    d_p = masked(mul_2 / guard_2, gt) + masked(reshape * guard_3, gt)  # [p_0, p_1]
    return d_log_q, d_p


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_backward(each_0, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_y / each_0, (each_0,))  # [each_0]
    return d_each  # [each_0]


@packed(None, z=(0, 2), y=(0, 1))
def accuracy(z, y):
    """The share of rows whose largest score is at the right class.

    z [.., k], y int[..] -> []
    """
    return (z.argmax(axis=1) == y).astype(FLOAT).mean()  # metrics.lee:9


class Linear(Model):
    """x W + b"""

    members = ("w", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  nn.lee:17
        self.w = div + (div_2 - div) * uniform_  # [inputs, outputs]  nn.lee:15
        self.b = div + (div_2 - div) * uniform_2  # [outputs]  nn.lee:17
        self.lay_out()

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return x @ self.w + self.b  # [rows, outputs]  nn.lee:21

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}


class MLP(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        self.sizes = sizes
        # nn.lee:37
        self.layers = [
            Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
            Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
        ]
        self.lay_out()

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_2]"""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2)  # [x_0, sizes_2]  nn.lee:42

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2), x_2  # nn.lee:42

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


class Adam(Optimizer):
    """m, v: averages of g and g², each over its bias; θ ← θ - η m̂ / (√v̂ + ε) (Kingma & Ba 2015).

    `weight_decay` adds λ θ to the gradient; AdamW keeps it apart.
    """

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
        self.lr, self.beta1, self.beta2, self.eps, self.weight_decay = lr, beta1, beta2, eps, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, m, v in blocks(parameters, gradient, self.m, self.v):
            g_2 = g + self.weight_decay * θ  # [count]  optim.lee:74
            m[...] = self.beta1 * m + (1 - self.beta1) * g_2  # [count]  optim.lee:75
            v[...] = self.beta2 * v + (1 - self.beta2) * g_2**2  # [count]  optim.lee:76
            m_hat = m / (1 - math.pow(self.beta1, self.t))  # [count]  optim.lee:77
            v_hat = v / (1 - math.pow(self.beta2, self.t))  # [count]  optim.lee:78
            θ -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)  # [count]  optim.lee:79


def stop(x):
    """x, through which no gradient flows.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x  # [x_0, x_1]


def stop_2(x):
    """x, through which no gradient flows.

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return x  # [x_0, x_1, x_2]


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return np.maximum(x, 0)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "student": 0x7A3FC099382B710D,
    "teacher": 0x89B7BB10103A3F96,
    "teachers": 0xE6198D072FF02E1E,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "z": 0x3041FD28A7B04184,
}


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axes, keepdims=True)
    return e / np.where(total == 0, 1, total)


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    shifted = x - np.where(np.isneginf(top), 0, top)
    total = np.exp(shifted).sum(axis=axes, keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


MASK = 0xFFFFFFFF


Key = tuple[int, int]


def philox(key, counter):
    """Four random words for a counter of four words: ten rounds of products that swap their halves.

    The words of the counter are Python integers or uint64 arrays below 2**32, those of the key integers.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 & MASK, (p0 >> 32) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def fold(key: Key, word: int) -> Key:
    """The key that belongs to a word of 64 bits (a site, a round of a loop) under a key.

    It is the first half of the block that starts with the word; the last word of its counter, 0xF01D, is 0 in
    every block that `bits` reads, so folding and drawing never meet.
    """
    word = int(word)  # a NumPy integer would wrap
    return philox(key, (word & MASK, word >> 32 & MASK, 0, 0xF01D))[:2]


def bits(key: Key, n: int) -> np.ndarray:
    """n random words, uint32[n], all four words of a block used; at most 2**34 from one key."""
    words = np.empty((-(-n // 4), 4), np.uint32)
    for start in range(0, len(words), 8192):  # a stretch that stays in the cache
        part = words[start : start + 8192]
        blocks = np.arange(start, start + len(part), dtype=np.uint64)
        for column, word in enumerate(philox(key, (blocks, 0, 0, 0))):
            part[:, column] = word
    return words.ravel()[:n]


def uniform(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Uniform numbers in [0, 1): multiples of 2**-24, so that float32 and float64 hold the same ones."""
    return (bits(key, math.prod(shape)) >> 8).reshape(shape).astype(dtype) * 2.0**-24


def normal(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2) >> 8).reshape(-1, 2).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return pairs.ravel()[:n].reshape(shape).astype(dtype)


def randint(key: Key, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape)).reshape(shape).astype(np.uint64)
    return (words * np.uint64(high - low) >> 32).astype(np.int64) + low


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)


def update_together(optimizer, *pairs, each=False):
    """One update of several models, given with their gradients, as one vector; `each` for a rule of single tensors."""
    θ = np.concatenate([model.parameters for model, _ in pairs])
    shapes = [[shape for model, _ in pairs for shape in model.shapes()]] if each else []
    optimizer.update(θ, np.concatenate([model.flat(gradient) for model, gradient in pairs]), *shapes)
    stop = 0
    for model, _ in pairs:
        start, stop = stop, stop + model.parameters.size
        model.parameters[...] = θ[start:stop]
