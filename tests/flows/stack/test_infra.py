"""What ``infra/`` ships is read by the tools that it is for, as far as they are here."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from flows.settings.settings import read_settings

INFRA = Path(__file__).parents[3] / "infra"


def test_the_compose_file_hangs_together():
    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())
    services = compose["services"]
    published = [name for name, service in services.items() if "ports" in service]
    assert published == ["proxy"], "everything else trusts whoever reaches it"
    for name, service in services.items():
        assert ":" in service["image"], name
        assert not service["image"].endswith(":latest"), name
        assert set(service.get("depends_on", [])) <= services.keys(), name
        assert set(service["networks"]) <= compose["networks"].keys(), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            known = source in compose["volumes"] or (INFRA / source).exists()
            assert known, f"{name}: {volume}"
        for needed, how in dict.fromkeys(service.get("depends_on", []), None).items():
            condition = (how or {}).get("condition")
            assert condition is None or "healthcheck" in services[needed]
    assert compose["networks"]["inside"]["internal"] == "${LAMINA_INSIDE_ONLY:-true}"


def test_videos_are_offered_by_the_gallery_to_operators():
    """In compose and chart by the proxy's passwords; a unit reads the same file as workers."""
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    told, of_workers = (services[name]["environment"] for name in ("gallery", "coordinator"))
    for name in ("PREFECT_API_URL", "LAMINA_INPUTS", "LAMINA_PROMPT_POLICY", "LAMINA_QUOTA_GB"):
        assert told[name] == of_workers[name]
    chart = INFRA / "helm" / "lamina" / "templates"
    for file in (INFRA / "Caddyfile", chart / "proxy.yaml"):
        before, _, behind = file.read_text().partition("handle /v1/videos* {")
        assert "header_up -X-Lamina-Operator" in before
        door = re.split(r"\n\s*handle ", behind)[0]
        assert "/*.operators" in door
        assert "viewers" not in door
        assert re.search(r'"?gallery"?.*:4210 \{', door)
        assert "header_up X-Lamina-Operator {http.auth.user.id}" in door
        assert "header_up -Authorization" in door
    assert '"lamina.env"' in (chart / "gallery.yaml").read_text()  # names the server
    files = [
        re.findall(r"^EnvironmentFile=(.*)$", unit.read_text(), re.MULTILINE)
        for unit in (INFRA / "systemd").glob("lamina-[gw]*.service")
    ]
    assert files == [["/etc/lamina/env"]] * 2


def compose_command():
    """The words that run compose here, in either of its generations."""
    for words in (["docker-compose"], ["docker", "compose"]):
        if shutil.which(words[0]):
            asked = subprocess.run([*words, "version"], capture_output=True, check=False)
            if asked.returncode == 0:
                return words
    pytest.skip("no compose on this machine")


def test_the_compose_file_is_one_that_compose_takes():
    command = compose_command()
    example = dict(
        line.split("=", 1)
        for line in (INFRA / "env.example").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    example["PROXY_PASSWORD_HASH"] = "made by caddy"
    done = subprocess.run(
        [*command, "-f", str(INFRA / "compose.yaml"), "config", "--quiet"],
        env=os.environ | example, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_volumes_do_not_take_their_names_from_the_project():
    volumes = yaml.safe_load((INFRA / "compose.yaml").read_text())["volumes"]
    assert "postgres" in volumes
    for volume, made in volumes.items():
        assert made["name"] == f"${{LAMINA_VOLUMES:-lamina}}_{volume}"


def test_commands_of_containers_and_units_are_commands_of_ours():
    from flows.commands.command_line import app

    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())
    commands = [s["command"] for s in compose["services"].values() if "command" in s]
    for path in (INFRA / "systemd").glob("*.service"):
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.read(path)
        assert unit["Service"]["Restart"] == "always"
        commands.append(unit["Service"]["ExecStart"].rpartition("/")[2].split())
    ours = [words[1:] for words in commands if words[0] == "lamina"]
    assert len(ours) == 6
    for words in ours:
        given = [word.replace("%i", "gpu") for word in words]
        app.parse_args(given, print_error=False, exit_on_error=False)


def test_settings_of_the_server_are_known_to_prefect():
    from prefect.settings import get_current_settings

    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())
    known = set(get_current_settings().to_environment_variables(include_secrets=True))
    known |= {"PREFECT_REDIS_MESSAGING_URL", "PREFECT_API_URL"}
    named = {n for s in compose["services"].values() for n in s.get("environment", {})}
    assert {name for name in named if name.startswith("PREFECT_")} <= known


def test_the_image_is_made_of_what_is_here():
    lines = (INFRA / "Dockerfile").read_text().splitlines()
    stages = [line.split()[-1] for line in lines if line.startswith("FROM")]
    assert stages[-2:] == ["cpu", "gpu"]
    assert sum(line.startswith("USER 10001") for line in lines) == 2
    assert sum("-c constraints.txt" in line for line in lines) == 2
    sources = [w for line in lines if line.startswith("COPY") for w in line.split()[1:-1]]
    ignored = (INFRA.parent / ".dockerignore").read_text()
    for source in sources:
        assert (INFRA.parent / source).exists(), source
        assert (
            f"!{source.partition('/')[0] if source != 'infra/prefect.yaml' else source}" in ignored
        )


def test_the_automation_is_one_that_prefect_takes():
    from prefect.events.schemas.automations import AutomationCore

    (told,) = yaml.safe_load((INFRA / "automations" / "tell-when-done.yaml").read_text())[
        "automations"
    ]
    told["actions"][0]["block_document_id"] = str(uuid4())
    assert AutomationCore.model_validate(told).actions[0].type == "call-webhook"


def named(file):
    """The variables of ours that an env file sets, or shows in a comment."""
    return set(re.findall(r"^(?:# )?(LAMINA_[A-Z0-9_]+)=", file.read_text(), re.MULTILINE))


def test_every_setting_is_shown_to_the_operator_and_no_other():
    compose = (INFRA / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(LAMINA_[A-Z0-9_]+)", compose))
    given_by_us = {"LAMINA_SLOT"}  # by a worker, to the runs that it starts
    of_lamina_up = {"LAMINA_WEBHOOKS", "LAMINA_WEBHOOK_SECRET"}  # read by the server alone
    settings = read_settings({}).environment().keys() - given_by_us
    assert named(INFRA / "env.example") == settings | asked | of_lamina_up


def test_containers_are_told_every_setting_that_a_worker_reads():
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    image = set(re.findall(r"\b(LAMINA_[A-Z0-9_]+)=", (INFRA / "Dockerfile").read_text()))
    needless = {"LAMINA_SLOT", "LAMINA_PORT", "LAMINA_DEVICE"}  # ours; of `lamina up`; auto
    headers = {f"LAMINA_GALLERY_PROXY_{who}_HEADER" for who in ("USER", "OPERATOR")}
    of_the_gallery = {"LAMINA_GALLERY_TOKENS", *headers}
    settings = read_settings({}).environment().keys() - needless
    told = image | services["sampler"]["environment"].keys()
    assert settings - of_the_gallery <= told
    assert of_the_gallery <= services["gallery"]["environment"].keys()
    for name in ("coordinator", "sampler-cpu", "gallery"):
        shared = {"LAMINA_STORE", "LAMINA_MEDICAL_PAGES", "LAMINA_QUOTA_GB"}
        assert shared <= services[name]["environment"].keys()
    assert services["sampler"]["environment"]["LAMINA_MEDICAL_PAGES"].endswith(":-private}")
