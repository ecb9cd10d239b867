"""Paths and queries of the API."""

from __future__ import annotations

from typing import Iterable
from urllib.parse import quote


def segment(text: str) -> str:
    """One segment of a path, or a value of a query."""
    return quote(text, safe="")


def of_list(tenant: str | None, collection: str | None) -> str:
    """The path of a tenant, a collection, or nothing for everything.

    A collection is named by its UUID, or by its name beside its tenant.
    """
    if tenant is not None and collection is not None:
        return f"/tenants/{segment(tenant)}/collections/{segment(collection)}"
    if tenant is not None:
        return f"/tenants/{segment(tenant)}"
    if collection is not None:
        return f"/collections/{segment(collection)}"
    return ""


def of_key(tenant: str | None, collection: str, key: str) -> str:
    return f"{of_list(tenant, collection)}/keys/{segment(key)}"


def decimal(seconds: float) -> str:
    """Seconds as the API takes them, to the microsecond."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def query(pairs: Iterable[tuple[str, object]]) -> str:
    """`?a=1&b=2`; pairs with None are left out."""
    text = "&".join(f"{name}={segment(str(value))}" for name, value in pairs if value is not None)
    return f"?{text}" if text else ""
