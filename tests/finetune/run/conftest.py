"""Chips of two classes, and a YAML that trains a tiny network on them."""

import pytest

from tests.finetune.run.foreign import HOLES, make_chips
from tests.worlds import two_class_config


@pytest.fixture(scope="session")
def chips(tmp_path_factory):
    return make_chips(tmp_path_factory.mktemp("whole") / "chips")


@pytest.fixture(scope="session")
def holed(tmp_path_factory):
    return make_chips(tmp_path_factory.mktemp("holed") / "chips", lambda _: HOLES)


@pytest.fixture
def config(chips):
    made = two_class_config("nyc_s1_only", data_root=str(chips))
    made["model"]["init_args"]["model_args"] |= {
        "backbone": "terramind_v1_tiny",
        "backbone_pretrained": False,
        "decoder_channels": [16, 8, 8, 8],
    }
    made["trainer"] = {"accelerator": "cpu", "devices": 1, "max_epochs": 1, "enable_progress_bar": False}
    return made
