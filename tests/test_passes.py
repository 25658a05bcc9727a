"""Each pass over programs: a program before, the program after."""

from dataclasses import replace

import pytest

from lazynet import fusing, passes
from lazynet.batching import layout as words
from lazynet.program import Program, Ref, Region, call, elementwise


def region(index, size=4, offset=0):
    return Ref(words.REGION, index, "float32", size, offset)


def argument(index, size=4):
    return Ref(words.ARGUMENT, index, "float32", size)


def weight(number=0):
    return Ref(words.STATIC, number, "float32", 16)


def product(source, target):
    return call("matmul", (source, weight()), target, (1, 4, 4, 0, 1), "float32")


def program(steps, regions=6, outputs=1):
    lifetimes = [words.OUTPUT if k < outputs else words.SCRATCH for k in range(regions)]
    return Program([Region(16, words.ITEMS, lifetime) for lifetime in lifetimes], list(steps))


def expressions(step):
    return [f"{f.name} = {f.expression}" for f in step.formulas]


def test_fuse_makes_a_chain_one_loop_and_drop_unused_keeps_only_what_is_read():
    before = program(
        [
            elementwise("tanh(x0)", [argument(0)], region(1)),
            elementwise("x0 * x1", [region(1), argument(1)], region(2)),
            elementwise("x0 + x1", [region(2), region(1)], region(0)),
        ]
    )
    after = passes.drop_unused(passes.fuse(before))
    (step,) = after.steps
    assert expressions(step) == ["v0 = tanh(x0)", "v1 = v0 * x1", "v2 = v1 + v0"]
    assert step.inputs == (argument(0), argument(1))
    assert step.outputs == (region(0),)
    assert [r.width for r in after.regions[:3]] == [16, 0, 0]


def test_fuse_does_not_carry_a_step_over_what_it_reads():
    before = program(
        [
            elementwise("tanh(x0)", [argument(0)], region(1)),
            product(region(1), region(2)),
            elementwise("exp(x0)", [region(2)], region(0)),
        ]
    )
    assert len(passes.fuse(before).steps) == 3


def test_fuse_writes_numbers_into_the_formula():
    half = Ref(words.LITERAL, 0, "float32", 1, literal=0.5)
    (step,) = passes.fuse(program([elementwise("x0 * x1", [argument(0), half], region(0))])).steps
    assert expressions(step) == ["v0 = x0 * c(0.5)"]
    assert step.inputs == (argument(0),)


def test_two_additions_to_one_place_become_one():
    target = Ref(words.D_ARGUMENT, 0, "float32", 4)
    before = program(
        [
            elementwise("x0", [argument(0)], target, accumulate=True),
            elementwise("x0", [argument(1)], target, accumulate=True),
        ]
    )
    (step,) = passes.fuse(before).steps
    assert step.outputs == (target,)
    assert expressions(step)[-1] == "v2 = v0 + v1"


def repeated(source, target):
    return call("repeat_axis", (source,), target, (1, target.size, 1), "float32")


def test_one_element_is_not_repeated_for_loops():
    one, other = argument(0, size=1), argument(1)
    before = program(
        [
            repeated(one, region(1)),
            elementwise("x0 * x1", [region(1), other], region(2)),
            product(region(1), region(3)),
            elementwise("x0 + x1", [region(2), region(3)], region(0)),
        ]
    )
    after = passes.broadcast(before)
    assert [step.inputs for step in after.steps[1:3]] == [(one, other), (region(1), weight())]
    last = elementwise("x0", [region(2)], region(0))
    alone = passes.broadcast(program([*before.steps[:2], last]))
    (step,) = passes.drop_unused(passes.fuse(alone)).steps
    assert step.inputs == (one, other) and step.width == 4


def test_one_element_that_changes_is_repeated_as_it_was():
    one = region(4, size=1)
    steps = [
        elementwise("x0", [argument(0, size=1)], one),
        repeated(one, region(1)),
        elementwise("x0", [argument(1, size=1)], one, accumulate=True),
        elementwise("x0 * x1", [region(1), argument(2)], region(0)),
    ]
    assert passes.broadcast(program(steps)).steps == steps


def test_a_product_that_is_only_added_somewhere_is_added_there_by_its_own_kernel():
    target = Ref(words.D_ARGUMENT, 0, "float32", 4)
    before = program(
        [
            product(argument(0), region(1)),
            elementwise("x0", [region(1)], target, accumulate=True),
        ]
    )
    (step,) = passes.fold_accumulation(before).steps
    assert step.kernel == "matmul"
    assert step.outputs == (target,)
    assert step.accumulate == (True,)


def test_a_product_with_two_readers_stays_by_itself():
    target = Ref(words.D_ARGUMENT, 0, "float32", 4)
    before = program(
        [
            product(argument(0), region(1)),
            elementwise("x0", [region(1)], target, accumulate=True),
            elementwise("x0", [region(1)], region(0)),
        ]
    )
    assert passes.fold_accumulation(before).steps == before.steps


def test_what_is_copied_into_a_part_of_a_wider_row_is_made_there():
    before = program(
        [
            elementwise("tanh(x0)", [argument(0)], region(1)),
            product(argument(1), region(2)),
            product(region(1), region(0)),
            elementwise("x0", [region(2)], region(3, 4, 0)),
            elementwise("x0", [region(1)], region(3, 4, 16)),
        ]
    )
    before.regions[3] = Region(32, words.ITEMS, words.SCRATCH)
    after = passes.place(before)
    assert [step.outputs[0] for step in after.steps] == [
        region(3, 4, 16), region(3, 4, 0), region(0)
    ]  # fmt: skip
    assert after.steps[2].inputs[0] == region(3, 4, 16)  # who reads it finds it there
    assert [r.width for r in after.regions[:4]] == [16, 0, 0, 32]


def test_what_is_copied_stays_where_its_place_is_not_its_own():
    def copied(*more, source=None, target=None, first=()):
        made = elementwise("tanh(x0)", [argument(0)], region(1))
        copy = elementwise("x0", [source or region(1)], target or region(2))
        return program([*first, made, copy, *more])

    unchanged = [
        copied(elementwise("x0", [argument(1)], region(2))),  # also written by another step
        copied(elementwise("x0", [argument(1)], region(1))),  # the source changes afterwards
        copied(source=region(1, 1), target=region(2)),  # one element for all of the row
        copied(target=region(0)),  # an output is where callers look for it
        copied(target=Ref(words.D_ARGUMENT, 0, "float32", 4)),
        copied(first=[elementwise("x0", [region(2)], region(3))]),  # read before it is written
    ]
    segments = copied()
    segments.regions[2] = Region(16, words.SEGMENTS, words.SCRATCH)
    for before in (*unchanged, segments):
        assert passes.place(before) is before
    assert len(passes.place(copied()).steps) == 1


def test_what_does_not_depend_on_the_state_is_hoisted():
    state = Ref(words.STATE, 0, "float32", 4)
    before = program(
        [
            product(argument(0), region(1)),
            product(state, region(2)),
            elementwise("x0 + x1", [region(1), region(2)], region(0)),
        ]
    )
    phases = [step.phase for step in passes.hoist(before).steps]
    assert phases == [words.BEFORE, words.LOOP, words.LOOP]


def test_the_sum_of_two_products_is_added_up_in_place_the_hoisted_one_first():
    state = Ref(words.STATE, 0, "float32", 4)
    for order in ((1, 2), (2, 1)):
        made = {1: product(argument(0), region(1)), 2: product(state, region(2))}
        steps = [made[k] for k in order]
        steps.append(elementwise("x0 + x1", [region(order[0]), region(order[1])], region(3)))
        steps.append(elementwise("tanh(x0)", [region(3)], region(0)))
        after = passes.sum_in_place(passes.hoist(program(steps)))
        products = [step for step in after.steps if step.kernel]
        assert len(after.steps) == 3
        assert all(step.outputs == (region(3),) for step in products)
        stored = {step.phase: step.accumulate for step in products}
        assert stored == {words.BEFORE: (False,), words.LOOP: (True,)}


def test_a_sum_of_products_begins_with_what_is_given():
    bias = Ref(words.STATIC, 1, "float32", 4)
    first, second = product(argument(0), region(1)), product(argument(1), region(2))
    second = [elementwise("x0", [bias], region(2)), replace(second, accumulate=(True,))]
    total = elementwise("x0 + x1", [region(1), region(2)], region(0))
    after = passes.sum_in_place(program([first, *second, total]))
    assert [step.kernel for step in after.steps] == ["", "matmul", "matmul"]
    assert [step.accumulate for step in after.steps] == [(False,), (True,), (True,)]
    assert all(step.outputs == (region(0),) for step in after.steps)


NO_SUMS = {  # what is no sum of whole products: c = a + b
    "of parts": [
        product(argument(0), region(1, 2)), product(argument(0), region(1, 2, 8)),
        product(argument(1), region(2)),
    ],
    "of copies": [
        elementwise("x0", [argument(0)], region(1)), elementwise("x0", [argument(1)], region(2)),
    ],
    "of a product and copies of parts": [
        elementwise("x0", [argument(0, 2)], region(1, 2)),
        elementwise("x0", [argument(1, 2)], region(1, 2, 8)),
        product(argument(1), region(2)),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", NO_SUMS)
def test_what_is_no_product_is_added_up_by_a_loop(name):
    total = elementwise("x0 + x1", [region(1), region(2)], region(0))
    before = program([*NO_SUMS[name], total])
    assert passes.sum_in_place(before).steps == before.steps


def test_a_sum_with_a_part_of_a_product_is_added_up_by_a_loop():
    wide = product(argument(0), region(1, 8))
    total = elementwise("x0 + x1", [region(1), region(2)], region(0))
    before = program([wide, product(argument(1), region(2)), total])
    before.regions[1] = Region(32, words.ITEMS, words.SCRATCH)
    assert passes.sum_in_place(before).steps == before.steps


def test_fuse_does_not_carry_an_addition_over_what_it_is_added_to():
    before = program(
        [
            elementwise("tanh(x0)", [argument(0)], region(1)),
            product(region(1), region(0)),
            elementwise("x0", [argument(1)], region(0), accumulate=True),
        ]
    )
    after = passes.fuse(before).steps
    assert [step.outputs for step in after] == [(region(1),), (region(0),), (region(0),)]


def test_fuse_reads_what_was_added_to():
    first = elementwise("x0", [argument(0)], region(1))
    second = elementwise("x0", [argument(1)], region(1), accumulate=True)
    read = elementwise("tanh(x0)", [region(1)], region(0))
    (step,) = passes.fuse(program([first, second, read])).steps
    assert expressions(step)[-2:] == ["v2 = v0 + v1", "v3 = tanh(v2)"]
    assert step.results == ("v2", "v3") and step.accumulate == (False, False)
    steps = passes.fuse(program([product(argument(0), region(1)), second, read])).steps
    assert [step.outputs for step in steps] == [(region(1),), (region(1),), (region(0),)]


def test_what_is_added_to_something_of_the_state_stays_in_the_loop():
    state = Ref(words.STATE, 0, "float32", 4)
    copied = elementwise("x0", [state], region(0))
    added = replace(product(argument(0), region(0)), accumulate=(True,))
    assert [s.phase for s in passes.hoist(program([copied, added])).steps] == [words.LOOP] * 2


def test_products_of_rows_of_items_and_of_segments_are_added_up_by_a_loop():
    rows, each = product(argument(0), region(1)), product(argument(1), region(2))
    total = elementwise("x0 + x1", [region(1), region(2)], region(0))
    before = program([rows, each, total])
    assert [step.kernel for step in passes.sum_in_place(before).steps] == ["matmul"] * 2
    before.regions[2] = Region(16, words.SEGMENTS, words.SCRATCH)
    assert passes.sum_in_place(before).steps == before.steps


def test_only_what_the_previous_state_waits_for_stays_in_the_reversed_loop():
    d_state = Ref(words.D_STATE, 0, "float32", 4)
    d_input = Ref(words.D_ARGUMENT, 0, "float32", 4)
    d_weight = Ref(words.D_STATIC, 0, "float32", 16)
    out = Ref(words.D_FORWARD, 0, "float32", 4)
    before = program(
        [
            elementwise("x0 * x0", [out], region(1)),
            elementwise("x0", [region(1)], d_state, accumulate=True),
            elementwise("x0", [region(1)], d_input, accumulate=True),
            elementwise("x0", [region(1)], d_weight, accumulate=True),
        ],
        outputs=0,
    )
    after = passes.keep_for_deferred(passes.postpone(before))
    phases = [step.phase for step in after.steps]
    assert phases == [words.LOOP, words.LOOP, words.AFTER, words.DEFERRED]
    assert after.regions[1].lifetime == words.SAVED


def test_values_that_the_derivative_reads_outlive_their_batch():
    forward = program([elementwise("x0", [argument(0)], region(1))])
    reads = [Ref(words.FORWARD_REGION, 1, "float32", 4)]
    backward = program([elementwise("x0", reads, region(0))])
    assert passes.save_for(forward, backward).regions[1].lifetime == words.SAVED


def test_a_chain_longer_than_a_loop_may_be_is_cut_into_loops():
    count = 2 * fusing.MOST_FUSED + 10
    steps = [elementwise("tanh(x0)", [argument(0)], region(1))]
    steps += [elementwise("x0 * x0", [region(k)], region(k + 1)) for k in range(1, count)]
    after = passes.drop_unused(passes.fuse(program(steps, regions=count + 1, outputs=0)))
    assert after.steps == []  # nobody reads the last
    steps.append(elementwise("x0", [region(count)], region(0)))
    after = passes.drop_unused(passes.fuse(program(steps, regions=count + 1)))
    assert [len(step.formulas) for step in after.steps] == [100, 100, 11]
    assert [len(step.outputs) for step in after.steps] == [1, 1, 1]
    first, second, last = after.steps
    assert (second.inputs, last.inputs) == (first.outputs, second.outputs)


def test_a_loop_of_more_operands_than_are_compared_is_cut_where_little_is_passed_on():
    steps, outputs = [], 40
    for k in range(outputs):
        before = [region(k - 1)] if k else [argument(0)]
        steps.append(elementwise("x0 * x1", [*before, argument(k)], region(k)))
    after = passes.drop_unused(passes.fuse(program(steps, regions=outputs, outputs=outputs)))
    assert len(after.steps) > 1
    assert [ref for step in after.steps for ref in step.outputs] == [
        region(k) for k in range(outputs)
    ]
    for step in after.steps:
        read, written = len(step.inputs), len(step.outputs)
        assert read * written + written * (written - 1) // 2 <= fusing.MOST_PAIRS


def test_values_that_only_their_loop_reads_do_not_cut_it():
    steps = [elementwise("x0 * x1", [argument(0), argument(k)], region(k)) for k in range(1, 30)]
    total = region(1)
    for k in range(2, 30):
        after = region(28 + k if k < 29 else 0)
        steps.append(elementwise("x0 + x1", [total, region(k)], after))
        total = after
    assert len(passes.drop_unused(passes.fuse(program(steps, regions=57))).steps) == 1


def test_what_only_gives_a_parameters_gradient_is_deferred_and_what_it_reads_is_kept():
    d_weight = Ref(words.D_STATIC, 0, "float32", 16)
    d_input = Ref(words.D_ARGUMENT, 0, "float32", 4)
    before = program(
        [
            elementwise("x0 * x0", [argument(0)], region(1)),
            elementwise("x0", [region(1)], d_input, accumulate=True),
            product(region(1), d_weight),
        ],
        outputs=0,
    )
    after = passes.keep_for_deferred(passes.defer(before))
    assert [step.phase for step in after.steps] == [words.BEFORE, words.BEFORE, words.DEFERRED]
    assert after.regions[1].lifetime == words.SAVED
    assert before.regions[1].lifetime == words.SCRATCH
