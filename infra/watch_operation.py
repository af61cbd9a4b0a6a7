"""Command: follow a long-running operation of a running service to its end.

The access token that the service demands is taken from the environment variable DICOM_TOKEN.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import requests

_EVERY_SECONDS = 1.0
_TIMEOUT_SECONDS = 30
_PATIENCE = 20
"""Looks in a row without an answer, as while the service is started again."""
_FOUND = (HTTPStatus.OK, HTTPStatus.ACCEPTED)
_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_WELL = ("succeeded", "completed")


class WatchError(Exception):
    """The operation cannot be followed; the text says why."""


def documents(session: requests.Session, url: str) -> Iterator[Mapping[str, Any]]:
    """What is told of an operation, look after look, to the one that tells its end.

    Raises:
        WatchError: It is not there, or the service does not answer.
    """
    failures = 0
    while failures < _PATIENCE:
        document = _look(session, url)
        if document is None:
            failures += 1
        else:
            failures = 0
            yield document
            if document["status"] not in ("notStarted", "running"):
                return
        time.sleep(_EVERY_SECONDS)
    raise WatchError(f"{url} does not answer")


def _look(session: requests.Session, url: str) -> Mapping[str, Any] | None:
    try:
        answer = session.get(url, timeout=_TIMEOUT_SECONDS)
    except (requests.ConnectionError, requests.Timeout):
        return None
    if answer.status_code in _LATER:
        return None
    if answer.status_code not in _FOUND:
        raise WatchError(f"{url}: {answer.status_code} {answer.reason}")
    document: Mapping[str, Any] = answer.json()
    return document


def line(document: Mapping[str, Any]) -> str:
    """Status, percentage and counts in one line."""
    percent = document.get("percentComplete")
    results = document.get("results") or {}
    counts = [f"{name} {count}" for name, count in results.items() if isinstance(count, int)]
    lists = [f"{name} {len(items)}" for name, items in results.items() if isinstance(items, list)]
    done = [] if percent is None else [f"{percent} %"]
    return ", ".join([f"{document['type']} {document['status']}", *done, *counts, *lists])


def main() -> None:
    """Parse the command line, and write a line whenever something has changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operation", help="its id, or the address that the service gave")
    parser.add_argument("--url", default="http://127.0.0.1:7071/v2", help="service with version")
    options = parser.parse_args()
    url = options.operation
    if "://" not in url:
        url = f"{options.url.rstrip('/')}/operations/{url}"
    with requests.Session() as session:
        if token := os.environ.get("DICOM_TOKEN"):
            session.headers["Authorization"] = f"Bearer {token}"
        sys.exit(_watch(session, url))


def _watch(session: requests.Session, url: str) -> int | str:
    told, status = "", ""
    try:
        for document in documents(session, url):
            status = document["status"]
            if (now := line(document)) != told:
                told = now
                sys.stdout.write(told + "\n")
                sys.stdout.flush()
    except WatchError as error:
        return str(error)
    return int(status not in _WELL)


if __name__ == "__main__":
    main()
