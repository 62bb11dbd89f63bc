"""The Merkle tree of a list of texts: one hash for all of them.

Owns: hashes of leaves and nodes, the root. Does not own: what the leaves are (proof_file).

Leaves and nodes are hashed with different prefixes, so that no node can pass for a leaf.
Source: RFC 6962 section 2.1, with SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

_LEAF, _NODE = b"\x00", b"\x01"


def leaf_hash(content: bytes) -> bytes:
    """The hash of a leaf (32 bytes)."""
    return sha256(_LEAF + content).digest()


class MerkleTree:
    """The root of leaves that are added in order. It keeps one hash for each power of two."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        """leaves: hashes."""
        self.size = 0
        self._peaks: list[bytes] = []  # of complete trees, the largest first
        for leaf in leaves:
            self.add(leaf)

    def add(self, leaf: bytes) -> None:
        """Add the hash of a leaf."""
        self.size += 1
        node, size = leaf, self.size
        while size % 2 == 0:
            node = _node(self._peaks.pop(), node)
            size //= 2
        self._peaks.append(node)

    @property
    def root(self) -> bytes:
        """The root (32 bytes); of no leaves the hash of nothing."""
        if not self._peaks:
            return sha256().digest()
        *rest, node = self._peaks
        for peak in reversed(rest):
            node = _node(peak, node)
        return node


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()
