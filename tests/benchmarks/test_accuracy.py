"""The table of methods: what it says of a learner without a row."""

from benchmarks import accuracy


def test_where_a_learner_was_measured_is_a_section_of_the_page():
    page = accuracy.README.read_text()
    for learner, title in accuracy.ELSEWHERE.items():
        assert f"\n## {title}\n" in page
        assert accuracy.elsewhere(learner) == f'other tasks: "{title}"'
    assert accuracy.elsewhere("maml") == "not measured"
    assert set(accuracy.ELSEWHERE) <= set(accuracy.PAPERS)
