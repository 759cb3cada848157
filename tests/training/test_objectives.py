import keras
import numpy as np
import pytest

from training.objectives import Accuracy, CrossEntropy

LOGITS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
LABELS = np.array([0, 3, 1, 1, 2, 0])
SOFT = np.random.default_rng(1).dirichlet(np.ones(4), 6).astype(np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_keras_for_both_kinds_of_labels(smoothing):
    ours = CrossEntropy(smoothing)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    one_hot = np.eye(4, dtype=np.float32)[LABELS]
    for labels in (LABELS, LABELS[:, None], one_hot):
        assert float(ours(labels, LOGITS)) == pytest.approx(float(theirs(one_hot, LOGITS)), rel=1e-6)
    assert float(ours(SOFT, LOGITS)) == pytest.approx(float(theirs(SOFT, LOGITS)), rel=1e-6)


def test_accuracy_takes_both_kinds_of_labels():
    predicted = LOGITS.argmax(axis=1)
    metric = Accuracy()
    metric.update_state(LABELS, LOGITS)
    assert float(metric.result()) == pytest.approx(np.mean(predicted == LABELS))
    metric.reset_state()
    metric.update_state(SOFT, LOGITS)
    assert float(metric.result()) == pytest.approx(np.mean(predicted == SOFT.argmax(axis=1)))


def test_one_model_trains_on_soft_labels_validates_on_integers_and_loads_again(tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    model.compile("sgd", CrossEntropy(0.1), metrics=[Accuracy()])
    x = np.ones((6, 5), np.float32)
    history = model.fit(x, SOFT, validation_data=(x, LABELS), epochs=1, verbose=0).history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.loss.label_smoothing == 0.1
    assert again.evaluate(x, LABELS, verbose=0)[0] == pytest.approx(history["val_loss"][0], rel=1e-5)


def test_smoothing_of_one_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\). Received: 1"):
        CrossEntropy(1)
