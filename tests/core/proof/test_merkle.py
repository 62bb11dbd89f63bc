"""The root of a list of leaves."""

from __future__ import annotations

from hashlib import sha256

import pytest

from pipeline.core.proof.merkle import MerkleTree, leaf_hash

# Source: the test vectors of RFC 6962 implementations (google/certificate-transparency, merkle_tree_test).
LEAVES = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_rfc(size: int) -> None:
    tree = MerkleTree(leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES[:size])
    assert (tree.root.hex(), tree.size) == (ROOTS[size - 1], size)


def test_no_leaves_have_the_hash_of_nothing() -> None:
    assert MerkleTree().root == sha256(b"").digest()


def test_a_node_is_not_a_leaf() -> None:
    one, two = leaf_hash(b"one"), leaf_hash(b"two")
    assert MerkleTree([one, two]).root != leaf_hash(one + two)


def split(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, by recursion."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + split(leaves[:half]) + split(leaves[half:])).digest()


def test_any_number_of_leaves_has_the_root_of_the_definition() -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(70)]
    for size in range(1, 71):
        assert MerkleTree(leaves[:size]).root == split(leaves[:size])
