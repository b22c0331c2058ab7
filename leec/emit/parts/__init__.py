"""Python text that generated modules contain: nothing here is imported by the compiler, files are read as text."""
