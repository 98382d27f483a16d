"""What the service logs: a line a request, and what goes wrong; as text or as JSON.

No line holds a photo's name or a caption.
"""

import copy
import json
import logging
import logging.config
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any, Literal

from uvicorn.config import LOGGING_CONFIG

from stages import printable
from tagloom.results import in_a_line

Style = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]

log = logging.getLogger("tagloom.requests")
PROBES = ("/health", "/live", "/metrics")  # asked every few seconds: logged at debug
ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


def request_id(given: str | None) -> str:
    """The client's own id of a request, where it can stand in a log; else a new one."""
    return given if given is not None and ID.fullmatch(given) else uuid.uuid4().hex


def log_request(
    id: str, method: str, path: str, status: int | None, photos: int, seconds: float
) -> None:
    """Logs a request that has ended.

    Args:
        path: of the route, none that a client has made up.
        status: None: no response was begun.
        photos: that it brought.
    """
    milliseconds = round(seconds * 1000, 1)
    log.log(
        logging.DEBUG if path in PROBES else logging.INFO,
        *("%s %s %s %s, %d photos, %g ms", id, method, path, status, photos, milliseconds),
        extra={
            "request": {
                **{"id": id, "method": method, "path": path, "status": status},
                **{"photos": photos, "milliseconds": milliseconds},
            }
        },
    )


class TextFormatter(logging.Formatter):
    """Time in UTC, level and message, without codes for the terminal."""

    converter = staticmethod(time.gmtime)
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = in_a_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return printable(super().formatException(ei))


class JsonFormatter(logging.Formatter):
    """A JSON object a line: time, level, logger, process, message, of a request its figures, of an
    error its traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        line |= getattr(record, "request", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up(style: Style, level: Level) -> None:
    """Sets ``logging`` up as uvicorn does, with our formats, loggers and level; to stderr."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["formatters"]["default"] = {"()": JsonFormatter if style == "json" else TextFormatter}
    for name in ("tagloom", "uvicorn"):
        own = {"handlers": ["default"], "level": level.upper(), "propagate": False}
        config["loggers"][name] = own
    logging.config.dictConfig(config)
