"""The class_path / init_args tree."""

import pytest
import torch

from mixtura.core import (
    ConfigError,
    GLUExperts,
    InputError,
    LinearScore,
    LoadBalance,
    MoELayer,
    Router,
    SegmentUnits,
    SharedExpert,
    TopK,
    configurable,
    from_config,
    to_config,
)


@configurable
class Stack(torch.nn.Module):
    """A module with a list of configurable things and extra keywords."""

    def __init__(self, parts: list, *, rate: float = 0.5, **extra: int) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(parts)


def layer() -> MoELayer:
    return MoELayer(
        Router(LinearScore(8, 4), TopK(2), temperature=0.5),
        GLUExperts(4, 8, 16),
        losses=[LoadBalance(0.02, normalization="k", scope="model")],
        units=SegmentUnits(3),
    )


def test_the_tree_of_a_layer_builds_the_same_layer():
    tree = to_config(layer())
    assert tree["class_path"] == "mixtura.core.MoELayer"
    score = tree["init_args"]["router"]["init_args"]["score"]
    assert score == {
        "class_path": "mixtura.core.LinearScore",
        "init_args": {"dim": 8, "num_experts": 4, "bias": False, "std": None},
    }
    again = from_config(tree)
    assert to_config(again) == tree
    assert again.state_dict().keys() == layer().state_dict().keys()
    assert again.losses[0].normalization == "k"


def test_lists_keywords_and_nesting_survive():
    stack = Stack([Stack([]), LinearScore(2, 2)], rate=0.25, depth=7)
    tree = to_config(stack)
    assert tree["init_args"]["depth"] == 7
    assert [part["class_path"].split(".")[-1] for part in tree["init_args"]["parts"]] == [
        "Stack",
        "LinearScore",
    ]


def test_an_unknown_key_is_refused_with_the_nearest():
    tree = to_config(TopK(2))
    tree["init_args"]["renormalise"] = tree["init_args"].pop("renormalize")
    with pytest.raises(ConfigError, match="does not take 'renormalise'; did you mean renormalize"):
        from_config(tree)


def test_an_unknown_class_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="no 'TopKK'; did you mean TopK"):
        from_config({"class_path": "mixtura.core.TopKK", "init_args": {"k": 1}})
    with pytest.raises(ConfigError, match="cannot find the module"):
        from_config({"class_path": "mixtura.nowhere.TopK"})
    with pytest.raises(ConfigError, match="move them into init_args"):
        from_config({"class_path": "mixtura.core.TopK", "k": 1})


def test_what_cannot_be_kept_is_refused_when_the_tree_is_read():
    shared = SharedExpert(torch.nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="decorate Linear with @configurable"):
        to_config(shared)


def test_a_constructor_with_nameless_arguments_is_refused():
    with pytest.raises(ConfigError, match="give it a named argument"):

        @configurable
        class Bad:
            def __init__(self, *parts: int) -> None: ...


def test_config_errors_are_input_errors():
    assert issubclass(ConfigError, InputError)
