"""Modules: what they own and its names, their state, and those that hold others."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from checks import normal, parameter

import lazynet as ln
from lazynet import nn

F = nn.functional


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter([2.0])
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3, bias=False)])
        self.by_name = nn.ModuleDict({"out": nn.Linear(3, 2)})
        self.dropout = nn.Dropout(0.5)
        self.note = {"any": "attribute"}

    def forward(self, x):
        for layer in self.layers:
            x = F.tanh(layer(x))
        return self.by_name["out"](self.dropout(x)) * self.scale


NAMES = [
    "scale",
    "layers.0.weight",
    "layers.0.bias",
    "layers.1.weight",
    "by_name.out.weight",
    "by_name.out.bias",
]


class TestModule:
    def test_parameters_are_found_by_attribute_in_the_order_of_pytorch(self):
        assert [name for name, _ in Net().named_parameters()] == NAMES
        assert list(Net().state_dict()) == NAMES

    def test_own_parameters_come_before_those_of_children(self):
        module = nn.Module()
        module.child = nn.Linear(2, 2)
        module.own = parameter(2)
        names = [name for name, _ in module.named_parameters()]
        assert names == ["own", "child.weight", "child.bias"]

    def test_modules_children_and_submodules(self):
        net = Net()
        names = ["", "layers", "layers.0", "layers.1", "by_name", "by_name.out", "dropout"]
        assert [name for name, _ in net.named_modules()] == names
        assert [name for name, _ in net.named_children()] == ["layers", "by_name", "dropout"]
        assert list(net.submodules()) == list(net.modules())[1:]
        assert net.get_submodule("by_name.out") is net.by_name["out"]
        with pytest.raises(AttributeError, match=r"layers\.7"):
            net.get_submodule("layers.7")

    def test_super_init_may_be_left_out(self):
        class Bare(nn.Module):
            def __init__(self):
                self.w = parameter(2)

        assert [name for name, _ in Bare().named_parameters()] == ["w"]

    def test_a_shared_parameter_is_listed_once_and_saved_under_each_name(self):
        module = nn.Module()
        module.a, module.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        module.b.weight = module.a.weight
        assert [name for name, _ in module.named_parameters()] == ["a.weight"]
        assert list(module.state_dict()) == ["a.weight", "b.weight"]
        module.load_state_dict(module.state_dict())

    def test_parameters_of_this_module_alone(self):
        assert [name for name, _ in Net().named_parameters(recurse=False)] == ["scale"]

    def test_a_parameter_cannot_be_overwritten_by_a_plain_value(self):
        net = Net()
        with pytest.raises(TypeError, match="scale is a parameter"):
            net.scale = np.zeros(1)
        net.scale = None
        net.scale = parameter(1)
        assert net.scale.shape == (1,)

    def test_a_module_without_forward_says_what_is_missing(self):
        with pytest.raises(AttributeError, match="forward"):
            nn.Module()(1)

    def test_train_and_eval_reach_all_modules(self):
        net = Net()
        assert net.training and net.dropout.training
        assert net.eval() is net
        assert not any(module.training for module in net.modules())
        assert all(module.training for module in net.train().modules())

    def test_apply_visits_children_first(self):
        seen = []
        Net().apply(lambda module: seen.append(type(module).__name__))
        assert seen == ["Linear", "Linear", "ModuleList", "Linear", "ModuleDict", "Dropout", "Net"]

    def test_zero_grad_forgets_and_requires_grad_freezes(self):
        net = Net().eval()
        net(ln.tensor(np.ones(3, np.float32))).sum().backward()
        assert all(p.grad is not None for p in net.parameters())
        net.zero_grad()
        assert all(p.grad is None for p in net.parameters())
        net.requires_grad_(False)
        net.scale.requires_grad_()
        net(ln.tensor(np.ones(3, np.float32))).sum().backward()
        assert [name for name, p in net.named_parameters() if p.grad is not None] == ["scale"]

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    @pytest.mark.parametrize("make", [Net, lambda: nn.LSTM(3, 2, bidirectional=True)])
    def test_a_copy_is_equal_and_independent(self, make, copied):
        net, x = make().eval(), ln.sequence(normal(4, 3).astype(np.float32))
        before = net(x).numpy()
        twin = copied(net)
        np.testing.assert_array_equal(twin(x).numpy(), before)
        for p in twin.parameters():
            p.copy_(np.zeros(p.shape))
        np.testing.assert_array_equal(twin(x).numpy(), 0.0)
        np.testing.assert_array_equal(net(x).numpy(), before)

    def test_a_copy_keeps_what_is_shared_shared(self):
        net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        net[1].weight = net[0].weight
        twin = copy.deepcopy(net)
        assert twin[0].weight is twin[1].weight and twin[0].weight is not net[0].weight

    def test_double_and_float_change_the_dtype_of_all_of_it(self):
        net = Net().double()
        assert {p.dtype.name for p in net.parameters()} == {"float64"}
        assert net(ln.tensor(np.ones(3))).dtype == np.float64
        assert {p.dtype.name for p in net.float().parameters()} == {"float32"}

    def test_repr_is_the_tree_of_pytorch(self, torch):
        def tree(lib):
            return lib.Sequential(
                lib.Linear(2, 3),
                lib.ModuleList([lib.Identity(), lib.Embedding(7, 2)]),
                lib.LSTM(3, 4, num_layers=2, bidirectional=True),
                lib.GRUCell(3, 4),
            )

        assert repr(tree(nn)) == repr(tree(torch.nn))


class TestState:
    def test_a_state_is_a_copy(self):
        net = nn.Linear(2, 2)
        state = net.state_dict()
        net.weight.copy_(np.zeros((2, 2)))
        assert state["weight"].any()

    def test_what_is_pending_keeps_the_values_it_was_recorded_with(self):
        net = nn.Linear(2, 2)
        x = ln.tensor([1.0, 2.0])
        expected = net(x).numpy()
        pending = net(x)
        net.load_state_dict({"weight": np.zeros((2, 2)), "bias": np.zeros(2)})
        np.testing.assert_array_equal(pending.numpy(), expected)
        np.testing.assert_array_equal(net(x).numpy(), 0.0)

    def test_errors_name_every_key_and_shape_and_change_nothing(self):
        net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
        before = net.state_dict()
        state = {name: value + 1 for name, value in before.items()}
        del state["1.bias"]
        state["2.bias"] = np.zeros(2)
        state["0.weight"] = np.zeros((3, 4))
        with pytest.raises(RuntimeError) as error:
            net.load_state_dict(state)
        for words in ("Sequential", "1.bias", "2.bias", "0.weight", "(3, 4)", "(3, 2)"):
            assert words in str(error.value)
        for name, value in net.state_dict().items():
            np.testing.assert_array_equal(value, before[name])

    @pytest.mark.parametrize("bad", [np.array(["a", "b"]), [None, {}]], ids=["text", "objects"])
    def test_what_holds_no_numbers_is_told_and_changes_nothing(self, bad):
        net = nn.Linear(2, 2)
        before = net.state_dict()
        with pytest.raises(RuntimeError, match=r"bias: the state holds \w+, which is not float32"):
            net.load_state_dict({"weight": np.ones((2, 2)), "bias": bad})
        for name, value in net.state_dict().items():
            np.testing.assert_array_equal(value, before[name])

    def test_without_strict_what_fits_is_loaded_and_the_rest_is_told(self):
        net = nn.Linear(2, 2)
        passed = net.load_state_dict({"bias": np.ones(2), "other": np.ones(1)}, strict=False)
        assert passed.missing_keys == ["weight"] and passed.unexpected_keys == ["other"]
        np.testing.assert_array_equal(net.bias.numpy(), 1.0)
        with pytest.raises(RuntimeError, match="shape"):
            net.load_state_dict({"bias": np.ones(3)}, strict=False)

    def test_buffers_are_part_of_the_state_but_no_parameters(self):
        def make():
            module = nn.Module()
            module.register_buffer("kept", ln.tensor([1.0]))
            module.register_buffer("lost", ln.tensor([1.0]), persistent=False)
            return module

        module, other = make(), make()
        assert not list(module.parameters())
        assert [name for name, _ in module.named_buffers()] == ["kept", "lost"]
        assert list(module.state_dict()) == ["kept"]
        module.kept = ln.tensor([5.0])
        other.load_state_dict(module.state_dict())
        assert other.kept.item() == 5.0
        with pytest.raises(TypeError, match="buffer"):
            module.register_buffer("bad", parameter(1))

    def test_parameters_are_registered_by_name(self):
        module, weight = nn.Module(), parameter(2)
        module.register_parameter("weight", weight)
        module.register_parameter("bias", None)
        assert module.weight is weight and module.bias is None
        assert list(module.state_dict()) == ["weight"]
        for value in (1.0, np.ones(2), ln.ones(2)):
            with pytest.raises(TypeError, match="register_parameter: other must be a Parameter"):
                module.register_parameter("other", value)
        assert not hasattr(module, "other")

    @pytest.mark.parametrize("value", [0.5, np.ones(1), [1.0]], ids=["float", "array", "list"])
    def test_a_buffer_stays_one(self, value):
        norm = nn.BatchNorm1d(2)
        names = list(norm.state_dict())
        with pytest.raises(TypeError, match=r"BatchNorm1d.running_mean is a buffer .* ln\.tensor"):
            norm.running_mean = value
        assert list(norm.state_dict()) == names
        norm.running_mean = ln.ones(2)
        assert norm.state_dict()["running_mean"].tolist() == [1.0, 1.0]
        norm.running_mean = None
        assert "running_mean" not in norm.state_dict()
        norm.running_mean = ln.zeros(2)
        assert list(norm.state_dict()) == names


class TestContainers:
    def test_sequential_calls_one_after_the_other(self):
        net = nn.Sequential(nn.Linear(2, 3), nn.Identity(), nn.Linear(3, 1))
        x = ln.tensor([1.0, 2.0])
        assert net(x).numpy() == net[2](net[0](x)).numpy()
        assert len(net) == 3 and isinstance(net[:2], nn.Sequential) and len(net[:2]) == 2
        assert net[-1] is net[2]

    def test_sequential_takes_names(self):
        net = nn.Sequential({"first": nn.Linear(2, 3), "second": nn.Linear(3, 1)})
        assert next(iter(net.state_dict())) == "first.weight"

    def test_names_are_kept_as_in_pytorch(self, torch):
        def keys_of(home):
            made = lambda: home.Linear(2, 2, bias=False)  # noqa: E731
            plain = home.Sequential(made(), made(), made())
            net = home.Sequential(OrderedDict(first=made(), second=made(), third=made()))
            told = [list(part.state_dict()) for part in (net[1:], net[:1], plain[1:], net[::2])]
            net[1] = plain.pop(0)
            net.first = made()
            told += [list(net.state_dict()), list(plain.state_dict())]
            net.append(made())
            net.add_module("last", made())
            told += [list(net.state_dict())]
            del net.second
            told += [list(net.state_dict())]
            del net[0]
            return [*told, list(net.state_dict())]

        assert keys_of(nn) == keys_of(torch.nn)

    def test_modules_are_attributes_by_their_names(self):
        net = nn.Sequential({"first": nn.Linear(2, 3), "second": nn.Linear(3, 1)})
        assert net.first is net[0] and getattr(nn.Sequential(net), "0") is net
        assert copy.deepcopy(net).second.weight.shape == (1, 3)
        net.second = other = nn.Linear(3, 2)
        assert net[1] is other and net(ln.zeros(2)).shape == (2,)
        with pytest.raises(TypeError, match="Sequential holds modules, not int"):
            net.second = 1
        with pytest.raises(AttributeError, match="Sequential has no attribute 'third'"):
            net.third
        heads = nn.ModuleDict({"forward": net, "training": other, "left": net})
        assert heads.left is net and heads.training is True
        assert heads.eval().training is False and heads["training"] is other
        with pytest.raises(AttributeError, match="forward"):
            heads(ln.zeros(2))

    def test_a_cell_sees_that_a_named_module_was_replaced(self):
        net = nn.Sequential({"only": nn.Linear(2, 2)})

        @ln.cell
        def twice(x):
            return net.only(x) * 2.0

        x = ln.ones(2)
        twice(x).numpy()
        net.only = nn.Linear(2, 2)
        np.testing.assert_allclose(twice(x).numpy(), 2.0 * net[0](x).numpy(), rtol=1e-6)

    def test_appending_to_a_part_replaces_nothing(self):
        part = nn.Sequential(nn.Identity(), nn.Tanh(), nn.ReLU())[1:]
        assert [type(m).__name__ for m in part.append(nn.ELU())] == ["Tanh", "ReLU", "ELU"]

    def test_what_is_popped_is_given_and_gone(self):
        a, b, c = (nn.Linear(1, 1) for _ in range(3))
        layers = nn.ModuleList([a, b, c])
        assert layers.pop(0) is a and layers.pop() is c and list(layers) == [b]
        assert list(layers.state_dict()) == ["0.weight", "0.bias"]
        named = nn.ModuleDict({"left": a, "right": b})
        assert named.pop("left") is a and list(named) == ["right"]
        with pytest.raises(KeyError):
            named.pop("left")
        with pytest.raises(IndexError):
            layers.pop(3)

    def test_modules_and_parameters_by_computed_names(self):
        net = Net()
        net.add_module("added", inner := nn.Linear(2, 2))
        assert net.added is inner and net.get_parameter("added.bias") is inner.bias
        assert net.get_parameter("scale") is net.scale
        layers = nn.Sequential()
        layers.add_module("inner", inner)
        assert layers[0] is layers.inner is inner
        for name, value, error, told in [
            ("a.b", inner, KeyError, "without dots"), ("", inner, KeyError, "without dots"),
            ("scale", inner, KeyError, "no module"), ("train", inner, KeyError, "no module"),
            ("new", 1, TypeError, "expected a Module, not int"),
        ]:  # fmt: skip
            with pytest.raises(error, match=told):
                net.add_module(name, value)
        for path in ("added", "added.other", "other.bias", ""):
            with pytest.raises(AttributeError, match="has no"):
                net.get_parameter(path)

    def test_a_list_can_be_changed(self):
        layers = nn.ModuleList([nn.Linear(1, 1)])
        first, second, third = layers[0], nn.Identity(), nn.Linear(2, 2)
        layers.append(third)
        layers.insert(1, second)
        assert list(layers) == [first, second, third]
        del layers[0]
        layers[0] = nn.Dropout()
        assert [name for name, _ in layers.named_parameters()] == ["1.weight", "1.bias"]

    def test_a_dict_can_be_changed_and_may_use_any_name(self):
        modules = nn.ModuleDict({"forward": nn.Linear(1, 1)})
        modules["items"] = nn.Identity()
        assert list(modules) == list(modules.keys()) == ["forward", "items"]
        assert "items" in modules and len(modules) == 2
        del modules["items"]
        assert list(modules.state_dict()) == ["forward.weight", "forward.bias"]

    def test_only_modules_are_held_and_only_by_plain_names(self):
        with pytest.raises(TypeError, match="int"):
            nn.ModuleList([1])
        with pytest.raises(TypeError, match="function"):
            nn.Sequential(lambda x: x)
        with pytest.raises(KeyError, match="dots"):
            nn.ModuleDict({"a.b": nn.Identity()})
