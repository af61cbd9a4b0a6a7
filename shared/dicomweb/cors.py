"""Cross-origin requests of web viewers, as the Fetch standard has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_READABLE = (
    "ETag, Warning, Content-Location, Content-Range, Location, api-supported-versions, x-request-id"
)
_SENDABLE = "Accept, Authorization, Content-Type, If-None-Match, Range"
_REMEMBERED_SECONDS = "7200"
_ANY = "*"


@dataclass(frozen=True, slots=True)
class CorsRule:
    """Which web origins may read the answers; `*` among them stands for all."""

    origins: Sequence[str] = ()

    def admits(self, origin: str) -> bool:
        """Whether pages of an origin may read the answers."""
        return _ANY in self.origins or origin in self.origins

    def headers(self, origin: str | None) -> Mapping[str, str]:
        """What every answer to a request from this origin has; nothing for others.

        Credentials are never allowed to travel by themselves: clients send a token.
        """
        if not self.origins:
            return {}
        if _ANY in self.origins:
            allowed = {"Access-Control-Allow-Origin": _ANY}
        elif origin is not None and self.admits(origin):
            allowed = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        else:
            return {"Vary": "Origin"}
        return {**allowed, "Access-Control-Expose-Headers": _READABLE}

    def preflight(
        self, origin: str | None, methods: Sequence[str], asked: str | None
    ) -> Mapping[str, str]:
        """What an answer to a preflight request has; `asked` are the headers it names."""
        headers = self.headers(origin)
        if "Access-Control-Allow-Origin" not in headers:
            return headers
        extra = [] if not asked else [name.strip() for name in asked.split(",") if _is_token(name)]
        names = dict.fromkeys([*_SENDABLE.split(", "), *extra])
        return {
            **headers,
            "Access-Control-Allow-Methods": ", ".join(methods),
            "Access-Control-Allow-Headers": ", ".join(names),
            "Access-Control-Max-Age": _REMEMBERED_SECONDS,
        }


def _is_token(name: str) -> bool:
    text = name.strip().replace("-", "").replace("_", "")
    return text.isascii() and text.isalnum()
