"""The helpers that programs for GPU kernels may call: some of the usual ones, and the device's own.

Numbers 501-511 are bpftime's, 512-521 extend them. There are no barriers of blocks or warps among them: a
probe runs where any part of a warp may be.
"""

from __future__ import annotations

from runtime.helpers.refused import REFUSED
from runtime.helpers.table import HELPERS, Arg, Helper, Result
from runtime.types import ContextKind

_FIXED = {1: 8, 2: 8, 3: 8}
_THREE = (Arg.WRITE_FIXED, Arg.WRITE_FIXED, Arg.WRITE_FIXED)
_NAMES = ("get_block_idx", "get_block_dim", "get_thread_idx")
_NUMBERS = {
    502: "get_globaltimer",
    506: "membar_sys",
    509: "get_sm_id",
    510: "get_warp_id",
    511: "get_lane_id",
    512: "clock64",
    513: "get_nsmid",
    514: "get_grid_id",
    515: "active_mask",
    518: "kernel_id",
    519: "dyn_smem",
    520: "cluster_id",
}
EXIT, PARAMETER, PARAMETERS = 507, 521, 16
# Give a value of zeros where there is none; the second is for keys that all threads of a warp share.
FIND_OR_ADD, FIND_UNIFORM = 100040, 100043
ENTRY_ONLY = frozenset((EXIT,))

_OWN = (
    Helper(501, "puts", (Arg.STRING,)),
    *(Helper(number, name, ()) for number, name in _NUMBERS.items()),
    *(Helper(number, name, _THREE, fixed=_FIXED) for number, name in enumerate(_NAMES, 503)),
    Helper(508, "get_grid_dim", _THREE, fixed=_FIXED),
    Helper(EXIT, "cuda_exit", (), needs="exit_thread"),
    Helper(516, "popc", (Arg.ANY,), Result.BOUNDED, most=64),
    Helper(517, "warp_uniform", (Arg.ANY,), Result.BOUNDED, most=1),
    Helper(PARAMETER, "param", (Arg.ANY,)),
    # Private to the tracing language.
    Helper(FIND_OR_ADD, "find_or_add", (Arg.MAP, Arg.KEY), Result.VALUE_OR_NULL, kinds=HELPERS[1].kinds),
    Helper(FIND_UNIFORM, "find_uniform", (Arg.MAP, Arg.KEY), Result.VALUE_OR_NULL, kinds=HELPERS[1].kinds),
    Helper(100041, "linear_thread", ()),
    Helper(100042, "linear_block", ()),
)
# Usual helpers that have a lowering in `runtime/nvptx/helpers.py`; the last ones are the language's.
_USUAL = (1, 2, 3, 5, 6, 7, 8, 14, 25, 130, 131, 132, 133, 134, 100000, 100001, 100002, 100003, 100004)

DEVICE: dict[int, Helper] = {row.id: row for row in (*_OWN, *(HELPERS[number] for number in _USUAL))}


def helpers_in(kind: ContextKind) -> dict[int, Helper]:
    """Give the helpers of one kind of device program: only at a kernel's entry may a thread end."""
    if kind is ContextKind.CUDA:
        return DEVICE
    return {number: row for number, row in DEVICE.items() if number not in ENTRY_ONLY}


def reason_on_device(number: int) -> str:
    """Why a helper cannot be called in a kernel."""
    if number in ENTRY_ONLY:
        return f"helper bpf_{DEVICE[number].name} ({number}) may end a thread only at a kernel's entry"
    name = HELPERS[number].name if number in HELPERS else REFUSED[number][0] if number in REFUSED else ""
    if not name:
        return f"there is no helper {number}"
    return f"helper bpf_{name} ({number}) does not exist in GPU kernels"
