"""Call a public implementation with the conformance vectors; `conformance.py` runs this.

    python adapters.py disentanglement_lib VECTORS.json VALUES.json

It runs in the environment of that implementation, from Python 3.7 on, and needs NumPy and the
implementation alone. Each function below calls a public function on the arrays of a vector, in
their order, with the settings of the published studies. Writes a list with one entry for each
vector: the fields, `{"error": [type, message]}`, or null if the implementation has no such score.
"""

import base64
import importlib.util
import json
import sys
import types
import zlib
from importlib.machinery import ModuleSpec

import numpy as np


def decode(array):
    content = zlib.decompress(base64.b64decode(array["data"]))
    return np.frombuffer(content, array["dtype"]).reshape(array["shape"]).copy()


class Rows:
    """Hands out rows of codes and factors in their order, where an implementation draws them."""

    def __init__(self, codes, factors, test=None):
        test_codes, test_factors = test or (codes[:0], factors[:0])
        self.codes = np.concatenate([codes, test_codes])
        self.factors = np.concatenate([factors, test_factors])
        self.sizes = {"num_train": len(codes)}
        if test:
            self.sizes["num_test"] = len(test_codes)
        self.start = 0
        np.random.seed(0)  # noqa: NPY002 -- of solvers, which take no other seed

    def _next(self, n):
        rows = slice(self.start, self.start + n)
        self.start += n
        assert self.start <= len(self.codes)
        return self.codes[rows], self.factors[rows]

    def sample(self, n, random_state):  # disentanglement_lib
        codes, factors = self._next(n)
        return factors, codes

    def dataset_sample_batch_with_factors(self, n, mode):  # disent
        return self._next(n)


class Grid:
    """Factors of a grid, whose observations are the codes."""

    def __init__(self, sizes, codes):
        self.factor_sizes, self.num_factors, self.codes = tuple(sizes), len(sizes), codes

    def sample_factors(self, n, random_state):
        columns = [random_state.randint(size, size=n) for size in self.factor_sizes]
        return np.stack(columns, axis=1)

    def sample_observations_from_factors(self, factors, random_state):
        return self.codes[np.ravel_multi_index(tuple(factors.T), self.factor_sizes)]

    def sample_observations(self, n, random_state):
        return self.sample_observations_from_factors(
            self.sample_factors(n, random_state), random_state
        )


def identity(observations):
    return observations


def disentanglement_lib():
    import gin.tf
    from disentanglement_lib.evaluation.metrics import (
        beta_vae,
        dci,
        factor_vae,
        irs,
        mig,
        modularity_explicitness,
        sap_score,
        unsupervised_metrics,
        utils,
    )

    gin.parse_config(  # as in its configurations of the published studies
        [
            "discretizer.discretizer_fn = @histogram_discretizer",
            "discretizer.num_bins = 20",
            "prune_dims.threshold = 0.05",
        ]
    )

    def arguments(data):
        return data, identity, np.random.RandomState(0)

    def mig_of(codes, factors):
        rows = Rows(codes, factors)
        return {"score": mig.compute_mig(*arguments(rows), **rows.sizes)["discrete_mig"]}

    def modularity_of(codes, factors):
        # Not with the public function for both scores, which fails where explicitness does.
        bins = utils.make_discretizer(codes.T)
        information = utils.discrete_mutual_info(bins, factors.T)
        return {"score": modularity_explicitness.modularity(information)}

    def explicitness_of(codes, factors, test):
        rows = Rows(codes, factors, test)
        result = modularity_explicitness.compute_modularity_explicitness(
            *arguments(rows), **rows.sizes
        )
        return {part: result["explicitness_score_" + part] for part in ("test", "train")}

    def irs_of(codes, factors):
        rows = Rows(codes, factors)
        return {"score": irs.compute_irs(*arguments(rows), batch_size=16, **rows.sizes)["IRS"]}

    def unsupervised_of(codes):
        rows = Rows(codes, np.zeros((len(codes), 1), int))
        result = unsupervised_metrics.unsupervised_metrics(*arguments(rows), **rows.sizes)
        names = ("total_correlation", "wasserstein_correlation", "wasserstein_correlation_norm")
        fields = {"gaussian_" + name: np.real(result["gaussian_" + name]) for name in names}
        fields["mutual_information"] = result["mutual_info_score"]
        return fields

    def sap_of(codes, factors, test=None, continuous=False):
        test = test or (codes, factors)  # not used where factors are continuous
        rows = Rows(codes, factors, test)
        result = sap_score.compute_sap(
            *arguments(rows), continuous_factors=continuous, **rows.sizes
        )
        return {"score": result["SAP_score"]}

    def dci_of(codes, factors, test):
        rows = Rows(codes, factors, test)
        return dci.compute_dci(*arguments(rows), **rows.sizes)

    sizes = {"num_train": 10000, "num_eval": 5000}

    def beta_vae_of(grid, batch_size=64):
        return beta_vae.compute_beta_vae_sklearn(*arguments(grid), batch_size=batch_size, **sizes)

    def factor_vae_of(grid, batch_size=64):
        return factor_vae.compute_factor_vae(
            *arguments(grid), batch_size=batch_size, num_variance_estimate=10000, **sizes
        )

    return {
        "mig": mig_of,
        "modularity": modularity_of,
        "explicitness": explicitness_of,
        "irs": irs_of,
        "unsupervised_scores": unsupervised_of,
        "sap": sap_of,
        "sap_continuous": sap_of,
        "dci": dci_of,
        "beta_vae_score": beta_vae_of,
        "factor_vae_score": factor_vae_of,
    }


class StandIn(types.ModuleType):
    """Stands in for torch, torchvision and lightning where torch is not installed.

    The metrics below compute with NumPy and scikit-learn alone. Of torch they use the class of data
    sets, the function that stacks observations and `is_tensor`; all else is imported, not called.
    """

    __path__ = []
    packages = ("lightning", "torch", "torchvision")

    class Anything:
        def __init__(self, *arguments, **keywords):
            pass

        def __call__(self, function):  # as a decorator
            return function

    class Dataset:
        pass

    default_collate = staticmethod(np.stack)
    is_tensor = staticmethod(lambda array: False)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (self.Anything,), {})

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        package = name.split(".")[0]
        return ModuleSpec(name, cls, is_package=True) if package in cls.packages else None

    @classmethod
    def create_module(cls, spec):
        return cls(spec.name)

    @staticmethod
    def exec_module(module):
        pass


def disent():
    if importlib.util.find_spec("torch") is None:
        sys.meta_path.append(StandIn)
    from disent import metrics
    from disent.dataset import DisentDataset
    from disent.dataset.data import GroundTruthData

    def plain(result, prefix):
        return {name[len(prefix) + 1 :]: value for name, value in result.items()}

    def mig_of(codes, factors):
        rows = Rows(codes, factors)
        return {"score": metrics.metric_mig(rows, identity, **rows.sizes)["mig.discrete_score"]}

    def unsupervised_of(codes):
        rows = Rows(codes, np.zeros((len(codes), 1), int))
        result = plain(metrics.metric_unsupervised(rows, identity, **rows.sizes), "unsup")
        return {
            "gaussian_total_correlation": result["gauss_total_corr"],
            "gaussian_wasserstein_correlation": np.real(result["gauss_wasser_corr"]),
            "gaussian_wasserstein_correlation_norm": np.real(result["gauss_wasser_corr_norm"]),
            "mutual_information": result["mi_score"],
        }

    def sap_of(codes, factors, test=None, continuous=False):
        test = test or (codes, factors)  # not used where factors are continuous
        rows = Rows(codes, factors, test)
        result = metrics.metric_sap(rows, identity, continuous_factors=continuous, **rows.sizes)
        return {"score": result["sap.score"]}

    def dci_of(codes, factors, test):
        rows = Rows(codes, factors, test)
        return plain(metrics.metric_dci(rows, identity, **rows.sizes), "dci")

    def factor_vae_of(grid, batch_size=64):
        class Data(GroundTruthData):
            factor_sizes = grid.factor_sizes
            factor_names = tuple("factor_" + str(i) for i in range(grid.num_factors))
            img_shape = (1, grid.codes.shape[1], 1)

            def _get_observation(self, index):
                return grid.codes[index]

        np.random.seed(0)  # noqa: NPY002
        result = metrics.metric_factor_vae(
            DisentDataset(Data()),
            identity,
            batch_size=batch_size,
            num_variance_estimate=min(10000, len(grid.codes)),  # drawn without replacement
        )
        return plain(result, "factor_vae")

    return {
        "mig": mig_of,
        "unsupervised_scores": unsupervised_of,
        "sap": sap_of,
        "sap_continuous": sap_of,
        "dci": dci_of,
        "factor_vae_score": factor_vae_of,
    }


def latte():
    import latte as package
    from latte.functional.disentanglement.modularity import modularity
    from latte.functional.disentanglement.mutual_info import mig
    from latte.functional.disentanglement.sap import sap

    package.seed(0)
    return {
        "mig": lambda codes, factors: {"score": mig(codes, factors, discrete=True).mean()},
        "modularity": lambda codes, factors: {
            "score": modularity(codes, factors, discrete=True).mean()
        },
        # It has no test samples.
        "sap": lambda codes, factors, test: {"score": sap(codes, factors, discrete=True).mean()},
        "sap_continuous": lambda codes, factors, continuous: {"score": sap(codes, factors).mean()},
    }


def values_of(functions, content):
    entries = []
    for vector in content["vectors"]:
        function, case = functions.get(vector["score"]), content["cases"][vector["case"]]
        if function is None:
            entries.append(None)
            continue
        if "factor_sizes" in case:
            arguments = [Grid(case["factor_sizes"], decode(case["codes"]))]
        else:
            codes, test_codes = decode(case["codes"]), decode(case["test_codes"])
            factors, test_factors = (
                decode(case[name]).astype(np.int64) for name in ("factors", "test_factors")
            )
            given = {"codes": codes, "factors": factors, "test": (test_codes, test_factors)}
            arguments = [given[name] for name in content["scores"][vector["score"]]["arguments"]]
        try:
            result = function(*arguments, **vector["settings"])
            entries.append({name: float(result[name]) for name in vector["expected"]})
        except Exception as error:
            lines = str(error).splitlines() or [""]
            entries.append({"error": [type(error).__name__, lines[0]]})
    return entries


def main():
    name, vectors, values = sys.argv[1:]
    functions = {f.__name__: f for f in (disentanglement_lib, disent, latte)}[name]()
    with open(vectors, encoding="utf-8") as file:
        content = json.load(file)
    with open(values, "w", encoding="utf-8") as file:
        json.dump(values_of(functions, content), file)


if __name__ == "__main__":
    main()
