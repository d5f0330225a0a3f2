"""The rules that keep the code simple, checked by reading it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("kfr", "cli", "hierarchies", "mappings", "tests", "bench", "tools")
FILES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))

# A module of kfr may import only modules on lines above its own. A new one belongs on
# the first line that lies below all it imports.
LAYERS = """
__main__ arrays builtin cycles data.augmentation data.mat_process data.shapes_outlines
data.shapes_pixels errors formats models.averaged models.cvt models.small
objectives.hyperbolic objectives.pairwise objectives.precision objectives.targets page
ranking resampling retrieval schedules
data.images data.pickles data.sampling data.shapes_drawing decisions.risk extras files
injection.infuse levels models.backbones models.plain models.residual parallel plugins
retrieval.exact retrieval.lists retrieval.scores serving signals spans
checkpoints config data data.augmentation_kfr data.mat data.views localization
localization.boxes logs objectives.companions optimizers parallel.norm parallel.wrapping
pauses retrieval.approximate serving.door serving.page serving.questions strings
columns contest data.classes data.constants data.listing data.shapes hierarchy
localization.regions localization.truth models.efficientnet_lite models.timm_nets
models.weights retrieval.shards serving.server settings
ancestry data.folder data.shards data.table edges export_rdf information lexicon listing
localization.annotations localization.sweeps loggers mapping mintree recipes
retrieval.collection serving.pictures sources weights
branches drawing localization.scores names rules suggestion transforms tree_distances
undirected weightings
distance localization.fits objectives.tree objects
export knowledge similarity
cache class_tree data.mixing embeddings embeddings.triples figures findings injection
matrix models
audit coarse contest_figure data.batches data.cifar defaults embeddings.files
embeddings.hyperbolic embeddings.nodes embeddings.regular embeddings.similarity
embeddings.texts embeddings.translation embeddings.walks injection.facts
injection.infused layouts localization.watching metrics models.heads
models.heads_attributes models.heads_maps objectives objectives.distances parallel.batch
retrieval.backward tree_tensors
audit_page comparison data.apy data.birds data.cars data.flowers data.imagenet data.inat
data.mini_imagenet data.mit67 data.tiny_imagenet data.wikiart decisions diagnosis
embeddings.prototypes injection.attributes intervals inventory localization.faithfulness
localization.gradients localization.rollout metrics.attributes metrics.confidence
metrics.hierarchical metrics.orders metrics.paths models.heads_tree objectives.alignment
objectives.attributes objectives.c2am objectives.center objectives.classification
objectives.hier objectives.hierarchical objectives.label_embedding objectives.levelled
objectives.metric objectives.metric_learning objectives.qtr objectives.semantic probes
retrieval.weighing stepping subject suspicion
decisions.classes decisions.climbing embeddings.quality evaluation injection.scales
localization.measuring metrics.alignment metrics.probing metrics.retrieval
objectives.frames objectives.geometry retrieval.conditions sections training
assembly fitting injection.ablation retrieval.lessons retrieval.queries retrieval.tags
saving sweeps
folders report_maps retrieval.baselines trial
recognition scoring
answering calibration deployment features finished image_values injection.grouping
localization.runs report_run retrieval.stage retrieval.student
injection.looking injection.zero_shot localization.pictures localization.writing
report_grid retrieval.embedding retrieval.evaluating runs
injection.verdict report_figures retrieval.answers retrieval.building
retrieval.distilling retrieval.judging serving.site
injection.report report_page retrieval.gallery serving.answers
retrieval.trial_gallery serving.searching
serving.routes
"""
LEVEL = {
    f"kfr.{name}": level
    for level, line in enumerate(LAYERS.split("\n"))
    for name in line.split()
}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(p): p for p in FILES if p.is_relative_to(ROOT / "kfr")}


def imported(path: Path) -> set[str]:
    """Return every module that a file names in an import, wherever that stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_named(name: str) -> str:
    """Return the module that holds `kfr.module.Name`."""
    return name if name in MODULES else name.rpartition(".")[0]


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"kfr"}))
def test_imports_point_up_the_list(module):
    assert module in LEVEL, f"put {module} on a line of LAYERS"
    ours = {n for n in imported(MODULES[module]) if n.partition(".")[0] == "kfr"}
    # `import kfr` gives the version; the package itself imports nothing.
    modules = {module_named(name) for name in ours} - {"kfr"}
    wrong = {name for name in modules if LEVEL.get(name, 99) >= LEVEL[module]}
    assert wrong == set()


def test_every_line_of_the_list_is_needed():
    assert LEVEL.keys() <= MODULES.keys()


def test_the_library_imports_relatively_nowhere():
    for module, path in MODULES.items():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        relative = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.level]
        assert not relative, module


APART = ("cli", "hierarchies", "mappings")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_parts_that_exist_only_when_installed_are_reached_by_name(path):
    apart = {*APART, *(f"kfr.{name}" for name in APART)}
    names = imported(path)
    prefixes = {".".join(n.split(".")[:k]) for n in names for k in (1, 2)}
    assert prefixes & apart == set()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_has_more_than_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


HELP = "sys.argv = ['kfr', *{}]; kfr.cli.main()"


@pytest.mark.parametrize(
    "code",
    [
        "import kfr; kfr.Hierarchy, kfr.Knowledge, kfr.LabelMapping, dir(kfr)",
        "import kfr.knowledge, kfr.cache, kfr.config, kfr.defaults, kfr.audit",
        "import kfr.embeddings.quality, kfr.embeddings.walks, kfr.embeddings.texts",
        "import kfr.cli; " + HELP.format("['--help']"),
        "import kfr.cli; " + HELP.format("['train', '--help']"),
        "import kfr.cli; " + HELP.format("['cache', 'list']"),
    ],
    ids=["kfr", "knowledge", "embeddings", "help", "train-help", "cache-list"],
)
def test_torch_is_not_loaded_before_it_is_needed(code):
    program = f"import sys\ntry: {code}\nfinally: print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"


def test_what_a_package_lacks_is_an_attribute_error():
    import kfr

    with pytest.raises(AttributeError, match="'kfr' has no attribute 'Hierarchie'"):
        kfr.Hierarchie  # noqa: B018
