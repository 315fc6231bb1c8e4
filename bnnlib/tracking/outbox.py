"""What is to be logged, in order: a store that is away for a moment gets it later, and none stops a stage."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable

from bnnlib.core.files import FileError
from bnnlib.tracking.store import Store, redacted

PAUSE_S = 5.0  # between two attempts, at least
SHARE = 0.2  # of a stage's time that attempts may take while the store is away
GRACE_S = 60.0  # for the last attempts, at the end of a stage
LONGEST = 400  # characters of an error shown

# What an MLflow server says of a request that it will never take.
FINAL = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "PERMISSION_DENIED"}
FINAL |= {"UNAUTHENTICATED", "FEATURE_DISABLED", "ENDPOINT_NOT_FOUND"}


class Outbox:
    """Calls to the store. One that fails waits with those behind it, and is tried again with the next one.

    An error that no repetition helps (a wrong address, a database of a newer version) ends the logging at once.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[Callable[[], None]] = deque()
        self._next = 0.0
        self._warned = False
        self.broken = False

    def send(self, call: Callable[[], None]) -> None:
        """Call it after those that wait; now, if the store can be reached."""
        if self.broken:
            return
        self._waiting.append(call)
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self, grace: float = 0.0) -> bool:
        """Try what waits, for up to ``grace`` seconds; whether all of it is logged."""
        end = time.monotonic() + grace
        while not self.broken and self._waiting and not self._attempt():
            if time.monotonic() + PAUSE_S > end:
                return False
            time.sleep(PAUSE_S)
        return not self.broken

    def _attempt(self) -> bool:
        began = time.monotonic()
        try:
            while self._waiting:
                self._waiting[0]()
                self._waiting.popleft()
        except FileError:
            raise  # the stage's own data, not the store
        # Of MLflow, its database driver, its HTTP client, a plug-in: whatever it is, the stage goes on.
        except Exception as error:
            ended = time.monotonic()
            self._next = ended + max(PAUSE_S, (ended - began) / SHARE)
            self.broken = _is_final(error)
            self._warn(error)
            return False
        return True

    def _warn(self, error: Exception) -> None:
        """Once, with the way out."""
        if self._warned:
            return
        self._warned = True
        then = "goes on without it" if self.broken else "goes on, and logs when it can"
        reason = redacted(" ".join(str(error).split()) or type(error).__name__)[:LONGEST]
        print(
            f"warning: MLflow at {self._store} cannot be used, so this stage {then} ({reason}). "
            "Its results do not depend on it. Check the store, or MLFLOW_TRACKING_URI.",
            file=sys.stderr,
            flush=True,
        )


def _is_final(error: Exception) -> bool:
    """Whether the same call would fail again, so that waiting does not help."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema
    from sqlalchemy.exc import OperationalError

    if isinstance(error, MlflowException):
        return error.error_code in FINAL
    if isinstance(error, InvalidSchema | InvalidURL | MissingSchema):
        return True
    return not isinstance(error, RequestException | OperationalError | OSError)
