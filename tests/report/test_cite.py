"""`kdjax cite`: every loss that is from a paper has it, and it is the paper that the loss's docstring names."""

import re
from pathlib import Path

import pytest

from kdjax import losses
from kdjax.config import recipes
from kdjax.find import names
from kdjax.report import cite

ROOT = Path(__file__).parent.parent.parent
KNOWN = cite.references()
RECIPES = recipes.RECIPES | recipes.VARIANTS | recipes.TEXT


@pytest.mark.parametrize("name", [name for name in names(losses) if name not in cite.NO_PAPER])
def test_a_loss_has_the_paper_of_its_docstring(name):
    said = getattr(losses, name).__doc__
    papers = [KNOWN["entries"][key] for key in KNOWN["losses"][name]]
    stated = set(re.findall(r"arXiv:(\d{4}\.\d{4,5})", said))
    assert stated <= {paper.get("eprint") for paper in papers}
    found = re.search(r"([A-Z]\w+)(?: and \w+)?(?: et al\.)? ((?:19|20)\d\d)", said)
    assert found, said
    assert found[1] == papers[0]["author"].split(",")[0]
    assert int(found[2]) == papers[0]["year"]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_one(name):
    found = cite.terms(RECIPES[name])
    assert set(found) <= {*KNOWN["losses"], *cite.NO_PAPER}
    assert cite.keys(name, found) or set(found) <= set(cite.NO_PAPER)


def test_nothing_is_left_over_and_no_key_leads_nowhere():
    used = {key for group in ("losses", "methods") for keys in KNOWN[group].values() for key in keys}
    assert used == KNOWN["entries"].keys()
    assert set(KNOWN["losses"]) <= set(names(losses))
    assert set(KNOWN["methods"]) <= set(RECIPES)


def test_the_command(kdjax, tmp_path):
    status, out, err = kdjax("cite", ROOT / "results/digits", "mutual")
    assert (status, err) == (0, "")
    assert out.count("@") == out.count("archivePrefix")  # all of these are on arXiv
    assert "@misc{hinton2015distilling,\n  author = {Hinton, Geoffrey and" in out
    assert "zhang2018mutual" in out
    entries = re.findall(r"@\w+\{(\w+),", out)
    assert len(entries) == len(set(entries))
    assert out.count("{") == out.count("}")
    status, _, err = kdjax("cite", "mutul")
    assert (status, "did you mean 'mutual'" in err) == (2, True)
    assert "my_losses.mine is no loss of kdjax" in cite.bibtex({"own": ["cross_entropy", "my_losses.mine"]})
