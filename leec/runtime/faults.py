"""What can go wrong while a program runs: one exception, and a function for each mistake that makes it.

A RuntimeFault is data (code, name, message, help); the command line renders it as a diagnostic and exits with its
status. It never carries the values of arrays, and the user never needs a traceback to understand it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

FOUND = 1  # exit status: something to correct
ABSENT = 4  # exit status: a package, device or file is not there, so that CI can skip


class RuntimeFault(Exception):
    """A mistake met while running: what is wrong, what to do about it, and facts for a program that reads it."""

    def __init__(self, code: str, name: str, message: str, help: str = "", status: int = FOUND, **data: object):
        super().__init__(f"{code} {name}: {message}" + (f" (help: {help})" if help else ""))
        self.code, self.name, self.message, self.help, self.status, self.data = code, name, message, help, status, data


def nearest(word: str, words: Iterable[str]) -> str:
    """The start of a help text: the nearest of the words there are, or all of them."""
    known = sorted(words)
    close = get_close_matches(word, known, n=1)
    return f"did you mean `{close[0]}`? " if close else "there are " + ", ".join(f"`{w}`" for w in known)


# ---- data


def unknown_source(name: str, known: Iterable[str]) -> RuntimeFault:
    return RuntimeFault("LEE701", "unknown-source", f"no data source is called `{name}`", nearest(name, known))


def wrong_option(source: str, message: str, help: str = "") -> RuntimeFault:
    return RuntimeFault("LEE702", "wrong-option", f"`{source}`: {message}", help)


def missing_part(source: str, part: str, known: Iterable[str]) -> RuntimeFault:
    if part in ("test", "valid"):
        help = f"ask for one: `{source}({part} = 0.2)`; arrays come divided: {{'train': {{..}}, '{part}': {{..}}}}"
    else:
        help = nearest(part, known)
    return RuntimeFault("LEE704", "missing-part", f"`{source}` has no `{part}`", help)


def field_mismatch(source: str, field: str, expected: str, actual: str, help: str = "") -> RuntimeFault:
    message = f"field `{field}` of `{source}` is declared {expected}, but the data has {actual}"
    return RuntimeFault("LEE705", "field-mismatch", message, help, field=field, expected=expected, actual=actual)


def missing_field(source: str, field: str, known: Iterable[str]) -> RuntimeFault:
    return RuntimeFault("LEE706", "missing-field", f"`{source}` has no field `{field}`", nearest(field, known))


def wrong_rows(message: str, help: str = "") -> RuntimeFault:
    return RuntimeFault("LEE707", "wrong-rows", message, help)


def bad_file(path: object, message: str, help: str = "", line: int | None = None) -> RuntimeFault:
    where = f"{path}:{line}" if line else str(path)
    return RuntimeFault("LEE708", "bad-file", f"{where}: {message}", help, path=str(path), line=line)


def no_data(name: str, found: object, fields: Iterable[str], known: Iterable[str]) -> RuntimeFault:
    """What was given for a data parameter is neither arrays, nor a file, nor the name of a source."""
    arrays = ", ".join(f"'{field}': .." for field in fields) or "'x': .., 'y': .."
    help = f"give arrays by field, {{{arrays}}}, a .csv or .npz file, or one of {', '.join(known)}"
    shown = f"`{found}`" if isinstance(found, str) else f"a value of type {type(found).__name__}"
    return RuntimeFault("LEE713", "no-data", f"`{name}` is data, and {shown} is none", help)


def absent_file(path: object) -> RuntimeFault:
    return RuntimeFault("LEE709", "absent-file", f"there is no file {path}", status=ABSENT, path=str(path))


# ---- training


def not_a_number(label: str, first: int, last: int) -> RuntimeFault:
    """NaN in a loss, first seen between two steps, counted from 1; the last checkpoint of the run is before it."""
    where = f"at step {last}" if first == last else f"between steps {first} and {last}"
    help = "a smaller learning rate, or a look at logarithms, roots and divisions, usually tells why"
    return RuntimeFault("LEE703", "not-a-number", f"`{label}` became NaN {where}", help, first=first, last=last)


def reported_twice(label: str, loop: str | None) -> RuntimeFault:
    where = f"in one round of the loop over `{loop}`" if loop else "outside of a loop"
    help = f"tell them apart by a key: `{label}[1]`, `{label}[2]`"
    return RuntimeFault("LEE710", "reported-twice", f"`{label}` is reported twice {where}", help)


def not_a_scalar(label: str, shape: tuple[int, ...]) -> RuntimeFault:
    message = f"`report {label}` needs a single number, it is [{', '.join(map(str, shape))}]"
    return RuntimeFault("LEE711", "not-a-scalar", message, "take its mean, or report entries under keys")


# ---- arguments of a procedure


def unknown_argument(procedure: str, name: str, known: Iterable[str]) -> RuntimeFault:
    message = f"`{procedure}` takes no argument `{name}`"
    return RuntimeFault("LEE712", "wrong-argument", message, nearest(name, known), argument=name)


def missing_argument(procedure: str, name: str, is_data: bool) -> RuntimeFault:
    message = f"`{procedure}` needs `{name}`, which has no default"
    help = f"give arrays by field, {name} = {{'x': .., 'y': ..}}, or a .csv or .npz file" if is_data else ""
    return RuntimeFault("LEE712", "wrong-argument", message, help, argument=name)


def wrong_argument(procedure: str, name: str, wanted: str, found: object) -> RuntimeFault:
    shown = (
        repr(found)
        if isinstance(found, bool | int | float | str | tuple)
        else f"a value of type {type(found).__name__}"
    )
    message = f"`{name}` of `{procedure}` takes {wanted}, not {shown}"
    return RuntimeFault("LEE712", "wrong-argument", message, argument=name)


def failed_check(place: str, message: str) -> RuntimeFault:
    """A size or a position does not fit, which only the run could tell; `place` is the line of the spec."""
    where = f"{place}: " if place and place not in message else ""
    return RuntimeFault("LEE714", "failed-check", where + message, place=place)


# ---- lists and environments


def nothing_to_stack() -> RuntimeFault:
    help = "`if len(path) > 0:` leaves the case out"
    return RuntimeFault("LEE733", "nothing-to-stack", "`stack` of an empty list: nobody knows the shape", help)


def uneven_list(number: int, found: tuple[int, ...], first: tuple[int, ...]) -> RuntimeFault:
    shown = [f"[{', '.join(map(str, s))}]" for s in (found, first)]
    message = f"`stack` needs arrays of one shape, but element {number} is {shown[0]} and element 0 is {shown[1]}"
    return RuntimeFault("LEE734", "uneven-list", message, "pad them to one length, or handle them one by one")


def unknown_environment(name: str, message: str) -> RuntimeFault:
    return RuntimeFault("LEE730", "unknown-environment", f"gymnasium cannot make `{name}`: {message}")


def other_space(name: str, field: str, declared: str, found: str) -> RuntimeFault:
    message = f"`{field}` of the environment `{name}` is declared {declared}, but it is {found}"
    return RuntimeFault("LEE731", "other-space", message, "correct the declaration in the spec", field=field)


def wrong_action(name: str, bounds: tuple[int, int], found: object) -> RuntimeFault:
    message = f"the environment `{name}` takes an action in {bounds[0]}..{bounds[1]}, not {found}"
    return RuntimeFault("LEE732", "wrong-action", message)


# ---- checkpoints


def nothing_to_resume(folder: object) -> RuntimeFault:
    return RuntimeFault(
        "LEE720", "nothing-to-resume", f"no run was started in {folder}", "start it without resuming", status=ABSENT
    )


def folder_in_use(folder: object) -> RuntimeFault:
    help = "resume it, or choose another folder"
    return RuntimeFault("LEE721", "folder-in-use", f"{folder} already holds a run", help)


def other_run(what: str, before: object, now: object) -> RuntimeFault:
    message = f"the run was started with another {what}: {before}, and now {now}"
    help = f"resume with the {what} it was started with, or start a new run in another folder"
    return RuntimeFault("LEE722", "other-run", message, help, what=what)


def unreadable_checkpoint(folder: object) -> RuntimeFault:
    return RuntimeFault("LEE723", "unreadable-checkpoint", f"none of the checkpoints in {folder} can be read")


def lost_place(loop: str) -> RuntimeFault:
    message = f"the procedure ended without coming back to the loop `{loop}`, where the run was interrupted"
    return RuntimeFault("LEE724", "lost-place", message, "was the procedure called with other arguments?")


def cannot_keep(name: str, kind: str) -> RuntimeFault:
    message = f"`{name}` is a {kind}, which a checkpoint cannot hold"
    return RuntimeFault("LEE725", "cannot-keep", message, "numbers, strings, arrays, models, lists and records can")


def changed_shape(name: str, help: str) -> RuntimeFault:
    return RuntimeFault("LEE726", "changed-shape", f"`{name}` in the checkpoint has another form than here", help)


# ---- the machine


def missing_package(package: str, extra: str, why: str) -> RuntimeFault:
    return RuntimeFault(
        "LEE801", "missing-package", f"{why} needs {package}", f"pip install 'leec[{extra}]'", status=ABSENT
    )


def no_device(device: str, known: Iterable[str]) -> RuntimeFault:
    message = f"no device `{device}` here"
    return RuntimeFault("LEE802", "no-device", message, "there is " + ", ".join(known), status=ABSENT)


def no_width(backend: str, dtype: str, known: Iterable[str]) -> RuntimeFault:
    message = f"the {backend} back end does not compute in `{dtype}`"
    return RuntimeFault("LEE803", "no-width", message, nearest(dtype, known))
