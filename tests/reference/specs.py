"""What problems.json is generated from: about twenty small meta-learning problems."""

THREE = {"w": [2, 3, 5]}
FIRST = {"inputs": [[1, 2, 3]], "targets": [[0]]}
SECOND = {"inputs": [[4, 5, 6]], "targets": [[0]]}
LINEAR = dict(
    model="linear", loss="half_square", theta=THREE, support=FIRST, query=SECOND
)
ROWS = dict(
    model="linear",
    loss="half_square",
    theta={"w": [0.5, -1, 2]},
    support={"inputs": [[1, 0, 0], [0, 2, 0]], "targets": [[1], [-2]]},
    query={"inputs": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "targets": [[2], [1], [0]]},
)
LOGISTIC = dict(
    model="logits",
    loss="cross_entropy",
    theta={"w": [[0.3, -0.2], [0.5, 0.1]]},
    support={
        "inputs": [[1, 0.5], [-0.7, 1.2], [0.4, -1.1]],
        "targets": [[1, 0], [0, 1], [1, 0]],
    },
    query={"inputs": [[0.2, 0.9], [-1.3, 0.4]], "targets": [[0, 1], [1, 0]]},
)
NET = dict(
    model="tanh_net",
    loss="mse",
    theta={
        "body": [[0.6, -0.4, 0.9], [-0.3, 0.8, 0.2]],
        "head": [[0.7], [-1.1], [0.4]],
    },
    support={
        "inputs": [[1, 0.5], [-0.7, 1.2], [0.4, -1.1], [0.9, 0.3]],
        "targets": [[0.5], [-0.8], [0.3], [1.1]],
    },
    query={
        "inputs": [[0.2, 0.9], [-1.3, 0.4], [0.8, 0.8]],
        "targets": [[-0.4], [0.6], [0.1]],
    },
)


def sgd(rate):
    return {"name": "sgd", "learning_rate": rate}


ONE_ROW = "L(w) = (w.x)^2 / 2, grad L = (w.x) x, Hessian x x^T. "

SPECS = [
    dict(
        name="joint-training",
        derivation=ONE_ROW + "No inner step: grad L_q(theta) = 53 [4, 5, 6].",
        **LINEAR,
        method="maml",
        steps=0,
        inner=sgd(0.5),
        closed_form={"gradient": [212, 265, 318], "loss": ["2809/2"]},
    ),
    dict(
        name="maml-1-step",
        derivation=ONE_ROW + "w' = (I - 0.5 x x^T) w = [-9.5, -20, -29.5], "
        "gradient (I - 0.5 x x^T) (w'.q) q with q = [4, 5, 6].",
        **LINEAR,
        method="maml",
        steps=1,
        inner=sgd(0.5),
        closed_form={"gradient": [3780, 8505, 13230], "loss": ["99225/2"]},
    ),
    dict(
        name="maml-1-step-swapped",
        derivation="maml-1-step with support and query exchanged.",
        **{**LINEAR, "support": SECOND, "query": FIRST},
        method="maml",
        steps=1,
        inner=sgd(0.5),
    ),
    dict(
        name="fomaml-1-step",
        derivation=ONE_ROW + "grad L_q at w', without the factor I - 0.5 x x^T.",
        **LINEAR,
        method="maml",
        order="first",
        steps=1,
        inner=sgd(0.5),
        closed_form={"gradient": [-1260, -1575, -1890]},
    ),
    dict(
        name="fomaml-1-step-swapped",
        derivation="fomaml-1-step with support and query exchanged.",
        **{**LINEAR, "support": SECOND, "query": FIRST},
        method="maml",
        order="first",
        steps=1,
        inner=sgd(0.5),
        closed_form={"gradient": [-825, -1650, -2475]},
    ),
    dict(
        name="maml-3-steps-rows",
        derivation="Two support rows make a diagonal Hessian A = diag(1, 4, 0): phi_3 = "
        "c + (I - 0.2 A)^3 (theta - c) with c = [1, -1, .], gradient "
        "(I - 0.2 A)^3 (phi_3 - q) with q = [2, 1, 0].",
        **ROWS,
        method="maml",
        steps=3,
        inner=sgd(0.2),
        closed_form={"gradient": ["-0.643072", "-0.016", "2"]},
    ),
    dict(
        name="maml-5-steps",
        derivation=ONE_ROW + "Gradient (I - 0.01 x x^T)^5 (phi_5.q) q.",
        **LINEAR,
        method="maml",
        steps=5,
        inner=sgd(0.01),
    ),
    dict(
        name="fomaml-5-steps",
        derivation=ONE_ROW + "Gradient (phi_5.q) q.",
        **LINEAR,
        method="maml",
        order="first",
        steps=5,
        inner=sgd(0.01),
    ),
    dict(
        name="reptile-3-steps",
        derivation="theta - phi_3, phi_{k+1} = (I - 0.01 x x^T) phi_k: x.phi shrinks by "
        "1 - 0.14 a step, so theta - phi_3 = 23 (1 - 0.86^3)/14 x.",
        **LINEAR,
        method="reptile",
        steps=3,
        inner=sgd(0.01),
        closed_form={"gradient": ["0.597908", "1.195816", "1.793724"]},
    ),
    dict(
        name="meta-sgd",
        derivation=ONE_ROW + "w' = w - alpha o g, g = 23 [1, 2, 3], so "
        "dL_q/dalpha = -(w'.q) q o g = 315 [4, 5, 6] o 23 [1, 2, 3].",
        **LINEAR,
        method="maml",
        steps=1,
        inner={"name": "meta_sgd", "learning_rate": 0.5},
        closed_form={"gradient": [3780, 8505, 13230], "rule": [28980, 72450, 130410]},
    ),
    dict(
        name="lslr-3-steps",
        derivation="One learned rate a leaf and step on the tanh net; the derivative in "
        "each of the six rates.",
        **NET,
        method="maml",
        steps=3,
        inner={"name": "lslr", "learning_rate": 0.2},
    ),
    dict(
        name="multi-step-loss",
        derivation=ONE_ROW + "Mean over k = 1..3 of L_q(phi_k).",
        **LINEAR,
        method="maml",
        steps=3,
        inner=sgd(0.01),
        query_weights=["1/3", "1/3", "1/3"],
    ),
    dict(
        name="imaml-1",
        derivation=ONE_ROW + "w* = argmin L + |w - theta|^2/2 = theta - (23/15) x = "
        "[7, -1, 6]/15; gradient (I + x x^T)^-1 (w*.q) q.",
        **LINEAR,
        method="imaml",
        lam=1,
        steps=2000,
        inner=sgd(0.06),
        closed_form={"gradient": ["1652/225", "649/225", "-354/225"]},
    ),
    dict(
        name="imaml-2",
        derivation=ONE_ROW + "w* = theta - (23/16) x = [9, 2, 11]/16; gradient "
        "(I + x x^T/2)^-1 7 q.",
        **LINEAR,
        method="imaml",
        lam=2,
        steps=2000,
        inner=sgd(0.06),
        closed_form={"gradient": [14, 7, 0], "loss": ["49/2"]},
    ),
    dict(
        name="imaml-logistic",
        derivation="Not quadratic: the minimum by Newton's method, its derivative by "
        "differences of the minimum.",
        **LOGISTIC,
        method="imaml",
        lam=0.5,
        steps=400,
        inner=sgd(0.8),
    ),
    dict(
        name="maml-logistic",
        derivation="Softmax regression with cross-entropy, three steps.",
        **LOGISTIC,
        method="maml",
        steps=3,
        inner=sgd(0.4),
    ),
    dict(
        name="maml-tanh-net",
        derivation="Two layers with tanh, mean squared error, three steps.",
        **NET,
        method="maml",
        steps=3,
        inner=sgd(0.3),
    ),
    dict(
        name="fomaml-tanh-net",
        derivation="maml-tanh-net with the inner gradients held constant.",
        **NET,
        method="maml",
        order="first",
        steps=3,
        inner=sgd(0.3),
    ),
    dict(
        name="truncated-tanh-net",
        derivation="Five steps, of which the first three inner gradients are held "
        "constant.",
        **NET,
        method="maml",
        truncate=2,
        steps=5,
        inner=sgd(0.2),
    ),
    dict(
        name="anil-tanh-net",
        derivation="Only the head adapts; the body's gradient goes through the inner "
        "gradients of the head (mixed second derivatives).",
        **NET,
        method="maml",
        adapt_only="head",
        steps=3,
        inner=sgd(0.3),
    ),
    dict(
        name="momentum-tanh-net",
        derivation="m_{k+1} = g_k + 0.9 m_k, phi_{k+1} = phi_k - 0.1 m_{k+1}.",
        **NET,
        method="maml",
        steps=4,
        inner={"name": "momentum", "learning_rate": 0.1, "momentum": 0.9},
    ),
    dict(
        name="adam-tanh-net",
        derivation="Adam with beta = (0.9, 0.999) and bias correction: phi_{k+1} = phi_k "
        "- 0.05 m / (sqrt(v + eps_root) + eps).",
        **NET,
        method="maml",
        steps=4,
        inner={"name": "adam", "learning_rate": 0.05, "eps": 0.001, "eps_root": 0.0001},
    ),
    dict(
        name="weight-decay-tanh-net",
        derivation="phi_{k+1} = phi_k - 0.2 (g_k + 0.1 phi_k).",
        **NET,
        method="maml",
        steps=3,
        inner={"name": "weight_decay", "learning_rate": 0.2, "weight_decay": 0.1},
    ),
    dict(
        name="evolution-quadratic",
        derivation=ONE_ROW
        + "After one step the outer loss is quadratic, so antithetic "
        "pairs give (1/n sum e e^T) times the meta-gradient [3780, 8505, 13230] for any "
        "sigma; n = 2, e = [1, 1, 0] and [0, 1, -1].",
        **LINEAR,
        method="es",
        steps=1,
        inner=sgd(0.5),
        sigma=0.1,
        directions=[{"w": [1, 1, 0]}, {"w": [0, 1, -1]}],
        closed_form={"gradient": ["6142.5", 3780, "2362.5"]},
    ),
]
