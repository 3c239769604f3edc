"""The bits of dropout_bits are as good as random ones for masks, and can be had from int32 or int64 arithmetic.

A statistic is compared with what independent uniform bits would give, in standard deviations. The seeds are fixed, and
a normal value is beyond the bound of 5 once in 1.7 million, so that truly random bits would pass these thousands.
"""

from math import comb

import numpy as np
import pytest

from lamina.ir.ops.random import MIX, MIX_SHIFTS, SEED_SALT, dropout_hash, dropout_keys

COUNT = 1 << 18
BOUND = 5.0
VALUES_0_0 = [3800016070, 3958001592, 2461569783, 196609160]
VALUES_1_2 = [3370315908, 1238833968, 1040287116, 2722668334]
SEEDS = [(0, 0), (0, 1), (1, 0), (0, 2), (7, 123), (2**32 - 1, 2**32 - 1), (0x9E3779B9, 0)]
LAGS = (1, 2, 3, 4, 7, 8, 16, 27, 32, 64, 100, 128, 256, 512, 768, 1024, 3072, 4096, 65536)


def bits(seed, positions=None):
    positions = np.arange(COUNT, dtype=np.uint32) if positions is None else positions
    return dropout_hash(np.array(seed, np.uint32), positions)


def chi_square(counts, expected=None):
    """Pearson's statistic, standardised."""
    expected = counts.sum() / len(counts) if expected is None else expected
    freedom = len(counts) - 1
    return (((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)


def correlation(a, b, mean, variance):
    """The correlation of two arrays with known mean and variance, standardised."""
    return ((a - mean) * (b - mean)).mean() / variance * np.sqrt(a.size)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_byte_is_uniform(seed):
    words = bits(seed)
    for shift in (0, 8, 16, 24):
        counts = np.bincount(words >> np.uint32(shift) & np.uint32(255), minlength=256)
        assert abs(chi_square(counts)) < BOUND


@pytest.mark.parametrize("seed", SEEDS)
def test_bits_of_a_word_are_independent(seed):
    signs = (bits(seed)[:, None] >> np.arange(32, dtype=np.uint32) & np.uint32(1)).astype(np.float32) * 2 - 1
    deviations = np.abs(signs.T @ signs / np.sqrt(COUNT) - np.sqrt(COUNT) * np.eye(32))
    assert deviations.max() < BOUND
    assert np.abs(signs.mean(0) * np.sqrt(COUNT)).max() < BOUND


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_keep_rates_and_lag_correlations(seed, rate):
    keep = bits(seed) >= np.uint32(rate * 2**32)
    variance = rate * (1 - rate)
    assert abs((keep.mean() - (1 - rate)) / np.sqrt(variance / COUNT)) < BOUND
    for lag in LAGS:  # a lag of the row length is the neighbour in the column
        assert abs(correlation(keep[:-lag], keep[lag:], 1 - rate, variance)) < BOUND, lag


@pytest.mark.parametrize("seed", SEEDS)
def test_pairs_of_words_fill_the_square(seed):
    top = (bits(seed) >> np.uint32(28)).astype(np.int64)
    for lag in LAGS:
        assert chi_square(np.bincount(top[:-lag] * 16 + top[lag:], minlength=256)) < BOUND, lag


@pytest.mark.parametrize("columns", [64, 100, 512, 768])
def test_rows_and_columns_of_a_mask_keep_a_binomial_number(columns):
    rows = COUNT // columns
    keep = (bits((3, 4))[: rows * columns] >= np.uint32(2**31)).reshape(rows, columns)
    for axis in (0, 1):
        n = keep.shape[axis]
        deviations = (keep.sum(axis) - n / 2) / np.sqrt(n / 4)
        # The variance of m standard normals is 1 with a deviation of sqrt(2/m).
        assert abs(deviations.var() - 1) < BOUND * np.sqrt(2 / deviations.size)


def test_runs_of_sixteen_keep_a_binomial_number():
    kept = (bits((5, 6)) >= np.uint32(2**31)).reshape(-1, 16).sum(1)
    expected = np.array([comb(16, i) for i in range(17)]) / 2**16 * kept.size
    inner = slice(1, 16)  # the ends are expected less than once
    counts = np.bincount(kept, minlength=17)
    assert (((counts - expected) ** 2 / expected)[inner].sum() - 15) / np.sqrt(30) < BOUND


@pytest.mark.parametrize("step", [(0, 1), (1, 0), (0, 2), (1, 1), (0, 2**31)])
def test_masks_of_neighbouring_seeds_are_independent(step):
    for first in range(6):
        a = bits((0, first))
        b = bits((step[0], (first + step[1]) % 2**32))
        for rate, other in ((0.5, 0.5), (0.1, 0.1), (0.5, 0.49), (0.1, 0.12)):
            p, q = 1 - rate, 1 - other
            keep, also = a >= np.uint32(rate * 2**32), b >= np.uint32(other * 2**32)
            z = ((keep & also).mean() - p * q) / np.sqrt(p * q * (1 - p) * (1 - q) / COUNT)
            z -= ((keep.mean() - p) * q + (also.mean() - q) * p) / np.sqrt(p * q * (1 - p) * (1 - q) / COUNT)
            assert abs(z) < BOUND
        top = (a >> np.uint32(28)).astype(np.int64) * 16 + (b >> np.uint32(28))
        assert chi_square(np.bincount(top, minlength=256)) < BOUND


def test_one_element_over_consecutive_seeds_is_random():
    seeds = np.stack([np.zeros(COUNT, np.uint32), np.arange(COUNT, dtype=np.uint32)])
    for position in (0, 1, 1000):
        words = dropout_hash(seeds, np.uint32(position))
        assert abs(chi_square(np.bincount(words >> np.uint32(24), minlength=256))) < BOUND
        keep = words >= np.uint32(2**31)
        for lag in LAGS:
            assert abs(correlation(keep[:-lag], keep[lag:], 0.5, 0.25)) < BOUND


def flip_shares(before, after):
    """For each output bit, how far the share of places where it flips is from a half, in standard deviations."""
    flips = (before ^ after)[:, None] >> np.arange(32, dtype=np.uint32) & np.uint32(1)
    return np.abs(flips.mean(0) - 0.5) / (0.5 / np.sqrt(len(before)))


def test_each_bit_of_the_position_flips_half_of_the_bits():
    positions = np.random.default_rng(0).integers(0, 2**32, 1 << 16, dtype=np.uint32)
    for bit in range(32):
        assert flip_shares(bits((1, 2), positions), bits((1, 2), positions ^ np.uint32(1 << bit))).max() < BOUND


def test_each_bit_of_the_seed_flips_half_of_the_bits():
    rng = np.random.default_rng(1)
    seeds = rng.integers(0, 2**32, (2, 1 << 16), dtype=np.uint32)
    positions = np.arange(1 << 16, dtype=np.uint32)
    for word in (0, 1):
        for bit in range(32):
            flipped = seeds.copy()
            flipped[word] ^= np.uint32(1 << bit)
            assert flip_shares(dropout_hash(seeds, positions), dropout_hash(flipped, positions)).max() < BOUND


def test_no_two_seeds_share_their_keys():
    few = np.concatenate([np.arange(300), 2**32 - 1 - np.arange(300)]).astype(np.uint32)
    seeds = np.stack(np.meshgrid(few, few)).reshape(2, -1)
    k0, k1 = dropout_keys(seeds)
    assert len(np.unique(k0.astype(np.uint64) << np.uint64(32) | k1)) == seeds.shape[1]


def test_bits_depend_on_the_logical_position_alone(run_op):
    seed = np.array([8, 9], np.uint32)
    flat = run_op("dropout_bits", seed, shape=(24,))
    np.testing.assert_array_equal(run_op("dropout_bits", seed, shape=(2, 3, 4)).reshape(-1), flat)
    np.testing.assert_array_equal(run_op("dropout_bits", seed, shape=(30,))[:24], flat)
    assert run_op("dropout_bits", seed, shape=(0, 3)).shape == (0, 3)
    assert run_op("dropout_bits", seed, shape=()) == flat[0]


def test_the_values_never_change():
    """Saved programs and other targets have the same bits: these are part of the contract."""
    np.testing.assert_array_equal(bits((0, 0), np.arange(4, dtype=np.uint32)), VALUES_0_0)
    np.testing.assert_array_equal(bits((1, 2), np.array([0, 1, 2**31, 2**32 - 1], np.uint32)), VALUES_1_2)


def wrap(value):
    """The int32 with the low 32 bits of an integer."""
    return (value + 2**31) % 2**32 - 2**31


def mix_int32(x, addend=0):
    """``mix`` on Python integers in the range of int32, as a target without unsigned arithmetic computes it."""

    def logical_shift(v, n):
        return (v >> n) & (2**32 - 1 >> n)  # an arithmetic shift and a mask

    x = wrap((x ^ logical_shift(x, MIX_SHIFTS[0])) * wrap(MIX[0]) + addend)
    x = wrap((x ^ logical_shift(x, MIX_SHIFTS[1])) * wrap(MIX[1]))
    x = wrap((x ^ logical_shift(x, MIX_SHIFTS[2])) * wrap(MIX[2]))
    return x ^ logical_shift(x, MIX_SHIFTS[3])


@pytest.mark.parametrize("seed", SEEDS)
def test_signed_arithmetic_gives_the_same_bits(seed):
    first, second = (wrap(s) for s in seed)
    k0 = mix_int32(first ^ wrap(SEED_SALT))
    k1 = mix_int32(second ^ k0)
    k0 = mix_int32(wrap(k0 + k1))
    k1 = mix_int32(k1 ^ k0)
    positions = [0, 1, 2, 1000, 2**31 - 1, 2**31, 2**32 - 1]
    signed = [mix_int32(wrap(p) ^ k0, k1) for p in positions]
    np.testing.assert_array_equal(
        np.array(signed, np.int32).view(np.uint32), bits(seed, np.array(positions, np.uint32))
    )
