"""The command line: ``lamina demo | dump | run | bench | export | verify | compile | devices | launch``.

Exit status 0; 1 with one clear message on standard error; 2 for wrong usage. Whatever takes long to import is imported
inside the commands, so that ``lamina --help`` answers at once.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .cli_files import (
    arguments_of,
    check_output,
    compile_model,
    in_place,
    load_model,
    read_input,
    size_text,
    type_text,
    write_arrays,
)

if TYPE_CHECKING:
    pass

_DEBUG = f"{__name__}.debug"


class Lamina(click.Group):
    """The group of commands; turns errors into one message on standard error and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.meta.get(_DEBUG):
                raise
            click.echo(f"error: {_message(error)}", err=True)
            ctx.exit(1)


def _message(error: Exception) -> str:
    from .ir.errors import LaminaError

    if isinstance(error, LaminaError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    return (
        f"{type(error).__name__}: {error}{_users_line(error)}\n"
        "This is an error in the model's own Python, or a defect of lamina; --debug shows the traceback"
    )


def _users_line(error: Exception) -> str:
    """Where in Python that is not ours the error came up."""
    theirs = [
        frame
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] not in ("lamina", "click", "importlib", "jax")
    ]
    return f" ({theirs[-1].f_code.co_filename}:{theirs[-1].f_lineno})" if theirs else ""


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[_DEBUG] = True


def _debug(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_debug,
        help="Show the traceback of an error.",
    )(command)


def _read_dims(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> dict[str, int]:
    dims = {}
    for text in texts:
        name, equals, size = text.partition("=")
        if not equals or not name.isidentifier() or not size.isdigit():
            raise click.BadParameter(f"{text!r} is not a name and a size, such as N=32")
        dims[name] = int(size)
    return dims


def _read_settings(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> dict[str, Any]:
    """``key=value`` pairs; a value that is JSON (true, 3, null) is that, any other a string."""
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise click.BadParameter(f"{text!r} is not a name and a value, such as training=true")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def _read_target(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """A target that is written to a path."""
    if name is None:
        return None
    from .frontend.export.targets import TARGETS, find_target
    from .ir.errors import ArgumentError

    written = [target.name for target in TARGETS.values() if target.suffixes]
    try:
        if find_target(name).name in written:
            return name
        problem = f"{name} is no file, and only returned by lamina.export."
    except ArgumentError as error:
        problem = str(error).partition(" There are:")[0]
    raise click.BadParameter(f"{problem} What is written: {', '.join(written)}")


def _read_mesh(_: click.Context, __: click.Parameter, text: str | None) -> dict[str, int] | None:
    """``batch=4,model=2``."""
    if text is None:
        return None
    sizes = {}
    for part in text.split(","):
        name, _equals, size = part.strip().partition("=")
        if not name.isidentifier() or not size.isdigit() or int(size) < 1 or name in sizes:
            raise click.BadParameter(f"{text!r} does not name axes and their sizes, such as batch=4,model=2")
        sizes[name] = int(size)
    return sizes


def _read_layouts(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> dict[str, tuple[str | None, ...]]:
    """``.*/kernel=none,model``."""
    layouts = {}
    for text in texts:
        path, equals, axes = text.rpartition("=")
        if not equals or not path:
            raise click.BadParameter(f"{text!r} is no path with axes, such as '.*/kernel=none,model'")
        layouts[path] = tuple(None if a.strip().lower() == "none" else a.strip() for a in axes.split(","))
    return layouts


def _read_bounds(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> dict[str, float] | float | None:
    """``1e-4`` for all targets, or ``tflite=1e-2``."""
    bounds: dict[str, float] = {}
    for text in texts:
        name, number = text.rpartition("=")[::2]
        try:
            bounds[name] = float(number)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a number such as 1e-4, or a target's: xla=1e-4") from None
    if "" in bounds and len(bounds) > 1:
        raise click.BadParameter("give one bound for all targets, or one for each by name")
    return bounds.get("", bounds or None)


_model = click.argument("model")
_dims = click.option(
    "--dim",
    "dims",
    multiple=True,
    metavar="N=32",
    callback=_read_dims,
    help="Size of a symbolic dimension; repeat it for each.",
)
_pipeline = click.option(
    "--pipeline",
    default="O2",
    show_default=True,
    metavar="TEXT",
    help="Passes, such as O3, 'O2,-fold_batch_norm' or 'simplify,layout{data=nhwc}'.",
)
_settings = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_read_settings,
    help="An option of the target, or a static keyword of the model, such as training=true.",
)
_device = click.option("--device", metavar="NAME", help="Where it runs: cpu, gpu:0, tpu. By default what jax prefers.")


@click.group(cls=Lamina, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lamina")
@_debug
def main() -> None:
    """Compile Keras-style models: trace, optimize, lower to StableHLO, run by XLA.

    MODEL is a file (.keras, .lamina, or StableHLO as .mlir), or module:attribute, where the attribute is a model, a
    traced module, a compiled program, or a function without arguments that returns one of these.
    """


@main.command()
@_debug
def demo() -> None:
    """The main job on real data: a classifier of handwritten digits, end to end."""
    from .frontend.demo import LEAST_ACCURACY, run_demo
    from .ir.errors import LaminaError

    if run_demo() <= LEAST_ACCURACY:
        raise LaminaError(f"the accuracy should be above {LEAST_ACCURACY:.0%}")


@main.command()
@_model
@click.option(
    "--stage",
    type=click.Choice(["traced", "optimized", "stablehlo", "hlo"]),
    help="The graph as traced, the graph after the passes (the default), the StableHLO given to XLA, the HLO "
    "that XLA makes of it.",
)
@click.option("--after", metavar="PASS", help="The graph after one pass; simplify#2 is the second run of simplify.")
@_dims
@_pipeline
@click.option(
    "--mesh",
    metavar="AXES",
    callback=_read_mesh,
    help="Lay the model over a mesh of devices, batch=4,model=2: batches are split over its first axis. A CPU counts "
    "as as many devices as that takes.",
)
@click.option(
    "--layout",
    "layouts",
    multiple=True,
    metavar="PATH=AXES",
    callback=_read_layouts,
    help="With --mesh: how Variables of a path, or of an expression for paths, are laid out: '.*/kernel=none,model'.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: functions with nodes, and what each pass did.")
@_debug
def dump(
    model: str,
    stage: str | None,
    after: str | None,
    dims: dict[str, int],
    pipeline: str,
    mesh: dict[str, int] | None,
    layouts: dict[str, tuple[str | None, ...]],
    as_json: bool,
) -> None:
    """Print what the compiler sees of MODEL at one stage; every op names the Keras layer it comes from.

    Of a model that is laid over devices, by --mesh or by itself, it shows the shardings; stage hlo begins with what the
    devices exchange.
    """
    from .frontend.dump import dump_json, dump_text, graph_after

    if after is not None and stage is not None:
        raise click.UsageError("--after names a point between the stages; give --stage or --after, not both")
    if layouts and mesh is None:
        raise click.UsageError("--layout goes with --mesh")
    with _laid_over(mesh, layouts):
        compiled = compile_model(load_model(model), pipeline=pipeline, keep_graphs=after is not None)
    if after is not None:
        at = graph_after(compiled, after)
        stage = f"after {after}"
        if dims:
            raise click.UsageError("--after shows the symbolic graph; --dim goes with --stage")
    else:
        stage = stage or "optimized"
        at = None
    if as_json:
        click.echo(json.dumps(dump_json(compiled, stage, dims, at), indent=1))
    else:
        click.echo(dump_text(compiled, stage, dims, at).rstrip("\n"))


@main.command()
@_model
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="[NAME=]x.npy",
    help="A NumPy file; one for each input, in order or by name.",
)
@click.option("--output", metavar="y.npy", help="Where the result goes; .npz where the model has several outputs.")
@_device
@_pipeline
@_debug
def run(model: str, inputs: tuple[str, ...], output: str | None, device: str | None, pipeline: str) -> None:
    """Compile MODEL and run it on arrays from NumPy files."""
    import jax
    import numpy as np

    from .runtime.errors import xla_errors

    if output is not None:
        check_output(output)
    given = [read_input(text) for text in inputs]
    subject = load_model(model, [array for _, array in given])
    compiled = compile_model(subject, [array for _, array in given], device=device, pipeline=pipeline)
    with xla_errors(f"running {model}"):
        results = jax.block_until_ready(compiled(*arguments_of(compiled, given)))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(results)]
    names = [name or f"output_{i}" for i, name in enumerate(compiled.graph.main.output_names or [""] * len(leaves))]
    if output is None:
        for name, leaf in zip(names, leaves, strict=True):
            click.echo(f"{name}: {type_text(leaf)}\n{leaf}")
    else:
        write_arrays(output, dict(zip(names, leaves, strict=True)))
        click.echo(f"{output}: " + ", ".join(f"{n}: {type_text(leaf)}" for n, leaf in zip(names, leaves, strict=True)))


@main.command()
@_model
@_dims
@click.option("--runs", type=click.IntRange(1), default=50, show_default=True, help="Calls that are timed.")
@_device
@_pipeline
@_debug
def bench(model: str, dims: dict[str, int], runs: int, device: str | None, pipeline: str) -> None:
    """Time MODEL on random inputs: compilation, and calls with inputs that are on the device already."""
    from .frontend.timing import format_timing, measure

    subject = load_model(model)
    click.echo(format_timing(measure(lambda: compile_model(subject, device=device, pipeline=pipeline), dims, runs)))


@main.command()
@_model
@click.option(
    "--to",
    "target",
    metavar="TARGET",
    callback=_read_target,
    help="torchscript, pt2, saved_model, tflite, stablehlo, lamina.",
)
@click.option("-o", "--output", required=True, metavar="PATH", help="The file, or the folder of a SavedModel.")
@_dims
@click.option("--weights", metavar="HOW", help="Where weights go; what there is depends on the target.")
@_settings
@_debug
def export(
    model: str, target: str | None, output: str, dims: dict[str, int], weights: str | None, settings: dict[str, Any]
) -> None:
    """Write MODEL as a file of another framework.

    The target is guessed from the ending of PATH: .pt TorchScript, .pt2 torch.export, .tflite TensorFlow Lite, .mlir
    StableHLO, .lamina lamina's own, none a SavedModel. --set gives options of the target, and static keywords of the
    model such as training=true.
    """
    from .frontend.export.api import export as export_
    from .frontend.export.targets import target_of_path

    target = target or target_of_path(Path(output), "--to").name
    if weights is not None:
        settings["weights"] = weights
    export_(load_model(model), output, target, dims=dims, **settings)
    click.echo(f"{output}: {size_text(Path(output))}")


@main.command()
@_model
@click.option("--targets", metavar="A,B", help="Which to run; by default numpy, xla, torchscript, tf_function, tflite.")
@click.option(
    "--input", "inputs", multiple=True, metavar="[NAME=]x.npy", help="A NumPy file for each input; random by default."
)
@_dims
@click.option("--seed", type=int, default=0, show_default=True, help="Of random inputs.")
@click.option(
    "--bound",
    "bounds",
    multiple=True,
    metavar="[TARGET=]1e-4",
    callback=_read_bounds,
    help="Largest relative error, for all targets or one.",
)
@_settings
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_debug
def verify(
    model: str,
    targets: str | None,
    inputs: tuple[str, ...],
    dims: dict[str, int],
    seed: int,
    bounds: dict[str, float] | float | None,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    """Run MODEL by each target and compare it with NumPy in 64 bits; exit status 1 where a bound is passed."""
    from rich.console import Console

    from .frontend.verify import verify as verify_

    given = [read_input(text) for text in inputs]
    subject = load_model(model, [array for _, array in given])
    arrays = in_place(subject, given, settings) if given else None
    names = None if targets is None else [name.strip() for name in targets.split(",")]
    report = verify_(subject, arrays, names, dims=dims, seed=seed, bounds=bounds, **settings)
    if as_json:
        click.echo(report.json())
    elif (console := Console()).is_terminal:
        console.print(report.table())
        click.echo("\n".join(report.notes()))
    else:
        click.echo(str(report))
    if not report.ok:
        sys.exit(1)


@main.command("compile")
@_model
@click.option("--target", required=True, metavar="CHIP", help="gpu:h100, gpu:h100x8, tpu:v5e-2x2: it need not be here.")
@click.option("-o", "--output", metavar="PATH", help="A .lamina file with the executable in it.")
@click.option(
    "--training-step", "y", metavar="TYPE", help="Compile the training step; TYPE is that of the targets: int32[N]."
)
@_dims
@_pipeline
@_settings
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_debug
def compile_(
    model: str,
    target: str,
    output: str | None,
    y: str | None,
    dims: dict[str, int],
    pipeline: str,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    """Compile MODEL for a chip that is not there: does it fit, what is exchanged, how long it takes at least."""
    from .frontend.ahead import compile_named, report

    if output is not None and not output.endswith(".lamina"):
        raise click.UsageError(f"-o {output}: what is written is a .lamina file")
    compiled = compile_named(load_model(model), target, y, pipeline=pipeline, **settings)
    click.echo(json.dumps(compiled.describe(**dims), indent=1) if as_json else report(compiled, **dims))
    if output is not None:
        compiled.save(output, True, **dims)
        click.echo(f"{output}: {size_text(Path(output))}", err=as_json)


@main.command()
@_debug
def devices() -> None:
    """List the devices that programs can run on, and what of their memory is in use."""
    from rich.console import Console
    from rich.table import Table

    from .runtime.devices import devices as all_devices

    table = Table("name", "kind", "default", "memory")
    for device in all_devices():
        table.add_row(device.name, device.kind, "yes" if device.default else "", str(device.memory or "not counted"))
    Console().print(table)


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--processes", type=click.IntRange(1), required=True, help="How many.")
@click.option("--devices", type=click.IntRange(1), help="Devices of each: parts of the CPU, or the GPUs in turn.")
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def launch(ctx: click.Context, processes: int, devices: int | None, script: str, arguments: tuple[str, ...]) -> None:
    """Run a Python SCRIPT in several processes on this machine, which keras.distribution.initialize() joins.

    The lines that they write come with the number of the process before them. Where one fails the others are ended, and
    its status is the command's.
    """
    from .runtime.launch import launch as run_all

    ctx.exit(run_all([script, *arguments], processes, devices, click.echo))


# Models


def _laid_over(mesh: dict[str, int] | None, layouts: dict[str, tuple[str | None, ...]]) -> Any:
    """A block in which models are laid over a mesh of the first devices that there are."""
    from contextlib import nullcontext
    from math import prod

    if mesh is None:
        return nullcontext()
    from .frontend import distribution
    from .runtime.devices import ensure_cpus

    count = prod(mesh.values())
    ensure_cpus(count)
    devices = distribution.list_devices()[:count]
    layout_map = distribution.LayoutMap(distribution.DeviceMesh(tuple(mesh.values()), tuple(mesh), devices))
    for path, axes in layouts.items():
        layout_map[path] = axes
    return distribution.ModelParallel(layout_map=layout_map).scope()
