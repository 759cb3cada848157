"""The SMS Spam Collection: a file, an archive, folds, and files that are none."""
import zipfile

import numpy as np
import pytest

from pipelines import sms_spam


def lines(ham=30, spam=20):
    return "".join([f"ham\tsee you at {k} o'clock\n" for k in range(ham)]
                   + [f"spam\twin {k} pounds, call 0800{k:05d}\n" for k in range(spam)])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "SMSSpamCollection"
    path.write_text(lines() + "ham\tsee you at 3 o'clock\n\nham\t:-)\n", encoding="utf-8")
    return path


def test_each_message_is_tested_once_and_none_is_in_two_parts(file):
    tested = []
    for fold in range(5):
        data = sms_spam.load("sms", 4, file=str(file), fold=fold)
        assert len(data.training) + len(data.validation) + len(data.test) == 51          # one came twice
        assert data.test.labels.sum() == 4
        tested += data.test_texts
    assert len(tested) == len(set(tested)) == 51


def test_digits_are_read_as_zeros(file):
    data = sms_spam.load("sms", 4, file=str(file))
    assert "000000000" in data.vocabulary.words and not any("1" in word for word in data.vocabulary.words)
    assert (np.sum(data.training.inputs > 0, axis=1) >= 1).all()


def test_an_archive_and_the_folder_with_the_file_are_the_same(file, tmp_path, monkeypatch):
    archive = tmp_path / "sms_spam" / "SMSSpamCollection.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.write(file, "SMSSpamCollection")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    whole = sms_spam.load("sms", 4, file=str(file)).test_texts
    assert sms_spam.load("sms", 4).test_texts == whole
    assert sms_spam.load("sms", 4, file=str(tmp_path)).test_texts == whole


def test_a_truncated_archive(file, tmp_path):
    archive = tmp_path / "collection.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.write(file, "SMSSpamCollection")
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(ValueError, match="damaged or truncated archive.*fetch it again"):
        sms_spam.load("sms", 4, file=str(archive))


@pytest.mark.parametrize(("text", "message"), [
    (lines() + "eggs\thello\n", r"line 51 of .* must be ham or spam, a tab.*'eggs\\thello'"),
    (lines() + "hello\n", "line 51"), (lines(spam=9), "30 messages of ham and 9 of spam"), ("", "is empty")])
def test_files_that_are_no_collection(tmp_path, text, message):
    path = tmp_path / "messages.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        sms_spam.load("sms", 4, file=str(path))


def test_without_a_network_the_sentence_says_what_to_do(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no route")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sms_spam.urllib.request, "urlopen", refuse)
    with pytest.raises(FileNotFoundError, match="no route.*--file, or use --data messages"):
        sms_spam.load("sms", 4)


def test_bad_arguments():
    with pytest.raises(ValueError, match="one of sms, messages. Received: mail"):
        sms_spam.load("mail")
    with pytest.raises(ValueError, match=r"fold must be in \[0, 4\]"):
        sms_spam.load("messages", fold=5)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        sms_spam.load("sms", file="/none/such")


def test_generated_messages_differ_and_one_in_seven_is_spam():
    texts, labels = sms_spam.generated()
    assert len(set(texts)) == 1500 and labels.sum() == 1500 // 7
