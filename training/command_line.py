"""From a recipe's Config to its command line, and from errors to plain sentences."""
import argparse
import contextlib
import dataclasses
import difflib
import errno
import fnmatch
import io
import os
import re
import signal
import sys
import threading
import time
import traceback
import typing
from pathlib import Path
from typing import Literal

from training.files import read_json
from training.interruption import Terminated

KEPT = ("seed", "strategy", "precision", "jit", "data_dir", "checkpoint_every", "deterministic",
        "synchronized", "fold")      # flags that a resumed run takes over
NOT_FINITE = 3                 # exit status of a run whose loss became NaN or infinite; other errors have 2


@dataclasses.dataclass(frozen=True)
class RunFlags:
    """The flags that every run has."""
    run_dir: str = ""        # folder of this run; by default runs/<recipe>-<time>
    resume: bool = False     # go on with the run in --run-dir, as it was configured
    evaluate: bool = False   # measure the finished run in --run-dir once more, and write nothing
    strategy: Literal["auto", "none", "mirrored", "multi_worker"] = "auto"   # auto: all GPUs, else one device
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    jit: Literal["auto", "on", "off"] = "auto"                # XLA; auto is off on CPUs, where it was slower
    checkpoint_every: str = "10m"   # updates (500) or time (30s, 10m, 1h) between checkpoints in an epoch
    deterministic: bool = False     # only operations that repeat bit by bit; slower on GPUs
    synchronized: bool = False      # batch normalisation over all devices' batches, not each device's own
    seed: int = 0            # of initial weights, order and dropout
    data_dir: str = ""       # TFDS's folder; by default TFDS_DATA_DIR, else ~/tensorflow_datasets
    smoke: bool = False      # the whole recipe in seconds, without a download
    config: str = ""         # a saved config.json to start from
    fold: str = ""           # 2/5: validate on the second fifth of training and validation examples together
    trial: bool = False      # a trial of a search: no test set, no model file, no report; checkpoints stay
    debug: bool = False      # show the traceback of an error


class Parser(argparse.ArgumentParser):
    """argparse, with flags anywhere, errors as exceptions and near names for unknown flags."""

    def __init__(self, command, description, *, program="recipes"):
        super().__init__(f"python -m {program} {command}", description=description, allow_abbrev=False)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def error(self, message):
        raise ValueError(f"{message}. {' '.join(self.format_usage().split())}")

    def read(self, arguments):
        flags, unknown = self.parse_known_intermixed_args(arguments)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            raise ValueError(f"unknown argument {unknown[0]}.{nearest(unknown[0].split('=')[0], known)} "
                             "--help lists them all.")
        return flags


def launch(main, Config, *, named=None, flag="config", smoke=None, compare=None):
    """Runs a recipe's main(config, run) as its command line says.

    Config     dataclass whose fields become flags, their comments the help.
    named      {name: Config}, chosen by --<flag> NAME; "all", or several as in short,without-*, runs
               each in a folder of its own and then calls compare(run, {name: metrics}), if given, to
               draw together those that there are.
    smoke      the Config of --smoke.
    Errors end the process with a sentence on stderr and status 2 (3 where a loss is not
    finite, 130 after ctrl-C, 143 after SIGTERM), unless --debug is given. With --trial an
    error that no configuration explains keeps its traceback, and has status 1.
    """
    with plain_errors("--debug" in sys.argv[1:]) as state, terminable():
        recipe = Path(sys.modules[main.__module__].__file__).stem
        flags, configs, changed = parse(sys.argv[1:], Config, named or {}, flag, smoke, recipe)
        state.trial = flags.trial
        if flags.data_dir:
            os.environ["TFDS_DATA_DIR"] = str(Path(flags.data_dir).expanduser())
        run = open_run(recipe, flags, configs, changed)
        state.folder = None if flags.evaluate else run.folder
        if flags.evaluate:
            return evaluate(main, run, configs)
        if not run.series:
            finish(main, run, run.config)
        else:
            results = {}
            for name, config in configs.items():
                print(f"-- {flag} {name} " + "-" * 40, flush=True)
                results[name] = finish(main, run.child(
                    name, config, changed=changed[name], part=False), config)
            if compare is not None:
                compare(run, results)
            run.finish(results)
            write_report(run)
        run.wait_for_all()
        print(f"\nrun folder  {run.folder}")
        if not run.searching:
            print(f"report      {run.folder / 'report.html'}")


def parse(arguments, Config, named, flag, smoke, recipe):
    """-> (RunFlags, {name: Config}, {name: {changed field: value}}); the name is "" for a Config without one.

    Raises ValueError, in a sentence, for whatever does not fit; --help ends the process.
    """
    help_wanted = any(argument in ("-h", "--help") for argument in arguments)
    arguments = [argument for argument in arguments if argument not in ("-h", "--help")]
    flags, rest = from_arguments(RunFlags, RunFlags(), arguments)
    name, rest = take_option(rest, f"--{flag}") if flag != "config" else (flags.config, rest)
    if flag == "config" and Path(name).suffix == ".json":
        name = ""
    names = chosen(name, named, flag) if name else [name_of(Config(), named)]
    if flags.resume or flags.evaluate:
        flags, defaults = saved_run(flags, arguments, Config, recipe)
    elif Path(flags.config).suffix == ".json":
        if name:
            raise ValueError(f"give either --{flag} {name} or --config {flags.config}, not both")
        given = config_from(flags.config, Config)
        defaults = {name_of(given, named): given}
    elif flags.config and flag != "config":
        raise ValueError(f"--config takes a saved config.json. Received: {flags.config}")
    else:
        defaults = {name: named.get(name, Config()) for name in names}
        if flags.smoke and smoke is not None:            # the named networks at the smoke size
            changes = difference(smoke, Config())
            defaults = {name: dataclasses.replace(default, **changes) for name, default in defaults.items()}
    if help_wanted:
        print_help(Config, next(iter(defaults.values())), named, flag)
    configs = {}
    for name, default in defaults.items():
        configs[name], unknown = from_arguments(Config, default, rest)
        refuse_unknown(unknown, Config, flag if named else None)
    changed = {name: difference(config, named.get(name, Config())) for name, config in configs.items()}
    return flags, configs, changed


def chosen(text, named, flag):
    """The names that text asks for, in their own order: one, several between commas, a pattern, or all."""
    found = set()
    for part in (part.strip() for part in text.split(",")):
        matching = [name for name in named if part == "all" or fnmatch.fnmatchcase(name, part)]
        if not matching:
            raise ValueError(f"--{flag} must be one of {', '.join([*named, 'all'])}, several between commas "
                             f"or a pattern with *. Received: {text}.{nearest(part, named)}")
        found.update(matching)
    return [name for name in named if name in found]


def name_of(config, named):
    """The name that this Config has, or ""."""
    return next((name for name, other in named.items() if other == config), "")


def from_arguments(Class, default, arguments):
    """tyro's reading of the arguments: (Class, those that it does not know); ValueError in a sentence."""
    import tyro
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            return tyro.cli(Class, args=arguments, default=default, return_unknown_args=True)
    except SystemExit:
        pass
    raise ValueError(unboxed(output.getvalue(), arguments))


def unboxed(text, arguments):
    """tyro's error message without its frame: sections between rules, a heading before them if unframed."""
    sections = [[]]
    for line in (line.strip(" │") for line in text.splitlines()):
        if line and set(line) <= {"─", "-"}:
            sections.append([])
        elif line and not line.startswith(("╭", "╰")):
            sections[-1].append(line)
    if "╭" not in text:
        sections = sections[1:]
    message = " ".join(sections[0]) if sections else " ".join(text.split())
    few = re.match(r"Missing value for argument '(--[\w-]+)'\. Expected (\d+) values", message)
    if few and few[2] != "1":
        return (f"{few[1]} takes {few[2]} values, with spaces between them. "
                f"Received: {' '.join(given(few[1], arguments)) or 'none'}")
    invalid = re.match(r"Error parsing (--[\w-]+): ", message)
    if invalid is None:
        return message
    option = invalid[1]
    kind = next((line.removeprefix(option) for section in sections[1:] for line in section
                 if line.startswith(option + " ")), " another value")
    kind = re.sub(r" \[(\w+) \[\1 \.\.\.\]\]$", r" any number of \1, with spaces between them", kind)
    return f"{option} takes{kind}. Received: {' '.join(given(option, arguments))}"


def given(option, arguments):
    """What stands behind the option, where it stands last: --size 3 y --epochs 2 -> ["3", "y"]."""
    found, inside = [], False
    for part in (part for argument in arguments
                 for part in (argument.split("=", 1) if argument.startswith("--") else [argument])):
        if part.startswith("--"):
            inside = part.replace("_", "-") == option
            found = [] if inside else found
        elif inside:
            found.append(part)
    return found


def difference(config, other):
    """The fields of config that other has not, or has otherwise: {name: value}."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)
            if getattr(config, field.name) != getattr(other, field.name)}


def saved_run(flags, arguments, Config, recipe):
    """The flags and {name: Config} of the run in --run-dir; what the arguments say wins, but for the seed."""
    if not flags.run_dir:
        raise ValueError(f"--{'resume' if flags.resume else 'evaluate'} needs --run-dir")
    path = Path(flags.run_dir) / "config.json"
    saved = read_saved(flags.run_dir)
    if saved["recipe"] != recipe:
        raise ValueError(f"{flags.run_dir} holds a run of {saved['recipe']}, not of {recipe}")
    if saved.get("part"):
        whole = Path(flags.run_dir).resolve().parent
        raise ValueError(f"{flags.run_dir} is a part of the run in {whole}, and is trained and "
                         f"measured with it: name {whole}")
    kept = dataclasses.replace(RunFlags(), **{name: saved[name] for name in KEPT if name in saved})
    if flags.evaluate and kept.strategy == "multi_worker":
        kept = dataclasses.replace(kept, strategy="auto")
    merged, _ = from_arguments(RunFlags, kept, arguments)
    if merged.seed != kept.seed:
        raise ValueError(f"the run in {flags.run_dir} has seed {kept.seed}, which cannot change on the way. "
                         f"Received: --seed {merged.seed}")
    if "configs" in saved:
        return merged, {name: checked_config(values, Config, path)
                        for name, values in saved["configs"].items()}
    return merged, {saved.get("name", ""): checked_config(saved["config"], Config, path)}


def read_saved(folder):
    """config.json of a run folder. Raises FileNotFoundError or ValueError in a sentence."""
    path = Path(folder) / "config.json"
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no run folder {folder}")
    if not path.exists():
        raise FileNotFoundError(f"{folder} is not a run folder: it has no config.json")
    saved = read_json(path)
    if not isinstance(saved, dict) or not {"recipe", "config"} <= set(saved):
        raise ValueError(f"{path} is not of a run")
    return saved


def print_help(Config, default, named, flag):
    """Prints both groups of flags and ends the process."""
    import tyro
    both = dataclasses.make_dataclass("Flags", [
        ("recipe", tyro.conf.OmitArgPrefixes[Config], dataclasses.field(default=default)),
        ("run", tyro.conf.OmitArgPrefixes[RunFlags], dataclasses.field(default=RunFlags()))])
    description = (f"--{flag} NAME chooses: {', '.join([*named, 'all'])}; or several: A,B, 'without-*'"
                   if named else "")
    tyro.cli(both, args=["--help"], description=description,
             prog=f"python -m recipes run {Path(sys.argv[0]).stem}")


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
    """Raises ValueError with the nearest known flags if tyro left any argument over."""
    if not unknown:
        return
    fields = [*dataclasses.fields(Config), *dataclasses.fields(RunFlags)]
    known = ["--" + field.name.replace("_", "-") for field in fields] + ([f"--{flag}"] if flag else [])
    raise ValueError(f"unknown argument {unknown[0]}.{nearest(unknown[0].split('=')[0], known)} "
                     "--help lists them all.")


def nearest(name, known):
    """' Did you mean a or b?', or '' where nothing is near."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def config_from(path, Config):
    """A Config from a saved config.json. Raises ValueError, naming the field, if it does not fit."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"--config: there is no file {path}")
    values = read_json(path)
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a saved config.json: it holds no fields")
    if "configs" in values:
        raise ValueError(f"{path} is of a series of runs. Take the config.json of one of its folders: "
                         f"{', '.join(values['configs'])}")
    return checked_config(values.get("config", values), Config, path)


def checked_config(values, Config, path):
    """A Config of values read from JSON. Raises ValueError, naming path and field, if they do not fit."""
    hints = typing.get_type_hints(Config)
    for name in values:
        if name not in hints:
            raise ValueError(f"{path} has a field {name!r} that this recipe does not have "
                             f"(it has {', '.join(hints)})")
    return Config(**{name: checked(value, hints[name], f"{path}: {name}") for name, value in values.items()})


def checked(value, hint, name):
    """A value from JSON as its annotation wants it: lists become tuples, integers floats."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list):
        kinds = options[:1] * len(value) if options[-1] is ... else options
        if len(kinds) == len(value):
            return tuple(checked(item, kind, name) for item, kind in zip(value, kinds, strict=True))
    elif origin is Literal:
        if value in options:
            return value
    elif options:                                        # a union, as in float | None
        for option in options:
            with contextlib.suppress(ValueError):
                return checked(value, option, name)
    elif hint is float and type(value) is int:
        return float(value)
    elif type(value) is hint:
        return value
    expected = getattr(hint, "__name__", hint) if not options else str(hint).replace("typing.", "")
    raise ValueError(f"{name} must be {expected}. Received: {value!r}")


def open_run(recipe, flags, configs, changed):
    """The Run, or Evaluation, that the flags ask for; a series has no Config of its own."""
    from training.run import Evaluation, Run, Trial
    names = list(configs)
    series = len(names) > 1
    if flags.trial and (series or flags.evaluate):
        raise ValueError("--trial is for one network, to be trained")
    suffix = f"-{names[0]}" if not series and names[0] else ""
    folder = Path(flags.run_dir or f"runs/{recipe}{suffix}-{time.strftime('%Y%m%d-%H%M%S')}")
    which = ({"name": "all", "configs": configs} if series else
             {"name": names[0], "config": configs[names[0]], "changed": changed[names[0]]})
    return (Evaluation if flags.evaluate else Trial if flags.trial else Run)(
        folder, recipe=recipe, resume=flags.resume, **which, **{name: getattr(flags, name) for name in KEPT})


def finish(main, run, config):
    """main, then metrics.json and the report; what was finished before is not run again."""
    if run.metrics is not None:
        print(f"{run.folder} is finished already")
        return run.metrics
    metrics = main(config, run)
    run.finish(metrics)
    for name, value in metrics.items():
        print(f"{name:24s} {shown(value)}")
    if not run.searching:
        write_report(run)
    return metrics


def write_report(run):
    """report.html in the run folder; only the chief of several workers writes it."""
    if run.writes:
        from training import report
        report.write(run.folder)


def shown(value):
    """A metric for the terminal: four decimals, or three digits where these would be zeros."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.3g}"


def evaluate(main, run, configs):
    """Measures finished networks once more and prints the stored and the new metrics side by side."""
    for name, config in configs.items():
        folder = run.folder / name if run.series else run.folder
        if not (folder / "metrics.json").exists():
            raise ValueError(f"the run in {folder} is not finished. "
                             f"`python -m recipes resume {run.folder}` goes on with it.")
        stored = read_json(folder / "metrics.json")
        measured = main(config, run.child(name, config, part=False) if run.series else run)
        print(f"{folder}\n{'':26s} {'stored':>12s} {'now':>12s}")
        for metric in {**stored, **measured}:
            before, now = stored.get(metric), measured.get(metric)
            mark = "" if same(before, now) else "  differs"
            print(f"{metric:26s} {shown(before):>12s} {shown(now):>12s}{mark}")


def same(one, other):
    """Equal, or numbers that differ by no more than the order of a float32 sum does."""
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= 1e-5 * max(1.0, abs(one))
    return one == other


@contextlib.contextmanager
def plain_errors(debug=False):
    """Ends the process with a sentence instead of a traceback; state.folder is the run to go on with."""
    state = type("State", (), {"folder": None, "trial": False})()
    try:
        yield state
    except KeyboardInterrupt as error:
        what = f"interrupted: {error}" if str(error) else "interrupted"
        where = f" Go on with: python -m recipes resume {state.folder}" if state.folder else ""
        fail(f"{what}.{where}", 143 if isinstance(error, Terminated) else 130)
    except BrokenPipeError:                              # the reader of `list | head` has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if debug:
            raise
        if state.trial and not isinstance(error, (ValueError, FloatingPointError)):
            traceback.print_exc()
            sys.exit(1)
        not_finite = isinstance(error, FloatingPointError)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) and state.folder
        what_next = f". Make room, then: python -m recipes resume {state.folder}" if full else ""
        fail(sentence(error) + what_next, getattr(error, "status", NOT_FINITE if not_finite else 2))


@contextlib.contextmanager
def terminable():
    """SIGTERM raises Terminated in here."""
    def stop(number, frame):
        raise Terminated
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def sentence(error):
    """The first lines of an error, as one plain message; of one from a graph, without the traceback in it."""
    text = str(error).strip() or type(error).__name__
    if text.startswith("in user code:"):
        text = re.split(r"\n\n    (?:\w+\.)*\w+: ", text)[-1].replace("\n    ", "\n")
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    if not isinstance(error, (ValueError, OSError, ImportError, FloatingPointError)):
        text = f"{type(error).__name__}: {text}"
    return text.split("\n\n")[0][:600]


def fail(message, status=2):
    """Ends the process with one sentence on stderr."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
