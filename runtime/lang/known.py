"""Names whose meaning is known before typing: configuration, the launched program, members of `curtask`.

They become literals or other builtins, so that they fold and decide `comptime` branches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runtime.lang import tree
from runtime.lang.config import Config
from runtime.lang.script import Options
from runtime.lang.source import Source

CURTASK = "curtask"
# What the members of the kernel's `struct task_struct` are here; a value with a dot is another task or part.
MEMBERS = {
    "curtask": {
        "pid": "tid",
        "tgid": "pid",
        "comm": "comm",
        "parent": "curtask.parent",
        "real_parent": "curtask.parent",
        "group_leader": "curtask.leader",
        "cred": "curtask.cred",
        "real_cred": "curtask.cred",
    },
    "curtask.parent": {
        "pid": "ppid",
        "tgid": "ppid",
        "comm": "pcomm",
        "group_leader": "curtask.parent",
    },
    "curtask.leader": {
        "pid": "leader_tid",
        "tgid": "pid",
        "comm": "leader_comm",
        "parent": "curtask.parent",
        "real_parent": "curtask.parent",
        "group_leader": "curtask.leader",
    },
    "curtask.cred": {"uid": "curtask.uid", "gid": "curtask.gid"},
    "curtask.uid": {"val": "uid"},
    "curtask.gid": {"val": "gid"},
}
OF_TASK = ("ppid", "pcomm")  # builtins that may be given a task
NEVER = ("kfunc_exist", "kfunc_allowed")  # functions of the kernel that programs can call


@dataclass(frozen=True, slots=True)
class Known:
    """Replaces the names of one script."""

    source: Source
    config: Config
    options: Options

    def replace(self, node: tree.Node) -> tree.Node:
        """Rewrite a node and all below it.

        Raises:
            Problem: a control group that is named does not exist.
        """
        return tree.rewrite(node, self._change)

    def _change(self, node: tree.Node) -> tree.Node:
        rule = RULES.get(type(node))
        return rule(self, node) if rule else node

    def _identifier(self, node: tree.Node) -> tree.Node:
        assert isinstance(node, tree.Identifier)
        return self._constant(node, node.name) or node

    def _constant(self, node: tree.Node, name: str) -> tree.Expr | None:
        if name == "has_cpid":
            return tree.Boolean(node.at, self.options.child)
        if name == "default_str_length":
            return tree.Integer(node.at, self.config.number("max_strlen"))
        if name == "config":
            names = sorted(self.config.values)
            return tree.Record(node.at, names, [self._setting(node, key) for key in names])
        return None

    def _setting(self, node: tree.Node, name: str) -> tree.Expr:
        value = self.config.values[name]
        if isinstance(value, bool):
            return tree.Boolean(node.at, value)
        if isinstance(value, int):
            return tree.Integer(node.at, value)
        return tree.String(node.at, value.encode("utf-8", "surrogateescape"))

    def _member(self, node: tree.Node) -> tree.Node:
        assert isinstance(node, tree.Member)
        value = node.value
        if (
            isinstance(value, tree.Record)
            and node.name in value.names
            and value.names == sorted(self.config.values)
        ):
            return self._setting(node, node.name)
        if not isinstance(value, tree.Identifier) or value.name not in MEMBERS:
            return node
        found = MEMBERS[value.name].get(node.name)
        if found is None:
            raise self.source.problem(
                node.at,
                f"{CURTASK} belongs to the kernel: its member '{node.name}' is not visible from user space",
                f"members that are: {', '.join(MEMBERS[value.name])}",
            )
        return tree.Identifier(node.at, found)

    def _cast(self, node: tree.Node) -> tree.Node:
        """`(struct task_struct *)curtask` is `curtask`."""
        assert isinstance(node, tree.Cast)
        written, value = node.written, node.value
        is_task = isinstance(written, tree.TypeName) and written.name == "task_struct"
        return value if is_task and isinstance(value, tree.Identifier) and value.name in MEMBERS else node

    def _call(self, node: tree.Node) -> tree.Node:
        assert isinstance(node, tree.Call)
        first = node.args[0] if len(node.args) == 1 else None
        if not node.args:
            return self._constant(node, node.name) or node
        if node.name in OF_TASK and isinstance(first, tree.Identifier) and first.name == CURTASK:
            return tree.Identifier(node.at, node.name)
        if node.name in NEVER and isinstance(first, tree.String):
            return tree.Boolean(node.at, False)
        if node.name == "cgroupid" and isinstance(first, tree.String):
            return self._cgroup(node, first)
        return node

    def _cgroup(self, node: tree.Call, path: tree.String) -> tree.Node:
        name = path.value.decode("utf-8", "surrogateescape")
        number = self.options.inode(name)
        if not number:
            raise self.source.problem(path.at, f"cgroupid(): there is no control group {name}")
        return tree.Integer(node.at, number)


RULES: dict[type[tree.Node], Callable[[Known, tree.Node], tree.Node]] = {
    tree.Identifier: Known._identifier,
    tree.Member: Known._member,
    tree.Cast: Known._cast,
    tree.Call: Known._call,
}
