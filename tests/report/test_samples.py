"""The samples that a page carries."""

import base64
import gzip
import json

from prerl.analysis.behaviour import Lexicon, load_lexicon
from prerl.analysis.study import Study
from prerl.report import samples
from prerl.report.samples import marks, pack, sample_data
from tests.study import LEXICON


def test_marks_are_the_words_of_the_thoughts_kind():
    lexicon = load_lexicon(LEXICON)
    text = "a 1 no . but try b 2 yes . wait , let me check : but 3 answer but"
    found = marks(text, lexicon)
    words = [(text[start:end], kind) for start, end, kind in zip(found[::3], found[1::3], found[2::3], strict=True)]
    assert words == [("but", 1), ("wait", 0), ("let me check", 0), ("but", 1)]
    lines = Lexicon(split=r"\n\n", thoughts={"reflection": "^wait", "transition": "^so"}, behaviours={})
    assert marks("wait\n\n  wait, wait\n\nx wait", lines) == [0, 4, 0, 8, 12, 0]


def test_a_page_that_would_be_too_large_holds_fewer_responses_then_fewer_problems(printed, methods):
    study, lexicon = Study(printed / "summary", methods), load_lexicon(LEXICON)
    full = sample_data(printed, study, lexicon)
    assert {entry["shown"] for entry in full["sets"]} == {4} and all(len(s["problems"]) == 20 for s in full["sets"])
    size = len(pack(full))
    for limit in (size - 1, size // 2, size // 6):
        data = sample_data(printed, study, lexicon, limit)
        assert len(pack(data)) <= limit
        for entry in data["sets"]:
            assert entry["total"] == 20 and (entry["shown"] == 1 or len(entry["problems"]) == 20)
        run = data["runs"]["countdown/grpo/0/"]
        assert run["solved"] == full["runs"]["countdown/grpo/0/"]["solved"][: len(run["solved"])]
    assert len(data["sets"][0]["problems"]) < 20
    assert json.loads(gzip.decompress(base64.b64decode(pack(data)))) == data


def test_a_page_that_would_be_too_large_reads_every_table_once(printed, methods, monkeypatch):
    read, paths = samples.read_table, []
    monkeypatch.setattr(samples, "read_table", lambda path, **options: paths.append(path) or read(path, **options))
    sample_data(printed, Study(printed / "summary", methods), load_lexicon(LEXICON), limit=1000)
    assert paths and len(paths) == len(set(paths))
