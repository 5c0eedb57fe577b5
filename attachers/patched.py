"""What attachers have in common that change the code of one process for one session."""

from __future__ import annotations

from attachers.base import Attacher, unknown_link
from attachers.patch.apply import remove
from attachers.target import Target
from runtime.shm.session import Session


class PatchedAttacher(Attacher):
    """Links whose places are sites in the code of `target`."""

    def __init__(self, target: Target, session: Session) -> None:
        super().__init__()
        self.target = target
        self.session = session
        self._links: set[int] = set()

    def detach_by_id(self, link: int) -> int:
        """Take a link out.

        Raises:
            AttachProblem: there is no such link (2).
        """
        if link not in self._links:
            raise unknown_link(link)
        remove(self.target, self.session.region.id, frozenset([link]))
        self._links.discard(link)
        return 0
