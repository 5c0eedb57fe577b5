"""What crosses between the driver's side and those who weave: devices, images, what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from attachers.cuda.plan import Plan


@dataclass(frozen=True, slots=True)
class Device:
    """What images are made for: compute capability as 90, the driver's version as 13000, multiprocessors."""

    arch: int
    driver: int
    processors: int
    is_only_kind: bool = True


class Form(Enum):
    """What a call takes in the place of an image."""

    ANY = "any"
    CONTAINER = "container"
    TEXT = "text"  # for the driver's linker


@dataclass(frozen=True, slots=True)
class Offer:
    """An image that is about to be loaded. `owner`: the file that it lies in, empty for none."""

    image: bytes
    form: Form = Form.ANY
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Swapped:
    """What becomes of an image: another one, or the same where `image` is None, for a `reason` or none.

    `kernels`: those that have probes now, by name, with their numbers. `notes`: for the user to know.
    `seen`: all kernels of the image. `details`: what weaving did, line by line.
    """

    image: bytes | None
    reason: str = ""
    kernels: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seen: frozenset[str] = frozenset()
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was loaded, for whoever looks on: what became of it, by which call, and what it made."""

    call: str
    bytes: int
    arch: int
    swapped: Swapped
    result: int


@dataclass(slots=True)
class Loaded:
    """A woven module or library that is loaded. `memory`: (address, bytes) of its image, if it is kept."""

    handle: int
    is_library: bool
    memory: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Weaver:
    """Who decides what becomes of images.

    `swap`: weaves. `plan`: our memory in each context. `on_image`: told of every image. `is_wanted`: a kernel
    has probes. `on_refused`: told of a kernel that was loaded before and the reason why it stays.
    `asks_owner`: whether it matters which file an image lies in. `ahead`: weaves what will be loaded later.
    """

    swap: Callable[[Offer, Device], Swapped]
    plan: Callable[[Device], Plan]
    on_image: Callable[[Image], None] = lambda _image: None
    is_wanted: Callable[[str], bool] = lambda _kernel: False
    on_refused: Callable[[str, str], None] = lambda _kernel, _reason: None
    asks_owner: Callable[[], bool] = lambda: False
    ahead: Callable[[Offer, Device], None] = lambda _offer, _device: None
