from dataclasses import replace
from pathlib import Path

import pytest

from core.refusal import Refusal
from flows.settings.environment import backends, child_environment, sign_in
from flows.settings.folders import make_places
from flows.settings.settings import read_settings


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


def test_a_password_goes_to_the_server_and_to_those_who_ask_it(monkeypatch):
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "of:another-server")
    assert (sign_in(), backends()) == ({}, {})
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "ann:secret")
    assert sign_in() == {"PREFECT_API_AUTH_STRING": "ann:secret"}
    assert backends() == {"PREFECT_SERVER_API_AUTH_STRING": "ann:secret"}
    assert "ann:secret" not in repr(read_settings())


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "lamina.example.org"])
def test_a_stack_listens_to_nobody_else(monkeypatch, host):
    monkeypatch.setenv("PREFECT_SERVER_API_HOST", host)
    with pytest.raises(ValueError, match=f"_HOST={host}: lamina up serves .*;"):
        backends()
    monkeypatch.setenv("PREFECT_SERVER_API_HOST", "127.0.0.1")
    assert backends() == {}


def test_an_hour_of_a_device_may_have_a_price():
    assert read_settings({}).gpu_hour_price == 0
    for text in ("2.5", "0", "12345.67", "2500000"):
        settings = read_settings({"LAMINA_GPU_HOUR_PRICE": text})
        assert settings.gpu_hour_price == float(text)
        assert read_settings(settings.environment()).gpu_hour_price == float(text)
    with pytest.raises(ValueError, match=r"LAMINA_GPU_HOUR_PRICE=2 EUR: .*; write such as 2.5"):
        read_settings({"LAMINA_GPU_HOUR_PRICE": "2 EUR"})


def test_quotas_are_for_all_projects_and_for_single_ones():
    settings = read_settings({"LAMINA_QUOTA_GB": "200, ward-3=5000000 studio=0.000001"})
    assert settings.quotas == {"": 200.0, "ward-3": 5e6, "studio": 1e-6}
    assert read_settings(settings.environment()).quotas == settings.quotas
    assert read_settings({}).quotas == {}


@pytest.mark.parametrize("text", ["lots", "-1", "1,2", "a=1,a=2", "ward=", "1e9", "nan"])
def test_a_quota_that_is_no_number_is_refused(text):
    with pytest.raises(
        ValueError, match=r"LAMINA_QUOTA_GB=.*: it is the most gigabytes .*; write"
    ):
        read_settings({"LAMINA_QUOTA_GB": text})


@pytest.mark.parametrize(
    ("variables", "private"),
    [
        ({}, False),
        ({"LAMINA_GALLERY_TOKENS": "users.json"}, True),
        ({"LAMINA_GALLERY_PROXY_USER_HEADER": "X-User"}, True),
        ({"LAMINA_GALLERY_TOKENS": "users.json", "LAMINA_MEDICAL_PAGES": "full"}, False),
        ({"LAMINA_MEDICAL_PAGES": "private"}, True),
    ],
)
def test_medical_pages_are_private_where_the_gallery_has_users(variables, private):
    assert read_settings(variables).private is private
    assert read_settings(read_settings(variables).environment()).private is private


def test_medical_pages_are_one_of_two():
    with pytest.raises(ValueError, match=r"LAMINA_MEDICAL_PAGES=none: .*; set one"):
        read_settings({"LAMINA_MEDICAL_PAGES": "none"})


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


@pytest.mark.parametrize("variable", ["LAMINA_HOME", "LAMINA_OUTPUTS", "LAMINA_MODELS"])
@pytest.mark.parametrize(
    "name", ["file", "file/below", "loop", "n" * 300, "null\0byte", "~no-such-person/x"]
)
def test_what_can_be_no_folder_is_refused_at_every_door(tmp_path, monkeypatch, variable, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Refusal, match=f"{variable}=.*: files are kept in a folder; name one"):
        read_settings({variable: name})


@pytest.mark.parametrize("home", ["/proc/x", "/sys/x/y", "/sys/fs/cgroup/x", "/proc/self/x"])
def test_a_place_that_shows_the_kernel_is_refused_at_every_door(home):
    if not Path(home).parents[-2].is_mount():
        pytest.skip(f"{home} is on no file system of the kernel here")
    with pytest.raises(Refusal, match=f"LAMINA_HOME={home}: .* keeps no files: files are kept in"):
        read_settings({"LAMINA_HOME": home})


def test_a_place_that_cannot_be_made_is_refused(tmp_path):
    settings = replace(read_settings({"LAMINA_HOME": str(tmp_path)}), outputs=Path("/proc/x"))
    with pytest.raises(Refusal, match=r"/proc/x.* cannot be written to .*; set LAMINA_HOME"):
        make_places(settings)


def test_a_folder_that_stands_but_takes_no_file_is_refused(tmp_path):
    settings = replace(read_settings({"LAMINA_HOME": str(tmp_path)}), outputs=Path("/proc/self"))
    with pytest.raises(Refusal, match=r"/proc/.* cannot be written to .*; set LAMINA_HOME"):
        make_places(settings)
