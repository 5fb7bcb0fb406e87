from datetime import UTC, date, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.client.schemas.schedules import CronSchedule

from flows import fill_missed_nights
from flows.batches import nights as nights_module
from flows.batches.nights import due, night_of, of_night
from flows.requests.batch_requests import ClipBatchRequest, ScanBatchRequest
from flows.requests.flow_requests import NightsRequest

NIGHT = date(2026, 11, 23)


def test_the_night_stands_in_the_name_and_the_places_and_nowhere_else():
    clips = ClipBatchRequest(
        name="nightly-{date}", prompt_file="in/{date}.csv", prompts="a {date} sign"
    )
    dated = of_night(clips, NIGHT)
    assert (dated.name, dated.prompt_file) == ("nightly-2026-11-23", "in/2026-11-23.csv")
    assert dated.prompts == "a {date} sign"
    scans = of_night(ScanBatchRequest(name="x", scans="in/{date}"), NIGHT)
    assert (scans.name, scans.scans) == ("x", "in/2026-11-23")


@pytest.mark.parametrize("name", ["{date", "{day}", "a{date}", "../{date}", "{date}-"])
def test_a_name_that_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="name"):
        ClipBatchRequest(name=name)


def test_nights_are_dates_in_the_schedules_own_time_zone_whatever_the_clock_change():
    now = datetime(2026, 10, 26, 12, tzinfo=UTC)  # clocks went back on the 25th
    dates = due("30 0 * * *", "Europe/Berlin", 3, now)
    assert dates == [date(2026, 10, 24), date(2026, 10, 25), date(2026, 10, 26)]
    early = datetime(2026, 10, 26, 22, tzinfo=UTC)  # 23:00 there: the 27th is not due yet
    assert due("30 0 * * *", "Europe/Berlin", 1, early) == [date(2026, 10, 26)]


def fake_client(monkeypatch, module, **facts):
    class Client:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read_deployment(self, _id):
            return SimpleNamespace(**facts)

        read_deployment_by_name = read_deployment

    monkeypatch.setattr(f"{module}.get_client", lambda **_: Client())


def schedule(zone="Europe/Berlin", **request):
    cron = CronSchedule(cron="0 2 * * *", timezone=zone)
    return SimpleNamespace(schedule=cron, parameters={"request": request})


def test_a_late_run_is_of_the_night_it_was_due(monkeypatch):
    fake_client(monkeypatch, "prefect.client.orchestration", schedules=[schedule()])
    when = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    run = SimpleNamespace(expected_start_time=when, deployment_id=uuid4())
    assert night_of(run) == NIGHT
    run.deployment_id = None
    assert night_of(run) == date(2026, 11, 22)


@pytest.fixture
def asked_runs(monkeypatch, places):
    """Runs that were asked for, with the nightly schedule of a server that knows nothing else."""
    request = {"name": "nightly-{date}", "prompt_file": "{date}.txt"}
    facts = {"schedules": [schedule(**request)], "parameters": {"project": "studio"}}
    fake_client(monkeypatch, "flows.fill_missed_nights", **facts)
    asked = []

    def run_deployment(name, **words):
        asked.append((name, words))
        return SimpleNamespace(id=uuid4(), state=SimpleNamespace(name="Scheduled"))

    monkeypatch.setattr(fill_missed_nights, "run_deployment", run_deployment)
    monkeypatch.setattr(fill_missed_nights, "server_now", lambda: datetime.now(UTC))
    return asked


def nights(**fields):
    request = NightsRequest(**fields)
    return [
        row
        for found in fill_missed_nights._schedules(request.flow)
        for row in fill_missed_nights._nights(request, found)
    ]


def test_missed_nights_are_listed_and_started_under_a_key_of_their_own(asked_runs, places):
    before = nights(nights=3)
    assert [row["state"] for row in before] == ["missed"] * 3
    assert asked_runs == []
    folder = places / "outputs" / "studio" / "batches" / before[1]["batch"]
    folder.mkdir(parents=True)
    (folder / "batch.json").write_text('{"format_version": 1, "state": "finished"}')
    rows = nights(nights=3, action="start")
    assert [row["state"] for row in rows][1] == "finished"
    assert "missed" in rows[0]["state"]
    assert [words["parameters"]["request"]["prompt_file"] for _, words in asked_runs] == [
        f"{before[0]['night']}.txt",
        f"{before[2]['night']}.txt",
    ]
    keys = [words["idempotency_key"] for _, words in asked_runs]
    assert keys[0].endswith(f"studio/nightly-{before[0]['night']}")
    nights(nights=3, action="start")
    assert [words["idempotency_key"] for _, words in asked_runs[2:]] == keys


def test_nights_that_cannot_be_told_apart_are_refused(asked_runs, monkeypatch):
    facts = {"schedules": [schedule(name="nightly")], "parameters": {}}
    fake_client(monkeypatch, "flows.fill_missed_nights", **facts)
    with pytest.raises(ValueError, match=r"name=nightly: .* set it to nightly-\{date\}"):
        nights(nights=3)
    assert nights_module.DATE == "{date}"
