"""What an estate may say of a Prometheus that is listened to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, FiniteFloat, field_validator, model_validator

from evac.drivers.settings import Duration, EstatePath, Secret, Settings

_TEXT = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_MATCHER = rf"\s*[a-zA-Z_]\w*\s*(?:=~|!~|!=|=)\s*{_TEXT}\s*"
_SELECTOR = re.compile(rf"(?:[a-zA-Z_:][\w:]*\s*)?(?:\{{(?:{_MATCHER}(?:,{_MATCHER})*,?)?\s*\}})?")
_LABEL = re.compile(r"[a-zA-Z_]\w*")


class PrometheusSettings(Settings):
    """Which server is asked, for which series, and which of their values are well."""

    url: str
    """Its address, as seen from the region that asks: `http://prometheus.internal:9090`, with a path if it has one."""
    query: str
    """Which series tell whether a target is well, as a plain selector: `probe_success{job="shop"}`. No functions or
    operators: their results are stamped anew, so that nobody could see how old they are."""
    well_min: FiniteFloat = 1.0
    """Values from this on are well."""
    well_max: FiniteFloat | None = None
    """Values up to this are well; default: any."""
    service_label: str = "service"
    """The label that names the service."""
    region_label: str = "region"
    """The label that names the region."""
    service_names: Mapping[str, str] = Field(default_factory=dict)
    """evac's name for a value of the service's label, where they differ."""
    region_names: Mapping[str, str] = Field(default_factory=dict)
    """evac's name for a value of the region's label, where they differ."""
    instances: Literal["any", "all"] = "any"
    """Of several series of one target, whether `any` that is well is enough, or `all` must be."""
    age_max: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=5)
    """A sample older than this, by its own time and the server's clock, is unknown."""
    bearer: Secret | None = None
    """Token sent as `Authorization: Bearer`; default none."""
    user: str | None = None
    """User for basic authentication; default none."""
    password: Secret | None = None
    """That user's password."""
    ca: EstatePath | None = None
    """Certificates to trust, as a PEM file; default: the system's."""
    cert: EstatePath | None = None
    """Certificate evac shows, as a PEM file; default none."""
    key: EstatePath | None = None
    """That certificate's private key, as a PEM file."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is no http or https address")
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds a user; write it as `user` and `password`")
        if parts.query or parts.fragment:
            raise ValueError("has more than an address and a path")
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("has a port that is no port") from None
        return url.rstrip("/")

    @field_validator("query")
    @classmethod
    def _is_selector(cls, query: str) -> str:
        if not query.strip() or not _SELECTOR.fullmatch(query.strip()):
            raise ValueError(
                'is not a plain selector such as probe_success{job="shop"}; the age of anything else cannot be seen'
            )
        return query.strip()

    @field_validator("service_label", "region_label")
    @classmethod
    def _is_label(cls, label: str) -> str:
        if not _LABEL.fullmatch(label):
            raise ValueError("is not a label's name")
        return label

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.service_label == self.region_label:
            raise ValueError("service_label and region_label are the same label")
        if self.well_max is not None and self.well_max < self.well_min:
            raise ValueError("well_max is below well_min: no value is well")
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password come together")
        if self.bearer is not None and self.user is not None:
            raise ValueError("bearer and user are two ways to say who asks; give one")
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key come together")
        if self.url.startswith("http:") and (self.ca or self.cert):
            raise ValueError("ca, cert and key need an https address")
        return self

    def question(self) -> str:
        """Return the query that tells of each series the time of its newest sample, below 0 if that is not well.

        `timestamp` tells a sample's own time only of a plain selector, and the answer is stamped with the server's own
        (Prometheus manual, *Query functions*). A sample that is no number is left out, by not equalling itself.
        """
        series = self.query
        well = f"(({series} == {series}) >= bool {self.well_min!r})"
        if self.well_max is not None:
            well += f" * ({series} <= bool {self.well_max!r})"
        return f"timestamp({series}) * (2 * ({well}) - 1)"

    def question_of_the_ended(self) -> str:
        """Return the query that tells of series that were there within the last minute, ten minutes or an hour ago, and
        are not there now. (Every moment of the last hour would be too many samples to ask for.)
        """
        series = self.query
        return f"(last_over_time({series}[1m]) or {series} offset 10m or {series} offset 1h) unless {series}"
