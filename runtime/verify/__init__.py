"""Prove, guard or refuse: abstract interpretation of eBPF programs. Gives `Verified` or raises `Refused`.

Trap: facts hold only for the program as it was given; whoever changes its instructions verifies again.
"""

from runtime.verify.check import verify
from runtime.verify.result import Access, Call, Proof, Verified

__all__ = ["Access", "Call", "Proof", "Verified", "verify"]
