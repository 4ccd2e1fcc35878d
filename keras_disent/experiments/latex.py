"""Names and numbers as LaTeX writes them. Nothing here imports Keras."""

from __future__ import annotations

from typing import Any

MODELS = {
    "vae": "VAE",
    "beta_vae": r"$\beta$-VAE",
    "annealed_vae": "AnnealedVAE",
    "factor_vae": "FactorVAE",
    "beta_tcvae": r"$\beta$-TCVAE",
    "dip_vae": "DIP-VAE",
    "info_vae": "InfoVAE",
    "hfs_vae": "HFS-VAE",
    "ada_gvae": "Ada-GVAE",
    "ada_mlvae": "Ada-ML-VAE",
    "gvae": "GVAE",
    "mlvae": "ML-VAE",
    "autoencoder": "autoencoder",
    "qlae": "QLAE",
    "tripod": "Tripod",
    "info_gan": "InfoGAN",
    "causal_vae": "CausalVAE",
}
SCORES = {
    "active_units": "active units",
    "beta_vae_score": "BetaVAE score",
    "dci": "DCI disentanglement",
    "dci_es": "DCI-ES",
    "dcimig": "DCIMIG",
    "factor_vae_score": "FactorVAE score",
    "fairness": "unfairness",
    "infomec": "InfoMEC",
    "irs": "IRS",
    "jemmig": "JEMMIG",
    "kl": "KL",
    "mcc": "MCC",
    "mig": "MIG",
    "mig_sup": "MIG-sup",
    "rmig": "RMIG",
    "sap": "SAP",
    "udr": "UDR",
    "unsupervised": "total correlation",
    "z_max": "Z-max",
}
GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "lambda", "sigma", "tau")
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{character: f"${character}$" for character in "<>|"},
    '"': "''",
}


def escape(text: Any) -> str:
    r"""Return a text so that LaTeX prints it as it is.

    >>> print(escape("scale_x, 50 %"))
    scale\_x, 50 \%
    """
    return "".join(_SPECIAL.get(character, character) for character in str(text))


def method(name: str) -> str:
    r"""Return a method as papers write it: the name of a model, with what else tells it apart.

    >>> print(method("beta_vae"), method("dip_vae ii"), method("my_methods:Mine"))
    $\beta$-VAE DIP-VAE ii my\_methods:Mine
    """
    model, space, rest = name.partition(" ")
    return MODELS.get(model, escape(model)) + space + escape(rest)


def score(name: str) -> str:
    """Return the name of a score or term as papers write it.

    >>> score("factor_vae_score"), score("explicitness")
    ('FactorVAE score', 'explicitness')
    """
    return SCORES.get(name, escape(name.replace("_", " ")))


def setting(name: str, value: Any) -> str:
    r"""Return an argument and its value.

    >>> print(setting("beta", 4.0), setting("lambda_od", 10), setting("variant", "ii"))
    $\beta = 4$ $\lambda_\mathrm{od} = 10$ variant = ii
    """
    head, _, index = name.partition("_")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if head in GREEK and number:
        symbol = f"\\{head}" + (f"_\\mathrm{{{index.replace('_', ' ')}}}" if index else "")
        return f"${symbol} = {value:g}$"
    shown = f"{value:g}" if number else escape(value)
    return f"{escape(name.replace('_', ' '))} = {shown}"
