"""Reading optimized HLO: lines as XLA writes them for CPUs, GPUs and TPUs, and a program that XLA partitions here."""

import pytest

from lamina.runtime.hlo import Collective, bytes_of, collectives, custom_calls, fusions, read_computations

ALL = (tuple(range(8)),)


def module(*lines, head="HloModule m, num_partitions=8", before=()):
    """A module whose entry has these instructions."""
    return "\n".join([head, "", *before, "ENTRY %main (p: f32[8]) -> f32[8] {", *(f"  {line}" for line in lines), "}"])


@pytest.mark.parametrize(
    ("type_", "size"),
    [
        ("f32[8,16]{1,0}", 512),
        ("bf16[3]", 6),
        ("pred[5]{0}", 5),
        ("s4[3]{0:E(4)}", 2),
        ("f8e4m3fn[7]", 7),
        ("c64[2]", 16),
        ("f32[]", 4),
        ("(f32[2]{0:T(256)}, /*index=1*/bf16[4,2]{1,0:T(8,128)(2,1)S(1)})", 24),
        ("token[]", 0),
        ("f32[<=8]{0}", 32),
    ],
)
def test_bytes_of_a_type(type_, size):
    assert bytes_of(type_) == size


def test_a_collective_with_each_form_of_groups():
    text = module(
        "%a = f32[4]{0} all-reduce(%p), replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add",
        "%b = f32[4]{0} all-reduce(f32[4]{0} %p), replica_groups={}, to_apply=%add",
        "%c = f32[4]{0} all-reduce(%p), replica_groups=[2,4]<=[8], to_apply=%add",
        "%d = f32[4]{0} all-reduce(%p), replica_groups=[2,4]<=[4,2]T(1,0), to_apply=%add",
        "%e = f32[4]{0} all-reduce(%p), replica_groups=mesh['x'=8,'y'=1] {'x'}, to_apply=%add",
        "%f = f32[4]{0} all-reduce(%p), replica_groups=mesh['x'=4,'y'=2] {'x'}, to_apply=%add",
        "%g = f32[4]{0} all-reduce(%p), replica_groups=mesh['x'=8] {'x':(2)2}, to_apply=%add",
        "%i = f32[4]{0} all-gather(%p), replica_groups=mesh['x'=2,'y'=1,'z'=4], device_ids=([4,2]T(1,0)) {'x'}",
        "%h = f32[4]{0} collective-permute(%p), source_target_pairs={{0,1},{1,2}}",
    )
    halves, odd_even = ((0, 1, 2, 3), (4, 5, 6, 7)), ((0, 2, 4, 6), (1, 3, 5, 7))
    steps = ((0, 2), (1, 3), (4, 6), (5, 7))
    assert collectives(text) == [
        Collective("all-reduce", 2, 32, halves),
        Collective("all-reduce", 2, 32, ALL),
        Collective("all-reduce", 2, 32, odd_even),
        Collective("all-reduce", 1, 16, steps),
        Collective("all-gather", 1, 16, ((0, 1), (2, 3), (4, 5), (6, 7))),
        Collective("collective-permute", 1, 16, ((0, 1), (1, 2))),
    ]
    assert [c.group_size for c in collectives(text)] == [4, 8, 4, 2, 2, 2]


def test_an_asynchronous_collective_counts_once_with_its_result():
    text = module(
        "%s = (f32[4]{0}, f32[32]{0}) all-gather-start(%p), replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}",
        "%w = f32[8]{0} add(%p, %p)",
        "%t = f32[32]{0} all-gather-done(%s)",
        "%u = f32[8]{0} all-reduce-start(%w), replica_groups={}, to_apply=%add",
        "%v = f32[8]{0} all-reduce-done(%u)",
        "%x = ((f32[32]{0}), f32[4]{0}, u32[]) reduce-scatter-start(%t), replica_groups={}, dimensions={0}",
        "%y = f32[4]{0} reduce-scatter-done(((f32[32]{0}), f32[4]{0}, u32[]) %x)",
    )
    assert collectives(text) == [
        Collective("all-gather", 1, 128, ALL),
        Collective("all-reduce", 1, 32, ALL),
        Collective("reduce-scatter", 1, 16, ALL),
    ]


def test_several_arrays_in_one_collective_count_once():
    text = module("%a = (f32[4]{0}, /*index=1*/bf16[8]{0}) all-reduce(%p, %q), replica_groups={}, to_apply=%add")
    assert collectives(text) == [Collective("all-reduce", 1, 32, ALL)]


def test_what_runs_in_a_loop_of_known_length_says_how_often():
    body = (
        "%body.1 (p: (s32[], f32[8])) -> (s32[], f32[8]) {",
        "  %r = f32[8]{0} all-reduce(%p), replica_groups={}, to_apply=%add",
        "}",
        "%cond (p: (s32[], f32[8])) -> pred[] {",
        "  %c = pred[] compare(%a, %b), direction=LT",
        "}",
    )
    loop = "%w = (s32[], f32[8]{0}) while(%t), condition=%cond, body=%body.1"
    known = module(loop + ', backend_config={"known_trip_count":{"n":"12"},"x":{"a":"1"}}', before=body)
    assert collectives(known) == [Collective("all-reduce", 1, 32, ALL, times=12)]
    assert collectives(module(loop, before=body)) == [Collective("all-reduce", 1, 32, ALL)]


def test_custom_calls_and_fusions():
    text = module(
        '%a = (f32[8]{0}, s8[0]{0}) custom-call(%p, %q), custom_call_target="__cublas$gemm", backend_config={}',
        '%b = (f32[8]{0}, s8[0]{0}) custom-call(%p, %q), custom_call_target="__cublas$gemm"',
        "%c = f32[8]{0} fusion(%a), kind=kLoop, calls=%fused",
        "%d = f32[8]{0} fusion(%a), kind=kInput, calls=%fused.1",
    )
    assert custom_calls(text) == {"__cublas$gemm": 2}
    assert fusions(text) == {"kLoop": 1, "kInput": 1}
    (entry,) = read_computations(text).values()
    assert [i.opcode for i in entry.instructions] == ["custom-call", "custom-call", "fusion", "fusion"]
    assert entry.is_entry and entry.instructions[0].type == "(f32[8]{0}, s8[0]{0})"


def test_a_program_without_collectives():
    import jax

    text = jax.jit(lambda x: x @ x).lower(jax.ShapeDtypeStruct((8, 8), "float32")).compile().as_text()
    assert collectives(text) == []
    assert any(c.is_entry for c in read_computations(text).values())
