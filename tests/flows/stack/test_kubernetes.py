"""The chart of ``infra/helm`` is rendered by Helm itself and held against Kubernetes' schema."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator
from prefect.utilities.templating import apply_values

CHART = Path(__file__).parents[3] / "infra" / "helm" / "lamina"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
TEMPLATE = json.loads((CHART / "files" / "gpu-job-template.json").read_text())
UNSET = {"labels": {}, "annotations": {}, "name": "run", "command": "prefect flow-run execute"}
VARIANTS = {
    "as it is": [],
    "workers that stay": ["gpu.kind=workers", "gpu.perRun=4", "gpu.workers=2"],
    "no GPU": ["gpu.kind=workers", "gpu.perRun=0"],
    "pods without a GPU": ["gpu.perRun=0", "storage.create=false", "networkPolicy=false"],
    "several GPUs": ["gpu.perShard=4", r"gpu.nodeSelector.nvidia\.com/gpu\.product=H200"],
    "outside": [
        "ingress.enabled=true", "ingress.className=nginx", "ingress.tlsSecret=lamina-tls",
        "ingress.annotations.a=b", "proxy.service.type=LoadBalancer",
        "image.pullSecrets={registry}", "secrets.environment=aws",
        "environment.LAMINA_STORE=s3://results/lamina", "storage.className=nfs",
    ],
}  # fmt: skip


def helm(*words):
    """Run Helm, or skip where there is none."""
    tool = shutil.which("helm")
    if tool is None:
        pytest.skip("no helm on this machine")
    return subprocess.run([tool, *words], capture_output=True, text=True, check=False)


def rendered(*values, namespace="lamina"):
    words = [word for value in values for word in ("--set", value)]
    done = helm("template", "lamina", str(CHART), "--namespace", namespace, *words)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def named(manifests, kind, name):
    (found,) = [
        m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, f"lamina-{name}")
    ]
    return found


def pods(manifests):
    """Every pod that the manifests make, by the name of what makes it."""
    made = [m for m in manifests if "template" in m.get("spec", {})]
    return {m["metadata"]["name"]: m["spec"]["template"]["spec"] for m in made}


def containers(pod):
    return [*pod.get("initContainers", []), *pod["containers"]]


def environment(container):
    return {entry["name"]: entry["value"] for entry in container["env"]}


def template_of(manifests):
    data = named(manifests, "ConfigMap", "job-template")["data"]
    return json.loads(data["gpu-job-template.json"])


def defaults(manifests):
    properties = template_of(manifests)["variables"]["properties"]
    return {name: said.get("default") for name, said in properties.items()}


def filled_in(template, **variables):
    """A template as Prefect fills it in: defaults, then the values; unset keys disappear."""
    properties = template["variables"]["properties"]
    defaults = {k: p["default"] for k, p in properties.items() if p.get("default") is not None}
    values = {**defaults, **UNSET, **variables}
    return apply_values(template["job_configuration"], values, remove_notset=True)["job_manifest"]


def valid(manifest):
    """Hold it against the schema of Kubernetes, where that is installed."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest, version, strict=True)


def as_pod_runs_it(job):
    """Prefect's worker turns command and environment into lists; do as it does."""
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["args"] = shlex.split(container["args"])
    container["env"] = [{"name": k, "value": v} for k, v in container["env"].items()]
    return job


def test_helm_finds_nothing_to_complain_about():
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_helm_renders_is_what_kubernetes_accepts(variant):
    manifests = rendered(*VARIANTS[variant])
    for manifest in manifests:
        valid(manifest)
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(names) == len(set(names)) >= 14


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_parts_find_each_other(variant):
    manifests = rendered(*VARIANTS[variant])
    labels = [
        m["spec"]["template"]["metadata"]["labels"]
        for m in manifests
        if m["kind"] in ("Deployment", "StatefulSet")
    ]
    services = [m for m in manifests if m["kind"] == "Service"]
    for service in services:
        wanted = service["spec"]["selector"].items()
        assert sum(wanted <= each.items() for each in labels) == 1, service["metadata"]["name"]
    told = [m["spec"].get("type", "ClusterIP") for m in services]
    assert sum(kind != "ClusterIP" for kind in told) == ("LoadBalancer" in str(VARIANTS[variant]))
    known = {m["metadata"]["name"] for m in manifests if m["kind"] == "ConfigMap"}
    claims, secrets = set(), set()
    for pod in pods(manifests).values():
        for volume in pod["volumes"]:
            known_map = "configMap" not in volume or volume["configMap"]["name"] in known
            assert known_map, volume
            claims.add(volume.get("persistentVolumeClaim", {}).get("claimName"))
            secrets.add(volume.get("secret", {}).get("secretName"))
    assert claims == {None, "lamina-data"}
    assert secrets == {None, "lamina-gallery-users"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_part_is_root_or_reaches_the_cluster_except_the_launcher(variant):
    run = as_pod_runs_it(filled_in(TEMPLATE))["spec"]["template"]["spec"]
    for name, pod in {**pods(rendered(*VARIANTS[variant])), "run": run}.items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.get("automountServiceAccountToken", True) == (name == "lamina-launcher")
        for container in containers(pod):
            security = container["securityContext"]
            assert not security["allowPrivilegeEscalation"]
            assert security["capabilities"]["drop"] == ["ALL"]
            assert {"requests", "limits"} <= container["resources"].keys(), name
            assert not any(
                "password" in value.lower() for value in environment(container).values()
            )


def test_a_run_without_numbers_of_its_own_gets_those_of_the_values():
    manifests = rendered(*VARIANTS["outside"], "gpu.perRun=2", namespace="imaging")
    job = as_pod_runs_it(filled_in(template_of(manifests)))
    assert job["metadata"]["namespace"] == "imaging"
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 2, "memory": "16Gi"}
    assert container["envFrom"] == [{"secretRef": {"name": "aws"}}]
    assert environment(container)["LAMINA_STORE"] == "s3://results/lamina"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    valid(job)


def test_a_run_goes_to_the_nodes_of_the_values_unless_it_names_others():
    template = template_of(rendered(*VARIANTS["several GPUs"], "gpu.nodeSelector.zone=b"))

    def nodes(**variables):
        return filled_in(template, **variables)["spec"]["template"]["spec"]["nodeSelector"]

    assert nodes() == {"nvidia.com/gpu.product": "H200", "zone": "b"}
    named = nodes(gpu_product="L40S", node_pool="night")
    assert named == {"nvidia.com/gpu.product": "L40S", "lamina/pool": "night", "zone": "b"}


def test_a_pool_without_gpus_says_so_to_coordinators():
    from flows.batches.needs import shard_gpus
    from flows.settings.settings import read_settings

    none, two = rendered("gpu.perRun=0"), rendered("gpu.perRun=2")
    assert (defaults(none)["gpus"], defaults(none)["image"]) == (None, "lamina:cpu")
    assert (defaults(two)["gpus"], defaults(two)["image"]) == (2, "lamina:gpu")
    assert shard_gpus(read_settings({}), template_of(none)) == 0
    assert shard_gpus(read_settings({}), template_of(two)) == 2


def test_a_shard_with_several_gpus_is_asked_for_by_the_coordinator():
    from flows.batches.needs import shard_gpus
    from flows.settings.settings import read_settings

    manifests = rendered("gpu.perShard=4")
    (coordinator,) = named(manifests, "Deployment", "coordinator")["spec"]["template"]["spec"][
        "containers"
    ]
    variables = environment(coordinator)
    assert variables["LAMINA_RAY"] == "4"
    assert variables["PREFECT_API_URL"] == "http://lamina-server.lamina.svc:4200/api"
    assert shard_gpus(read_settings(variables), template_of(manifests)) == 4


def test_a_template_that_changes_starts_the_coordinator_anew():
    marks = set()
    for value in ("gpu.perRun=1", "gpu.perRun=2", "image.gpu=lamina:other"):
        made = named(rendered(value), "Deployment", "coordinator")["spec"]["template"]
        marks.add(made["metadata"]["annotations"]["lamina/job-template"])
    assert len(marks) == 3


def test_commands_of_the_pods_are_commands_of_ours():
    from flows.commands.command_line import app

    seen = set()
    for variant in VARIANTS.values():
        for pod in pods(rendered(*variant)).values():
            for container in containers(pod):
                words = container.get("args", [])
                if words[:1] == ["lamina"]:
                    app.parse_args(words[1:], print_error=False, exit_on_error=False)
                    seen.add(tuple(words[1:4]))
    assert len(seen) == 3


@pytest.mark.parametrize(
    "value",
    ["gpu.kind=slurm", "gpu.perRun=-1", "image.cpu=lamina:latest", "image.cpu=lamina",
     "storage.size=much", "server.url=lamina", "gpus=2"],
)  # fmt: skip
def test_values_that_cannot_be_meant_are_refused(value):
    done = helm("template", "lamina", str(CHART), "--set", value)
    assert done.returncode != 0
    assert value.partition("=")[0].rpartition(".")[2] in done.stderr


def test_the_values_are_those_that_the_schema_knows():
    Draft7Validator.check_schema(SCHEMA)
    Draft7Validator(SCHEMA).validate(VALUES)


def test_the_proxy_of_the_chart_is_the_one_of_compose():
    """The same rules: who is let in, what is forwarded and what is not."""
    compose = (CHART.parents[1] / "Caddyfile").read_text()
    chart = (CHART / "templates" / "proxy.yaml").read_text()
    for line in ("basic_auth {", "header_up X-Lamina-User {http.auth.user.id}",
                 "header_up -Authorization", "handle /gallery* {", "handle /v1/videos* {",
                 "{$PROXY_USER} {$PROXY_PASSWORD_HASH}"):  # fmt: skip
        assert compose.count(line) == chart.count(line) > 0, line
    for kind, doors in {"operators": 3, "viewers": 1}.items():
        assert compose.count(f"import {{$PEOPLE:/etc/people}}/*.{kind}") == doors
        assert chart.count(f"import /etc/people/*.{kind}") == doors


def test_people_come_from_a_secret_if_one_is_named():
    for named_secret, mounts in (("", 0), ("crew", 1)):
        pod = pods(rendered(f"secrets.people={named_secret}"))["lamina-proxy"]
        (proxy,) = pod["containers"]
        found = [m for m in proxy["volumeMounts"] if m["mountPath"] == "/etc/people"]
        secrets = [v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v]
        assert len(found) == mounts
        assert secrets == [named_secret] * mounts


def test_a_job_without_variables_asks_for_no_gpu():
    job = as_pod_runs_it(filled_in(TEMPLATE))
    pod = job["spec"]["template"]["spec"]
    assert "nvidia.com/gpu" not in json.dumps(pod["containers"][0]["resources"])
    assert "activeDeadlineSeconds" not in pod
    assert not pod.get("nodeSelector")
    assert "{{" not in json.dumps(job)
    valid(job)


def test_a_job_with_variables_gets_what_was_computed_for_it():
    from flows.machines.resources import Resources, job_variables

    wanted = Resources(gpus=2, gpu_memory_gb=40, cpus=4, memory_gb=16, disk_gb=5, minutes=10)
    variables = job_variables(wanted, "kubernetes")
    assert variables.keys() <= TEMPLATE["variables"]["properties"].keys()
    job = as_pod_runs_it(
        filled_in(TEMPLATE, **variables, gpu_product="NVIDIA-H200", shm_size="16Gi")
    )
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H200"}
    assert pod["activeDeadlineSeconds"] == 2400
    (memory,) = [v["emptyDir"] for v in pod["volumes"] if v["name"] == "dshm"]
    assert memory == {"medium": "Memory", "sizeLimit": "16Gi"}
    valid(job)
