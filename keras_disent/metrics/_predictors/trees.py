"""Regression trees for many targets at once, the base learners of gradient boosting."""

from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

DEPTH = 3
# Numbers processed at a time, to fit the cache, unless 16 classes have more.
BLOCK = 2**18
QUANTILES = 180  # maximum number of bins of a latent with many values
N_REFINED = 3  # latents whose positions around the best edge are searched one by one
ENDS = 24  # positions searched one by one at each end of a node
TIE = 1e-9  # relative difference of gain below which two cuts are equally good
Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class SortedCodes(NamedTuple):
    """Codes sorted once for all trees. A cut is a position: values up to it go left."""

    order: Indices  # (latents, samples): sample at each position
    values: NDArray[np.float32]  # (latents, samples): code of that sample
    is_edge: NDArray[np.bool_]  # (latents, samples): whether the next code is greater
    rank: NDArray[Any]  # (latents, samples): last position of the value of each sample
    by_value: bool  # whether cuts are compared sample by sample rather than bin by bin
    start: Indices  # (bins + 1, latents): first position of each bin
    reach: int  # positions searched on each side of an edge; 0 if every value is a bin
    sums: Any  # sparse (bins * latents, samples) of ones: sums the samples of each bin
    counts: Any  # the same as small integers, to count samples

    @classmethod
    def of(cls, codes: NDArray[Any], bins: int, refine: bool = True) -> Self:
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
            bin_ends = edges if few_values else edges[_near_quantiles(edges, bins)]
            if refine and len(bin_ends) < len(edges):
                reach = max(reach, ENDS, 1 + int(np.diff(bin_ends, prepend=0).max()))
            starts.append(np.append(0, bin_ends))
        start = np.full((max(map(len, starts)), latents), samples)
        for column, places in zip(start.T, starts, strict=True):
            column[: len(places)] = places
        # Bins of few samples cost more than the samples themselves.
        by_value = not reach and 2 ** (DEPTH - 1) * len(start) > samples
        sizes = np.diff(start, axis=0)
        number = np.arange(sizes.size, dtype=np.int32).reshape(sizes.shape)
        # In the order of latents, then of positions.
        rows = np.repeat(number.T.ravel(), sizes.T.ravel())
        cells = rows, order.ravel().astype(np.int32)
        sums = csc_array((np.ones(rows.size), cells), shape=(sizes.size, samples))
        return cls(
            order, values, is_edge, rank, by_value, start, reach, sums, sums.astype(unsigned)
        )

    def blocks(self, classes: int) -> list[Indices]:
        """Divide the numbers of classes into blocks, whose trees are grown together."""
        cells = classes * (self.order.size if self.by_value else self.order.shape[1])
        least = 1 if self.by_value else 16
        number = min(-(-cells // BLOCK), -(-classes // least))
        return np.array_split(np.arange(classes), number)


def _near_quantiles(edges: Indices, bins: int) -> Indices:
    """Return the indices of the `edges` between values that become bin edges."""
    samples, bins = edges[-1], min(bins, QUANTILES)
    # Slightly toward the middle, so that a latent of opposite sign gets the mirrored bins.
    goals = np.linspace(1e-6, 1 - 1e-6, bins + 1)[1:-1] * samples
    above = np.clip(np.searchsorted(edges, goals), 1, len(edges) - 2)
    nearest = above - (goals - edges[above - 1] < edges[above] - goals)
    return np.append(np.unique(nearest), len(edges) - 1)


def grow(
    residuals: Floats, codes: SortedCodes
) -> tuple[Indices, NDArray[np.float32], NDArray[np.uint8], Floats]:
    """Fit a tree to each row of `residuals` `(classes, samples)`.

    Returns:
        The latent and the threshold of each node, `(nodes, classes)` in breadth-first order; the
        leaf of each sample `(classes, samples)`; and the gain of each latent, summed over trees.
    """
    classes, samples = residuals.shape
    nodes = np.zeros(residuals.shape, np.uint8)
    cuts: _CutsByValue | _CutsByBin = (
        _CutsByValue(residuals, codes) if codes.by_value else _CutsByBin(residuals, codes)
    )
    gains = np.zeros(len(codes.order))
    favor = np.zeros((len(codes.order), 1, classes), np.float32)
    node_latents, thresholds = [], []
    for level in range(DEPTH):
        gain, size = cuts.search(level, nodes, favor)
        best = gain.max(axis=0)
        equal = gain >= best - TIE * abs(best)
        decreases = np.maximum(best, 0) * size * equal / equal.sum(axis=0)
        gains += decreases.sum(axis=(1, 2))
        latent = np.where(equal, favor, -np.inf).argmax(axis=0)
        if level == 0:  # ties below the root go to the latent with more gain at the root
            favor = _rounded(gain)
        cut = np.where(best < 0, samples - 1, cuts.best(latent))
        cuts.divide(latent, cut)
        nodes, threshold = _divide(nodes, latent, cut, codes)
        node_latents.append(latent)
        thresholds.append(threshold)
    return np.concatenate(node_latents), np.concatenate(thresholds), nodes, gains


class _CutsByBin:
    """Search of the best cuts of one level after another, by sums over bins."""

    def __init__(self, residuals: Floats, codes: SortedCodes) -> None:
        self.residuals, self.codes = residuals, codes
        self.by_sample = np.ascontiguousarray(residuals.T)[:, None]
        latents, samples = codes.order.shape
        self.sums = _by_bin(codes.sums, self.by_sample, latents)
        counts = codes.start[1:, :, None, None].astype(np.float64)
        self.counts = np.broadcast_to(counts, self.sums.shape)
        self.begin = np.zeros((latents, 1, len(residuals)), np.intp)
        self.end = self.begin + samples

    def search(
        self, level: int, nodes: NDArray[np.uint8], favor: NDArray[np.float32]
    ) -> tuple[Floats, Floats]:
        """Return the gain `(latents, nodes, classes)` and the size `(nodes, classes)`."""
        codes, latents = self.codes, len(self.codes.order)
        if level:
            # Only left children are summed; right ones are their parents minus the left ones.
            lefts = np.arange(0, 2**level, 2, dtype=np.uint8)
            is_left = np.ascontiguousarray(nodes.T)[:, None] == lefts[:, None]
            left = _by_bin(codes.sums, self.by_sample * is_left, latents)
            self.sums = _with_siblings(left, self.sums)
            left = _by_bin(codes.counts, is_left.astype(codes.counts.dtype), latents)
            self.counts = _with_siblings(left, self.counts)
        gain, self.cut = _best_cuts(
            self.residuals, nodes, self.sums, self.counts, self.begin, self.end, favor, codes
        )
        return gain, self.counts[-1, 0]

    def best(self, latent: Indices) -> Indices:
        """Return the position of the best cut of one latent for each node, `(nodes, classes)`."""
        return np.take_along_axis(self.cut, latent[None], axis=0)[0]

    def divide(self, latent: Indices, cut: Indices) -> None:
        """Note where the children of each node lie."""
        node, kind = np.ogrid[: len(cut), : cut.shape[1]]
        self.begin, self.end = (np.repeat(ends, 2, axis=1) for ends in (self.begin, self.end))
        self.end[latent, 2 * node, kind] = self.begin[latent, 2 * node + 1, kind] = cut + 1


class _CutsByValue:
    """Search of the best cuts of one level after another, at all samples of each node in order."""

    def __init__(self, residuals: Floats, codes: SortedCodes) -> None:
        self.residuals, self.codes = residuals, codes
        self.is_distinct = codes.is_edge.all()
        self.rows = np.arange(len(residuals))[:, None]
        self.positions = np.arange(residuals.shape[1])

    def search(
        self, level: int, nodes: NDArray[np.uint8], favor: NDArray[np.float32]
    ) -> tuple[Floats, Floats]:
        """Return the gain `(latents, nodes, classes)` and the size `(nodes, classes)`."""
        classes, samples = nodes.shape
        latents, number = len(self.codes.order), 2**level
        node = np.sort(nodes, axis=1, kind="stable")  # at each position
        entry = nodes + number * self.rows
        size = np.bincount(entry.ravel(), minlength=classes * number).reshape(classes, number)
        first = np.cumsum(size, axis=1) - size
        total = np.bincount(entry.ravel(), self.residuals.ravel(), classes * number)
        mean = total / np.maximum(size, 1).ravel()
        # Running sums of deviations from the mean of the node are 0 at the end of each node.
        deviations = self.residuals - mean[entry]
        count = self.positions + 1 - first[self.rows, node]
        product = (count * (size[self.rows, node] - count)).astype(np.float64)
        product[product == 0] = -1  # the end of a node is no cut
        if level:
            kind = np.uint16 if number * samples <= 2**16 else np.uint32
            keys = self.codes.rank.astype(kind) + (nodes.astype(kind) * samples)[:, None]
            order = np.argsort(keys, axis=2, kind="stable")
        else:
            keys = self.codes.rank[None]
            order = np.broadcast_to(self.codes.order, (classes, latents, samples))
        gains = deviations.take(order + samples * self.rows[:, :, None])
        np.cumsum(gains, axis=2, out=gains)
        gains *= gains
        gains += 1e-250  # a cut without gain is still allowed
        gains /= product[:, None]
        if not self.is_distinct:
            keys = np.take_along_axis(np.broadcast_to(keys, order.shape), order, axis=2)
            np.copyto(gains[..., :-1], -1, where=keys[..., :-1] == keys[..., 1:])
        # A node without samples has no part of its own: what it gets is replaced.
        self.first = np.minimum(first, samples - 1) + samples * self.rows
        starts = self.first + samples * (latents - 1) * self.rows
        starts = starts[:, None] + samples * np.arange(latents)[:, None]
        gain = np.maximum.reduceat(gains.ravel(), starts.ravel()).reshape(starts.shape)
        np.copyto(gain, -1, where=size[:, None] == 0)
        self.gain, self.gains, self.order, self.node = gain, gains, order, node
        return gain.transpose(1, 2, 0), size.T.astype(np.float64)

    def best(self, latent: Indices) -> Indices:
        """Return the position of the best cut of one latent for each node, `(nodes, classes)`."""
        latent = latent.T
        best = np.take_along_axis(self.gain, latent[:, None], axis=1)[:, 0]
        enough = best - TIE * abs(best)
        gains = self.gains[self.rows, latent[self.rows, self.node], self.positions]
        is_best = gains >= enough[self.rows, self.node]
        places = np.where(is_best, self.positions, len(self.positions) - 1)
        place = np.minimum.reduceat(places.ravel(), self.first.ravel()).reshape(latent.shape)
        sample = self.order[self.rows, latent, place]
        return self.codes.rank[latent, sample].astype(np.intp).T

    def divide(self, latent: Indices, cut: Indices) -> None:
        """Nothing needs to be noted: samples are sorted by node."""


def descend(
    codes: NDArray[np.float32], latents: Indices, thresholds: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Return the leaf of each sample in each tree that `grow` returned, `(classes, samples)`.

    Args:
        codes: `(latents, samples)`.
        latents: Latent of each node, `(nodes, classes)`.
        thresholds: Largest code that goes left, `(nodes, classes)`.
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
    """Sum `weights` `(samples, nodes, classes)` over all samples up to the end of each bin.

    Returns:
        An array `(bins, latents, nodes, classes)`.
    """
    each = adder @ weights.reshape(len(weights), -1)
    return _accumulate(each.reshape(-1, latents, *weights.shape[1:]))


def _accumulate(array: NDArray[Any]) -> NDArray[Any]:
    """Take the cumulative sum along the first axis in place, faster than `np.cumsum`."""
    for previous, current in pairwise(array):
        current += previous
    return array


def _with_siblings(left: NDArray[Any], parents: Floats) -> Floats:
    """Interleave left children of axis 2 with their siblings, the parents minus the left ones."""
    both = np.empty((*left.shape[:3], 2, left.shape[3]))
    both[:, :, :, 0] = left
    np.subtract(parents, left, out=both[:, :, :, 1])
    return both.reshape(*left.shape[:2], -1, left.shape[3])


def _gain(sums: Floats, counts: Floats, total: Floats, size: Floats) -> Floats:
    """Return the decrease of squared error by a cut / `size`; negative if one side is empty.

    Args:
        sums: Sums of the residuals on the left of the cut.
        counts: Numbers of samples there.
        total: Sum of residuals of the node.
        size: Number of samples of the node.
    """
    gain = counts * (total / np.maximum(size, 1))
    np.subtract(sums, gain, out=gain)
    gain *= gain
    gain += 1e-250  # a cut without gain is still allowed
    product = size - counts
    product *= counts
    np.copyto(product, -1, where=product <= 0)
    gain /= product
    return gain


def _best_cuts(
    residuals: Floats,
    nodes: NDArray[np.uint8],
    sums: Floats,
    counts: Floats,
    begin: Indices,
    end: Indices,
    favor: NDArray[np.float32],
    codes: SortedCodes,
) -> tuple[Floats, Indices]:
    """Find the best cut of each node by each latent; return gains and positions.

    The last axes of most arrays are (latents, nodes, classes). A node has the samples from position
    `begin` of a latent until `end`. Of equal latents, those with more `favor` are refined first.
    """
    total, size = sums[-1, 0], counts[-1, 0]
    latent, node, kind = np.ogrid[: len(begin), : begin.shape[1], : begin.shape[2]]
    gains = _gain(sums, counts, total, size)
    gain = gains.max(axis=0)
    edge = (gains >= gain - TIE * abs(gain)).argmax(axis=0)
    cut = codes.start[edge + 1, latent] - 1
    if not codes.reach:
        return gain, cut

    # Search both ends of the node, where trees often split off a few samples.
    everything = np.broadcast_to(np.stack([total, size])[:, None], (2, *cut.shape))
    anchor_sums = np.stack([everything, 0 * everything], axis=1)
    ends = np.stack([end, begin]) - 1
    refined = _search(latent, ends, anchor_sums, ENDS, residuals, nodes, total, size, codes)
    gain, cut = _better(gain, cut, *refined)

    # Search around the best edge of the best latents, and beyond bins that are empty in the node.
    order = -np.broadcast_to(favor, gain.shape), -_rounded(gain)
    top = np.lexsort(order, axis=0)[:N_REFINED]
    last = (counts <= counts[edge, latent, node, kind]).sum(axis=0)
    top_gain, top_cut, edge, last = (
        np.take_along_axis(array, top, axis=0) for array in (gain, cut, edge, last)
    )
    anchor_sums = np.stack([sums[edge, top, node, kind], counts[edge, top, node, kind]])
    anchor_sums = np.stack([anchor_sums, anchor_sums], axis=1)
    edges = codes.start[np.stack([edge + 1, last]), top] - 1
    refined = _search(top, edges, anchor_sums, codes.reach, residuals, nodes, total, size, codes)
    top_gain, top_cut = _better(top_gain, top_cut, *refined)
    np.put_along_axis(gain, top, top_gain, axis=0)
    np.put_along_axis(cut, top, top_cut, axis=0)
    return gain, cut


def _rounded(gain: Floats) -> NDArray[np.float32]:
    """Return gains without the rounding errors of float64, so that equal ones are equal."""
    return gain.astype(np.float32)


def _better(
    gain: Floats, cut: Indices, other_gain: Floats, other_cut: Indices
) -> tuple[Floats, Indices]:
    """Replace gains and cuts where the other gain is greater."""
    is_better = other_gain > gain + TIE * abs(gain)
    return np.where(is_better, other_gain, gain), np.where(is_better, other_cut, cut)


def _search(
    latent: Indices,
    anchor: Indices,
    anchor_sums: Floats,
    width: int,
    residuals: Floats,
    nodes: NDArray[np.uint8],
    total: Floats,
    size: Floats,
    codes: SortedCodes,
) -> tuple[Floats, Indices]:
    """Find the best cut value by value; return gains and positions `(latents, nodes, classes)`.

    Args:
        latent: Numbers of the latents, or one for each node and class.
        anchor: Positions `(2, latents, nodes, classes)`. The search covers `width` positions up to
            the first anchor, and `width` positions from the second.
        anchor_sums: Sums and counts up to both anchors, `(2, 2, latents, nodes, classes)`.
    """
    samples = residuals.shape[1]
    width = min(width, samples)
    node, kind = np.ogrid[: len(size), : len(residuals)]
    unclipped = np.stack([anchor[0] + 1 - width, anchor[1]])
    first = unclipped.clip(0, samples - width)
    position = first + samples * latent + np.arange(width)[:, None, None, None, None]
    entry = codes.order.take(position)
    entry += samples * kind
    number = (nodes.take(entry) == node.astype(np.uint8)).astype(np.float64)
    left = residuals.take(entry)
    left *= number
    index = anchor - first
    for sums, at_anchor in zip((left, number), anchor_sums, strict=True):
        _accumulate(sums)
        up_to = np.take_along_axis(sums, np.maximum(index, 0)[None], axis=0)[0]
        sums += at_anchor - np.where(index < 0, 0, up_to)
    gains = _gain(left, number, total, size)
    np.copyto(gains, -1, where=~codes.is_edge.take(position))
    gains[-1][first > unclipped] = -1  # so that a latent of opposite sign gets the mirrored cuts
    gains = gains.reshape(-1, *anchor.shape[1:])
    position = position.reshape(-1, *anchor.shape[1:])
    best = gains.max(axis=0)
    index = (gains >= best - TIE * abs(best)).argmax(axis=0)[None]
    return best, np.take_along_axis(position, index, axis=0)[0] - samples * latent


def _divide(
    nodes: NDArray[np.uint8], latent: Indices, cut: Indices, codes: SortedCodes
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Send samples to the children of their node.

    Returns:
        The new nodes; and the thresholds `(nodes, classes)`, the midpoint of the greatest code on
        the left and the least on the right, or infinite if all samples go left.
    """
    samples = nodes.shape[1]
    right = np.zeros(nodes.shape, np.bool_)
    thresholds = np.full(cut.shape, np.inf, np.float32)
    for node, (latents, cuts) in enumerate(zip(latent, cut, strict=True)):
        rank = codes.rank[latents]
        goes_left = nodes == node
        goes_right = rank > cuts[:, None].astype(rank.dtype)
        goes_right &= goes_left
        goes_left ^= goes_right
        right |= goes_right
        # The minimum is the maximum of inverted bits, so that the zeros of the mask do not matter.
        greatest, least = (rank * goes_left).max(axis=1), ~(~rank * goes_right).max(axis=1)
        is_cut = least < samples
        low, high = (
            codes.values[latents[is_cut], position[is_cut]].astype(np.float64)
            for position in (greatest, least)
        )
        middle = low / 2 + high / 2
        threshold = middle.astype(np.float32)
        rounded_up = threshold > middle
        threshold[rounded_up] = np.nextafter(threshold[rounded_up], np.float32(-np.inf))
        thresholds[node, is_cut] = threshold
    return 2 * nodes + right, thresholds
