"""BTF: reading types, CO-RE relocation, printing values by type."""

from runtime.btf.types import Btf

__all__ = ["Btf"]
