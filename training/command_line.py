"""From a recipe's Config to its command line, and from errors to plain sentences."""
import dataclasses
import difflib
import os
import sys
import time
from pathlib import Path
from typing import Literal

from training.files import read_json


@dataclasses.dataclass(frozen=True)
class RunFlags:
    """The flags that every run has."""
    run_dir: str = ""        # folder of this run; by default runs/<recipe>-<time>
    resume: bool = False     # go on with the run in --run-dir
    strategy: Literal["auto", "none", "mirrored"] = "auto"    # devices; auto: all GPUs, else one device
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    jit: Literal["auto", "on", "off"] = "auto"                # XLA; auto is off on CPUs, where it was slower
    seed: int = 0            # of initial weights, order and dropout
    data_dir: str = ""       # TFDS's folder; by default TFDS_DATA_DIR, else ~/tensorflow_datasets
    smoke: bool = False      # the whole recipe in seconds, without a download
    config: str = ""         # a saved config.json to start from
    debug: bool = False      # show the traceback of an error


def launch(main, Config, *, named=None, flag="config", smoke=None, compare=None):
    """Runs a recipe's main(config, run) as its command line says.

    Config     dataclass whose fields become flags, their comments the help.
    named      {name: Config}, chosen by --<flag> NAME; "all" runs each in a folder of its own
               and then calls compare(run, {name: metrics}), if given, to draw them together.
    smoke      the Config of --smoke.
    Errors end the process with a sentence on stderr and status 2 (130 after ctrl-C),
    unless --debug is given.
    """
    arguments = sys.argv[1:]
    run = None
    try:
        flags, configs = parse(arguments, Config, named or {}, flag, smoke)
        if flags.data_dir:
            os.environ["TFDS_DATA_DIR"] = str(Path(flags.data_dir).expanduser())
        run = open_run(main, flags, configs)
        if len(configs) == 1:
            finish(main, run, run.config)
        else:
            results = {}
            for name, config in configs.items():
                print(f"-- {flag} {name} " + "-" * 40, flush=True)
                child = run.child(name, config)
                results[name] = child.metrics or finish(main, child, config)
            if compare is not None:
                compare(run, results)
            run.finish(results)
            from training import report
            report.write(run.folder)
        print(f"\nrun folder  {run.folder}\nreport      {run.folder / 'report.html'}")
    except KeyboardInterrupt:
        where = f" Go on with `python -m recipes resume {run.folder}`." if run is not None else ""
        fail(f"interrupted.{where}", 130)
    except Exception as error:
        if "--debug" in arguments:
            raise
        fail(sentence(error))


def parse(arguments, Config, named, flag, smoke):
    """-> (RunFlags, {name: Config}); one name "" unless the flag says all."""
    import tyro
    flags, rest = tyro.cli(RunFlags, args=[a for a in arguments if a not in ("-h", "--help")],
                           return_unknown_args=True, console_outputs=True)
    base, names = Config(), [""]
    if flags.smoke and smoke is not None:
        base = smoke
    if flags.config and Path(flags.config).suffix == ".json":
        base = config_from(flags.config, Config)
    name, rest = take_option(rest, f"--{flag}") if flag != "config" else (flags.config, rest)
    if name and Path(name).suffix != ".json":
        if name != "all" and name not in named:
            raise ValueError(f"--{flag} must be one of {', '.join([*named, 'all'])}. Received: {name}")
        names = list(named) if name == "all" else [name]
    configs = {}
    for name in names:
        default = named.get(name, base)
        if flags.smoke and smoke is not None and name:             # the named network at the smoke size
            changed = {field.name: getattr(smoke, field.name) for field in dataclasses.fields(Config)
                       if getattr(smoke, field.name) != getattr(Config(), field.name)}
            default = dataclasses.replace(default, **changed)
        configs[name], unknown = (default, rest)
        help_wanted = any(a in ("-h", "--help") for a in arguments)
        if help_wanted:
            print_help(Config, default, named, flag)
        configs[name], unknown = tyro.cli(Config, args=rest, default=default, return_unknown_args=True)
        refuse_unknown(unknown, Config, flag if named else None)
    return flags, configs


def print_help(Config, default, named, flag):
    """Prints both groups of flags and ends the process."""
    import tyro
    both = dataclasses.make_dataclass("Flags", [
        ("recipe", tyro.conf.OmitArgPrefixes[Config], dataclasses.field(default=default)),
        ("run", tyro.conf.OmitArgPrefixes[RunFlags], dataclasses.field(default=RunFlags()))])
    description = f"--{flag} NAME chooses: {', '.join([*named, 'all'])}" if named else ""
    tyro.cli(both, args=["--help"], description=description)


def take_option(arguments, option):
    """Removes `option value` or `option=value`: (value or "", the other arguments)."""
    for index, argument in enumerate(arguments):
        if argument == option:
            if index + 1 == len(arguments):
                raise ValueError(f"{option} needs a value")
            return arguments[index + 1], arguments[:index] + arguments[index + 2:]
        if argument.startswith(option + "="):
            return argument.split("=", 1)[1], arguments[:index] + arguments[index + 1:]
    return "", arguments


def refuse_unknown(unknown, Config, flag):
    if not unknown:
        return
    fields = [*dataclasses.fields(Config), *dataclasses.fields(RunFlags)]
    known = ["--" + field.name.replace("_", "-") for field in fields] + ([f"--{flag}"] if flag else [])
    near = difflib.get_close_matches(unknown[0].split("=")[0], known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"unknown argument {unknown[0]}.{hint} --help lists them all.")


def config_from(path, Config):
    """A Config from a saved config.json. Raises ValueError, naming the field, if it does not fit."""
    if not Path(path).exists():
        raise FileNotFoundError(f"--config: there is no file {path}")
    values = read_json(path)
    values = values.get("config", values)
    fields = {field.name: field for field in dataclasses.fields(Config)}
    for name in values:
        if name not in fields:
            raise ValueError(f"{path} has a field {name!r} that this recipe does not have "
                             f"(it has {', '.join(fields)})")
    return Config(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def open_run(main, flags, configs):
    from training.run import Run
    recipe = Path(sys.modules[main.__module__].__file__).stem
    names = list(configs)
    suffix = f"-{names[0]}" if len(names) == 1 and names[0] else ""
    folder = Path(flags.run_dir or f"runs/{recipe}{suffix}-{time.strftime('%Y%m%d-%H%M%S')}")
    return Run(folder, recipe=recipe, config=next(iter(configs.values())) if len(configs) == 1 else None,
               name=names[0] if len(names) == 1 else "all", seed=flags.seed, strategy=flags.strategy,
               precision=flags.precision, jit=flags.jit, resume=flags.resume)


def finish(main, run, config):
    """main, then metrics.json and the report; what was finished before is not run again."""
    if run.metrics is not None:
        print(f"{run.folder} is finished already")
        return run.metrics
    metrics = main(config, run)
    run.finish(metrics)
    for name, value in metrics.items():
        print(f"{name:24s} {value:.4f}" if isinstance(value, float) else f"{name:24s} {value}")
    from training import report
    report.write(run.folder)
    return metrics


def sentence(error):
    """The first lines of an error, as one plain message."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    if not isinstance(error, (ValueError, OSError, FloatingPointError)):
        text = f"{type(error).__name__}: {text}"
    return text.split("\n\n")[0][:600]


def fail(message, status=2):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
