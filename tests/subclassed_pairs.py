"""Subclassed models and layers that real Keras and lamina build from the same lines; registered in each alike."""

import functools


@functools.cache
def classes(keras):
    """The classes, made for ``keras`` and registered with it in the package "Tests"."""
    layers = keras.layers
    register = functools.partial(keras.saving.register_keras_serializable, "Tests")

    @register()
    class Scale(keras.layers.Layer):
        """Weights made in build, one that does not train, and a config of its own."""

        def __init__(self, start=1.0, **kwargs):
            super().__init__(**kwargs)
            self.start = start

        def build(self, input_shape):
            self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")
            self.offset = self.add_weight(
                shape=(), initializer=keras.initializers.Constant(self.start), trainable=False, name="offset"
            )

        def call(self, inputs):
            return inputs * self.factor + self.offset

        def get_config(self):
            return {**super().get_config(), "start": self.start}

    @register()
    class Tower(keras.Model):
        """Layers in attributes, a list, a dict, lists in lists and private attributes; a weight of its own."""

        def __init__(self, units=3, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.zuletzt = layers.Dense(2, name="last")
            self.blocks = [layers.Dense(units), layers.Dense(units, activation="relu")]
            self.by_name = {"norm": layers.BatchNormalization(), "scale": Scale(0.5)}
            self.deep = [[layers.Dense(units)], (layers.Dense(units, use_bias=False),)]
            self._hidden = layers.Dense(units)
            self.again = self.blocks[0]
            self.drop = layers.Dropout(0.5)
            self.gain = self.add_weight(shape=(units,), initializer="ones", name="gain")

        def call(self, inputs, training=None):
            x = inputs
            for layer in self.blocks:
                x = layer(x)
            x = self.by_name["scale"](self.by_name["norm"](x))
            x = self.deep[1][0](self.deep[0][0](x)) * self.gain
            return self.zuletzt(self.drop(self._hidden(x)))

    @register()
    class Plain(keras.Model):
        """No build, no get_config: all of it follows from the constructor and call."""

        def __init__(self, units=4, **kwargs):
            super().__init__(**kwargs)
            self.first = layers.Dense(units, activation="tanh")
            self.second = layers.Dense(2)

        def call(self, inputs):
            return self.second(self.first(inputs))

    @register()
    class Pair(keras.Model):
        """Several inputs and outputs, and a layer inside a layer."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.block = Block()
            self.join = layers.Concatenate()

        def call(self, inputs):
            a, b = inputs["a"], inputs["b"]
            return {"sum": self.block(a) + b, "joined": self.join([a, b])}

    @register()
    class Block(keras.layers.Layer):
        """A layer of layers."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = layers.Dense(3, name="inner")
            self.scale = Scale(name="scale")

        def call(self, inputs):
            return self.scale(self.inner(inputs))

    return {"Scale": Scale, "Tower": Tower, "Plain": Plain, "Pair": Pair, "Block": Block}


def tower(keras):
    return classes(keras)["Tower"](name="tower")


def plain_model(keras):
    return classes(keras)["Plain"](name="plain")


def pair(keras):
    return classes(keras)["Pair"](name="pair")


def with_custom_layer(keras):
    """A functional model with a layer of the user's, which is used twice."""
    scale, x = classes(keras)["Scale"](2.0, name="scale"), keras.Input((3,), name="x")
    return keras.Model(x, keras.layers.Dense(2)(scale(scale(x))), name="custom")
