"""Client of ChangeAgent: append changes, follow lists, keep a local copy in SQLite."""

from ._core import Options
from .aio import AsyncClient
from .client import Client
from .errors import ApiError, BrokenAnswer, ChangeAgentError, Closed, Conflict, Reset
from .mirror import Mirror
from .model import Appended, Change, Page, Position

__version__ = "0.1.0"
__all__ = [
    "ApiError", "Appended", "AsyncClient", "BrokenAnswer", "Change", "ChangeAgentError",
    "Client", "Closed", "Conflict", "Mirror", "Options", "Page", "Position", "Reset",
]
