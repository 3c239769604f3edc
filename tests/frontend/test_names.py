"""Automatic names and paths are Keras's."""

import inspect
import threading

import keras
import pytest

from lamina.frontend import names
from lamina.ir.errors import ArgumentError

theirs = keras.src.utils.naming
CLASSES = sorted(name for name in dir(keras.layers) if inspect.isclass(getattr(keras.layers, name)))


@pytest.fixture(autouse=True)
def _fresh():
    names.clear_session(free_memory=False)
    keras.utils.clear_session(free_memory=False)


@pytest.mark.parametrize("name", ["MyHTTPLayer2", "conv_2d", "A", "aB", "XYZ", "with space-and.dots", "Über", ""])
def test_snake_case_of_odd_names(name):
    assert names.to_snake_case(name) == theirs.to_snake_case(name)


def test_snake_case_of_every_layer():
    assert [names.to_snake_case(name) for name in CLASSES] == [theirs.to_snake_case(name) for name in CLASSES]
    assert names.to_snake_case("Conv2DTranspose") == "conv2d_transpose"


def test_automatic_names():
    wanted = ["Dense", "Dense", "Conv2D", "Dense", "dense_1", "dense_1"]
    given = [names.auto_name(name) for name in wanted]
    assert given == [theirs.auto_name(name) for name in wanted]
    assert given[:4] == ["dense", "dense_1", "conv2d", "dense_2"]
    assert names.get_uid("dense") == theirs.get_uid("dense") == 4
    names.reset_uids()
    assert names.auto_name("Dense") == "dense"


def test_clear_session_calls_what_asked_for_it():
    calls = []
    names.on_clear_session(lambda: calls.append(1))
    try:
        names.clear_session()
    finally:
        names._at_clear.pop()
    assert calls == [1] and names.auto_name("Dense") == "dense"


class Layer:
    _parent_path = None


def paths(name_scope, current_path):
    """The paths seen at each step of a walk in and out of scopes."""
    outer, inner, placed = Layer(), Layer(), Layer()
    placed._parent_path = "elsewhere/block"
    seen = [current_path()]
    with name_scope("model", caller=outer):
        seen.append(current_path())
        with name_scope("model", caller=outer):  # its own scope again
            seen.append(current_path())
        with name_scope("model", caller=outer, deduplicate=False):
            seen.append(current_path())
        with name_scope("model", caller=inner):
            seen.append(current_path())
            with name_scope("absolute", override_parent="a/b"):
                seen.append(current_path())
            with name_scope("top", override_parent=""):
                seen.append(current_path())
        with name_scope("dense", caller=placed):
            seen.append(current_path())
        seen.append(current_path())
    return [*seen, current_path()]


def test_paths():
    scopes = keras.src.backend.common.name_scope
    ours = paths(names.name_scope, names.current_path)
    assert ours == paths(scopes.name_scope, scopes.current_path)
    assert ours == [
        "",
        "model",
        "model",
        "model/model",
        "model/model",
        "a/b/absolute",
        "top",
        "elsewhere/block/dense",
        "model",
        "",
    ]


def test_scopes_end_with_an_error_and_stay_in_their_thread():
    seen = []
    with pytest.raises(ZeroDivisionError), names.name_scope("model"):
        thread = threading.Thread(target=lambda: seen.append(names.current_path()))
        thread.start()
        thread.join()
        seen.append(1 / 0)
    assert seen == [""] and names.current_path() == ""


@pytest.mark.parametrize("name", ["a/b", 3, None])
def test_names_are_strings_without_slashes(name):
    with pytest.raises(ArgumentError, match="without '/', got"):
        names.name_scope(name)


def test_object_names():
    assert names.object_name(keras.layers.Dense(1, name="head")) == "head"
    assert names.object_name(test_paths) == "test_paths"
    assert names.object_name(Layer()) == "layer"
