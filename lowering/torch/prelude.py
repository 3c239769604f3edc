"""What an emitted module calls beside torch's own functions, where torch has none of that meaning.

The text of a method stands in each source that uses it; nobody imports this file. All of it is TorchScript, which has
no hexadecimal numbers. Unsigned integers of 16 and 32 bits are numbers in a wider signed type, those of 64 bits are the
bits of an int64.
"""

# mypy: ignore-errors
# ruff: noqa: UP006, UP035
from __future__ import annotations

from typing import TYPE_CHECKING, List, Tuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Prelude:
    """The methods."""

    # Floats

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        # +0 is above -0, which torch takes for equal
        return torch.where((a == 0) & (b == 0), a + b, torch.maximum(a, b))

    def minimum(self, a: Tensor, b: Tensor) -> Tensor:
        # -0 is below +0, which torch takes for equal
        return torch.where((a == 0) & (b == 0), -(-a - b), torch.minimum(a, b))

    def sign(self, x: Tensor) -> Tensor:
        # zeros and NaN stay
        return torch.where(x.abs() > 0, torch.sign(x), x)

    def sign_complex(self, x: Tensor) -> Tensor:
        # x / |x|, and 0 for 0
        size = torch.hypot(torch.real(x), torch.imag(x))
        scale = 1.0 / size.masked_fill(size == 0, 1.0)
        return torch.complex(torch.real(x) * scale, torch.imag(x) * scale)

    def remainder(self, a: Tensor, b: Tensor) -> Tensor:
        # of float64; torch gives NaN where a / b overflows, so that multiples of b are taken off first; x % inf is x
        rest = a
        for factor in [2.0**960, 2.0**480, 1.0]:
            part = b * factor
            rest = torch.where(torch.isinf(part) & torch.isfinite(rest), rest, torch.fmod(rest, part))
        return rest

    def add_complex(self, a: Tensor, b: Tensor) -> Tensor:
        # by parts: torch multiplies b by 1, and an infinity times 0 is NaN
        return torch.complex(torch.real(a) + torch.real(b), torch.imag(a) + torch.imag(b))

    def subtract_complex(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.complex(torch.real(a) - torch.real(b), torch.imag(a) - torch.imag(b))

    def round_away(self, x: Tensor) -> Tensor:
        # the nearest whole number, ties away from zero
        whole = torch.trunc(x)
        return torch.where((x - whole).abs() >= 0.5, whole + torch.sign(x), whole)

    def cbrt(self, x: Tensor) -> Tensor:
        # the cube root: a power, and one step of Newton's method
        size = x.abs()
        usual = (size > 0) & torch.isfinite(size)
        safe = size.masked_fill(~usual, 1.0)
        root = safe.pow(1.0 / 3.0)
        root = root - (root - safe / (root * root)) / 3.0
        return torch.copysign(torch.where(usual, root, size), x)

    def digamma(self, x: Tensor) -> Tensor:
        # NaN at the poles
        return torch.digamma(x).masked_fill((x <= 0) & (x == torch.floor(x)), float("nan"))

    def larger_complex(self, a: Tensor, b: Tensor) -> Tensor:
        # by the real part, then by the imaginary one; NaN wins
        more = (a.real > b.real) | ((a.real == b.real) & (a.imag >= b.imag))
        return torch.where((more | torch.isnan(a)) & ~(torch.isnan(b) & ~torch.isnan(a)), a, b)

    def smaller_complex(self, a: Tensor, b: Tensor) -> Tensor:
        # by the real part, then by the imaginary one; NaN wins
        less = (a.real < b.real) | ((a.real == b.real) & (a.imag <= b.imag))
        return torch.where((less | torch.isnan(a)) & ~(torch.isnan(b) & ~torch.isnan(a)), a, b)

    def next_half(self, bits: Tensor, a: Tensor, b: Tensor) -> Tensor:
        # the bits (int64) of the neighbour of a toward b, where bits are those of a
        step = torch.where((a < b) == (a > 0), 1, -1)
        from_zero = torch.where(torch.signbit(b), -32767, 1)
        return torch.where(a == 0, from_zero, bits + step)

    def ordinal(self, bits: Tensor, largest: int) -> Tensor:
        # bits of floats as numbers in their total order: -NaN, -inf, ... -0, +0, ... inf, NaN
        return torch.where(bits < 0, bits ^ largest, bits)

    def reduced(
        self, bits: Tensor, largest: int, infinity: int, cut: int, mantissa: int, bias: int, reduced: int
    ) -> Tensor:
        # bits (int64) of floats, rounded to fewer bits of mantissa and (where reduced is not 0) of exponent
        magnitude = bits & largest
        if cut > 0:
            odd = (magnitude >> cut) & 1
            magnitude = (magnitude + odd + ((1 << (cut - 1)) - 1)) & -(1 << cut)
        if reduced > 0:
            exponent = magnitude >> mantissa
            magnitude = magnitude.masked_fill(exponent > bias + reduced, infinity)
            magnitude = magnitude.masked_fill(exponent <= bias - reduced, 0)
        return torch.where(bits < 0, magnitude | (-1 - largest), magnitude)

    def round_e4m3fn(self, x: Tensor) -> Tensor:
        # to the type of 8 bits that has NaN and no infinity; what torch does beyond its end is the version's choice
        near = x.to(torch.float8_e4m3fn).to(torch.float32)
        return torch.where(x.abs() <= 464.0, near, float("nan"))

    def to_odd(self, x: Tensor) -> Tensor:
        # float64 to float32 with an odd last bit where inexact, so that a second rounding gives what one would
        near = x.to(torch.float32)
        back = near.to(torch.float64)
        inward = torch.where(back.abs() > x.abs(), torch.nextafter(near, torch.zeros_like(near)), near)
        odd = torch.view_copy(torch.view_copy(inward, dtype=torch.int32) | 1, dtype=torch.float32)
        return torch.where((back == x) | ~torch.isfinite(x), near, odd)

    # Integers

    def divide_integers(self, a: Tensor, b: Tensor) -> Tensor:
        # toward zero; x / 0 is -1, and the least number / -1 wraps
        special = (b == 0) | (b == -1)
        quotient = torch.div(a, b.masked_fill(special, 1), rounding_mode="trunc")
        return torch.where(b == -1, -a, quotient).masked_fill(b == 0, -1)

    def divide_unsigned(self, a: Tensor, b: Tensor, largest: int) -> Tensor:
        # x / 0 is the largest number
        quotient = torch.div(a, b.masked_fill(b == 0, 1), rounding_mode="trunc")
        return quotient.masked_fill(b == 0, largest)

    def divide_uint64(self, a: Tensor, b: Tensor) -> Tensor:
        # of the bits of unsigned numbers: half of a is positive, which leaves 0 or 1 to be added
        least = -9223372036854775808
        large = b < 0
        divisor = b.masked_fill(b <= 0, 1)
        quotient = torch.div((a >> 1) & 9223372036854775807, divisor, rounding_mode="trunc") << 1
        rest = a - quotient * divisor
        quotient = quotient + ((rest ^ least) >= (divisor ^ least)).to(torch.int64)
        quotient = torch.where(large, ((a ^ least) >= (b ^ least)).to(torch.int64), quotient)
        return quotient.masked_fill(b == 0, -1)

    def remainder_integers(self, a: Tensor, b: Tensor) -> Tensor:
        # the sign of a; x % 0 is x
        special = (b == 0) | (b == -1)
        return torch.where(b == 0, a, torch.fmod(a, b.masked_fill(special, 1)))

    def remainder_unsigned(self, a: Tensor, b: Tensor) -> Tensor:
        # x % 0 is x
        return torch.where(b == 0, a, torch.fmod(a, b.masked_fill(b == 0, 1)))

    def power_uint64(self, a: Tensor, b: Tensor) -> Tensor:
        # an exponent of 2^63 or more: an odd number to the 2^63 is 1, an even one is 0
        power = torch.pow(a, b & 9223372036854775807)
        return torch.where((b < 0) & ((a & 1) == 0), 0, power)

    def shift_left(self, a: Tensor, b: Tensor, width: int) -> Tensor:
        # zeros for shifts past the width
        far = (b < 0) | (b >= width)
        return torch.bitwise_left_shift(a, b.masked_fill(far, 0)).masked_fill(far, 0)

    def shift_right(self, a: Tensor, b: Tensor, width: int) -> Tensor:
        # of a number >= 0: zeros enter
        far = (b < 0) | (b >= width)
        return torch.bitwise_right_shift(a, b.masked_fill(far, 0)).masked_fill(far, 0)

    def shift_right_int64(self, a: Tensor, b: Tensor) -> Tensor:
        # of 64 bits: zeros enter
        far = (b < 0) | (b >= 64)
        by = b.masked_fill(far, 0)
        kept = torch.where(by == 0, -1, torch.bitwise_left_shift(torch.ones_like(by), 64 - by) - 1)
        return (torch.bitwise_right_shift(a, by) & kept).masked_fill(far, 0)

    def shift_right_signed(self, a: Tensor, b: Tensor, width: int) -> Tensor:
        # copies of the sign enter
        far = (b < 0) | (b >= width)
        return torch.bitwise_right_shift(a, b.masked_fill(far, width - 1))

    def popcount(self, x: Tensor) -> Tensor:
        # how many of the 64 bits are set
        x = x - ((x >> 1) & 6148914691236517205)
        x = (x & 3689348814741910323) + ((x >> 2) & 3689348814741910323)
        x = (x + (x >> 4)) & 1085102592571150095
        return ((x * 72340172838076673) >> 56) & 255

    def leading_zeros(self, x: Tensor, width: int) -> Tensor:
        # the zero bits above the highest set one of width bits
        step = 1
        while step < width:
            x = x | ((x >> step) & (9223372036854775807 >> (step - 1)))
            step = step * 2
        return width - self.popcount(x)

    # Conversions

    def saturate(self, x: Tensor, low: int, high: int) -> Tensor:
        # float64 within the range of an integer type; NaN is 0
        return torch.nan_to_num(x.to(torch.float64), 0.0, float(high), float(low)).clamp(low, high)

    def float_to_int64(self, x: Tensor) -> Tensor:
        x = x.to(torch.float64)
        whole = x.masked_fill(~(x.abs() < 9223372036854775808.0), 0.0).to(torch.int64)
        whole = whole.masked_fill(x >= 9223372036854775808.0, 9223372036854775807)
        return whole.masked_fill(x <= -9223372036854775808.0, -9223372036854775808)

    def float_to_uint64(self, x: Tensor) -> Tensor:
        # the bits of the unsigned number
        x = x.to(torch.float64)
        large = (x >= 9223372036854775808.0) & (x < 18446744073709551616.0)
        small = x.masked_fill(~((x > 0.0) & (x < 9223372036854775808.0)), 0.0).to(torch.int64)
        upper = (x - 9223372036854775808.0).masked_fill(~large, 0.0).to(torch.int64)
        whole = torch.where(large, upper ^ -9223372036854775808, small)
        return whole.masked_fill(x >= 18446744073709551616.0, -1)

    def half_uint64(self, x: Tensor) -> Tensor:
        # half of an unsigned number; its last bit remembers what is lost, so that rounding is that of the whole
        return ((x >> 1) & 9223372036854775807) | (x & 1)

    # Random bits

    def mix(self, x: Tensor, addend: Tensor) -> Tensor:
        # the hash triple32 of numbers of 32 bits; addend is added after the first multiplication
        x = ((x ^ (x >> 17)) * 3982152891 + addend) & 4294967295
        x = ((x ^ (x >> 11)) * 2890668881) & 4294967295
        x = ((x ^ (x >> 15)) * 830770091) & 4294967295
        return x ^ (x >> 14)

    def dropout_bits(self, seed: Tensor, shape: List[int]) -> Tensor:
        # 32 random bits for each element: a hash of the seed's two words and the element's position
        first, second = seed[..., 0:1], seed[..., 1:2]
        none = torch.zeros_like(first)
        first = self.mix(first ^ 2654435769, none)
        second = self.mix(second ^ first, none)
        first = self.mix((first + second) & 4294967295, none)
        second = self.mix(second ^ first, none)
        count = 1
        for size in shape:
            count = count * size
        positions = torch.arange(count, dtype=torch.int64, device=seed.device) & 4294967295
        sizes = [seed.shape[i] for i in range(seed.dim() - 1)]
        return self.mix(positions ^ first, second).reshape(sizes + shape)

    def threefry(self, key: Tensor, high: Tensor, low: Tensor) -> Tuple[Tensor, Tensor]:
        # the cipher Threefry-2x32 with 20 rounds of counters (high, low), for each key of the last dimension
        first, second = key[..., 0:1], key[..., 1:2]
        keys = [first, second, first ^ second ^ 466688986]
        rotations = [[13, 15, 26, 6], [17, 29, 16, 24]]
        a, b = (high + first) & 4294967295, (low + second) & 4294967295
        for block in range(5):
            for rotation in rotations[block % 2]:
                a = (a + b) & 4294967295
                b = a ^ (((b << rotation) | (b >> (32 - rotation))) & 4294967295)
            a = (a + keys[(block + 1) % 3]) & 4294967295
            b = (b + keys[(block + 2) % 3] + (block + 1)) & 4294967295
        return a, b

    def threefry_words(self, key: Tensor, shape: List[int]) -> Tuple[Tensor, Tensor]:
        # two words of 32 random bits for each key and each element of shape
        count = 1
        for size in shape:
            count = count * size
        places = torch.arange(count, dtype=torch.int64, device=key.device)
        first, second = self.threefry(key, places >> 32, places & 4294967295)
        sizes = [key.shape[i] for i in range(key.dim() - 1)]
        return first.reshape(sizes + shape), second.reshape(sizes + shape)

    # Indexing

    def from_start(self, indices: Tensor, size: int) -> Tuple[Tensor, Tensor]:
        # indices from the start, those out of range moved inside, and where they are out of range
        places = torch.where(indices < 0, indices + size, indices)
        return places.clamp(0, size - 1), (places < 0) | (places >= size)

    def last_at(self, flat: Tensor, places: Tensor, values: Tensor) -> Tensor:
        # flat[place] = value for each place and value, the last one where a place comes again
        order = torch.arange(places.shape[0], dtype=torch.int64, device=places.device)
        none = torch.full([flat.shape[0]], -1, dtype=torch.int64, device=places.device)
        last = torch.scatter_reduce(none, 0, places, order, "amax", include_self=True)
        return torch.where(last < 0, flat, values[last.clamp(0)])

    def fold_at(self, flat: Tensor, places: Tensor, values: Tensor, op: str) -> Tensor:
        # flat[place] = op(flat[place], value) for each place and value; the last element of flat is a bin
        return torch.scatter_reduce(flat, 0, places, values, op, include_self=True)

    # Linear algebra

    def cholesky(self, a: Tensor, upper: bool) -> Tensor:
        # NaN where the matrix is not positive definite
        factor, info = torch.linalg.cholesky_ex(a, upper=upper)
        return factor.masked_fill((info != 0).unsqueeze(-1).unsqueeze(-1), float("nan"))

    def leading_factors(self, vectors: Tensor) -> Tensor:
        # 1 or -1, or a number of size 1, that makes the first large element of each column positive
        if vectors.shape[-2] == 0:
            return torch.ones_like(vectors.sum(-2, keepdim=True))
        size = vectors.abs()
        large = size >= 0.99 * size.amax(-2, keepdim=True)
        place = large.to(torch.int64).argmax(-2, keepdim=True)
        leading = vectors.detach().gather(-2, place)
        if torch.is_complex(vectors):
            return leading.conj() / leading.abs()
        return torch.where(leading < 0, -torch.ones_like(leading), torch.ones_like(leading))
