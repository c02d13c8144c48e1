"""A Merkle tree over the hashes of records, shaped as RFC 6962 says: one root for any number of records.

    leaf   SHA-256({"seq":...)             the record's own hash: what it is made of begins with 0x7b, a brace
    node   SHA-256(0x01 || left || right)  what it is made of begins with 0x01: no node passes for a record

RFC 6962 puts 0x00 before a leaf's content for the same purpose; a record has its first byte already, and hashing its
hash once more would cost verification a third of its speed.

A tree of n leaves splits at the largest power of two below n. Its *peaks* are the roots of the perfect subtrees it
consists of, largest first: with them alone a tree goes on growing.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

EMPTY = sha256(b"").digest()
_BLOCK = 1 << 10


class Tree:
    """A growing tree that keeps its peaks only."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """Begin with nothing, or where another tree of `size` leaves stood with these peaks.

        Raises:
            ValueError: a tree of that size has another number of peaks.
        """
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count():
            msg = f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(self.peaks)}"
            raise ValueError(msg)

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Add the hashes of the next records, 32 bytes each."""
        done = 0
        while done < len(hashes):
            room = self.size & -self.size or _BLOCK  # a perfect subtree begins at a multiple of its own size
            block = min(room, _BLOCK, 1 << ((len(hashes) - done).bit_length() - 1))
            self._add(perfect(hashes[done : done + block]), block)
            done += block

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self.peaks:
            return EMPTY
        top = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            top = node(peak, top)
        return top

    def _add(self, peak: bytes, block: int) -> None:
        """Add a perfect subtree of `block` leaves; equal neighbours become one."""
        size = self.size
        while size & block:
            peak = node(self.peaks.pop(), peak)
            size -= block
            block <<= 1
        self.peaks.append(peak)
        self.size = size + block


def node(left: bytes, right: bytes) -> bytes:
    """Return the node above two."""
    return sha256(b"\x01" + left + right).digest()


def perfect(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of record hashes."""
    level = list(hashes)
    while len(level) > 1:
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def path(index: int, size: int, root_of: Callable[[int, int], bytes]) -> list[bytes]:
    """Return the nodes that lead from a leaf to the root, the lowest first.

    Args:
        index: of the leaf, from 0.
        size: leaves of the tree.
        root_of: root over the leaves from one index up to another.
    """
    found = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            found.append(root_of(middle, high))
            high = middle
        else:
            found.append(root_of(low, middle))
            low = middle
    return found[::-1]


def root_from(start: bytes, index: int, size: int, nodes: Sequence[bytes]) -> bytes | None:
    """Return the root that a leaf and its path lead to, None when the path has not the length it must have."""
    if not 0 <= index < size:
        return None
    sides = []  # of the tree's root first: whether the leaf is on the left
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        sides.append(index < middle)
        low, high = (low, middle) if index < middle else (middle, high)
    if len(nodes) != len(sides):
        return None
    top = start
    for other, left in zip(nodes, reversed(sides), strict=True):
        top = node(top, other) if left else node(other, top)
    return top


def root_of_part(first: int, known: "Tree", hashes: Sequence[bytes]) -> Callable[[int, int], bytes]:
    """Return a function for `path` over a tree whose first leaves are known by their peaks only.

    Args:
        first: leaves that are known by their peaks.
        known: the tree over them.
        hashes: of the records after them.
    """
    peaks, low = {}, 0
    for bit, peak in zip((b for b in range(first.bit_length(), -1, -1) if first >> b & 1), known.peaks, strict=True):
        peaks[low, low + (1 << bit)] = peak
        low += 1 << bit

    def root_of(start: int, end: int) -> bytes:
        if (start, end) in peaks:
            return peaks[start, end]
        if start >= first:
            tree = Tree()
            tree.extend(hashes[start - first : end - first])
            return tree.root()
        middle = start + _split(end - start)
        return node(root_of(start, middle), root_of(middle, end))

    return root_of


def _split(size: int) -> int:
    """Return the largest power of two below a size of at least two."""
    return 1 << ((size - 1).bit_length() - 1)
