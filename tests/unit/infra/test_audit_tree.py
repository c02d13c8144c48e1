"""The Merkle tree of the checkpoints against its definition, for every size up to a hundred and some around blocks."""

from hashlib import sha256

import pytest

from kobe.infra.records import audit_tree as trees
from kobe.infra.records.audit_tree import Tree

SIZES = (*range(101), 1023, 1024, 1025, 2500, 4096)


def leaves(count: int) -> list[bytes]:
    return [sha256(b"{%d" % number).digest() for number in range(count)]


def root_by_definition(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1: split at the largest power of two below the size."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return sha256(b"\x01" + root_by_definition(hashes[:split]) + root_by_definition(hashes[split:])).digest()


@pytest.mark.parametrize("size", SIZES)
def test_a_root_is_what_the_definition_says_for_any_size(size):
    tree = Tree()
    tree.extend(leaves(size))
    assert (tree.size, tree.root()) == (size, root_by_definition(leaves(size)))


@pytest.mark.parametrize("first", [0, 1, 2, 3, 7, 64, 99, 1000])
def test_a_tree_goes_on_from_its_peaks_as_if_it_had_never_stopped(first):
    hashes = leaves(2100)
    before, whole = Tree(), Tree()
    before.extend(hashes[:first])
    whole.extend(hashes)
    after = Tree(first, before.peaks)
    for start in range(first, 2100, 77):
        after.extend(hashes[start : start + 77])
    assert (after.size, after.peaks, after.root()) == (2100, whole.peaks, whole.root())


def test_peaks_of_another_size_are_refused():
    with pytest.raises(ValueError, match="peaks"):
        Tree(3, [bytes(32)])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 31, 32, 33])
def test_a_path_leads_from_every_leaf_to_the_root_and_from_no_other(size):
    hashes = leaves(size)
    root = root_by_definition(hashes)
    for index in range(size):
        path = trees.path(index, size, lambda low, high: root_by_definition(hashes[low:high]))
        assert trees.root_from(hashes[index], index, size, path) == root
        assert trees.root_from(bytes(32), index, size, path) != root
        assert trees.root_from(hashes[index], index, size, [*path, root]) is None
        if size > 1:
            assert trees.root_from(hashes[index], (index + 1) % size, size, path) != root
            assert trees.root_from(hashes[index], index, size, path[1:]) is None
    assert trees.root_from(hashes[0], size, size, []) is None


@pytest.mark.parametrize("first", [0, 1, 5, 6, 8, 12])
def test_a_path_is_found_where_the_first_leaves_are_known_by_their_peaks_only(first):
    hashes = leaves(21)
    known = Tree()
    known.extend(hashes[:first])
    root_of = trees.root_of_part(first, known, hashes[first:])
    for index in range(first, 21):
        path = trees.path(index, 21, root_of)
        assert trees.root_from(hashes[index], index, 21, path) == root_by_definition(hashes)


def test_an_inner_node_does_not_pass_for_a_record():
    """A record's content begins with a brace, a node's with 0x01, so no content is both."""
    left, right = leaves(2)
    assert trees.node(left, right) == sha256(b"\x01" + left + right).digest()
    assert not (b"\x01" + left + right).startswith(b"{")
