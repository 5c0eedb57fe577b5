"""What a thread does at the driver's loads: another image goes in, and what comes of it is made ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attachers.cuda.calls import MAIN, Call, Entered, Steps, give_memory, take_memory
from attachers.cuda.contexts import Scratch
from attachers.cuda.entries import Act, Entry
from attachers.cuda.hooks import driver_of, exported
from attachers.cuda.incoming import is_ours, owner_of, read_file, read_image
from attachers.cuda.types import Form, Loaded, Offer, Swapped

if TYPE_CHECKING:
    from attachers.cuda.driver import CudaProcess

LINK_PTX = 1  # CU_JIT_INPUT_PTX
NODE, NODE_V2 = 56, 72  # bytes of CUDA_KERNEL_NODE_PARAMS and of its second form
NUL = b"\0"


def from_memory(process: CudaProcess, entry: Entry, entered: Entered, scratch: Scratch) -> Steps:
    """Let a load of an image in memory take another one."""
    address = entered.arguments[entry.image]
    image, owner = read_image(process.target.memory, address), _owner(process, address)
    yield from _load(process, (entry, entered), scratch, Offer(image, _form(entry), owner))


def from_file(process: CudaProcess, entry: Entry, entered: Entered, scratch: Scratch) -> Steps:
    """Let a load of a file take an image in memory; one that cannot be read is the driver's to refuse."""
    path = process.text(entered.arguments[entry.image])
    image = read_file(process.target.pid, path)
    yield from _load(process, (entry, entered), scratch, Offer(image + NUL, owner=path))


def _owner(process: CudaProcess, address: int) -> str:
    return owner_of(process.target.pid, address) if process.weaver.asks_owner() else ""


def _form(entry: Entry) -> Form:
    return Form.CONTAINER if entry.name == "cuModuleLoadFatBinary" else Form.ANY


def _load(process: CudaProcess, at: tuple[Entry, Entered], scratch: Scratch, offer: Offer) -> Steps:
    """Load what the offer becomes, and fill the constant of what that makes."""
    entry, entered = at
    yield from process.know_device(scratch)
    if process.device is None or process.memory is None or len(offer.image) < 2:
        return
    was_ours = is_ours(offer.image)
    swapped = Swapped(None) if was_ours else process.weaver.swap(offer, process.device)
    if swapped.image is None and not was_ours:
        process.told(entry, offer, swapped, 0)
        return
    arguments, function, mapped = list(entered.all_arguments(entry.count)), entered.function, (0, 0)
    if swapped.image is not None:
        function = process.functions[entry.instead] if entry.instead else function
        [arguments[entry.image]] = yield [take_memory(len(swapped.image))]
        mapped = arguments[entry.image], len(swapped.image)
        process.target.memory.write(mapped[0], swapped.image)
    [failed] = yield [Call(function, tuple(arguments), MAIN)]
    process.told(entry, offer, swapped, failed)
    if mapped[1] and (failed or not entry.library):
        yield [give_memory(*mapped)]
        mapped = (0, 0)
    if not failed:
        handle = process.target.memory.u64(entered.arguments[0])
        yield from process.take_up(Loaded(handle, entry.library, mapped), scratch)


def linked(process: CudaProcess, entry: Entry, entered: Entered, scratch: Scratch) -> Steps:
    """Let an input of the driver's linker be another one."""
    yield from process.know_device(scratch)
    if process.device is None:
        return
    arguments, memory = entered.all_arguments(entry.count), process.target.memory
    if entry.act is Act.LINK_FILE:
        owner = process.text(arguments[2])
        offer = Offer(read_file(process.target.pid, owner) + NUL, Form.TEXT, owner)
    else:
        owner = _owner(process, arguments[2])
        offer = Offer(memory.read(arguments[2], arguments[3]), Form.TEXT, owner)
    swapped = process.weaver.swap(offer, process.device)
    new = swapped.image
    if new is None:
        process.told(entry, offer, swapped, 0)
        return
    [at] = yield [take_memory(len(new))]
    memory.write(at, new)
    # cuLinkAddData has the size behind the data, and the name that cuLinkAddFile has in its place
    rest = arguments[4:] if entry.act is Act.LINK_DATA else arguments[2:]
    function = process.functions["cuLinkAddData"] if entry.instead else entered.function
    [failed] = yield [Call(function, (arguments[0], LINK_PTX, at, len(new), *rest), MAIN)]
    yield [give_memory(at, len(new))]
    process.told(entry, offer, swapped, failed)


def node(process: CudaProcess, entry: Entry, entered: Entered, scratch: Scratch) -> Steps:
    """Let a graph have the woven form of a kernel; CUDA_KERNEL_NODE_PARAMS of cuda.h."""
    arguments = list(entered.all_arguments(entry.count))
    given = process.target.memory.read(arguments[entry.image], _node_size(process, entered.function))
    if len(given) < NODE:
        return
    handle = int.from_bytes(given[:8], "little") or int.from_bytes(given[56:64], "little")
    yield from process.launches.learn(handle, scratch)
    instead = process.launches.replaced(handle)
    if instead:
        rest = bytes(8) + given[64:] if len(given) > NODE else b""
        arguments[entry.image] = scratch.put(instead.to_bytes(8, "little") + given[8:NODE] + rest)
        yield [Call(entered.function, tuple(arguments), MAIN)]


def _node_size(process: CudaProcess, function: int) -> int:
    module = driver_of(process.target)
    symbols = exported(module).items() if module is not None else ()
    names = [name for name, s in symbols if module is not None and module.bias + s.value == function]
    return NODE_V2 if any(name.endswith("_v2") for name in names) else NODE
