"""Look at a small model at every stage: as traced, what each pass did, as optimized, StableHLO, and XLA's own HLO.

python examples/look_inside.py
"""

import lamina
from lamina import keras, passes


def build() -> keras.Model:
    """A classifier of 16x16 images that come channels first."""
    image = keras.Input((1, 16, 16), name="image")
    x = keras.layers.Conv2D(8, 3, data_format="channels_first", use_bias=False, name="conv")(image)
    x = keras.layers.BatchNormalization(axis=1, name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_first", name="pool")(x)
    return keras.Model(image, keras.layers.Dense(10, name="classes")(x), name="small")


def main() -> None:
    compiled = lamina.compile(build(), keep_graphs=True)
    print("--- traced\n", compiled.graph, sep="")
    print("--- passes")
    for row in passes.format_records(compiled.records):
        print("  {:<10} {:>6} {:>10}  {}".format(*row))
    print("--- optimized\n", compiled.optimized, sep="")
    print("--- computed from the weights alone, once\n", compiled.prepare, sep="")
    print("--- StableHLO for two images\n", compiled.stablehlo(N=2), sep="")
    print("--- layers that XLA's HLO still names")
    hlo = compiled.hlo(N=2)
    print(" ", ", ".join(name for name in ("conv", "norm", "relu", "pool", "classes") if f"/{name}" in hlo))
    print("--- XLA's estimate for two images\n ", compiled.cost(N=2))
    print("--- why a batch norm alone does not fold")
    alone = lamina.trace(keras.layers.BatchNormalization(name="alone"), lamina.Spec((None, 4)))
    for miss in passes.explain(alone, "fold_batch_norm"):
        print(" ", miss)


if __name__ == "__main__":
    main()
