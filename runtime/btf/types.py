"""BTF types."""

from __future__ import annotations


class Btf:
    """Types of one object."""
