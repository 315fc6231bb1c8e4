"""What is to be logged, in order: a store that is away for a moment gets it later, and none stops a stage."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections import deque
from collections.abc import Callable

from bnnlib.tracking.store import Store, shown

PAUSE_S = 5.0  # between two attempts, at least
SHARE = 0.2  # of a stage's time that attempts may take while the store is away
GRACE_S = 60.0  # for the last attempts, at the end of a stage
ATTEMPTS = 10  # in that time, at least

# What an MLflow server says of a request that it will never take.
FINAL = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "PERMISSION_DENIED"}
FINAL |= {"UNAUTHENTICATED", "FEATURE_DISABLED", "ENDPOINT_NOT_FOUND"}


class Outbox:
    """Calls to the store. One that fails waits with all later ones, and is tried again with the next one.

    A call that would fail again and again (a file that cannot be written, say) is dropped; if it is an essential one
    (to begin the run, with a wrong address or a database of a newer version), all later ones are dropped too.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[tuple[Callable[[], object], bool]] = deque()
        self._next = 0.0
        self._warned = False
        self._broken = False
        self.whole = True  # whether no call was dropped

    def send(self, call: Callable[[], object], essential: bool = False) -> None:
        """Call it after those that wait; now, if the store can be reached."""
        if self._broken:
            return
        self._waiting.append((call, essential))
        if time.monotonic() >= self._next:
            self._attempt()

    def flush(self, grace: float = 0.0) -> bool:
        """Try what waits, for up to ``grace`` seconds; whether everything is logged."""
        pause, end = min(PAUSE_S, grace / ATTEMPTS), time.monotonic() + grace
        while self._waiting and not self._attempt():
            if time.monotonic() + pause > end:
                return False
            time.sleep(pause)
        return self.whole

    def _attempt(self) -> bool:
        """Make the calls that wait; whether none waits any more."""
        began = time.monotonic()
        while self._waiting:
            call, essential = self._waiting[0]
            try:
                call()
            # Of MLflow, its database driver, its HTTP client, a plug-in: whatever it is, the stage goes on.
            except Exception as error:
                final = is_final(error)
                self._broken = final and essential
                self._warn(error)
                if not final:
                    ended = time.monotonic()
                    self._next = ended + max(PAUSE_S, (ended - began) / SHARE)
                    return False
                self.whole = False
            if self._broken:
                self._waiting.clear()
            else:
                self._waiting.popleft()
        return True

    def _warn(self, error: Exception) -> None:
        """Once, with the way out."""
        if self._warned:
            return
        self._warned = True
        then = "goes on without it" if self._broken else "goes on, and logs what it can"
        print(
            f"warning: MLflow at {self._store} cannot be used, so this stage {then} ({shown(error)}). "
            "Its results do not depend on it. Check the store, or MLFLOW_TRACKING_URI.",
            file=sys.stderr,
            flush=True,
        )


def is_final(error: Exception) -> bool:
    """Whether the same call would fail again, so that waiting does not help."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema
    from sqlalchemy.exc import OperationalError

    if isinstance(error, MlflowException):
        return error.error_code in FINAL
    if isinstance(error, InvalidSchema | InvalidURL | MissingSchema):
        return True
    away = RequestException | OperationalError | sqlite3.OperationalError | ConnectionError | TimeoutError
    return not isinstance(error, away)
