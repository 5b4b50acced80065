"""Estimators for tables: scikit-learn's checks, and tables as people have them."""

import copy

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SkRidge
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from jaxmeta.estimators import (
    FewShotClassifier,
    TabularClassifier,
    TabularRegressor,
    linear,
    sharpness,
)
from jaxmeta.estimators.columns import Columns
from jaxmeta.estimators.members import members
from jaxmeta.estimators.views import View
from jaxmeta.recipes import packed
from jaxmeta.runs import RunError

pd = pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
Y = np.array(["no", "yes"])[(RNG.normal(size=60) > 0).astype(int)]
X = RNG.normal(size=(60, 4)) + 1.5 * (Y == "yes")[:, None]


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(FewShotClassifier(), id="few"),
        pytest.param(
            TabularClassifier(members=1, temperature=1.0, linear=0.5), id="table"
        ),
        pytest.param(
            TabularRegressor(members=1, temperature=1.0, linear=1.0), id="values"
        ),
        pytest.param(TabularClassifier(), id="usual", marks=pytest.mark.slow),
        pytest.param(TabularRegressor(), id="usual values", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_scikit_learn_finds_nothing_wrong(made):
    found = check_estimator(made, on_fail=None, on_skip=None)
    wrong = [
        (r["check_name"], r["exception"]) for r in found if r["status"] == "failed"
    ]
    assert not wrong
    assert len(found) > 40


def test_it_works_at_once():
    model = TabularClassifier().fit(X[:40], Y[:40])
    rng = np.random.default_rng(7)  # many: of twenty, one more or less decides
    y = np.array(["no", "yes"])[(rng.normal(size=400) > 0).astype(int)]
    x = rng.normal(size=(400, 4)) + 1.5 * (y == "yes")[:, None]
    assert list(model.classes_) == ["no", "yes"]
    assert model.predict_proba(x).shape == (400, 2)
    assert model.score(x, y) >= 0.88  # who knows how they are drawn has 0.93


def test_shuffled_labels_are_not_believed():
    """Out of the prior or in it: what cannot be known is answered with doubt."""
    rng = np.random.default_rng(1)
    model = TabularClassifier(members=2).fit(X, rng.permutation(Y))
    sure = model.predict_proba(rng.normal(size=(40, 4))).max(1)
    assert sure.mean() < 0.75
    known = TabularClassifier(members=2).fit(X, Y).predict_proba(X).max(1)
    assert known.mean() > sure.mean()


def test_constant_and_duplicated_columns_change_little():
    plain = TabularClassifier(members=2).fit(X[:40], Y[:40])
    want = plain.score(X[40:], Y[40:])
    more = np.column_stack([X, X[:, :2], np.full(60, 7.0), np.full(60, np.nan)])
    model = TabularClassifier(members=2).fit(more[:40], Y[:40])
    p = model.predict_proba(more[40:])
    assert (
        np.isfinite(p).all()
        and (model.classes_[p.argmax(1)] == Y[40:]).mean() >= want - 0.15
    )


@pytest.mark.parametrize("unit", [1e300, 1e-300])
def test_units_of_columns_mean_nothing(unit):
    """Squares of such numbers are none."""
    units = np.where(np.arange(X.shape[1]) % 2, unit, 1.0)
    one, other = (TabularClassifier(members=2).fit(x, Y) for x in (X, X * units))
    np.testing.assert_allclose(
        one.predict_proba(X), other.predict_proba(X * units), atol=1e-4
    )


def test_one_class_is_an_error_in_words():
    with pytest.raises(ValueError, match="y: got one class, 'a', wants two"):
        TabularClassifier().fit(X, np.full(60, "a"))


def test_a_frame_of_everything():
    """Text, booleans, missing cells, categories that `fit` did not see."""
    colour = np.where(Y == "yes", "red", "blue").astype(object)
    colour[::9] = None
    frame = pd.DataFrame(
        {
            "size": np.where(np.arange(60) % 7, X[:, 0], np.nan),
            "colour": colour,
            "old": RNG.normal(size=60) > 0,
        }
    )
    model = TabularClassifier().fit(frame[:40], Y[:40])
    assert model._columns.categorical.tolist() == [False, True, True]
    assert model.score(frame[40:], Y[40:]) > 0.7
    new = frame[40:].assign(colour="green")
    assert np.isfinite(model.predict_proba(new)).all()


def test_more_than_the_network_knows_is_shared_out():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 23, 300)
    labels[:23] = np.arange(23)
    most = {"rows": 100, "columns": 6, "classes": 10}
    found = members(rng, labels, 300, 20, 23, count=2, most=most)
    assert len(found) >= 18  # as many as it takes to tell 23 classes apart
    assert set(np.concatenate([m.columns for m in found])) == set(range(20))
    codes = {tuple(m.groups[c] for m in found) for c in range(23)}
    assert len(codes) == 23
    for m in found:
        assert len(m.rows) == 100 and len(set(m.columns)) == len(m.columns) <= 6
        assert set(labels[m.rows]) == set(range(23)) and m.groups.max() == 9


def test_one_column_is_enough():
    """What is said of two cells is how often each was right: one column alone said 0.43."""
    rng = np.random.default_rng(0)
    x = np.repeat([[0.0], [1.0]], (100, 188), 0)
    y = np.concatenate([rng.permutation(100) < 50, rng.permutation(188) < 45])
    model = TabularClassifier(members=2, random_state=1, temperature=1.0, linear=0)
    model.fit(x, y)
    p = model.predict_proba([[0.0], [1.0]])[:, 1]
    np.testing.assert_allclose(p, [0.5, 0.24], atol=0.08)


def test_of_more_columns_principal_components_are_shown():
    """Beside scikit-learn's; categories stay columns, a missing cell is the mean."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 9)) @ rng.normal(size=(9, 9))
    x[:, 4] = rng.integers(0, 3, 50)
    kinds = np.arange(9) == 4
    most = {"rows": 50, "columns": 4, "classes": 2}
    found = members(rng, None, 50, 9, 1, count=2, most=most)
    assert [m.components for m in found] == [True, False, True]
    whole = found[0]._replace(columns=np.array([4, 1]))
    view = View(x, kinds, whole, 4)
    assert view.categorical.tolist() == [False] * 3 + [True]
    z = StandardScaler().fit_transform(x[:, ~kinds])
    want = PCA(3).fit_transform(z)
    np.testing.assert_allclose(abs(view(x)[:, :3]), abs(want), atol=1e-9)
    assert (view(x)[:, 3] == x[:, 4]).all()
    gap = np.where(np.arange(9) == 0, np.nan, x[:1])
    filled = np.where(np.isnan(gap), x.mean(0), gap)
    np.testing.assert_allclose(view(gap), view(filled), atol=1e-9)
    flat = np.concatenate([x[:, :1], np.ones((50, 8))], 1)
    assert np.isfinite(View(flat, kinds, whole, 4)(flat)).all()


def test_what_was_read_is_kept_and_is_not_copied():
    model = TabularClassifier(members=2, temperature=1.0, linear=0).fit(X[:40], Y[:40])
    p = model.predict_proba(X[40:])
    readers = [shown.ask for shown in model._members]
    assert all(reader._fast is not None for reader in readers)
    other = copy.deepcopy(model)
    assert all(shown.ask._fast is None for shown in other._members)
    np.testing.assert_array_equal(other.predict_proba(X[40:]), p)
    np.testing.assert_array_equal(model.predict_proba(X[40:]), p)


def test_many_classes_have_probabilities():
    x = np.repeat(np.arange(12.0), 6)[:, None] + 0.01 * RNG.normal(size=(72, 1))
    y = np.repeat(np.arange(12), 6)
    p = (
        TabularClassifier(members=1, temperature=1.0, linear=0)
        .fit(x, y)
        .predict_proba(x)
    )
    np.testing.assert_allclose(p.sum(1), 1)
    assert (p.argmax(1) == y).mean() > 3 / 12


def test_weights_that_were_changed_are_refused(monkeypatch, tmp_path):
    monkeypatch.setitem(packed.HASHES, "classes", "0" * 64)
    with pytest.raises(RunError, match="not the published file"):
        packed.trained.__wrapped__("classes")
    with pytest.raises(RunError, match="no network at"):
        packed.trained.__wrapped__(str(tmp_path / "none"))


def test_the_temperature_is_the_best_for_rows_that_were_held_out():
    """By a grid; a network that is too timid is made as sure as it is right."""
    rng = np.random.default_rng(0)
    truth = rng.dirichlet([0.3] * 3, 400)
    labels = np.array([rng.choice(3, p=p) for p in truth])
    timid = sharpness.tempered(truth, 4.0)
    rows = np.arange(400)

    def log_p(t):
        return np.log(sharpness.tempered(timid, t)[rows, labels])

    found, cost = sharpness.best_temperature(log_p)
    grid = np.exp(np.linspace(-2.5, 2.5, 501))

    def cost_at(t):
        return -log_p(t).sum() + 0.5 * np.log(t) ** 2

    costs = [cost_at(t) for t in grid]
    assert abs(np.log(found / grid[np.argmin(costs)])) < 0.02
    assert 0.2 < found < 0.32  # 1/4 undoes it
    assert cost == pytest.approx(min(costs), rel=1e-4)
    assert sharpness.best_temperature(log_p, 2.0) == pytest.approx((2.0, cost_at(2.0)))
    nothing, _ = sharpness.best_temperature(lambda t: np.zeros(0))
    assert nothing == pytest.approx(1, rel=1e-3)


def test_a_table_says_how_sure_to_be():
    model = TabularClassifier(members=1, linear=0).fit(X[:40], Y[:40])
    plain = TabularClassifier(members=1, temperature=1.0, linear=0).fit(X[:40], Y[:40])
    p, q = model.predict_proba(X[40:]), plain.predict_proba(X[40:])
    np.testing.assert_allclose(p, sharpness.tempered(q, model.temperature_))
    assert model.temperature_ != 1 and plain.temperature_ == 1
    with pytest.raises(ValueError, match="temperature: got 0, wants"):
        TabularClassifier(temperature=0).fit(X, Y)


@pytest.mark.parametrize("made", [TabularClassifier, TabularRegressor])
@pytest.mark.parametrize("share", [-0.1, 1.5, np.nan, "all", True])
def test_a_share_is_from_0_to_1(made, share):
    with pytest.raises(ValueError, match=r"linear: got .*, wants a number from 0 to 1"):
        made(linear=share).fit(X, (Y == "yes").astype(float))


def drawn(rng, n, slope):
    """Rows of four numbers, 5 and a category; how probable a class is follows a line."""
    x = np.column_stack([rng.normal(size=(n, 3)), rng.integers(0, 4, n)])
    x[rng.random((n, 4)) < 0.05] = np.nan
    score = np.nan_to_num(x[:, 0]) + 2 * (x[:, 3] == 2)
    return x, score, rng.random(n) < 1 / (1 + np.exp(-slope * (score - 0.5)))


def test_a_logistic_regression_stands_beside_the_network():
    """Its own probabilities are scikit-learn's; the blend is the geometric mean."""
    x, _, y = drawn(np.random.default_rng(0), 160, 3.0)
    args = {"members": 1, "categorical_features": [3], "temperature": 1.0}
    alone, line, both = (
        TabularClassifier(**args, linear=share).fit(x[:80], y[:80])
        for share in (0.0, 1.0, 0.3)
    )
    p, q, found = (m.predict_proba(x[80:]) for m in (alone, line, both))
    want = p**0.7 * q**0.3
    np.testing.assert_allclose(found, want / want.sum(1, keepdims=True), rtol=1e-6)
    known, new = filled(x[:80], x[:80]), filled(x[80:], x[:80])
    strength = both._logistic._fitted[0].C
    theirs = LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(known, y[:80])
    np.testing.assert_allclose(q, theirs.predict_proba(new), atol=2e-3)
    assert strength in linear.STRENGTHS


def filled(x, known):
    """As a linear model is shown a table: by hand."""
    mean, std = np.nanmean(known[:, :3], 0), np.nanstd(known[:, :3], 0)
    kinds = (x[:, 3:] == np.arange(4)).astype(float)
    return np.concatenate([np.nan_to_num((x[:, :3] - mean) / std), kinds], 1)


def test_what_a_table_is_like_decides_how_much_the_line_counts():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, 4))
    y = x @ [1, -1, 1, -1] + 0.3 * rng.normal(size=120) > 0
    assert TabularClassifier(members=1).fit(x, y).linear_ > 0.4
    ring = (x[:, :2] ** 2).sum(1) > 1.4  # no line tells them apart
    model = TabularClassifier(members=1).fit(x, ring)
    assert model.linear_ == 0 and model._logistic is None
    line = 3 * x[:, 0] + x[:, 1]
    more = TabularRegressor(members=1).fit(x[:90, :2], line[:90])
    assert more.linear_ == 1 and more.score(x[90:, :2], line[90:]) > 0.99


@pytest.mark.parametrize("better", [0.0, 1.0])
def test_the_share_with_the_more_probable_rows_is_taken(monkeypatch, better):
    def held_out(self, z, share, thirds):
        return lambda t: np.full(len(z), -abs(share - better) - np.log(t / 2) ** 2)

    monkeypatch.setattr(TabularRegressor, "_held_out", held_out)
    model = TabularRegressor(members=1).fit(X[:40], X[:40, 0])
    assert model.linear_ == better and model.temperature_ == pytest.approx(2, rel=0.05)
    given = TabularRegressor(members=1, linear=0.5).fit(X[:40], X[:40, 0])
    assert given.linear_ == 0.5


def test_a_column_of_names_does_not_fill_the_memory():
    rng = np.random.default_rng(5)
    names = np.concatenate([np.arange(1000), np.repeat([7, 3, 900], 5)])
    x = np.column_stack([rng.normal(size=1015), names])
    design = linear.Design(x, np.array([False, True]))
    z = design(np.array([[np.nan, 7.0], [1.0, np.nan], [0.0, 1001.0]]))
    assert z.shape == (3, 1 + linear.LEVELS)
    assert z[0, 0] == 0 and z[0, 1:].sum() == 1 and not z[1:, 1:].any()
    assert {3.0, 7.0, 900.0} <= set(design._levels[0])


@pytest.mark.filterwarnings("error")
def test_one_cell_that_is_far_out_decides_nothing_for_the_others():
    """Of a row with a wrong label, or in a query; and no warning comes of it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = x[:, 0] > 0
    x[0], y[0] = (-1e4, 0), True
    model = TabularClassifier(members=2, temperature=1.0).fit(x[:40], y[:40])
    assert model.score(x[40:], y[40:]) > 0.8
    line = linear.ridge(x[1:40], 2 * x[1:40, 0], np.zeros(2, bool))
    far = line(np.array([[1e308, 0], [-1e308, 0], [x[1:40, 0].max(), 0]]))
    assert far[0] < 3.5 * far[2] and far[1] > -3.5 * abs(far[2]) - 20
    sentinel = np.finfo(float).max
    design = linear.Design(np.array([[0.0, -1e-300], [1.0, 1e-300]]), np.zeros(2, bool))
    assert np.isfinite(design(np.array([[sentinel, 1e10], [-sentinel, 0]]))).all()


def test_a_target_that_no_square_holds_leaves_the_others_apart():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    y = 3 * x[:, 0]
    found = []
    for far in (1e12, 1e300):
        with_one = np.where(np.arange(40) == 0, far, y)
        model = TabularRegressor(members=1, temperature=1.0, linear=1.0)
        found.append(model.fit(x, with_one).predict(x))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    assert np.corrcoef(found[1][1:], y[1:])[0, 1] > 0.9


def test_of_a_long_table_a_part_is_asked_about(monkeypatch):
    model = TabularClassifier()
    model._rng = np.random.default_rng(0)
    monkeypatch.setattr("jaxmeta.estimators.tabular.ASKED", 50)
    thirds = list(model._thirds(np.arange(300) % 2))
    assert [len(held) for _, held in thirds] == [50] * 3
    assert all(not set(kept) & set(held) for kept, held in thirds)
    assert len(np.unique(np.concatenate([held for _, held in thirds]))) == 150
    assert all(len(kept) == 200 for kept, _ in thirds)


@pytest.mark.parametrize("columns", [3, 60])
def test_ridge_regression_leaves_rows_out_without_leaving_them_out(columns):
    """Beside scikit-learn's, fitted to all rows but one; also with more columns than rows."""
    rng = np.random.default_rng(2)
    x = np.column_stack([rng.normal(size=(40, columns)), rng.integers(0, 3, 40)])
    kinds = np.arange(columns + 1) == columns
    y = x[:, 0] + (x[:, -1] == 1) + 0.5 * rng.normal(size=40)
    z, costs = linear.Design(x, kinds)(x), {}
    for penalty in linear.PENALTIES[:-1]:
        left = []
        for i in range(40):
            rest = np.arange(40) != i
            model = SkRidge(alpha=penalty, solver="svd").fit(z[rest], y[rest])
            left.append(y[i] - model.predict(z[i : i + 1])[0])
        costs[penalty] = np.square(left).sum(), np.array(left), model
    best = min(costs, key=lambda penalty: costs[penalty][0])
    found = linear.ridge(x, y, kinds)
    np.testing.assert_allclose(found.left, costs[best][1], atol=1e-7)
    whole = SkRidge(alpha=best, solver="svd").fit(z, y)
    np.testing.assert_allclose(found(x), whole.predict(z), atol=1e-7)


def test_ridge_regression_of_noise_is_its_mean():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    kinds = np.zeros(4, bool)
    alone = linear.ridge(np.ones((30, 4)), y, kinds)
    np.testing.assert_allclose(alone(x), y.mean())
    np.testing.assert_allclose(alone.left, (y - y.mean()) * 30 / 29)
    assert np.isfinite(linear.ridge(x[:1], y[:1], kinds).left).all()
    assert linear.ridge(x, y, kinds)(x).std() < y.std()


def test_what_the_line_leaves_is_what_the_network_is_shown():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(50, 2))
    y = 5 * x[:, 0] + np.sin(4 * x[:, 1]) + 100
    model = TabularRegressor(members=1, temperature=1.0, linear=1.0).fit(x, y)
    z = (y - y.mean()) / y.std()
    line = linear.ridge(x, z, np.zeros(2, bool))
    np.testing.assert_allclose(model._targets, line.left, atol=1e-9)
    half = TabularRegressor(members=1, temperature=1.0, linear=0.5).fit(x, y)
    np.testing.assert_allclose(half._targets, z - 0.5 * (z - line.left), atol=1e-9)
    means = model.predict(x) - y.std() * line(x)
    low, high = (
        model.predict_quantiles(x, [0.01, 0.99]) - y.std() * line(x)[:, None]
    ).T
    assert (low < means).all() and (means < high).all()
    assert abs(means - y.mean()).max() < 5  # the line is not in it twice


def test_real_values_and_how_sure_they_are():
    """Beside a line fitted to a line; 90 % intervals hold most, and follow the units."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 3))
    line, noise = 1000 + 50 * (x[:, 0] - x[:, 1]), rng.normal(size=90)
    y = line + 20 * noise
    model = TabularRegressor(members=2).fit(x[:60], y[:60])
    assert model.score(x[60:], y[60:]) > 0.5
    low, middle, high = model.predict_quantiles(x[60:], (0.05, 0.5, 0.95)).T
    assert (low < middle).all() and (middle < high).all()
    assert 0.7 < ((low < y[60:]) & (y[60:] < high)).mean()
    # by itself it is too timid of a clean line
    alone, clean = (
        TabularRegressor(members=2, linear=0).fit(x[:60], (line + n * noise)[:60])
        for n in (20, 1)
    )
    assert clean.temperature_ < min(1, alone.temperature_)
    small = TabularRegressor(members=2).fit(x[:60], y[:60] / 1e6)
    np.testing.assert_allclose(1e6 * small.predict(x[60:]), model.predict(x[60:]), 1e-3)
    with pytest.raises(ValueError, match="levels: got"):
        model.predict_quantiles(x, [1.5])
    with pytest.raises(ValueError, match="temperature: got -1, wants"):
        TabularRegressor(temperature=-1).fit(x, y)


def test_one_value_that_is_far_out_leaves_the_others_apart():
    """And scales that no float32 holds are none of anybody's business."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = 2 * x[:, 0] + x[:, 1]
    model = TabularRegressor(members=2, temperature=1.0, linear=1.0)
    want = model.fit(x[:40], y[:40]).predict(x[40:])
    with_one = np.where(np.arange(40) == 0, 1e6, y[:40])
    found = model.fit(x[:40], with_one).predict(x[40:])
    assert np.corrcoef(found, y[40:])[0, 1] > 0.7 and abs(found).max() < 20
    for unit in (1e300, 1e-300):
        far = model.fit(x[:40], y[:40] * unit).predict(x[40:])
        np.testing.assert_allclose(far / unit, want, 1e-4)
    assert (model.fit(x[:40], np.full(40, 5.0)).predict(x[40:]) == 5).all()


def test_a_bad_option_and_columns_of_another_order_are_told_in_words():
    for name, value in (("max_columns", 0), ("max_rows", -5), ("members", 2.5)):
        with pytest.raises(ValueError, match=f"{name}: got {value}, wants an integer"):
            TabularClassifier(**{name: value}).fit(X, Y)
    frame = pd.DataFrame(X, columns=[3, 1, 2, 0])
    model = TabularClassifier(members=1, temperature=1.0, linear=0).fit(frame, Y)
    with pytest.raises(ValueError, match="X: got columns"):
        model.predict(frame[[0, 1, 2, 3]])
    worn = pd.DataFrame({"s": pd.array(["x", "y", None] * 20, dtype="string")})
    assert Columns().fit(worn).transform(worn)[:3, 0].tolist()[:2] == [0, 1]
    days = pd.DataFrame({"day": pd.to_datetime(["2026-11-29", None])})
    told = Columns().fit(days)
    for unit in ("s", "ns"):
        other = days.assign(day=days["day"].dt.as_unit(unit))
        np.testing.assert_array_equal(told.transform(other), told.transform(days))
    assert np.isnan(told.transform(days)).tolist() == [[False], [True]]
