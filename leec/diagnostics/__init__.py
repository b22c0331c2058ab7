"""Messages to the user: one record, its constructors by family, its renderers."""

from leec.diagnostics.record import Diagnostic, Edit, Fix, InternalError, Label, LeeError, Source, Span

__all__ = ["Diagnostic", "Edit", "Fix", "InternalError", "Label", "LeeError", "Source", "Span"]
