"""A device behind an HTTP API: one request switches off, one asks for the state.

Errors: a request that never left is `Unavailable`, and so is one that was refused for now (429, or 500 and above, of
which the device says itself that it did not do it); another bad status is `Rejected`. What was sent and not answered
may have been done.
"""

from __future__ import annotations

import json
import ssl

import httpx

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.devices.settings import HttpDeviceSettings, RequestSettings

_TOO_MANY, _SERVER_ERROR = 429, 500


class HttpDevice:
    """Speaks to the API over a new connection each time (`ports.Device`): what is asked seldom is not kept open."""

    def __init__(self, *, settings: HttpDeviceSettings, says: str) -> None:
        self._settings = settings
        self._says = says.casefold()

    async def switch_off(self) -> None:
        await self._send(self._settings.off)

    async def says_off(self) -> bool:
        answer = await self._send(self._settings.state)
        return _at(answer.text, self._settings.field).strip().casefold() == self._says

    async def _send(self, request: RequestSettings) -> httpx.Response:
        settings = self._settings
        headers = {**request.headers, **{name: secret.read() for name, secret in settings.secret_headers.items()}}
        where = f"{request.method} {request.url}"
        try:
            context = ssl.create_default_context(cafile=settings.ca)
            async with httpx.AsyncClient(verify=context, timeout=settings.timeout.total_seconds()) as client:
                answer = await client.request(
                    request.method, request.url, headers=headers, content=request.body or None
                )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unavailable(f"{where}: no connection ({type(error).__name__})") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Indeterminate(f"{where}: no answer ({type(error).__name__})") from None
        except OSError as error:
            raise Rejected(f"{settings.ca}: {error.strerror or 'holds no certificate'}; correct `ca`") from error
        if answer.is_success:
            return answer
        said = f"{where}: HTTP {answer.status_code}"
        if answer.status_code == _TOO_MANY or answer.status_code >= _SERVER_ERROR:
            raise Unavailable(said)
        raise Rejected(f"{said}; correct the device's settings in the estate")


def _at(text: str, field: str) -> str:
    """Return what an answer says at a path of keys and positions; the whole text for none, empty if nothing."""
    if not field:
        return text
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    for key in field.split("."):
        if isinstance(found, dict):
            found = found.get(key)
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return ""
    return str(found)
