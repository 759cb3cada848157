import errno
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from training import checkpoint
from training.checkpoint import Checkpoints, restore, snapshot
from training.progress import Progress, interval


def network(width=4):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(width), keras.layers.Dropout(0.5)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def saved(folder, *updates, best=None):
    checkpoints = Checkpoints(folder)
    for update in updates:
        checkpoints.save(update, {"value": update, "array": np.arange(update), "best": best})
    return checkpoints


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "cut":
        content = content[:len(content) // 2]
    elif how == "flipped":
        content[len(content) // 2] ^= 1
    else:
        content = b""
    path.write_bytes(content)


def test_keeps_the_last_two_and_gives_the_newest(tmp_path):
    checkpoints = saved(tmp_path, 1, 2, 3)
    assert [checkpoint.number(path) for path in checkpoints.numbered()] == [3, 2]
    state = checkpoints.latest()
    assert state["value"] == 3 and state["array"].tolist() == [0, 1, 2]
    assert Checkpoints(tmp_path / "none").latest() is None


@pytest.mark.parametrize("how", ["cut", "flipped", "empty"])
def test_a_damaged_one_is_reported_and_the_one_before_taken(tmp_path, capsys, how):
    checkpoints = saved(tmp_path, 1, 2)
    newest, before = checkpoints.numbered()
    damage(newest, how)
    assert checkpoints.latest()["value"] == 1
    err = capsys.readouterr().err
    assert f"the checkpoint {newest} is damaged (its checksum differs)" in err and "before" in err
    checkpoints.save(2, {"value": 2})                    # the training has come there again
    assert newest not in checkpoints.numbered() and checkpoints.latest()["value"] == 2
    for path in checkpoints.numbered():
        damage(path, how)
    with pytest.raises(ValueError, match="no checkpoint .* is whole: .*another --run-dir"):
        checkpoints.latest()


def test_checkpoints_of_another_version_are_not_passed_over(tmp_path):
    (tmp_path / "latest.npz").write_bytes(b"of another version")
    with pytest.raises(ValueError, match=r"another version \(latest.npz\). Resume with the commit"):
        Checkpoints(tmp_path).latest()
    saved(tmp_path, 3)
    assert Checkpoints(tmp_path).latest()["value"] == 3


def test_best_weights_stay_as_long_as_a_checkpoint_needs_them(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    first = checkpoints.save_best(1, 0.5, [np.ones(2)])
    checkpoints.save(1, {"best": first})
    second = checkpoints.save_best(2, 0.6, [np.full(2, 2.0)])
    checkpoints.save(2, {"best": second})
    assert {path.name for path in tmp_path.glob("best-*")} == {first["file"], second["file"]}
    checkpoints.save(3, {"best": second})
    assert {path.name for path in tmp_path.glob("best-*")} == {second["file"]}
    np.testing.assert_array_equal(checkpoints.best(second)[0], [2, 2])


def test_a_checkpoint_whose_best_weights_are_damaged_is_passed_over(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"value": 1, "best": None})
    best = checkpoints.save_best(2, 0.6, [np.ones(2)])
    checkpoints.save(2, {"value": 2, "best": best})
    damage(tmp_path / best["file"], "cut")
    assert checkpoints.latest()["value"] == 1 and "best-" in capsys.readouterr().err


def test_a_full_disk_leaves_the_last_good_one(tmp_path, monkeypatch):
    checkpoints = saved(tmp_path, 1)

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left on device: .*checkpoint.npz"):
        checkpoints.save(2, {"value": 2})
    assert checkpoints.latest()["value"] == 1 and len(list(tmp_path.iterdir())) == 1


def test_nested_state_comes_back_as_it_was(tmp_path):
    state = {"text": "a", "numbers": [1, 2.5, None, True, math.inf], "array": np.eye(2, dtype=np.int8),
             "deep": {"list": [{"x": np.float32(3)}]}, "less": keras.ops.less, "large": 2**100}
    arrays = []
    text = json.dumps(checkpoint.packed(state, arrays))
    again = checkpoint.unpacked(json.loads(text), {f"{i:06d}": array for i, array in enumerate(arrays)})
    np.testing.assert_array_equal(again.pop("array"), state.pop("array"))
    assert again == {**state, "deep": {"list": [{"x": 3.0}]}}
    assert checkpoint.storable(state) and not checkpoint.storable({"model": network()})


def test_snapshot_holds_models_optimizers_generators_and_variables(tmp_path):
    def objects():
        return {"model": network(), "optimizer": keras.optimizers.SGD(0.1, momentum=0.9),
                "count": tf.Variable(0), "random": np.random.default_rng(1), "loss": keras.metrics.Mean()}
    one, other = objects(), objects()
    for thing in (one, other):
        thing["optimizer"].build(thing["model"].trainable_variables)
    one["model"](np.ones((2, 3)), training=True)                      # moves the seed of the dropout
    one["count"].assign(7)
    one["loss"].update_state(3.0)
    one["random"].random(5)
    Checkpoints(tmp_path).save(1, {"objects": snapshot(one)})
    restore(other, Checkpoints(tmp_path).latest()["objects"])
    assert int(other["count"]) == 7 and float(other["loss"].result()) == 3.0
    assert one["random"].random() == other["random"].random()
    x = np.ones((50, 3))
    np.testing.assert_array_equal(one["model"](x, training=True), other["model"](x, training=True))


def test_states_of_another_network_are_refused_and_nothing_is_assigned():
    state, other = snapshot({"model": network(4)}), network(5)
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"has \(3, 4\) where .* is \(3, 5\)"):
        restore({"model": other}, state)
    with pytest.raises(ValueError, match="holds model; this training needs generator"):
        restore({"generator": other}, state)
    with pytest.raises(ValueError, match="another network, or not built yet"):
        restore({"model": keras.Sequential([keras.layers.Dense(4)])}, state)
    for weight, value in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_what_cannot_be_saved_is_named():
    with pytest.raises(TypeError, match="memory cannot be checkpointed: a list has neither variables nor"):
        snapshot({"memory": [1, 2]})


def test_bfloat16_comes_back(tmp_path):
    variable = keras.Variable(np.array([1.5, -2.0]), dtype="bfloat16")
    Checkpoints(tmp_path).save(1, {"objects": snapshot({"v": variable})})
    variable.assign([0, 0])
    restore({"v": variable}, Checkpoints(tmp_path).latest()["objects"])
    np.testing.assert_array_equal(keras.ops.cast(variable, "float32"), [1.5, -2.0])


@pytest.mark.parametrize(("every", "expected"), [
    (500, (500, None)), ("500", (500, None)), ("90s", (None, 90)), ("10m", (None, 600)),
    ("1.5h", (None, 5400))])
def test_intervals(every, expected):
    assert interval(every) == expected


@pytest.mark.parametrize("every", ["", "0", "-3", "1.5", "10 m", "5d", "nan"])
def test_a_bad_interval_says_what_is_allowed(every):
    with pytest.raises(ValueError, match=f"such as 500, or a time, .*Received: {every}"):
        interval(every)


def test_history_grows_by_rows_and_columns(tmp_path):
    progress = Progress(tmp_path, {})
    for row in ({"updates": 1, "loss": 2.0}, {"updates": 2, "loss": 1.5},
                {"updates": 3, "loss": 1.0, "rate": 0.1}):
        progress.log(row)
    assert (tmp_path / "history.csv").read_text() == "updates,loss,rate\n1,2.0,\n2,1.5,\n3,1.0,0.1\n"
    assert len((tmp_path / "times.csv").read_text().splitlines()) == 4
    progress.close()
    values = [value.simple_value or float(tf.make_ndarray(value.tensor))
              for path in sorted((tmp_path / "tensorboard" / "train").iterdir())
              for event in tf.compat.v1.train.summary_iterator(str(path))
              for value in event.summary.value if value.tag == "loss"]
    assert values == [2.0, 1.5, 1.0]
