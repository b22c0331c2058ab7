"""Random well-typed specs, what they are asked, and the bugs that they must find.

`scope` says what a program knows at a line; `forms` lists what an expression may be; `tensors`, `entries`, `loops`,
`statements`, `blocks` and `specs` build on each other up to a whole spec; `examined` runs one through the compiler and
compares all that comes out; `coverage` counts what was reached; `planted` are the bugs.
"""
