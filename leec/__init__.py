"""leec compiles lee, a small declarative language of models and training, to NumPy and PyTorch."""

__version__ = "0.1.0"
