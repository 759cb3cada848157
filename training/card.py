"""A recipe's card and configurations, read from its source: nothing of it is run or imported."""
import ast
import dataclasses
import re
from pathlib import Path

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


@dataclasses.dataclass(frozen=True)
class Card:
    """What a recipe says of itself in its docstring and constants."""
    path: Path
    idea: str                    # first line of the docstring
    entries: dict                # {"Source": ..., "Published": ..., "Departs": ...}, each one line
    comments: dict               # {field of Config: its comment}
    default: dict                # Config() as {field: value}; {} if it cannot be told without running
    named: dict                  # {name: {field: value}} of every named configuration
    published: dict              # PUBLISHED, {} if the recipe has none
    headline: str = "test_accuracy"        # HEADLINE: the metric that stands beside the published figure
    unit: str = "%"              # UNIT of both: "%" where the metric is a fraction

    def baseline(self, name):
        """The fields of the configuration of that name, those of Config() for any other."""
        return self.named.get(name, self.default)

    def published_for(self, name):
        """The authors' figure for a named configuration, or for one that equals it; None if there is none."""
        if name in self.published:
            return self.published[name]
        alike = [other for other, fields in self.named.items()
                 if fields == self.baseline(name) and other in self.published]
        return self.published[alike[0]] if alike else None


def read(recipe, recipes=RECIPES):
    """The Card of the recipe with that file name, or None where there is no such readable file."""
    found = sorted(recipes.glob(f"*/{recipe}.py")) if recipe.isidentifier() else []
    if not found:
        return None
    try:
        source = found[0].read_text()
        tree = ast.parse(source)
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None
    idea, entries = docstring(ast.get_docstring(tree) or "")
    comments, default = config_class(tree, source.splitlines())
    named, published = {}, {}
    values = {}
    for statement in tree.body:
        if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
            continue
        target = statement.targets[0].id
        try:
            values[target] = value = evaluated(statement.value, values, default)
        except ValueError:                           # not a literal nor a Config: none of our business
            continue
        if target == "PUBLISHED" and isinstance(value, dict):
            published = value
        elif isinstance(value, dict) and value and all(isinstance(item, Fields) for item in value.values()):
            named.update(value)
    return Card(found[0], idea, entries, comments, default, named, published,
                values.get("HEADLINE", "test_accuracy"), values.get("UNIT", "%"))


def docstring(text):
    """-> (first line, {"Source": ..., ...}) with the continuation lines of each entry joined."""
    lines = text.splitlines() or [""]
    entries, key = {}, None
    for line in lines[1:]:
        start = re.match(r"([A-Z]\w*)\s{2,}(.+)", line)
        if start:
            key = start[1]
            entries[key] = start[2].strip()
        elif key and line.startswith(" ") and line.strip():
            entries[key] += " " + line.strip()
        else:
            key = None
    return lines[0], entries


class Fields(dict):
    """The fields of one configuration; a type of its own tells it from any other table."""


def config_class(tree, lines):
    """-> ({field: comment}, {field: default}) of the class Config."""
    comments, default = {}, Fields()
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Config":
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    rest = lines[field.end_lineno - 1].encode()[field.end_col_offset:].decode()
                    comments[field.target.id] = rest.partition("#")[2].strip()
                    try:
                        default[field.target.id] = jsonable(ast.literal_eval(field.value))
                    except (ValueError, TypeError):
                        continue
    return comments, default


def evaluated(node, values, default):
    """A literal, a name, Config(...), dataclasses.replace(...) or a dict of these; else ValueError."""
    if isinstance(node, ast.Name) and node.id in values:
        return values[node.id]
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {ast.literal_eval(key): evaluated(value, values, default)
                for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.Call):
        changed = {keyword.arg: jsonable(evaluated(keyword.value, values, default))
                   for keyword in node.keywords}
        called = ast.unparse(node.func)
        if called == "Config" and not node.args:
            return Fields({**default, **changed})
        if called in ("dataclasses.replace", "replace") and len(node.args) == 1:
            return Fields({**evaluated(node.args[0], values, default), **changed})
        raise ValueError(f"{called} is not a configuration")
    try:
        return ast.literal_eval(node)
    except TypeError as error:
        raise ValueError(str(error)) from error


def jsonable(value):
    """Tuples as lists, as config.json has them."""
    return [jsonable(item) for item in value] if isinstance(value, tuple | list) else value
