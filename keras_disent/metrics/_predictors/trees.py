"""Regression trees for many targets at once, the parts that gradient boosting adds up."""

from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

DEPTH = 3
QUANTILES = 180  # bins of a latent that has too many values
HOPEFUL = 3  # latents for which to look at positions around the best edge, one by one
ENDS = 24  # positions to look at, one by one, at each end of a node
TIE = 1e-9  # relative difference of gain below which two cuts are equally good
Floats = NDArray[np.float64]
Places = NDArray[np.intp]


class SortedCodes(NamedTuple):
    """Codes, sorted once for all trees. A cut is a position: values up to there go left."""

    order: Places  # (latents, samples): the sample at each position
    values: NDArray[np.float32]  # (latents, samples): its code
    is_edge: NDArray[np.bool_]  # (latents, samples): whether a greater one comes next
    rank: NDArray[Any]  # (latents, samples): by sample, the last position of its value
    start: Places  # (bins + 1, latents): where each bin begins
    reach: int  # positions to look at, one by one, on each side of an edge; 0 if bins are values
    sums: Any  # sparse (bins * latents, samples) of ones: adds up the samples of each bin
    counts: Any  # the same in few bits, for ones and zeros

    @classmethod
    def of(cls, codes: NDArray[Any], bins: int) -> Self:
        from scipy.sparse import csc_array

        columns = np.ascontiguousarray(codes.T, np.float32)
        latents, samples = columns.shape
        order = np.argsort(columns, axis=1, kind="stable")
        values = np.take_along_axis(columns, order, axis=1)
        is_edge = np.ones(values.shape, np.bool_)
        np.greater(values[:, 1:], values[:, :-1], out=is_edge[:, :-1])
        unsigned = np.uint16 if samples < 2**16 else np.uint32
        rank, starts, reach = np.empty(values.shape, unsigned), [], 0
        for latent in range(latents):
            edges = np.flatnonzero(is_edge[latent]) + 1
            rank[latent, order[latent]] = np.repeat(edges - 1, np.diff(edges, prepend=0))
            few_values = len(edges) <= bins or samples <= 4 * bins
            kept = edges if few_values else edges[_near_quantiles(edges, bins)]
            if len(kept) < len(edges):
                reach = max(reach, ENDS, 1 + int(np.diff(kept, prepend=0).max()))
            starts.append(np.append(0, kept))
        start = np.full((max(map(len, starts)), latents), samples)
        for column, places in zip(start.T, starts, strict=True):
            column[: len(places)] = places
        sizes = np.diff(start, axis=0)
        number = np.arange(sizes.size, dtype=np.int32).reshape(sizes.shape)
        # From the first position of the first latent to the last of the last one.
        rows = np.repeat(number.T.ravel(), sizes.T.ravel())
        cells = rows, order.ravel().astype(np.int32)
        sums = csc_array((np.ones(rows.size), cells), shape=(sizes.size, samples))
        return cls(order, values, is_edge, rank, start, reach, sums, sums.astype(unsigned))


def _near_quantiles(edges: Places, bins: int) -> Places:
    """Choose which of the `edges` between values, the last being the end, bins should keep."""
    samples, bins = edges[-1], min(bins, QUANTILES)
    # A trifle toward the middle, so that a latent of opposite sign gets the mirrored bins.
    goals = np.linspace(1e-6, 1 - 1e-6, bins + 1)[1:-1] * samples
    above = np.clip(np.searchsorted(edges, goals), 1, len(edges) - 2)
    nearest = above - (goals - edges[above - 1] < edges[above] - goals)
    return np.append(np.unique(nearest), len(edges) - 1)


def grow(
    residuals: Floats, codes: SortedCodes
) -> tuple[Places, NDArray[np.float32], NDArray[np.uint8], Floats]:
    """Fit a tree to each row of `residuals` `(classes, samples)`.

    Returns:
        Which latent each node cuts and the largest code that goes left, `(nodes, classes)`, nodes
        in the order of breadth; the leaf of each sample `(classes, samples)`; and the gain of
        each latent, all trees together.
    """
    classes, samples = residuals.shape
    latents = len(codes.order)
    by_sample = np.ascontiguousarray(residuals.T)[:, None]
    nodes = np.zeros(residuals.shape, np.uint8)
    sums = _by_bin(codes.sums, by_sample, latents)
    counts = np.broadcast_to(codes.start[1:, :, None, None].astype(np.float64), sums.shape)
    begin = np.zeros((latents, 1, classes), np.intp)
    end = begin + samples
    gains = np.zeros(latents)
    favor = np.zeros(begin.shape)
    chosen, thresholds = [], []
    for level in range(DEPTH):
        if level:
            # Only left children are added up; right ones are what their parents have besides.
            lefts = np.arange(0, 2**level, 2, dtype=np.uint8)
            is_left = np.ascontiguousarray(nodes.T)[:, None] == lefts[:, None]
            sums = _with_siblings(_by_bin(codes.sums, by_sample * is_left, latents), sums)
            is_left = is_left.astype(codes.counts.dtype)
            counts = _with_siblings(_by_bin(codes.counts, is_left, latents), counts)
        gain, cut = _best_cuts(residuals, nodes, sums, counts, begin, end, favor, codes)
        best = gain.max(axis=0)
        equal = gain >= best - TIE * abs(best)
        shares = np.maximum(best, 0) * counts[-1, 0] * equal / equal.sum(axis=0)
        gains += shares.sum(axis=(1, 2))
        latent = np.where(equal, favor, -np.inf).argmax(axis=0)
        if level == 0:  # Later, what was better here, whatever the order of latents.
            favor = gain
        cut = np.where(best < 0, samples - 1, np.take_along_axis(cut, latent[None], axis=0)[0])
        nodes, threshold = _divide(nodes, latent, cut, codes)
        chosen.append(latent)
        thresholds.append(threshold)
        node, kind = np.ogrid[: len(cut), :classes]
        begin, end = np.repeat(begin, 2, axis=1), np.repeat(end, 2, axis=1)
        end[latent, 2 * node, kind] = begin[latent, 2 * node + 1, kind] = cut + 1
    return np.concatenate(chosen), np.concatenate(thresholds), nodes, gains


def descend(
    codes: NDArray[np.float32], latents: Places, thresholds: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Return the leaf of each sample in each of the trees `grow` made, `(classes, samples)`.

    Args:
        codes: `(latents, samples)`.
        latents: which latent each node cuts, `(nodes, classes)`.
        thresholds: the largest code that goes left, likewise.
    """
    nodes = np.zeros((latents.shape[1], codes.shape[1]), np.uint8)
    for level in range(DEPTH):
        right = np.zeros(nodes.shape, np.bool_)
        for node in range(2**level):
            row = 2**level - 1 + node
            right |= (codes[latents[row]] > thresholds[row, :, None]) & (nodes == node)
        nodes = 2 * nodes + right
    return nodes


def _by_bin(adder: Any, weights: NDArray[Any], latents: int) -> NDArray[Any]:
    """Add up `weights` `(samples, nodes, classes)` of all samples up to the end of each bin.

    Returns:
        An array `(bins, latents, nodes, classes)`.
    """
    each = adder @ weights.reshape(len(weights), -1)
    return _accumulate(each.reshape(-1, latents, *weights.shape[1:]))


def _accumulate(array: NDArray[Any]) -> NDArray[Any]:
    """Add up along the first axis in place; several times faster than `np.cumsum`."""
    for before, here in pairwise(array):
        here += before
    return array


def _with_siblings(left: NDArray[Any], parents: Floats) -> Floats:
    """Put beside each left child of axis 2 its sibling: what is left over of the parent."""
    both = np.empty((*left.shape[:3], 2, left.shape[3]))
    both[:, :, :, 0] = left
    np.subtract(parents, left, out=both[:, :, :, 1])
    return both.reshape(*left.shape[:2], -1, left.shape[3])


def _gain(sums: Floats, counts: Floats, total: Floats, size: Floats) -> Floats:
    """By how much a cut lowers the squared error, over `size`; below 0 if it cuts nothing off.

    Args:
        sums: of the residuals on the left of the cut.
        counts: of the samples there.
        total: the sum of residuals in the whole node.
        size: the number of its samples.
    """
    gain = counts * (total / np.maximum(size, 1))
    np.subtract(sums, gain, out=gain)
    gain *= gain
    gain += 1e-250  # a cut without gain is still a cut
    room = size - counts
    room *= counts
    np.copyto(room, -1, where=room <= 0)
    gain /= room
    return gain


def _best_cuts(
    residuals: Floats,
    nodes: NDArray[np.uint8],
    sums: Floats,
    counts: Floats,
    begin: Places,
    end: Places,
    favor: Floats,
    codes: SortedCodes,
) -> tuple[Floats, Places]:
    """Find the best cut of each node by each latent; return gains and positions.

    Most arrays have axes (latents, nodes, classes) at their end. A node has samples from position
    `begin` of a latent until `end`. Of latents that seem equal, those of more `favor` are first.
    """
    total, size = sums[-1, 0], counts[-1, 0]
    latent, node, kind = np.ogrid[: len(begin), : begin.shape[1], : begin.shape[2]]
    gains = _gain(sums, counts, total, size)
    gain = gains.max(axis=0)
    edge = (gains >= gain - TIE * abs(gain)).argmax(axis=0)
    cut = codes.start[edge + 1, latent] - 1
    if not codes.reach:
        return gain, cut

    # Both ends of the node, where trees like to cut off a few samples. Nothing comes before.
    everything = np.broadcast_to(np.stack([total, size])[:, None], (2, *cut.shape))
    known = np.stack([everything, 0 * everything], axis=1)
    ends = np.stack([end, begin]) - 1
    found = _search(latent, ends, known, ENDS, residuals, nodes, total, size, codes)
    gain, cut = _better(gain, cut, *found)

    # Around the best edge of the most hopeful latents; and beyond bins that are empty here.
    order = -np.broadcast_to(favor, gain.shape), -gain.astype(np.float32)  # blind to noise
    hopeful = np.lexsort(order, axis=0)[:HOPEFUL]
    last = (counts <= counts[edge, latent, node, kind]).sum(axis=0)
    now, place, edge, last = (
        np.take_along_axis(array, hopeful, axis=0) for array in (gain, cut, edge, last)
    )
    known = np.stack([sums[edge, hopeful, node, kind], counts[edge, hopeful, node, kind]])
    known = np.stack([known, known], axis=1)
    edges = codes.start[np.stack([edge + 1, last]), hopeful] - 1
    found = _search(hopeful, edges, known, codes.reach, residuals, nodes, total, size, codes)
    now, place = _better(now, place, *found)
    np.put_along_axis(gain, hopeful, now, axis=0)
    np.put_along_axis(cut, hopeful, place, axis=0)
    return gain, cut


def _better(gain: Floats, cut: Places, other: Floats, place: Places) -> tuple[Floats, Places]:
    """Take the `other` gain, and its `place`, where it is greater than `gain`."""
    is_better = other > gain + TIE * abs(gain)
    return np.where(is_better, other, gain), np.where(is_better, place, cut)


def _search(
    latent: Places,
    anchor: Places,
    known: Floats,
    width: int,
    residuals: Floats,
    nodes: NDArray[np.uint8],
    total: Floats,
    size: Floats,
    codes: SortedCodes,
) -> tuple[Floats, Places]:
    """Find the best cut value by value; return gains and positions `(latents, nodes, classes)`.

    Args:
        latent: numbers of the latents, or one for each node and class.
        anchor: `(2, latents, nodes, classes)`. Of `width` positions each, the search is in those
            up to the first, and those from the second.
        known: sums and counts up to both anchors, `(2, 2, latents, nodes, classes)`.
    """
    samples = residuals.shape[1]
    width = min(width, samples)
    node, kind = np.ogrid[: len(size), : len(residuals)]
    wanted = np.stack([anchor[0] + 1 - width, anchor[1]])
    first = wanted.clip(0, samples - width)
    spot = first + samples * latent + np.arange(width)[:, None, None, None, None]
    entry = codes.order.take(spot)
    entry += samples * kind
    number = (nodes.take(entry) == node.astype(np.uint8)).astype(np.float64)
    left = residuals.take(entry)
    left *= number
    index = anchor - first
    for run, at_anchor in zip((left, number), known, strict=True):
        _accumulate(run)
        up_to = np.take_along_axis(run, np.maximum(index, 0)[None], axis=0)[0]
        run += at_anchor - np.where(index < 0, 0, up_to)
    gains = _gain(left, number, total, size)
    np.copyto(gains, -1, where=~codes.is_edge.take(spot))
    gains[-1][first > wanted] = -1  # so that a latent of opposite sign gets the mirrored cuts
    gains, spot = gains.reshape(-1, *anchor.shape[1:]), spot.reshape(-1, *anchor.shape[1:])
    best = gains.max(axis=0)
    place = (gains >= best - TIE * abs(best)).argmax(axis=0)[None]
    return best, np.take_along_axis(spot, place, axis=0)[0] - samples * latent


def _divide(
    nodes: NDArray[np.uint8], latent: Places, cut: Places, codes: SortedCodes
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Send samples to the children of their node.

    Returns:
        The new nodes; and the thresholds `(nodes, classes)`, in the middle between the greatest
        code on the left and the least on the right, infinite where all samples go left.
    """
    samples = nodes.shape[1]
    right = np.zeros(nodes.shape, np.bool_)
    thresholds = np.full(cut.shape, np.inf, np.float32)
    for node, (latents, cuts) in enumerate(zip(latent, cut, strict=True)):
        rank = codes.rank[latents]
        below = nodes == node
        beyond = rank > cuts[:, None].astype(rank.dtype)
        beyond &= below
        below ^= beyond
        right |= beyond
        # Bits are inverted to take a minimum as a maximum, which 0 does not disturb.
        greatest, least = (rank * below).max(axis=1), ~(~rank * beyond).max(axis=1)
        is_cut = least < samples
        low, high = (
            codes.values[latents[is_cut], place[is_cut]].astype(np.float64)
            for place in (greatest, least)
        )
        middle = low / 2 + high / 2
        threshold = middle.astype(np.float32)
        rounded_up = threshold > middle
        threshold[rounded_up] = np.nextafter(threshold[rounded_up], np.float32(-np.inf))
        thresholds[node, is_cut] = threshold
    return 2 * nodes + right, thresholds
