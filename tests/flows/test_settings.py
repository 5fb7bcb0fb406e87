from pathlib import Path

import pytest

from flows._settings import backends, child_environment, read_settings


def test_places_default_to_the_folder_one_stands_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = read_settings({})
    assert settings.home == tmp_path / ".lamina"
    assert settings.outputs == tmp_path / ".lamina" / "outputs"
    assert settings.models == (tmp_path / ".lamina" / "models",)
    assert (settings.device, settings.port) == ("auto", 4200)


def test_a_child_in_another_folder_gets_the_same_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = read_settings({"LAMINA_HOME": "state", "LAMINA_MODELS": "a:b", "LAMINA_PORT": "4300"})
    monkeypatch.chdir("/")
    assert read_settings(ours.environment()) == ours
    assert ours.models == (tmp_path / "a", tmp_path / "b")


def test_a_child_knows_no_foreign_server(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "https://elsewhere.example/api")
    monkeypatch.setenv("PREFECT_PROFILE", "work")
    environment = child_environment(read_settings({}), {"PREFECT_HOME": "here"})
    prefect = {name: value for name, value in environment.items() if name.startswith("PREFECT_")}
    assert prefect == {"PREFECT_HOME": "here"}


def test_an_operators_own_database_is_for_the_server_alone(monkeypatch):
    address = "postgresql+asyncpg://prefect@db/prefect"
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", address)
    monkeypatch.setenv("PREFECT_API_URL", "https://elsewhere.example/api")
    assert backends() == {"PREFECT_SERVER_DATABASE_CONNECTION_URL": address}
    assert address not in child_environment(read_settings({}), {}).values()


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_ports_outside_the_range_are_refused(port):
    with pytest.raises(ValueError, match=rf"LAMINA_PORT={port}: .*; try 4200"):
        read_settings({"LAMINA_PORT": port})


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU"])
def test_unknown_devices_are_refused(device):
    with pytest.raises(ValueError, match=f"LAMINA_DEVICE={device}: .*; set one of these"):
        read_settings({"LAMINA_DEVICE": device})


def test_an_empty_variable_is_as_good_as_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    empty = dict.fromkeys(("LAMINA_HOME", "LAMINA_MODELS", "LAMINA_DEVICE", "LAMINA_PORT"), "")
    assert read_settings(empty) == read_settings({})


def test_home_is_expanded():
    assert read_settings({"LAMINA_HOME": "~/x"}).home == Path.home().resolve() / "x"
