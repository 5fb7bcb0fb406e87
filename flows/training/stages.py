"""The stages that both training flows share."""

from pathlib import Path

from core.progress import counted
from core.training.request import TrainingRequest
from flows.jobs.stages import stage
from flows.pages.artifacts import progress_bar, show_facts
from flows.settings.settings import read_settings
from flows.storage.files import FileRef


@stage
def prepare(request: TrainingRequest) -> str:
    """Refuse a name that is taken before any time is spent; the model's folder."""
    from flows.training.training import model_folder

    return str(model_folder(request, read_settings()))


@stage
def train(request: TrainingRequest) -> FileRef:
    """Train on a GPU slot or the CPU; the published weights."""
    from core.models.checkpoints import WEIGHTS
    from flows.machines.devices import choose_device
    from flows.machines.watchdog import TRAINING, holding
    from flows.training.page import TrainingPage
    from flows.training.training import run_folder, train_model

    settings = read_settings()
    veiled = settings.private and request.private
    page = TrainingPage(run_folder(request, settings), pictures=not veiled)
    bar, device = progress_bar("training-progress"), choose_device(settings.device)
    with bar as shown, holding(device, shown, TRAINING, urgent=False) as meter:
        folder = train_model(request, settings, meter, page)
    page.end()
    return FileRef.of(folder / WEIGHTS)


@stage
def verify(weights: FileRef) -> dict[str, str]:
    """Load the published model as any user would; what it says of itself."""
    from core.models.checkpoints import load_model
    from flows.training.training import use_in_words

    folder = weights.open().parent
    _, record = load_model(folder)
    facts = {name: str(record[name]) for name in ("name", "kind", "objective")}
    for name, told in record["training"]["stages"].items():
        words = [f"{counted(told['steps'], 'step')} in {told['minutes']} min"]
        facts[name] = "; ".join([*words, *use_in_words(told.get("use_of_device", {}))])
    return facts


@stage
def report(weights: FileRef, facts: dict[str, str]) -> None:
    """Say in the page of the run what came of it."""
    show_facts("Model trained", {**facts, "folder": Path(weights.path).parent})
