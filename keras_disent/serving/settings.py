"""Settings of a server, checked before anything starts."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

from keras_disent._utils.checks import check_integer

MAX_BODY = 64 << 20
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")
_KEY = re.compile(r"[!-~]+")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a server.

    Attributes:
        max_batch_size: Maximum number of requests that are computed at once.
        workers: Number of processes that compute. None: one per processor, from 2 to 4.
        threads: Threads of ONNX Runtime in each worker. None: its share of the processors.
        timeout: Seconds after which a request is given up, and a worker that does not respond is
            replaced.
        max_body: Maximum number of bytes of a request.
        api_key: Key that requests must have, or None.
        cors: Origins whose web pages may ask, such as "https://example.org"; "*" for all.

    Raises:
        ValueError: A setting is out of range.

    >>> Settings(workers=3, threads=1).workers
    3
    >>> Settings(max_batch_size=0)
    Traceback (most recent call last):
    ...
    ValueError: `max_batch_size` must be an integer of at least 1. Got 0.
    """

    max_batch_size: int = 32
    workers: int | None = None
    threads: int | None = None
    timeout: float = 30.0
    max_body: int = MAX_BODY
    api_key: str | None = None
    cors: Sequence[str] = ()

    def __post_init__(self) -> None:
        import joblib  # a worker, which has no settings, starts sooner without it

        cores = joblib.cpu_count()  # those that this process may use, also in a container
        if self.workers is None:
            object.__setattr__(self, "workers", min(max(cores, 2), 4))
        workers = check_integer("workers", self.workers, 1)
        if self.threads is None:
            object.__setattr__(self, "threads", max(1, cores // workers))
        for name in ("max_batch_size", "max_body"):
            check_integer(name, getattr(self, name), 1)
        if check_integer("threads", self.threads, 1) > cores:
            raise ValueError(
                f"`threads` is 1 to {cores}, the number of processors. Got {self.threads}."
            )
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise ValueError(f"`timeout` is a number of seconds above 0. Got {self.timeout}.")
        if self.api_key is not None and not _KEY.fullmatch(self.api_key):
            raise ValueError("`api_key` is one or more ASCII characters without spaces.")
        if isinstance(self.cors, str):
            raise ValueError(f"`cors` is a list of origins. Got {self.cors!r}.")
        for origin in self.cors:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"`cors` takes origins such as https://example.org, or *. Got {origin!r}."
                )
