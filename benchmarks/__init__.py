"""Generated code beside hand-written code, and the cost of the compiler. `make bench` runs all of it."""
