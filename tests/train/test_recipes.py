"""Settings from text, and recipes on small generated data."""

from typing import get_type_hints

import folders
import numpy as np
import pytest

from littlecore.data import DataError, write_idx
from littlecore.data.idx import MNIST_FILES
from littlecore.train.recipes import RECIPES, as_json, from_json, with_settings


def test_settings_are_read_by_type():
    config = with_settings(
        RECIPES["mlp"].defaults("mlp", None),
        ["epochs=3", "lr=1e-4", "flip=true", "clip_norm=2", "patience=none", "hidden=10,20", "data=x=y"],
    )
    assert (config.epochs, config.lr, config.flip, config.clip_norm, config.patience) == (3, 1e-4, True, 2.0, None)
    assert config.hidden == (10, 20) and config.data == "x=y" and isinstance(config.clip_norm, float)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "not key=value"),
        ("epoch=3", "no setting 'epoch'; there are .*epochs"),
        ("epochs=3.5", "epochs: '3.5' is not an int"),
        ("lr=fast", "lr: 'fast' is not a float"),
        ("flip=1", "flip: '1' is not true or false"),
        ("clip_norm=tight", "clip_norm: 'tight' is not a float"),
    ],
)
def test_wrong_settings_are_explained(setting, message):
    with pytest.raises(ValueError, match=message):
        with_settings(RECIPES["lenet"].defaults("lenet", None), [setting])


@pytest.mark.parametrize("name", RECIPES)
def test_no_setting_takes_any_number(name):
    config = RECIPES[name].defaults(name, None)
    numbers = [key for key, kind in get_type_hints(type(config)).items() if "int" in str(kind) or "float" in str(kind)]
    assert len(numbers) > 8
    for key in numbers:
        for text in ("-1", "nan"):
            with pytest.raises(ValueError, match=f"setting {key}: "):
                with_settings(config, [f"{key}={text}"])


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("data", [None, "somewhere"])
def test_configs_go_through_json(name, data):
    import json

    config = RECIPES[name].defaults(name, data)
    assert from_json(type(config), json.loads(json.dumps(as_json(config)))) == config
    assert config.data == (data or {"gpt": "shakespeare"}.get(name, "digits"))
    with pytest.raises(ValueError, match="unknown settings colour"):
        from_json(type(config), as_json(config) | {"colour": "red"})


@pytest.fixture
def folder(tmp_path):
    """Four IDX files of 28 x 28 images whose class shows in a bright row."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 60), ("test", 20)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        pixels = rng.integers(0, 50, (n, 28, 28)).astype(np.uint8)
        pixels[np.arange(n), 2 * labels + 3] += 200
        write_idx(tmp_path / MNIST_FILES[part, "images"], pixels)
        write_idx(tmp_path / MNIST_FILES[part, "labels"], labels)
    return tmp_path


@pytest.mark.parametrize("name", ["lenet", "mlp", "resnet", "vit"])
def test_image_recipes_step_and_build_again(folder, name):
    recipe = RECIPES[name]
    config = with_settings(recipe.defaults(name, str(folder)), ["epochs=1", "batch_size=27", "degrees=5", "cutout=3"])
    trainer, facts = recipe.build(name, config)
    assert facts["classes"] == list("0123456789") and facts["image_size"] == 28 and facts["channels"] == 1
    assert trainer.fit()
    row = trainer.history[-1]
    assert row["step"] == 2 and 0 < row["train_loss"] < 20 and 0 <= row["test_accuracy"] <= 1
    again = recipe.make_model(name, config, facts)
    again.load_state_dict(trainer.model.state_dict())


def test_resnet_learns_from_cifar(tmp_path):
    folders.save_cifar(tmp_path, 100)
    recipe = RECIPES["resnet"]
    config = with_settings(recipe.defaults("resnet", str(tmp_path)), ["epochs=1", "batch_size=45", "flip=true"])
    trainer, facts = recipe.build("resnet", config)
    assert facts["classes"][3] == "cat" and facts["image_size"] == 32 and facts["channels"] == 3
    assert trainer.fit() and trainer.history[-1]["step"] == 2


def test_image_recipes_refuse_folders_without_data(tmp_path):
    recipe = RECIPES["lenet"]
    with pytest.raises(DataError, match="nowhere: no such folder"):
        recipe.build("lenet", recipe.defaults("lenet", str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match="neither MNIST's files"):
        recipe.build("lenet", recipe.defaults("lenet", str(tmp_path)))
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="no folder test or val"):
        recipe.build("lenet", recipe.defaults("lenet", str(tmp_path)))


@pytest.mark.parametrize(("level", "reached"), [("char", 1.2), ("byte", 2.2)])
def test_gpt_recipe_learns_a_rhyme(tmp_path, level, reached):
    path = tmp_path / "rhyme.txt"
    path.write_text("the cat sat on the mat.\n" * 100)
    recipe = RECIPES["gpt"]
    settings = [
        "epochs=2",
        "steps=30",
        "context=16",
        "layers=1",
        "heads=2",
        "width=32",
        "batch_size=8",
        f"level={level}",
    ]
    trainer, facts = recipe.build("gpt", with_settings(recipe.defaults("gpt", str(path)), settings))
    assert facts["vocab_size"] == (256 if level == "byte" else 12)
    assert trainer.fit()
    assert trainer.history[-1]["validation_loss"] < reached < trainer.history[0]["train_loss"]


def test_gpt_recipe_refuses_too_little_text(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("short")
    recipe = RECIPES["gpt"]
    with pytest.raises(DataError, match="5 characters are too few"):
        recipe.build("gpt", recipe.defaults("gpt", str(path)))
    with pytest.raises(ValueError, match="level: 'word'"):
        recipe.build("gpt", with_settings(recipe.defaults("gpt", None), ["level=word"]))
