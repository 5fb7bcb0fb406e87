"""The command that audits a dataset: its page, its words, its exit code."""

from flows.commands.command_line import main
from medical.audit import auditing


def test_the_command_ends_with_1_where_somebody_is_shown(places, monkeypatch, capsys):
    anat = places / "made" / "sub-001" / "anat"
    anat.mkdir(parents=True)
    (anat / "sub-001_T1w.nii.gz").touch()
    facts = {"passed": False, "reasons": ["sub-002 shows sub-05"], "found": [], "heads": 2,
             "people": 45, "evidence": "maps", "controls": {}, "nearest": [], "attacks": {},
             "false_alarms": {"people": 45, "taken_for_others": 0}, "contributors": None,
             "membership": None, "cannot_say": [], "protocol": ""}  # fmt: skip
    monkeypatch.setattr(auditing, "audit", lambda *_: auditing.Audit(facts, ()))
    monkeypatch.chdir(places)
    assert main(["mri", "audit", "made"]) == 1
    assert (places / "made-audit.html").is_file()
    assert "sub-002 shows sub-05" in capsys.readouterr().err
