"""The command line: python -m recipes COMMAND."""
import runpy
import shutil
import sys
from pathlib import Path

from recipes.catalog import cards, table
from training import results
from training.command_line import Parser, nearest, plain_errors, read_saved
from training.files import read_json

USAGE = """python -m recipes COMMAND

  list                        all recipes, with published and measured figures
  run NAME [flags]            run one; its flags: run NAME --help; in seconds: run NAME --smoke
  resume RUN_DIR [flags]      go on with an interrupted run
  evaluate RUN_DIR            measure a finished run again, beside the stored figures
  predict RUN_DIR FILE...     label one's own images or texts (or: predict model.keras --text TEXT)
  report RUN_DIR              write report.html again
  export RUN_DIR --format saved_model|onnx|litert
  record RUN_DIR...           put finished runs into benchmarks/results and the README
  table [--check]             write the README's table of results, or check that it is current

Begin with: python -m recipes run convnet_mnist --smoke"""


def list_recipes(arguments):
    """Prints the table of all recipes, as wide as the terminal; without TensorFlow."""
    Parser("list", "All recipes, by subject.").read(arguments)
    width = min(max(shutil.get_terminal_size((100, 24)).columns, 80), 120)
    print(table(cards(), width))


def run(arguments):
    """Runs the recipe that the first argument names, with the others as its flags."""
    if not arguments or arguments[0].startswith("-"):
        raise ValueError("run needs the name of a recipe, before its flags: "
                         f"python -m recipes run NAME [flags]. There are: {', '.join(cards())}")
    execute(arguments[0], arguments[1:])


def execute(name, arguments):
    """Runs the file of a recipe as if it had been started by itself."""
    known = cards()
    if name not in known:
        raise ValueError(f"there is no recipe {name}.{nearest(name, known)} "
                         "`python -m recipes list` shows them all.")
    from training.start_up import import_tensorflow
    import_tensorflow()
    sys.argv = [str(known[name].path), *arguments]
    runpy.run_path(str(known[name].path), run_name="__main__")


def resume(arguments):
    """Goes on with an interrupted run, or says the metrics of a finished one."""
    if not arguments or arguments[0].startswith("-"):
        raise ValueError("resume needs a run folder: python -m recipes resume RUN_DIR [flags]")
    folder, *flags = arguments
    saved = read_saved(folder)
    if (Path(folder) / "metrics.json").exists():
        if flags:
            raise ValueError(f"the run in {folder} is finished and its checkpoints are gone, so it cannot be "
                             f"trained further. Start anew, from --config {Path(folder) / 'config.json'}.")
        print(f"the run in {folder} is finished already: {read_json(Path(folder) / 'metrics.json')}")
    else:
        execute(saved["recipe"], ["--run-dir", folder, "--resume", *flags])


def evaluate(arguments):
    """Has the recipe of a finished run measure its network again."""
    parser = Parser("evaluate", "Measures a finished run again.")
    parser.add_argument("run_dir")
    parser.add_argument("--data-dir", default="", help="TFDS's folder")
    flags = parser.read(arguments)
    saved = read_saved(flags.run_dir)
    if not (Path(flags.run_dir) / "metrics.json").exists():
        raise ValueError(f"the run in {flags.run_dir} is not finished. "
                         f"`python -m recipes resume {flags.run_dir}` goes on with it.")
    execute(saved["recipe"], ["--run-dir", flags.run_dir, "--evaluate"]
            + ["--data-dir", flags.data_dir] * bool(flags.data_dir) + ["--debug"] * flags.debug)


def predict(arguments):
    """Says what a network makes of files and texts; status 2 if any of them could not be read."""
    parser = Parser("predict", "Labels or describes one's own images, labels texts and sounds, goes on with "
                    "a text.")
    parser.add_argument("model", metavar="RUN_DIR", help="run folder, or a model.keras")
    parser.add_argument("files", metavar="FILE", nargs="*")
    parser.add_argument("--text", action="append", default=[],
                        help="a text in place of a file, for networks that read text")
    parser.add_argument("--top", metavar="K", type=int,
                        help="classes to show (default: at most 3), or sentences (default: 1)")
    parser.add_argument("--resize", action="store_true", help="convert images of another size or mode")
    parser.add_argument("--invert", action="store_true", help="swap black and white, for ink on paper")
    parser.add_argument("--temperature", type=float, default=0.8,
                        help="of written text: 0 takes the likeliest character each time (default: 0.8)")
    parser.add_argument("--length", type=int, default=400, help="characters to write (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="of written text")
    flags = parser.read(arguments)
    if not flags.files and not flags.text:
        raise ValueError("predict needs at least one file after RUN_DIR, or --text TEXT")
    load_layers()
    from training import predict
    kind = predict.kind(flags.model)
    if kind in READERS:
        errors = READERS[kind](predict.Network(flags.model), flags)
    elif kind == "comparison":
        raise ValueError(f"{flags.model} compares images and knows no classes: which character a drawing is, "
                         "it says only beside drawings of each, as in the episodes of its run's figures.")
    elif kind != "image":
        raise ValueError(f"{flags.model} takes {kind}, which predict cannot read. "
                         f"It can read: image, {', '.join(READERS)}.")
    elif flags.text:
        raise ValueError(f"{flags.model} takes images, and --text is for networks that read text")
    else:
        errors = predict.predict(flags.model, flags.files, resize=flags.resize, invert=flags.invert,
                                 top=flags.top)
    sys.stdout.flush()
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 2 if errors else 0


def label_texts(network, flags):
    """Says the class of each text; [sentence] for those that could not be read."""
    from pipelines.text import Reader
    return label(network, Reader(network.about), flags)


def label_photographs(network, flags):
    """Says the class of each photograph, cropped as in the test; [sentence] for those not read."""
    from pipelines.files import Reader
    if flags.text:
        raise ValueError(f"{network.path} takes photographs, and --text is for networks that read text")
    return label(network, Reader(network.about, invert=flags.invert), flags)


def label(network, reader, flags):
    """Says the class of each file and text, by the reader; [sentence] for those that could not be read."""
    from training.predict import read_all
    top = network.top(flags.top)
    good, errors = read_all(reader, flags.files, flags.text)
    if good:
        names, inputs = zip(*good, strict=True)
        network.say(names, reader.batch(inputs), top, print)
    return errors


def go_on_with_texts(network, flags):
    """Says each text and what the network writes after it; [sentence] for those that could not be read."""
    from models import continuation
    from pipelines.characters import Reader
    from training.predict import read_all
    reader = Reader(network.about)
    good, errors = read_all(reader, flags.files, flags.text)
    for _, prompt in good:
        written = continuation(network.model, prompt, flags.length, temperature=flags.temperature,
                               seed=flags.seed)
        print(reader.alphabet.text(prompt) + reader.alphabet.text(written) + "\n")
    return errors


def label_sounds(network, flags):
    """Says the word, or the words one after another, in each wav file; [sentence] for those not read."""
    from pipelines.speech import Reader
    if flags.text:
        raise ValueError(f"{network.path} takes wav files, and --text is for networks that read text")
    words = len(network.model.output_shape) == 2             # else outputs step by step, by CTC
    top, reader, good, errors = network.top(flags.top) if words else None, Reader(network.about), [], []
    for file in flags.files:
        try:
            good.append((file, reader.read(file)))
        except (OSError, ValueError) as error:
            errors.append(str(error))
    if good:
        names, sounds = zip(*good, strict=True)
        if words:
            network.say(names, reader.batch(sounds), top, print)
        else:
            strings = reader.strings(network.model.predict(reader.batch(sounds), verbose=0))
            for name, string in zip(names, strings, strict=True):
                print(f"{name}  {string}")
    return errors


def describe_images(network, flags):
    """Says the likeliest sentences about each image; [sentence] for those that could not be read."""
    from models import Captioner
    from pipelines import captions
    if flags.text:
        raise ValueError(f"{network.path} takes images, and --text is for networks that read text")
    top, about, good, errors = flags.top or 1, network.about, [], []
    if not 1 <= top <= about["beam"]:
        raise ValueError(f"--top must be in [1, {about['beam']}], the sentences that the search keeps. "
                         f"Received: {top}")
    reader = captions.Reader(about, network.model.input["image"].shape[1])
    for file in flags.files:
        try:
            good.append((str(file), reader.read(file)))
        except (OSError, ValueError) as error:
            errors.append(str(error))
    if good:
        names, images = zip(*good, strict=True)
        search = Captioner(network.model, start=captions.START, end=captions.END, silent=[captions.UNKNOWN],
                           width=about["beam"], length=about["longest"])
        found = search.predict(reader.batch(images), verbose=0)
        width = max(map(len, names))
        for name, rows, scores in zip(names, found["words"], found["log_probability"], strict=True):
            for row, score in zip(rows[:top], scores[:top], strict=True):
                print(f"{name:{width}s}  {reader.vocabulary.text(row)}  (log p {score:.1f})")
    return errors


# By the "kind" that a network was saved with; images, which have none, are predict's own.
READERS = {"text": label_texts, "characters": go_on_with_texts, "sound": label_sounds,
           "photograph": label_photographs, "captions": describe_images}


def load_layers():
    """Registers the layers of models, which saved networks are made of."""
    from training.start_up import import_tensorflow
    import_tensorflow()
    import models
    models.import_all()


def report(arguments):
    """Writes the report.html of a run again, from its files."""
    parser = Parser("report", "Writes report.html again.")
    parser.add_argument("run_dir")
    flags = parser.read(arguments)
    read_saved(flags.run_dir)
    load_layers()
    from training import report
    report.write(Path(flags.run_dir))
    print(Path(flags.run_dir) / "report.html")


def export(arguments):
    """Writes a network in another format and says how far its outputs are from Keras's."""
    parser = Parser("export", "Writes a trained network in another format, and checks it.")
    parser.add_argument("model", metavar="RUN_DIR", help="run folder, or a model.keras")
    parser.add_argument("--format", choices=("saved_model", "onnx", "litert"), required=True)
    parser.add_argument("--output", default="", metavar="PATH", help="by default beside model.keras")
    flags = parser.read(arguments)
    load_layers()
    from training.export import export
    output, gap = export(flags.model, flags.format, flags.output)
    print(f"{output}\nlargest difference from the Keras model on the same input: {gap:.1e}")


def record(arguments):
    """Puts finished runs into benchmarks/results and the README."""
    parser = Parser("record", "Puts finished runs into benchmarks/results and the README's table.")
    parser.add_argument("run_dirs", metavar="RUN_DIR", nargs="+")
    for path in results.record(parser.read(arguments).run_dirs, cards()):
        print(f"written: {path}")
    results.update()


def write_table(arguments):
    """Writes the README's table of results; with --check status 1 if it is not current."""
    parser = Parser("table", "Writes the README's table from benchmarks/results.")
    parser.add_argument("--check", action="store_true", help="only check; status 1 if it is not current")
    if not parser.read(arguments).check:
        results.update()
    elif not results.is_current():
        print("the README's table is not current: run `python -m recipes table`", file=sys.stderr)
        return 1
    return 0


COMMANDS = {"list": list_recipes, "run": run, "resume": resume, "evaluate": evaluate, "predict": predict,
            "report": report, "export": export, "record": record, "table": write_table}


def main(arguments):
    """Runs one command; its exit status."""
    with plain_errors("--debug" in arguments):
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            print(USAGE)
            return 0
        command, *rest = arguments
        if command not in COMMANDS:
            names = [*COMMANDS, *cards()]
            also = f" To run a recipe: python -m recipes run {command}." if command in names else ""
            raise ValueError(f"there is no command {command}.{also or nearest(command, COMMANDS)} "
                             f"Commands: {', '.join(COMMANDS)}.")
        return COMMANDS[command](rest) or 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
